//! The steps that a job goes through, each as the engine does it: many jobs one after the other, in buffers that
//! are used again.

use std::hint::black_box;

use procpool::engine::input::job_lines;
use procpool::engine::input::lines::Lines;
use procpool::engine::output::failure::FailureStyle;
use procpool::engine::output::format::{Format, Shape, Tag};
use procpool::engine::protocol::envelope::procpool::PROCPOOL;
use procpool::engine::protocol::framing::line::LINE;
use procpool::engine::protocol::framing::{Scan, Split};
use procpool::engine::{Done, Failure, Job, Json, Run, Value};
use serde_json::value::RawValue;

/// As much as is read from a pipe at once.
const BATCH: usize = 64 << 10;

/// The lengths of the texts that are parsed or written, in bytes.
pub const SIZES: [usize; 2] = [30, 1000];

/// Does a step for this number of jobs.
pub type Repeat = Box<dyn FnMut(u64)>;

/// Prepares a step for texts of this many bytes.
pub type Prepare = fn(usize) -> Repeat;

/// All steps, with their names.
pub const STEPS: [(&str, Prepare); 12] = [
    ("input: lines", lines),
    ("input: job line, object", object_line),
    ("input: job line, text", text_line),
    ("input: job", job),
    ("protocol: request", request),
    ("protocol: framing", framing),
    ("protocol: reply", reply),
    ("output: record", |size| result(size, Shape::Record, false, true)),
    ("output: record, failed", |size| result(size, Shape::Record, false, false)),
    ("output: record, detail", |size| result(size, Shape::Record, true, true)),
    ("output: value", |size| result(size, Shape::Value, false, true)),
    ("output: text", |size| result(size, Shape::Text, false, true)),
];

/// A text of `size` bytes: a frame, and as many letters between its halves as fit.
fn sized(size: usize, head: &str, tail: &str) -> String {
    let letters = "abcdefghijklmnopqrstuvwxyz".chars().cycle();
    let room = size.saturating_sub(head.len() + tail.len());
    head.chars().chain(letters.take(room)).chain(tail.chars()).collect()
}

fn lines(size: usize) -> Repeat {
    let bytes = sized(size, "", "\n").repeat(BATCH / size);
    Box::new(move |mut left| {
        let mut lines = Lines::new(b'\n', 64 << 20);
        while left > 0 {
            lines.buffer().extend_from_slice(bytes.as_bytes());
            while let Some(line) = lines.next(false) {
                black_box(line.text.is_ok());
                left = left.saturating_sub(1);
            }
        }
    })
}

fn object_line(size: usize) -> Repeat {
    let line = sized(size, r#"{"cmd":"a","args":[""#, r#""]}"#);
    assert!(job_lines::usual(line.as_bytes()).is_some(), "not a usual job line: {line}");
    Box::new(move |count| {
        for _ in 0..count {
            black_box(job_lines::usual(black_box(line.as_bytes())));
        }
    })
}

fn text_line(size: usize) -> Repeat {
    let line = sized(size, r#"double [""#, r#""]"#);
    assert!(matches!(job_lines::parse(line.as_bytes()), Ok(Some(_))), "not a job: {line}");
    Box::new(move |count| {
        for _ in 0..count {
            black_box(job_lines::parse(black_box(line.as_bytes())).is_ok());
        }
    })
}

fn job(size: usize) -> Repeat {
    let args = sized(size, r#"[""#, r#""]"#);
    Box::new(move |count| {
        for seq in 1..=count {
            black_box(Job::new(seq, r#""double""#, black_box(&args), ""));
        }
    })
}

fn request(size: usize) -> Repeat {
    let job = Job::new(1, r#""double""#, &sized(size, r#"[""#, r#""]"#), "");
    Box::new(move |count| {
        let mut out = Vec::with_capacity(2 * BATCH);
        for id in 1_000_000..1_000_000 + count {
            let start = out.len();
            let asked = (PROCPOOL.request)(&mut out, id, black_box(&job));
            black_box(asked.and_then(|()| (LINE.seal)(&mut out, start)).is_ok());
            if out.len() >= BATCH {
                black_box(&out);
                out.clear();
            }
        }
    })
}

fn framing(size: usize) -> Repeat {
    let bytes = sized(size, "", "\n").repeat(BATCH / size);
    Box::new(move |count| {
        let mut at = 0;
        for _ in 0..count {
            let rest = black_box(&bytes.as_bytes()[at..]);
            at = match (LINE.split)(rest, &mut Scan::default()) {
                Split::Message { next, .. } if at + next < bytes.len() => at + next,
                _ => 0,
            };
        }
    })
}

fn reply(size: usize) -> Repeat {
    let message = sized(size, r#"{"id":1000000,"result":""#, r#""}"#);
    assert!((PROCPOOL.read)(message.as_bytes()).is_ok(), "not a reply: {message}");
    Box::new(move |count| {
        for _ in 0..count {
            black_box((PROCPOOL.read)(black_box(message.as_bytes())).is_ok());
        }
    })
}

fn result(size: usize, shape: Shape, detail: bool, is_ok: bool) -> Repeat {
    let format = Format {
        shape,
        detail,
        tag: Tag::None,
        newline: false,
        skip_null: false,
        unpack: false,
        commands: None,
        is_open: false,
        sources: vec![String::new()],
        failures: FailureStyle::default(),
    };
    let job = Job::new(1_000_000, r#""double""#, "[1000000]", "");
    let run = Run { slot: 1, pid: 1000, attempt: 1, start: 1.7e9, seconds: 0.0123, host: None };
    let text = sized(size, "\"", "\"");
    Box::new(move |count| {
        let json: &RawValue = serde_json::from_str(&text).expect("the benchmark's own JSON");
        let failure = Failure::of_worker(text.trim_matches('"'), RawValue::NULL.to_owned());
        let outcome = if is_ok { Ok(Value::Json(Json::of(json))) } else { Err(&failure) };
        let done = Done { job: &job, outcome, printed: None, run: Some(run), unproven: None };
        let (mut out, mut err) = (Vec::with_capacity(2 * BATCH), Vec::new());
        for _ in 0..count {
            // A Vec takes all that is written to it.
            let _ = format.write(black_box(&done), &mut out, &mut err);
            if out.len() >= BATCH {
                black_box(&out);
                out.clear();
            }
            err.clear();
        }
    })
}
