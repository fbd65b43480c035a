//! The envelope of procpool's own workers for code. A request is the args of the job, or an object with
//! `cmd` and `args`. The first request has the id 1, and so on. Replies are those of the envelope `procpool`.

use super::procpool::{read, results};
use super::{Bulk, Envelope, number};
use crate::job::Job;

/// The envelope of procpool's own workers for code.
pub static CODE: Envelope =
    Envelope { request, notice: None, read, cancel: None, only_replies: true, bulk: Some(&BULK) };

static BULK: Bulk = Bulk { requests, results };

fn requests(out: &mut Vec<u8>, _: u64, bundle: &Job, ends: &mut Vec<usize>) {
    for [cmd, args, _] in bundle.texts(0) {
        call(out, cmd, args);
        out.push(b'\n');
        ends.push(out.len());
    }
}

fn request(out: &mut Vec<u8>, _: u64, job: &Job) -> Result<(), String> {
    call(out, job.cmd(), job.args());
    Ok(())
}

fn call(out: &mut Vec<u8>, cmd: &[u8], args: &[u8]) {
    // Most jobs are lines for an expression. A short request takes an interpreter half the time to read.
    if cmd == b"\"\"" && args.first() != Some(&b'{') {
        return out.extend_from_slice(args);
    }
    out.extend_from_slice(b"{\"cmd\":");
    out.extend_from_slice(cmd);
    out.extend_from_slice(b",\"args\":");
    out.extend_from_slice(args);
    out.push(b'}');
}

/// Appends the message that ends the request with this id. It is for workers that have said that they work on
/// several requests at a time. Others take it for a request.
pub(crate) fn cancel(out: &mut Vec<u8>, id: u64) {
    out.extend_from_slice(b"{\"cancel\":");
    number(out, id);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        for (cmd, args, expected) in [
            (r#""""#, r#"["a"]"#, r#"["a"]"#),
            (r#""""#, "7", "7"),
            (r#""""#, r#"{"cancel":1}"#, r#"{"cmd":"","args":{"cancel":1}}"#),
            (r#""f""#, r#"["a"]"#, r#"{"cmd":"f","args":["a"]}"#),
        ] {
            let mut out = Vec::new();
            request(&mut out, 1, &Job::new(1, cmd, args, "")).expect("a request");
            assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
        }
        let mut out = Vec::new();
        cancel(&mut out, 17);
        assert_eq!(out, br#"{"cancel":17}"#);
    }
}
