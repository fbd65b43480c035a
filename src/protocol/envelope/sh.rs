//! The envelope of procpool's own worker for `sh`, which can't read JSON. A request is a line of words in
//! quotes: `17 'resize' 'a.png'`. A reply is id, status and output: `17 0 done`.

use serde_json::value::{RawValue, to_raw_value};

use super::{Body, Envelope, Message, number};
use crate::job::{Failure, Job, Kind};
use crate::util::json::compact;

/// The envelope of the worker for `sh`.
pub static SH: Envelope =
    Envelope { request, notice: None, read, cancel: None, only_replies: true, bulk: None };

/// Why a word can't be passed to a shell.
const NUL: &str = "the args of sh can't hold a NUL byte";

fn request(out: &mut Vec<u8>, id: u64, job: &Job) -> Result<(), String> {
    number(out, id);
    let cmd: String = serde_json::from_slice(job.cmd()).map_err(|error| error.to_string())?;
    word(out, cmd.as_bytes())?;
    match serde_json::from_slice::<Vec<&RawValue>>(job.args()) {
        Ok(args) => args.into_iter().try_for_each(|arg| json_word(out, arg.get())),
        Err(_) => json_word(out, std::str::from_utf8(job.args()).map_err(|e| e.to_string())?),
    }
}

/// Appends a string as it is, and anything else as compact JSON.
fn json_word(out: &mut Vec<u8>, json: &str) -> Result<(), String> {
    match serde_json::from_str::<String>(json) {
        Ok(text) => word(out, text.as_bytes()),
        Err(_) => word(out, &compact(json)),
    }
}

/// Appends a word in quotes. The request must stay one line, so a variable holds the newline.
fn word(out: &mut Vec<u8>, text: &[u8]) -> Result<(), String> {
    out.extend_from_slice(b" '");
    for &byte in text {
        match byte {
            0 => return Err(NUL.into()),
            b'\'' => out.extend_from_slice(b"'\\''"),
            b'\n' => out.extend_from_slice(b"'\"$procpool_nl\"'"),
            byte => out.push(byte),
        }
    }
    out.push(b'\'');
    Ok(())
}

fn read(message: &[u8]) -> Result<Message<'_>, String> {
    let mut parts = message.splitn(3, |&byte| byte == b' ');
    let mut part = || parts.next().ok_or_else(|| "it is no reply of sh".to_owned());
    let id = part()?;
    let status = part()?;
    let text = part()?;
    let word = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    let id = word(id).parse().map_err(|_| "it begins with no number")?;
    let outcome = match (status, word(status).parse::<u8>()) {
        (_, Ok(0)) => Ok(Body::Bytes(text)),
        (_, Ok(status)) => Err(failed(status, text)),
        (b"?", _) => {
            let message = String::from_utf8_lossy(text).into_owned();
            Err(Failure::new(Kind::Error, message))
        }
        _ => return Err("it has no exit status".into()),
    };
    Ok(Message::Reply { id: Some(id), outcome })
}

fn failed(status: u8, text: &[u8]) -> Failure {
    let stdout = String::from_utf8_lossy(text);
    let data = to_raw_value(&serde_json::json!({ "status": status, "stdout": stdout })).ok();
    Failure { data, ..Failure::new(Kind::Error, format!("exit status {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(cmd: &str, args: &str) -> Result<String, String> {
        let mut out = Vec::new();
        let cmd = serde_json::to_string(cmd).expect("JSON");
        request(&mut out, 7, &Job::new(1, &cmd, args, ""))?;
        Ok(String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn requests() {
        assert_eq!(sent("a", r#"["x y", 1, null, {"k": [1, 2]}]"#).as_deref(), {
            Ok(r#"7 'a' 'x y' '1' 'null' '{"k":[1,2]}'"#)
        });
        assert_eq!(sent("", r#"{"k": 1}"#).as_deref(), Ok(r#"7 '' '{"k":1}'"#));
        assert_eq!(sent("", r#"["a'b\nc"]"#).as_deref(), Ok(r#"7 '' 'a'\''b'"$procpool_nl"'c'"#));
        assert_eq!(sent("", r#"["a\u0000"]"#), Err(NUL.into()));
    }

    #[test]
    fn replies() {
        let outcome = |message: &'static [u8]| match read(message)? {
            Message::Reply { id: Some(id), outcome: Ok(body) } => {
                Ok(format!("{id} {}", body.value().to_json()))
            }
            Message::Reply { outcome: Err(failure), .. } => {
                Ok(format!("{failure} {:?}", failure.data.as_ref().map(|data| data.get())))
            }
            other => Err(format!("{other:?}")),
        };
        for (message, expected) in [
            (&b"7 0 a b\n c"[..], Ok(r#"7 "a b\n c""#)),
            (b"7 0 ", Ok(r#"7 """#)),
            (b"7 3 no", Ok(r#"error: exit status 3 Some("{\"status\":3,\"stdout\":\"no\"}")"#)),
            (b"7 ? there is no function x", Ok("error: there is no function x None")),
            (b"hello", Err("it is no reply of sh")),
            (b"a 0 b", Err("it begins with no number")),
            (b"7 x b", Err("it has no exit status")),
        ] {
            let outcome: Result<String, String> = outcome(message);
            assert_eq!(outcome.as_deref().map_err(String::as_str), expected);
        }
    }
}
