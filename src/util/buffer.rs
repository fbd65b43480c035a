//! Buffers that are emptied and filled again: how much of them is worth keeping.

/// So much is always kept, in bytes.
const LEAST: usize = 64 << 10;

/// How large a buffer usually grows. So much of it is kept when it is emptied, since giving memory
/// back and fetching it again costs more than using it; a single large message is soon forgotten.
#[derive(Debug, Default)]
pub(crate) struct Usual(usize);

impl Usual {
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// Empties the buffer.
    pub(crate) fn empty(&mut self, buffer: &mut Vec<u8>) {
        let size = buffer.len();
        buffer.clear();
        self.settle(size, buffer);
    }

    /// Gives memory back that the buffer, which has just held `size` bytes, will not need soon.
    pub(crate) fn settle(&mut self, size: usize, buffer: &mut Vec<u8>) {
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
        let (mut usual, mut buffer) = (Usual::new(), Vec::new());
        let mut fill = |size: usize, times: usize| {
            for _ in 0..times {
                buffer.resize(size, 0);
                usual.empty(&mut buffer);
            }
            buffer.capacity()
        };
        assert!(fill(1 << 20, 3) >= 1 << 20);
        assert!(fill(100, 3) >= 1 << 20);
        assert!(fill(100, 50) <= 4 * LEAST);
    }
}
