//! Numbers as digits that count up: the next number is not formatted anew.

/// No number of 64 bits has more digits than 20. A copy of whole words takes few instructions.
const ROOM: usize = 24;

/// A number as digits.
#[derive(Clone, Debug)]
pub(crate) struct Decimal {
    digits: [u8; ROOM],
    len: usize,
}

impl Decimal {
    pub(crate) fn new(number: u64) -> Self {
        let mut digits = [b'0'; ROOM];
        let mut buffer = itoa::Buffer::new();
        let text = buffer.format(number).as_bytes();
        digits[..text.len()].copy_from_slice(text);
        Self { digits, len: text.len() }
    }

    pub(crate) fn digits(&self) -> &[u8] {
        &self.digits[..self.len]
    }

    /// Appends the digits.
    #[inline]
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.digits);
        out.truncate(end);
    }

    /// Goes on to the next number.
    #[inline]
    pub(crate) fn increment(&mut self) {
        for digit in self.digits[..self.len].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
        self.digits.copy_within(..self.len, 1);
        self.digits[0] = b'1';
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_as_numbers_do() {
        for first in [0, 1, 8, 95, 996, 9_999_990, u64::MAX - 20] {
            let mut decimal = Decimal::new(first);
            for number in first..first + 20 {
                let mut out = b"n".to_vec();
                decimal.append_to(&mut out);
                assert_eq!(String::from_utf8(out).expect("ASCII"), format!("n{number}"));
                assert_eq!(decimal.digits(), number.to_string().as_bytes());
                decimal.increment();
            }
        }
    }
}
