//! Jobs as bytes, for another procpool. The agent's job has the same number, place and texts, so that its
//! messages name the job as this procpool would.

use std::num::NonZeroU32;
use std::time::Duration;

use super::key::{Digest128, Key};
use super::unit::{BundleParts, Job, JobForm, Part, Place};
use crate::util::bytes::{ByteReader, put_bytes, put_number, put_option};

const JSON: u64 = 0;
const WORDS: u64 = 1;
const MESSAGE: u64 = 2;
const LINES: u64 = 3;
const PARTS: u64 = 4;

impl Job {
    /// Appends the parts of the job that an agent needs. Parts that only this procpool needs are left out: the lines
    /// of the input, the number of retries. The key comes back if the result turns out to be doubtful.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_number(self.seq, out);
        put_number(u64::from(self.place.source), out);
        put_number(self.place.line, out);
        put_number(u64::from(self.attempt), out);
        put_number(u64::from(self.is_suspect), out);
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - 1);
        put_option(self.timeout.map(nanos), out);
        Key::put(self.key, out);
        let body = &self.body;
        put_bytes(&body.text[body.begin..], out);
        match &body.form {
            JobForm::Json | JobForm::Joint(_) => self.put_ends(JSON, out),
            // A block is not sent: its machine is this one.
            JobForm::Words | JobForm::Block(_) => self.put_ends(WORDS, out),
            JobForm::Message => self.put_ends(MESSAGE, out),
            JobForm::Lines(count) => {
                put_number(LINES, out);
                put_number(*count as u64, out);
            }
            JobForm::Parts(parts) => {
                put_number(PARTS, out);
                put_number(self.count() as u64, out);
                let begin = u32::try_from(body.begin).unwrap_or(u32::MAX);
                for part in &parts.all[parts.first..] {
                    for at in [part.args_at, part.id_at, part.end] {
                        put_number(u64::from(at.saturating_sub(begin)), out);
                    }
                }
            }
        }
    }

    /// Appends the content of a single job: the same for each job that is read from the same line.
    #[cfg(feature = "nats")]
    pub(crate) fn put_content(&self, out: &mut Vec<u8>) {
        put_bytes(&self.body.text[self.body.begin..], out);
        put_bytes(self.line().unwrap_or_default(), out);
        put_option(
            self.timeout.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - 1)),
            out,
        );
    }

    fn put_ends(&self, form: u64, out: &mut Vec<u8>) {
        put_number(form, out);
        put_number((self.body.args_at - self.body.begin) as u64, out);
        put_number((self.body.id_at - self.body.begin) as u64, out);
    }

    /// Reads a job that was written with [`Job::put`]. `None`: these bytes are none.
    pub(crate) fn take(from: &mut ByteReader<'_>) -> Option<Self> {
        let seq = from.number()?;
        let place = Place { source: from.small()?, line: from.number()? };
        let attempt = from.small()?;
        let is_suspect = from.number()? != 0;
        let timeout = from.option()?.map(Duration::from_nanos);
        let key = Key::take(from)?;
        let text = from.bytes()?;
        let mut job = match from.number()? {
            form @ (JSON | WORDS | MESSAGE) => {
                let (args_at, id_at) = (from.small()?, from.small()?);
                if !(args_at <= id_at && id_at <= text.len()) {
                    return None;
                }
                let form = match form {
                    JSON => JobForm::Json,
                    WORDS => JobForm::Words,
                    _ => JobForm::Message,
                };
                let mut job = Self::bytes(seq, text, form);
                (job.body.args_at, job.body.id_at) = (args_at, id_at);
                job
            }
            LINES => {
                let count = from.small()?;
                let lines = memchr::memchr_iter(b'\n', text).count();
                if count < 2 || lines != count || text.last() != Some(&b'\n') {
                    return None;
                }
                Self::bytes(seq, text, JobForm::Lines(count))
            }
            PARTS => Self::bytes(seq, text, JobForm::Parts(BundleParts::new(parts(from, text)?))),
            _ => return None,
        };
        (job.place, job.attempt, job.timeout, job.key) = (place, attempt, timeout, key);
        job.is_suspect = is_suspect;
        Some(job)
    }
}

impl Key {
    /// Appends the key of a job, if it has one.
    pub(crate) fn put(key: Option<Self>, out: &mut Vec<u8>) {
        put_option(key.map(|key| u64::from(key.nth.get())), out);
        if let Some(key) = key {
            out.extend_from_slice(&key.digest.0);
        }
    }

    /// Reads the key of a job, if it has one.
    pub(crate) fn take(from: &mut ByteReader<'_>) -> Option<Option<Self>> {
        let Some(nth) = from.option()? else { return Some(None) };
        let nth = NonZeroU32::new(u32::try_from(nth).ok()?)?;
        let (digest, rest) = from.0.split_first_chunk()?;
        from.0 = rest;
        Some(Some(Self { digest: Digest128(*digest), nth }))
    }
}

/// The positions of the jobs of a bundle, at least 2.
fn parts(from: &mut ByteReader<'_>, text: &[u8]) -> Option<Vec<Part>> {
    let count: usize = from.small()?;
    if count < 2 {
        return None;
    }
    let mut parts = Vec::new();
    let mut begin = 0;
    for _ in 0..count {
        let part = Part { args_at: from.small()?, id_at: from.small()?, end: from.small()? };
        let is_in_order = begin <= part.args_at && part.args_at <= part.id_at;
        if !is_in_order || part.id_at > part.end || part.end as usize > text.len() {
            return None;
        }
        begin = part.end;
        parts.push(part);
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::super::bundle::Bundler;
    use super::*;
    use proptest::prelude::*;

    fn there_and_back(job: &Job) -> Job {
        let mut bytes = Vec::new();
        job.put(&mut bytes);
        let mut reader = ByteReader(&bytes);
        let back = Job::take(&mut reader).expect("a job");
        assert!(reader.is_empty());
        for len in 0..bytes.len() {
            // The end of the bytes is no job.
            let _ = Job::take(&mut ByteReader(&bytes[..len]));
        }
        back
    }

    fn texts(job: &Job) -> String {
        let one = |job: &Job| {
            let words: Option<Vec<_>> = job.arg_words().map(Iterator::collect);
            let texts = (job.cmd(), job.args(), job.id(), job.as_message(), words);
            format!("{} {:?} {:?} {:?} {texts:?}", job.seq, job.place, job.timeout, job.key)
        };
        match job.count() {
            1 => one(job),
            count => (0..count).map(|nth| one(&job.one(nth)) + "\n").collect(),
        }
    }

    #[test]
    fn a_job_is_the_same_at_the_other_end() {
        let mut job = Job::new(7, r#""f""#, "[1]", r#""x""#);
        job.place = Place { source: 1, line: 9 };
        job.timeout = Some(Duration::from_millis(1500));
        job.key = Some(Key { digest: Digest128([7; 16]), nth: NonZeroU32::MIN });
        for job in
            [job, Job::words(3, b"a\0b c\0\xff\0"), Job::message(4, b"\0\n"), Job::words(1, b"")]
        {
            assert_eq!(texts(&there_and_back(&job)), texts(&job));
        }
    }

    proptest! {
        #[test]
        fn a_bundle_is_the_same_at_the_other_end(
            jobs in prop::collection::vec(("[a-c]{0,3}", "[d-f]{0,3}", "[0-9]{0,3}"), 2..12),
            cut in 0_usize..3,
            is_json: bool,
        ) {
            let mut bundle = if is_json {
                let mut bundler = Bundler::default();
                for (nth, (cmd, args, id)) in jobs.iter().enumerate() {
                    let place = Place { source: 0, line: 1 + nth as u64 };
                    prop_assert!(bundler.add((5 + nth as u64, place), cmd, args, id));
                }
                bundler.take().expect("a job")
            } else {
                let lines: String = jobs.iter().map(|(cmd, ..)| format!("{cmd}\n")).collect();
                Job::of_lines(5, lines.as_bytes(), jobs.len())
            };
            if cut > 0 && cut < bundle.count() {
                bundle.split_off_first(cut);
            }
            prop_assert_eq!(texts(&there_and_back(&bundle)), texts(&bundle));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            if let Some(job) = Job::take(&mut ByteReader(&bytes)) {
                texts(&job);
            }
        }
    }
}
