//! A set of exit statuses.

use std::fmt;

/// A set of exit statuses, from 0 to 255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitSet([u64; 4]);

/// The text is no list of exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitSetError;

impl fmt::Display for ExitSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected exit statuses from 0 to 255, and ranges of them: 0,1 or 2-5,22")
    }
}

impl std::error::Error for ExitSetError {}

impl ExitSet {
    /// Whether a status is in the set.
    pub fn has(&self, status: i32) -> bool {
        usize::try_from(status).is_ok_and(|status| {
            self.0.get(status / 64).is_some_and(|bits| bits >> (status % 64) & 1 == 1)
        })
    }

    fn add(&mut self, status: u8) {
        self.0[usize::from(status) / 64] |= 1 << (status % 64);
    }
}

impl std::str::FromStr for ExitSet {
    type Err = ExitSetError;

    /// Reads statuses and ranges with commas between them.
    fn from_str(text: &str) -> Result<Self, ExitSetError> {
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u8>().ok().filter(|_| is_number).ok_or(ExitSetError)
        };
        let mut set = Self::default();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(ExitSetError);
            }
            (first..=last).for_each(|status| set.add(status));
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_lists_of_numbers_and_ranges() {
        let has = |text: &str| {
            let set: ExitSet = text.parse().expect(text);
            (0..256).filter(|&status| set.has(status)).collect::<Vec<_>>()
        };
        assert_eq!(has("0,1"), [0, 1]);
        assert_eq!(has("22"), [22]);
        assert_eq!(has("2-4,63-65,255"), [2, 3, 4, 63, 64, 65, 255]);
        assert!(!"1".parse::<ExitSet>().expect("a set").has(-1));
        for wrong in ["", "x", "256", "-1", "1,", "3-2", "1-", "+1", "1 2"] {
            assert_eq!(wrong.parse::<ExitSet>(), Err(ExitSetError), "{wrong}");
        }
    }
}
