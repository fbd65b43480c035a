//! The place on the terminal where the progress is drawn: below the row of the cursor, which stays where the text
//! ended. Whatever others print there meanwhile begins a row of its own, and a resize moves nothing out of reach.

use unicode_width::UnicodeWidthStr;

use super::names::without_colours;

/// Keeps the place and the colours of the text.
const SAVE: &str = "\x1b7\x1b[m";
const RESTORE: &str = "\x1b8";

/// Clears from the cursor to the end of its row, or of the screen.
const CLEAR_ROW: &str = "\x1b[K";
const CLEAR_SCREEN: &str = "\x1b[J";

/// The rows that are drawn, and where the text above them ends.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    /// The rows that were drawn last.
    rows: Vec<String>,
    /// How many columns the terminal had then, less one.
    columns: usize,
    /// They are on the terminal.
    is_drawn: bool,
    cursor: Cursor,
    /// The terminal has shown a key, such as `^C`, where the cursor is.
    has_key: bool,
}

/// Where the cursor is, as far as this process has moved it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Cursor {
    /// At the begin of a row.
    #[default]
    Fresh,
    /// After this many columns of text.
    After(usize),
    /// Somewhere in a row that a program draws itself.
    Unknown,
}

impl Canvas {
    /// Whether there is something to be drawn.
    pub(super) fn is_in_use(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Whether something is on the terminal.
    pub(super) fn is_drawn(&self) -> bool {
        self.is_drawn
    }

    /// Draws these rows in place of those before. Returns the bytes to be written. `columns`: how many the
    /// terminal has, less one.
    pub(super) fn draw(&mut self, rows: Vec<String>, columns: usize) -> String {
        self.rows = rows;
        self.columns = columns;
        self.redraw()
    }

    /// Draws the rows again, if there is a place for them now.
    pub(super) fn redraw(&mut self) -> String {
        let has_place = match self.cursor {
            Cursor::Fresh => true,
            // In the last column of a row the cursor is in two places at once.
            Cursor::After(width) => width % (self.columns + 1) != 0,
            Cursor::Unknown => false,
        };
        if !has_place || self.rows.is_empty() {
            return self.erase();
        }
        self.is_drawn = true;
        // This makes room for the rows. In a row with text it must not move the cursor to another column.
        let down = if self.cursor == Cursor::Fresh { "\n" } else { "\x0b" };
        let mut text = down.repeat(self.rows.len());
        text.push_str(&format!("\x1b[{}A{SAVE}{CLEAR_ROW}", self.rows.len()));
        for row in &self.rows {
            text.push_str(&format!("\r\n{row}{CLEAR_ROW}"));
        }
        text + CLEAR_SCREEN + RESTORE
    }

    /// Erases the rows. Returns the bytes to be written: none, if no rows are drawn.
    pub(super) fn erase(&mut self) -> String {
        let was_drawn = std::mem::take(&mut self.is_drawn);
        if !was_drawn {
            return String::new();
        }
        let has_key = std::mem::take(&mut self.has_key) && self.cursor == Cursor::Fresh;
        [if has_key { "\r" } else { "" }, SAVE, CLEAR_SCREEN, RESTORE].concat()
    }

    /// The user has pressed a key that the terminal shows. It goes with the rows.
    pub(super) fn pressed_key(&mut self) {
        self.has_key = self.is_drawn;
    }

    /// Forgets the rows: they are not to be drawn again.
    pub(super) fn forget(&mut self) {
        self.rows.clear();
    }

    /// Text was written to the terminal.
    pub(super) fn wrote(&mut self, text: &[u8]) {
        let (tail, before) = match text.iter().rposition(|&byte| byte == b'\n') {
            Some(newline) => (&text[newline + 1..], Cursor::Fresh),
            None => (text, self.cursor),
        };
        self.cursor = match (before, width(tail)) {
            (_, Some(0)) => before,
            (Cursor::Fresh, Some(width)) => Cursor::After(width),
            (Cursor::After(columns), Some(width)) => Cursor::After(columns + width),
            (Cursor::Unknown, _) | (_, None) => Cursor::Unknown,
        };
    }
}

/// How many columns a text takes. `None`: it moves the cursor by more than its letters.
fn width(text: &[u8]) -> Option<usize> {
    let text = without_colours(&String::from_utf8_lossy(text));
    let is_plain = !text.chars().any(char::is_control);
    is_plain.then(|| text.width())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(texts: &[&str]) -> Cursor {
        let mut canvas = Canvas::default();
        texts.iter().for_each(|text| canvas.wrote(text.as_bytes()));
        canvas.cursor
    }

    #[test]
    fn the_cursor_is_followed() {
        assert_eq!(after(&["a\n", ""]), Cursor::Fresh);
        assert_eq!(after(&["a\nbc", "d"]), Cursor::After(3));
        assert_eq!(after(&["\x1b[1;31mred\x1b[m"]), Cursor::After(3));
        assert_eq!(after(&["日本"]), Cursor::After(4));
        assert_eq!(after(&["50%\r", "60%"]), Cursor::Unknown);
        assert_eq!(after(&["\x1b[2J"]), Cursor::Unknown);
        assert_eq!(after(&["a\tb", "\n"]), Cursor::Fresh);
    }

    #[test]
    fn only_what_is_drawn_is_erased() {
        let mut canvas = Canvas::default();
        assert_eq!(canvas.erase(), "");
        assert!(canvas.draw(vec!["1/2".to_owned()], 79).contains("1/2"));
        assert!(canvas.erase().contains(CLEAR_SCREEN));
        assert_eq!(canvas.erase(), "");
        assert!(canvas.redraw().contains("1/2"));
        canvas.forget();
        assert!(canvas.redraw().contains(CLEAR_SCREEN));
        assert_eq!(canvas.redraw(), "");
    }

    #[test]
    fn a_full_row_and_a_row_of_another_program_are_left_alone() {
        let mut canvas = Canvas::default();
        let rows = || vec!["1/2".to_owned()];
        canvas.wrote("x".repeat(80).as_bytes());
        assert_eq!(canvas.draw(rows(), 79), "");
        canvas.wrote(b"x");
        assert_ne!(canvas.draw(rows(), 79), "");
        canvas.wrote(b"\r50%");
        assert_eq!(canvas.draw(rows(), 79), [SAVE, CLEAR_SCREEN, RESTORE].concat());
    }
}
