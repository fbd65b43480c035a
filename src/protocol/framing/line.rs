//! The framing `line`: a newline ends each message.

use super::{Framing, Scan, Split, end_with, until};

/// A newline ends a message.
pub static LINE: Framing = Framing { name: "line", seal, split };

pub(crate) fn seal(out: &mut Vec<u8>, start: usize) -> Result<(), String> {
    end_with(out, start, b'\n', "a newline")
}

fn split(bytes: &[u8], scan: &mut Scan) -> Split {
    until(bytes, scan, b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_ends_a_message() {
        assert_eq!(
            split(b"a\nb", &mut Scan::default()),
            Split::Message { begin: 0, end: 1, next: 2 }
        );
        let mut out = b"before\na\nb".to_vec();
        assert!(seal(&mut out, 7).expect_err("two lines").contains("choose another framing"));
        assert_eq!(out, b"before\na\nb");
    }
}
