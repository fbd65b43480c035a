//! The journal of an earlier run: first the bytes are such a file, then they are the results of jobs.

use std::fs;
use std::io::Write as _;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use procpool::engine::journal::{Context, Journal, JournalError, JournalSettings, Recorded};
use procpool::engine::{Capture, Done, Failure, Job, Json, Printed, Sink, Spool, Value};
use serde_json::Value as AnyJson;
use serde_json::value::RawValue;
use tempfile::NamedTempFile;

/// All records begin so.
const BEGIN: &[u8] = b"{\"key\":\"";

/// What came of a job, as far as it is printed.
#[derive(Debug, PartialEq)]
enum Result {
    Json(String),
    Message(Vec<u8>),
    Printed { stdout: Vec<u8>, stderr: Vec<u8> },
}

/// No file makes it panic; one with anything in it that is no whole record is refused and left alone,
/// but for a last line that may be torn, which is cut off; and what is recorded comes back as it was.
pub fn check(data: &[u8]) {
    resume(data);
    round_trip(data);
}

/// Resumes from a file of these bytes.
fn resume(data: &[u8]) {
    let file = file(data);
    let whole = data.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let (whole, rest) = data.split_at(whole);
    let records: Option<Vec<Record>> =
        whole.split_inclusive(|&byte| byte == b'\n').map(Record::of).collect();
    let may_be_torn =
        BEGIN.starts_with(rest) || rest.starts_with(BEGIN) || rest.iter().all(|&byte| byte == 0);
    match (open(file.path()), records.filter(|_| may_be_torn)) {
        (Err(why), None) => {
            let why = why.to_string();
            assert!(why.contains("is not a record") || why.contains("is no journal"), "{why}");
            assert!(read(file.path()) == data, "a file that is refused was changed");
        }
        (Ok(journal), Some(records)) => {
            assert_eq!(journal.torn(), rest.len() as u64);
            assert!(read(file.path()) == whole, "more was cut off than what was torn");
            go_on(&file, &journal, whole, &records);
        }
        (opened, expected) => panic!("{opened:?} instead of {expected:?}"),
    }
}

/// Asks for jobs that the records may be of. What is not recorded is run, which is recorded.
fn go_on(file: &NamedTempFile, journal: &Journal, before: &[u8], records: &[Record]) {
    let mut lines = Vec::new();
    for nth in 1..=3 {
        for (mut job, key) in jobs().into_iter().zip(keys()) {
            let is_it = |record: &&Record| record.key == *key && record.nth == nth;
            let last = records.iter().rfind(is_it).filter(|record| record.is_ok);
            match (journal.admit(&mut job), last) {
                (Ok(None), None) => {
                    let done = Done {
                        job: &job,
                        outcome: Ok(Value::Json(Json::NULL)),
                        printed: None,
                        run: None,
                        unproven: None,
                    };
                    Journal::add(&done, &mut lines);
                }
                (Ok(Some(recorded)), Some(record)) => {
                    assert_eq!(Some(delivered(&recorded, job)), record.result());
                }
                (Err(why), Some(_)) => {
                    // The run ends.
                    return assert!(why.to_string().contains("remove that line"), "{why}");
                }
                (found, expected) => panic!("{found:?} instead of {expected:?}"),
            }
        }
    }
    assert!(journal.append(&lines).is_ok());
    assert!(
        read(file.path()) == [before, &lines].concat(),
        "records are appended to what was there"
    );
}

/// Records jobs whose results are made of the data, resumes from that, and from what is left of it if
/// it is torn.
fn round_trip(data: &[u8]) {
    let (file, made) = (file(b""), Made::of(data));
    let journal = open(file.path()).expect("a new journal");
    let mut lines = Vec::new();
    let mut jobs = made.jobs();
    for (nth, job) in jobs.iter_mut().enumerate() {
        assert!(journal.admit(job).is_ok_and(|recorded| recorded.is_none()));
        let done = made.done(nth, job);
        // Both ways to write one.
        if nth % 2 == 0 {
            Journal::add(&done, &mut lines);
            assert!(journal.append(&lines).is_ok());
            lines.clear();
        } else {
            assert!(journal.append_large(&done).is_ok());
        }
    }
    drop(journal);
    let whole = read(file.path());
    assert_eq!(whole.iter().filter(|&&byte| byte == b'\n').count(), jobs.len());
    assert_recorded(&file, &made, &whole, 0);
    let (a, b) = (data.first().copied().unwrap_or(0), data.len());
    let torn = (usize::from(a) << 8 | b) % whole.len();
    fs::write(file.path(), &whole[..torn]).expect("there is room");
    let left = whole[..torn].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    assert_recorded(&file, &made, &whole[..left], torn - left);
}

/// Asserts that a journal holds these records, and that what was recorded is what comes back.
#[track_caller]
fn assert_recorded(file: &NamedTempFile, made: &Made, records: &[u8], torn: usize) {
    let journal = open(file.path()).expect("a journal");
    assert_eq!(journal.torn(), torn as u64);
    assert!(read(file.path()) == records);
    let count = records.iter().filter(|&&byte| byte == b'\n').count();
    for (nth, mut job) in made.jobs().into_iter().enumerate() {
        let recorded = journal.admit(&mut job).expect("it can be read back");
        let result = recorded.map(|recorded| delivered(&recorded, job));
        assert_eq!(result, made.result(nth).filter(|_| nth < count));
    }
}

/// What jobs come to that is made of the data.
struct Made {
    quoted: String,
    json: Box<RawValue>,
    message: Vec<u8>,
    printed: Arc<Printed>,
    failure: Failure,
}

impl Made {
    fn of(data: &[u8]) -> Self {
        let text = String::from_utf8_lossy(data).into_owned();
        let quoted = serde_json::to_string(&text).expect("a string");
        let json = RawValue::from_string(text.clone()).unwrap_or_else(|_| string(&quoted));
        let (stdout, stderr) = data.split_at(data.len() / 2);
        let (stdout, stderr) = (captured(stdout), captured(stderr));
        let printed = Arc::new(Printed { exit: Some(0), signal: None, stdout, stderr });
        let failure = Failure::of_worker(text, json.clone());
        Self { quoted, json, message: data.to_vec(), printed, failure }
    }

    fn jobs(&self) -> [Job; 5] {
        let words: Vec<u8> = self.message.iter().chain(b"\0").copied().collect();
        [
            Job::new(1, "\"a\"", "[1]", &self.quoted),
            Job::words(2, &words),
            Job::message(3, &self.message),
            // The same ones once more.
            Job::new(4, "\"a\"", "[1]", &self.quoted),
            Job::message(5, &self.message),
        ]
    }

    fn done<'a>(&'a self, nth: usize, job: &'a Job) -> Done<'a> {
        let printed = (nth == 1).then_some(&self.printed);
        let outcome = match nth {
            0 => Ok(Value::Json(Json::of(&self.json))),
            1 => Ok(Value::Json(Json::NULL)),
            3 => Err(&self.failure),
            _ => Ok(Value::Bytes(&self.message)),
        };
        Done { job, outcome, printed, run: None, unproven: None }
    }

    fn result(&self, nth: usize) -> Option<Result> {
        match nth {
            3 => None,
            _ => Some(Result::of(&self.done(nth, &Job::message(1, b"")))),
        }
    }
}

/// A line of a journal, as a naive reader finds it.
#[derive(Debug)]
struct Record<'a> {
    key: String,
    nth: u32,
    is_ok: bool,
    line: &'a str,
}

impl<'a> Record<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        serde_json::from_str::<&RawValue>(line).ok()?;
        let (key, rest) = line.strip_prefix("{\"key\":\"")?.split_once("\",\"nth\":")?;
        let (nth, rest) = rest.split_once(",\"ok\":")?;
        let (is_ok, _) = rest.split_once(',')?;
        let is_digit = |c| matches!(c, '0'..='9' | 'a'..='f');
        (key.len() == 32 && key.chars().all(is_digit)).then_some(())?;
        let nth = nth.parse::<NonZeroU32>().ok()?.get();
        Some(Self { key: key.to_owned(), nth, is_ok: is_ok.parse().ok()?, line })
    }

    /// The result that it holds, if it is as procpool writes them: the last member of the object.
    fn result(&self) -> Option<Result> {
        let members: AnyJson = serde_json::from_str(self.line).ok()?;
        let text = self.line.strip_suffix("}\n")?;
        let body = |name: &str| text.split_once(&format!(",\"{name}\":")).map(|(_, body)| body);
        let string = |name: &str| Some(members[name].as_str()?.to_owned());
        let base64 = |text: String| base64::engine::general_purpose::STANDARD.decode(text).ok();
        if let Some(json) = body("result") {
            return Some(Result::Json(json.to_owned()));
        }
        if members["printed"].is_object() {
            let stream = |name: &str| match members["printed"][name].as_str() {
                Some(text) => Some(text.as_bytes().to_vec()),
                None => base64(members["printed"][format!("{name}_base64")].as_str()?.to_owned()),
            };
            return Some(Result::Printed { stdout: stream("stdout")?, stderr: stream("stderr")? });
        }
        match (string("result_text"), string("message"), string("message_base64")) {
            (Some(json), None, None) => Some(Result::Json(json)),
            (None, Some(text), None) => Some(Result::Message(text.into_bytes())),
            (None, None, Some(text)) => base64(text).map(Result::Message),
            _ => None,
        }
    }
}

impl Result {
    fn of(done: &Done<'_>) -> Self {
        match (done.printed, &done.outcome) {
            (Some(printed), Ok(_)) => {
                let all = |capture: &Capture| capture.small().expect("it is short").to_vec();
                Self::Printed { stdout: all(&printed.stdout), stderr: all(&printed.stderr) }
            }
            (None, Ok(Value::Json(json) | Value::Shown(json))) => Self::Json(json.get().to_owned()),
            (None, Ok(Value::Bytes(bytes))) => Self::Message(bytes.to_vec()),
            (_, Err(failure)) => panic!("{failure}"),
        }
    }
}

/// Takes what was recorded.
#[derive(Default)]
struct Taker(Mutex<Option<Result>>);

impl Sink for Taker {
    fn deliver(&self, done: &Done<'_>) {
        assert!(done.job.is_recorded());
        *self.0.lock().expect("no panic") = Some(Result::of(done));
    }
}

fn delivered(recorded: &Recorded, job: Job) -> Result {
    let taker = Taker::default();
    recorded.deliver(job, &taker);
    taker.0.into_inner().expect("no panic").expect("it was delivered")
}

/// A job of each form.
fn jobs() -> [Job; 4] {
    [
        Job::words(1, b"1\0"),
        Job::message(2, b"m"),
        Job::new(3, "\"a\"", "[1]", ""),
        Job::new(4, "\"a\"", "[1]", "\"x\""),
    ]
}

/// Their keys in a journal.
fn keys() -> &'static [String] {
    static KEYS: OnceLock<Vec<String>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let (file, mut lines) = (file(b""), Vec::new());
        let journal = open(file.path()).expect("a new journal");
        for mut job in jobs() {
            assert!(journal.admit(&mut job).is_ok_and(|recorded| recorded.is_none()));
            let outcome = Ok(Value::Json(Json::NULL));
            Journal::add(
                &Done { job: &job, outcome, printed: None, run: None, unproven: None },
                &mut lines,
            );
        }
        let lines = String::from_utf8(lines).expect("text");
        lines.lines().map(|line| line[BEGIN.len()..][..32].to_owned()).collect()
    })
}

fn captured(bytes: &[u8]) -> Capture {
    let mut capture = Capture::new(&Arc::<Spool>::default());
    capture.write_all(bytes).expect("written");
    capture
}

fn string(quoted: &str) -> Box<RawValue> {
    RawValue::from_string(quoted.to_owned()).expect("a string is JSON")
}

fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("there is room");
    file
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("it is there")
}

fn open(path: &Path) -> std::result::Result<Journal, JournalError> {
    let context = Context::new([&b"echo"[..]], Arc::default());
    Journal::open(&JournalSettings {
        path: path.to_owned(),
        resume: true,
        sync: false,
        context,
        pack: None,
    })
}
