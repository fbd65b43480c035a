//! The envelope `raw`: each message is a job, and the message that answers it is the result.

use std::borrow::Cow;

use super::{Body, Envelope, Message};
use crate::job::Job;

/// The envelope of filters: one message in, one out.
pub static RAW: Envelope = Envelope {
    request,
    notice: Some(|out, job| request(out, 0, job)),
    read,
    cancel: None,
    only_replies: true,
    bulk: None,
};

fn request(out: &mut Vec<u8>, _: u64, job: &Job) -> Result<(), String> {
    match job.as_message() {
        Some(message) => out.extend_from_slice(message),
        None => out.extend_from_slice(&text(job.args())),
    }
    Ok(())
}

/// Args as a message. A string is sent unchanged, and so is the only string of an array. All other args are
/// sent as JSON.
fn text(args: &[u8]) -> Cow<'_, [u8]> {
    match serde_json::from_slice::<[String; 1]>(args) {
        Ok([text]) => Cow::Owned(text.into_bytes()),
        Err(_) => match serde_json::from_slice::<String>(args) {
            Ok(text) => Cow::Owned(text.into_bytes()),
            Err(_) => Cow::Borrowed(args),
        },
    }
}

fn read(message: &[u8]) -> Result<Message<'_>, String> {
    Ok(Message::Reply { id: None, outcome: Ok(Body::Bytes(message)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_args() {
        let sent = |job: &Job| {
            let mut out = Vec::new();
            request(&mut out, 1, job).expect("a message");
            out
        };
        assert_eq!(sent(&Job::message(1, b"a\xff\"")), b"a\xff\"");
        for (args, message) in [
            (r#"["a b"]"#, "a b"),
            (r#""a\nb""#, "a\nb"),
            (r#"{"a": 1}"#, r#"{"a": 1}"#),
            (r#"["a",2]"#, r#"["a",2]"#),
        ] {
            assert_eq!(sent(&Job::new(1, r#""x""#, args, "")), message.as_bytes(), "{args}");
        }
    }
}
