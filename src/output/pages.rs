//! Memory for records that wait, in pages that are used again and again. So it stays within its limit,
//! whichever threads add and remove records.

/// The size of a page, in bytes.
const PAGE: usize = 64 << 10;

/// Where some bytes are. Its owner must give it back with [`Pages::release`].
#[derive(Debug)]
pub(super) struct Piece {
    page: usize,
    at: usize,
    len: usize,
}

#[derive(Debug, Default)]
struct Page {
    bytes: Vec<u8>,
    /// How many pieces are in it.
    pieces: usize,
}

#[derive(Debug, Default)]
pub(super) struct Pages {
    pages: Vec<Page>,
    /// Pages without pieces.
    free: Vec<usize>,
    /// The page that is being filled.
    current: Option<usize>,
    /// How many bytes the pages in use take.
    used: usize,
}

impl Pages {
    /// How many bytes of memory are in use.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Keeps bytes, given in two parts.
    pub(super) fn put(&mut self, first: &[u8], second: &[u8]) -> Piece {
        let len = first.len() + second.len();
        let page = match self.current {
            Some(page) if self.pages[page].bytes.len() + len <= PAGE => page,
            _ => self.turn(len),
        };
        let place = &mut self.pages[page];
        let at = place.bytes.len();
        place.bytes.extend_from_slice(first);
        place.bytes.extend_from_slice(second);
        place.pieces += 1;
        Piece { page, at, len }
    }

    /// Keeps many bytes, which are a page by themselves. They are not copied.
    pub(super) fn keep(&mut self, bytes: Vec<u8>) -> Piece {
        let page = self.free_page();
        self.used += bytes.capacity();
        let len = bytes.len();
        self.pages[page] = Page { bytes, pieces: 1 };
        Piece { page, at: 0, len }
    }

    /// Gives a piece back with its bytes, without a copy. `None`: it is not a page by itself, or has not `len` bytes.
    pub(super) fn take(&mut self, piece: &Piece, len: usize) -> Option<Vec<u8>> {
        let page = &mut self.pages[piece.page];
        let is_alone = page.pieces == 1 && page.bytes.len() == len && page.bytes.capacity() > PAGE;
        if !is_alone || piece.len != len || self.current == Some(piece.page) {
            return None;
        }
        self.used -= page.bytes.capacity();
        self.free.push(piece.page);
        Some(std::mem::take(page).bytes)
    }

    pub(super) fn get(&self, piece: &Piece) -> &[u8] {
        &self.pages[piece.page].bytes[piece.at..piece.at + piece.len]
    }

    #[expect(clippy::needless_pass_by_value, reason = "a piece is given back once")]
    pub(super) fn release(&mut self, piece: Piece) {
        let page = &mut self.pages[piece.page];
        page.pieces -= 1;
        if page.pieces > 0 {
            return;
        }
        page.bytes.clear();
        if page.bytes.capacity() > PAGE && self.current == Some(piece.page) {
            self.current = None;
        }
        if self.current != Some(piece.page) {
            self.used -= page.bytes.capacity();
            // A page of unusual size was made for one large piece.
            if page.bytes.capacity() != PAGE {
                page.bytes = Vec::new();
            }
            self.free.push(piece.page);
        }
    }

    /// A page without pieces.
    fn free_page(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.pages.push(Page::default());
            self.pages.len() - 1
        })
    }

    /// Turns to a page that has room for `len` bytes.
    fn turn(&mut self, len: usize) -> usize {
        if let Some(full) = self.current.take()
            && self.pages[full].pieces == 0
        {
            self.used -= self.pages[full].bytes.capacity();
            self.free.push(full);
        }
        let index = self.free_page();
        let page = &mut self.pages[index].bytes;
        if page.capacity() < len.max(PAGE) {
            *page = Vec::with_capacity(len.max(PAGE));
        }
        self.used += page.capacity();
        self.current = Some(index);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_stay_what_they_are(
            lens in prop::collection::vec(prop_oneof![0_usize..3000, 60_000_usize..70_000], 1..80),
            order in prop::collection::vec(any::<prop::sample::Index>(), 80),
        ) {
            let mut pages = Pages::default();
            let mut kept = Vec::new();
            for (number, len) in lens.into_iter().enumerate() {
                let bytes = vec![u8::try_from(number).expect("few"); len];
                let (first, second) = bytes.split_at(len / 3);
                kept.push((pages.put(first, second), bytes.clone()));
                if number % 3 == 0 {
                    let (piece, bytes) = kept.swap_remove(order[number].index(kept.len()));
                    prop_assert_eq!(pages.get(&piece), &bytes);
                    pages.release(piece);
                }
            }
            for (piece, bytes) in kept {
                prop_assert_eq!(pages.get(&piece), &bytes);
                pages.release(piece);
            }
            prop_assert!(pages.used() <= 70_000);
        }
    }

    #[test]
    fn pages_are_used_again() {
        let mut pages = Pages::default();
        for _ in 0..1000 {
            let pieces: Vec<_> = (0..100).map(|_| pages.put(&[1; 1000], &[])).collect();
            assert!(pages.used() <= 3 * PAGE);
            pieces.into_iter().for_each(|piece| pages.release(piece));
        }
        assert!(pages.pages.len() <= 3);
    }
}
