//! The framing `nul`: a NUL byte ends each message.

use super::{Framing, Scan, Split, end_with, until};

/// A NUL byte ends a message.
pub static NUL: Framing = Framing { name: "nul", seal, split };

fn seal(out: &mut Vec<u8>, start: usize) -> Result<(), String> {
    end_with(out, start, 0, "a NUL byte")
}

pub(crate) fn split(bytes: &[u8], scan: &mut Scan) -> Split {
    until(bytes, scan, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_byte_ends_a_message() {
        let split = split(b"a\n\0b", &mut Scan::default());
        assert_eq!(split, Split::Message { begin: 0, end: 2, next: 3 });
        assert!(seal(&mut b"a\0".to_vec(), 0).expect_err("NUL").contains("NUL"));
    }
}
