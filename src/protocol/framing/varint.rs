//! The framing `varint`: the message's length as protocol buffers write it (seven bits a byte, the lowest
//! first), then the message.

use super::{Framing, Scan, Split, counted, insert};

/// A length as a varint.
pub static VARINT: Framing = Framing { name: "varint", seal, split };

/// Appends a number.
pub fn write(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads the number at the beginning of some bytes. Returns the number and how many bytes it takes;
/// `Ok(None)`: more bytes are needed.
///
/// # Errors
/// The number has more than 64 bits.
pub fn read(bytes: &[u8]) -> Result<Option<(u64, usize)>, TooLong> {
    let mut number = 0_u64;
    for (index, &byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * index as u32;
        if shift > 63 || (bits << shift) >> shift != bits {
            return Err(TooLong);
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Ok(Some((number, index + 1)));
        }
    }
    Ok(None)
}

/// A number has more than 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

fn seal(out: &mut Vec<u8>, start: usize) -> Result<(), String> {
    let mut head = Vec::new();
    write(&mut head, (out.len() - start) as u64);
    insert(out, start, &head);
    Ok(())
}

fn split(bytes: &[u8], _: &mut Scan) -> Split {
    match read(bytes) {
        Ok(None) => Split::More(0),
        Ok(Some((len, begin))) => match usize::try_from(len) {
            Ok(len) => counted(bytes, begin, len, 0),
            Err(_) => Split::Broken("its length is too large"),
        },
        Err(TooLong) => Split::Broken("its length is too large"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_protocol_buffers_write_it() {
        let mut out = Vec::new();
        write(&mut out, 300);
        assert_eq!(out, [0xac, 0x02]);
        assert_eq!(read(&[0xff; 11]), Err(TooLong));
        assert_eq!(read(&[0x80]), Ok(None));
    }

    proptest! {
        #[test]
        fn numbers_come_out_as_they_went_in(number in any::<u64>()) {
            let mut out = Vec::new();
            write(&mut out, number);
            prop_assert_eq!(read(&out), Ok(Some((number, out.len()))));
        }
    }
}
