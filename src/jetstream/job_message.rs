//! A message with jobs: who submitted them, and for each job what an agent would need, its retries and its line.

use std::ops::Range;
use std::sync::Arc;

use crate::job::Job;
use crate::util::bytes::{ByteReader, put_bytes, put_number, put_option};

/// The first byte. Another format has another one.
const VERSION: u8 = 1;

/// Begins a message of this run.
pub(super) fn begin(run: &str) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_bytes(run.as_bytes(), &mut out);
    out
}

/// Appends a job.
pub(super) fn put(job: &Job, out: &mut Vec<u8>) {
    job.put(out);
    put_option(job.retries.map(u64::from), out);
    put_number(u64::from(job.line.is_some()), out);
    put_bytes(job.line().unwrap_or_default(), out);
}

/// The jobs of a message.
#[derive(Debug)]
pub(super) struct JobMessage {
    pub(super) run: String,
    pub(super) jobs: Vec<Job>,
    /// Where each job is in the message.
    pub(super) places: Vec<Range<usize>>,
}

/// Reads a message. `None`: the bytes are no message with jobs.
pub(super) fn read(message: &[u8]) -> Option<JobMessage> {
    let (&version, rest) = message.split_first()?;
    let mut from = ByteReader(rest);
    if version != VERSION {
        return None;
    }
    let run = from.text()?.to_owned();
    let (mut jobs, mut places) = (Vec::new(), Vec::new());
    while !from.is_empty() {
        let begin = message.len() - from.0.len();
        let mut job = Job::take(&mut from)?;
        job.retries = from.option()?.map(u32::try_from).transpose().ok()?;
        let has_line = from.number()? == 1;
        let line = from.bytes()?;
        job.line = has_line.then(|| Arc::from(line));
        jobs.push(job);
        places.push(begin..message.len() - from.0.len());
    }
    (!jobs.is_empty()).then_some(JobMessage { run, jobs, places })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn jobs_come_out_as_they_went_in() {
        let mut message = begin("a run");
        let mut job = Job::new(7, r#""f""#, "[1]", r#""x""#);
        (job.retries, job.line) = (Some(2), Some(Arc::from(&b"f [1]"[..])));
        put(&job, &mut message);
        put(&Job::message(9, b"\xff"), &mut message);
        let read = read(&message).expect("a message");
        assert_eq!((read.run.as_str(), read.jobs.len()), ("a run", 2));
        assert_eq!((read.jobs[0].retries, read.jobs[0].line()), (Some(2), Some(&b"f [1]"[..])));
        assert_eq!((read.jobs[1].seq, read.jobs[1].as_message()), (9, Some(&b"\xff"[..])));
        let part = [begin("a run"), message[read.places[1].clone()].to_vec()].concat();
        assert_eq!(super::read(&part).expect("a message").jobs[0].seq, 9);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            read(&bytes);
            read(&[&[VERSION][..], &bytes].concat());
        }
    }
}
