//! Rows of text, printed as a table.

use std::fmt::{self, Display, Formatter};

/// The first column is text, the others are figures.
pub(crate) struct Table {
    pub(crate) is_markdown: bool,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let all = self.rows.iter().chain([&self.head]);
            all.filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let (begin, between, end) = match self.is_markdown {
            true => ("| ", " | ", " |"),
            false => ("", "  ", ""),
        };
        let mut line = |row: &[String]| {
            let cells = widths.iter().enumerate().map(|(column, &width)| {
                let cell = row.get(column).map_or("", String::as_str);
                match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                }
            });
            let line = cells.collect::<Vec<_>>().join(between);
            writeln!(f, "{begin}{}{end}", if self.is_markdown { &line } else { line.trim_end() })
        };
        line(&self.head)?;
        if self.is_markdown {
            let rule = |(column, &width): (usize, &usize)| match column {
                0 => "-".repeat(width),
                _ => "-".repeat(width.max(1) - 1) + ":",
            };
            line(&widths.iter().enumerate().map(rule).collect::<Vec<_>>())?;
        }
        self.rows.iter().try_for_each(|row| line(row))
    }
}

/// A time that people can compare: three digits and a unit.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        _ if seconds < 1e-3 => format!("{} µs", digits(seconds * 1e6)),
        _ if seconds < 1.0 => format!("{} ms", digits(seconds * 1e3)),
        _ => format!("{} s", digits(seconds)),
    }
}

/// A number with three digits that count.
pub(crate) fn digits(number: f64) -> String {
    match number.abs() {
        size if size < 9.995 => format!("{number:.2}"),
        size if size < 99.95 => format!("{number:.1}"),
        _ => grouped(number),
    }
}

/// A large number: two or three digits that count, with separators.
pub(crate) fn grouped(number: f64) -> String {
    let unit = 10_f64.powi((number.abs().max(1.0).log10().floor() as i32 - 2).max(0));
    let text = format!("{:.0}", (number / unit).round() * unit);
    let mut grouped = String::new();
    for (index, digit) in text.chars().enumerate() {
        if index > 0 && (text.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The middle of some numbers; `None`: there are none.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    let (low, high) = (numbers.len().checked_sub(1)? / 2, numbers.len() / 2);
    Some((numbers[low] + numbers[high]) / 2.0)
}
