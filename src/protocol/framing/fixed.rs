//! The framings `u16`, `u32` and `u32le`: the message's length, in a fixed number of bytes, then the
//! message.

use super::{Framing, Scan, Split, counted, insert};

/// Two bytes, the high one first.
pub static U16: Framing = Framing {
    name: "u16",
    seal: |out, start| seal(out, start, u16::try_from, u16::to_be_bytes),
    split: |bytes, scan| split(bytes, scan, |head| u16::from_be_bytes(head).into()),
};

/// Four bytes, the highest first.
pub static U32: Framing = Framing {
    name: "u32",
    seal: |out, start| seal(out, start, u32::try_from, u32::to_be_bytes),
    split: |bytes, scan| split(bytes, scan, u32::from_be_bytes),
};

/// Four bytes, the lowest first.
pub static U32LE: Framing = Framing {
    name: "u32le",
    seal: |out, start| seal(out, start, u32::try_from, u32::to_le_bytes),
    split: |bytes, scan| split(bytes, scan, u32::from_le_bytes),
};

fn seal<T, E, const N: usize>(
    out: &mut Vec<u8>,
    start: usize,
    convert: impl Fn(usize) -> Result<T, E>,
    encode: impl Fn(T) -> [u8; N],
) -> Result<(), String> {
    let len = out.len() - start;
    let number = convert(len)
        .map_err(|_| format!("the message has {len} bytes, too many for a length of {N} bytes"))?;
    insert(out, start, &encode(number));
    Ok(())
}

fn split<const N: usize>(bytes: &[u8], _: &mut Scan, decode: impl Fn([u8; N]) -> u32) -> Split {
    match bytes.first_chunk() {
        Some(head) => match usize::try_from(decode(*head)) {
            Ok(len) => counted(bytes, N, len, 0),
            Err(_) => Split::Broken("its length is too large"),
        },
        None => Split::More(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (framing, expected) in [
            (&U16, &b"\x00\x02ab"[..]),
            (&U32, b"\x00\x00\x00\x02ab"),
            (&U32LE, b"\x02\x00\x00\x00ab"),
        ] {
            let mut out = b"ab".to_vec();
            (framing.seal)(&mut out, 0).expect("short");
            assert_eq!(out, expected, "{}", framing.name);
        }
    }

    #[test]
    fn what_is_too_long_is_left_as_it_was() {
        let mut out = vec![b'x'; 65_536];
        assert!((U16.seal)(&mut out, 0).expect_err("too long").contains("65536 bytes"));
        assert_eq!(out.len(), 65_536);
        assert_eq!((U16.seal)(&mut out, 1), Ok(()));
    }
}
