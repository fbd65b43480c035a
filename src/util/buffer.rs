//! Decides how much memory an emptied buffer keeps for its next use.

/// A buffer always keeps this many bytes.
const LEAST: usize = 64 << 10;

/// The size to which a buffer typically grows. An emptied buffer keeps up to four times as much memory, since
/// freeing and allocating it again costs time. A single large message raises this size only for a while.
#[derive(Debug, Default)]
pub(crate) struct TypicalSize(usize);

impl TypicalSize {
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// Empties the buffer, and frees memory that it will not need soon.
    pub(crate) fn empty(&mut self, buffer: &mut Vec<u8>) {
        let size = buffer.len();
        buffer.clear();
        self.shrink(size, buffer);
    }

    /// As [`TypicalSize::empty`], and keeps `most` bytes at most.
    pub(crate) fn empty_but(&mut self, most: usize, buffer: &mut Vec<u8>) {
        self.empty(buffer);
        buffer.shrink_to(most);
    }

    /// Frees memory that the buffer will not need soon. It has just held `size` bytes.
    pub(crate) fn shrink(&mut self, size: usize, buffer: &mut Vec<u8>) {
        self.0 = size.max(self.0 - self.0 / 8);
        if buffer.capacity() > 4 * self.0.max(LEAST) {
            buffer.shrink_to(2 * self.0.max(LEAST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_kept_and_what_was_is_forgotten() {
        let (mut typical, mut buffer) = (TypicalSize::new(), Vec::new());
        let mut fill = |size: usize, times: usize| {
            for _ in 0..times {
                buffer.resize(size, 0);
                typical.empty(&mut buffer);
            }
            buffer.capacity()
        };
        assert!(fill(1 << 20, 3) >= 1 << 20);
        assert!(fill(100, 3) >= 1 << 20);
        assert!(fill(100, 50) <= 4 * LEAST);
    }
}
