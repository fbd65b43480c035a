//! The bar of the progress line. indicatif draws it, into a text.

use std::io;
use std::sync::{Arc, Mutex};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::lock::lock;

/// A bar of this many columns, in which `done` of `total` are done. `glyphs` are its parts that are done, and that
/// are left. The bar is full only if all is done.
pub fn bar(done: u64, total: u64, columns: usize, glyphs: [&str; 2]) -> String {
    let [full, left] = glyphs;
    let Ok(style) = ProgressStyle::with_template(&format!("{{bar:{columns}}}")) else {
        return String::new();
    };
    let row = BarRow { text: Arc::default(), columns };
    let text = Arc::clone(&row.text);
    let target = ProgressDrawTarget::term_like(Box::new(row));
    let bar = ProgressBar::with_draw_target(Some(columns as u64), target);
    // The second part is the one that is being filled.
    bar.set_style(style.progress_chars(&[full, left, left].concat()));
    bar.set_position(filled(done, total, columns));
    bar.tick();
    let drawn = lock(&text).trim_end().to_owned();
    bar.abandon();
    drawn
}

/// How many columns of the bar are done.
fn filled(done: u64, total: u64, columns: usize) -> u64 {
    if done >= total {
        return columns as u64;
    }
    let share = done as f64 / total as f64;
    ((share * columns as f64).round() as u64).min(columns.saturating_sub(1) as u64)
}

/// A terminal of one row that keeps the last drawing.
#[derive(Debug)]
struct BarRow {
    text: Arc<Mutex<String>>,
    columns: usize,
}

impl TermLike for BarRow {
    fn width(&self) -> u16 {
        u16::try_from(self.columns).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.write_str(line)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        lock(&self.text).push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        lock(&self.text).clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_only_if_all_is_done() {
        let ascii = |done, total| bar(done, total, 10, ["#", "-"]);
        assert_eq!(ascii(0, 3), "----------");
        assert_eq!(ascii(37, 200), "##--------");
        assert_eq!(ascii(1, 2), "#####-----");
        assert_eq!(ascii(999_999, 1_000_000), "#########-");
        assert_eq!(ascii(3, 3), "##########");
        assert_eq!(ascii(0, 0), "##########");
        assert_eq!(bar(1, 2, 4, ["━", "─"]), "━━──");
    }
}
