//! Texts with a number in them that counts up: only the digits change from one to the next.

use std::ops::Range;

/// A text with a number in it.
#[derive(Clone, Debug)]
pub(crate) struct CountedText {
    text: Vec<u8>,
    digits: Range<usize>,
}

impl CountedText {
    /// The number, with these texts before and after it.
    pub(crate) fn new(before: &[u8], number: u64, after: &[u8]) -> Self {
        let mut text = before.to_vec();
        text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        let digits = before.len()..text.len();
        text.extend_from_slice(after);
        Self { text, digits }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.text
    }

    /// The number alone.
    pub(crate) fn digits(&self) -> &[u8] {
        &self.text[self.digits.clone()]
    }

    /// Sets the text after the number, in parts.
    pub(crate) fn set_after(&mut self, after: &[&[u8]]) {
        self.text.truncate(self.digits.end);
        after.iter().for_each(|part| self.text.extend_from_slice(part));
    }

    /// Goes on to the next number.
    #[inline]
    pub(crate) fn increment(&mut self) {
        for digit in self.text[self.digits.clone()].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
        self.text.insert(self.digits.start, b'1');
        self.digits.end += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_as_numbers_do() {
        for first in [0, 1, 8, 95, 996, 9_999_990, u64::MAX - 20] {
            let mut text = CountedText::new(b"<", first, b"");
            text.set_after(&[b">"]);
            for number in first..first + 20 {
                assert_eq!(text.bytes(), format!("<{number}>").as_bytes());
                assert_eq!(text.digits(), number.to_string().as_bytes());
                text.increment();
            }
        }
    }
}
