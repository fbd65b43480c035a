//! The first line of each end, which names its version of procpool. Output of a login shell before the
//! greeting is skipped.

use std::fmt;

/// The version of the messages. Raise it when a message changes.
pub(crate) const LINK_VERSION: u32 = 1;

/// The version of this program.
pub(crate) const PROGRAM_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Each mark begins with this. A NUL byte is in no text that a login prints.
const MARK: &[u8] = b"\0procpool ";

/// As much noise is skipped. A login that prints more is none that a program can use.
const MOST_NOISE: usize = 1 << 20;

/// The line by which an agent says that it is ready for its task.
pub(crate) fn greeting(cpus: usize) -> Vec<u8> {
    let mut line = MARK.to_vec();
    line.extend_from_slice(format!("agent {LINK_VERSION} {PROGRAM_VERSION} {cpus}\n").as_bytes());
    line
}

/// A line that the other end has sent before messages begin: its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MarkedLine(pub(crate) Vec<String>);

/// Why two ends can't work together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtherVersion(pub(crate) String);

impl fmt::Display for OtherVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the procpool there is version {}, this one is {PROGRAM_VERSION}: both must be the same",
            self.0
        )
    }
}

/// Checks the words of a greeting after `agent`. Returns how many CPUs there are.
///
/// # Errors
/// The other end is of another version.
pub(crate) fn check(words: &[String]) -> Result<usize, OtherVersion> {
    let link = words.first().and_then(|word| word.parse::<u32>().ok());
    let program = words.get(1).map_or("unknown", String::as_str);
    let cpus = words.get(2).and_then(|word| word.parse::<usize>().ok());
    if link == Some(LINK_VERSION) && program == PROGRAM_VERSION {
        return Ok(cpus.unwrap_or(1).clamp(1, 1 << 16));
    }
    Err(OtherVersion(crate::util::text::printable(program)))
}

/// Finds marked lines in the output of a login.
#[derive(Debug, Default)]
pub(crate) struct GreetingFinder {
    skipped: usize,
}

/// Too much was printed that is no greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooNoisy;

impl GreetingFinder {
    /// Takes the next marked line out of the front of `bytes`, and the output before it.
    ///
    /// # Errors
    /// No marked line has come for too long.
    pub(crate) fn next(&mut self, bytes: &mut Vec<u8>) -> Result<Option<MarkedLine>, TooNoisy> {
        let found = memchr::memmem::find(bytes, MARK);
        // The end may be the beginning of a mark.
        let noise = found.unwrap_or(bytes.len().saturating_sub(MARK.len()));
        self.skip(bytes, noise)?;
        if found.is_none() {
            return Ok(None);
        }
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            let is_endless = bytes.len() > MOST_NOISE;
            return if is_endless { Err(TooNoisy) } else { Ok(None) };
        };
        let line = String::from_utf8_lossy(&bytes[MARK.len()..end]).into_owned();
        bytes.drain(..=end);
        Ok(Some(MarkedLine(line.split_ascii_whitespace().map(str::to_owned).collect())))
    }

    fn skip(&mut self, bytes: &mut Vec<u8>, count: usize) -> Result<(), TooNoisy> {
        bytes.drain(..count);
        self.skipped += count;
        if self.skipped > MOST_NOISE { Err(TooNoisy) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> MarkedLine {
        MarkedLine(line.split(' ').map(str::to_owned).collect())
    }

    #[test]
    fn versions_must_be_equal() {
        let line = String::from_utf8(greeting(12)).expect("text");
        let words: Vec<String> = line.split_ascii_whitespace().skip(2).map(str::to_owned).collect();
        assert_eq!(check(&words), Ok(12));
        assert_eq!(check(&["1".into(), "9.9.9".into()]), Err(OtherVersion("9.9.9".into())));
        assert_eq!(
            check(&["7".into(), PROGRAM_VERSION.into()]),
            Err(OtherVersion(PROGRAM_VERSION.into()))
        );
        assert_eq!(check(&[]), Err(OtherVersion("unknown".into())));
    }

    #[test]
    fn a_login_that_prints_without_end_is_given_up() {
        let mut listener = GreetingFinder::default();
        let mut bytes = vec![b'x'; MOST_NOISE + 64];
        assert_eq!(listener.next(&mut bytes), Err(TooNoisy));
        let mut listener = GreetingFinder::default();
        let mut bytes = [MARK, &vec![b'x'; MOST_NOISE + 64]].concat();
        assert_eq!(listener.next(&mut bytes), Err(TooNoisy));
    }

    proptest! {
        #[test]
        fn the_greeting_is_found_in_what_a_login_prints(
            noise in "[a-z\n\u{e9}]{0,60}",
            after in prop::collection::vec(any::<u8>(), 0..20),
            piece in 1_usize..30,
        ) {
            let stream = [noise.as_bytes(), MARK, b"agent 1 0.1.0\n", &after].concat();
            let (mut listener, mut bytes, mut found) = (GreetingFinder::default(), Vec::new(), Vec::new());
            for part in stream.chunks(piece) {
                bytes.extend_from_slice(part);
                if found.is_empty() {
                    found.extend(listener.next(&mut bytes).expect("little noise"));
                }
            }
            prop_assert_eq!(found, [words("agent 1 0.1.0")]);
            // The bytes after the greeting are left for the frames.
            prop_assert_eq!(bytes, after);
        }
    }
}
