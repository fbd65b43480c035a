//! Words and numbers of the progress: counts, rates, times, and texts that are made to fit.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A rate: `12/s`, or `1.7 s/job` if it is less than one per second.
pub fn rate(per_second: f64) -> String {
    let per_job = 1.0 / per_second;
    match per_second {
        1e6.. => format!("{:.1}M/s", per_second / 1e6),
        1e4.. => format!("{:.0}k/s", per_second / 1e3),
        9.95.. => format!("{per_second:.0}/s"),
        1.0.. => format!("{per_second:.1}/s"),
        _ if per_job < 99.95 => format!("{per_job:.1} s/job"),
        _ if per_job < 600.0 => format!("{per_job:.0} s/job"),
        _ => format!("{:.0} min/job", per_job / 60.0),
    }
}

/// The time that is left: `0:13`, `1:02:03`, `2d 03h`.
pub fn time_left(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}:{seconds:02}"),
        (0, _) => format!("{hours}:{minutes:02}:{seconds:02}"),
        _ => format!("{days}d {hours:02}h"),
    }
}

/// How long a job has run: `4.2s`, `1m05s`, `2h10m`.
pub fn run_time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", (time.as_secs_f64() * 10.0).floor() / 10.0),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
    }
}

/// A number of which only the first three digits are known.
pub fn about(number: u64) -> u64 {
    let unit = 10_u64.pow(number.max(1).ilog10().saturating_sub(2));
    number / unit * unit
}

/// How many columns of a terminal a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Shortens a text to this many columns. The middle is left out, and `cut` shows where.
pub fn fit(text: &str, columns: usize, cut: &str) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(width(cut));
    if room == 0 {
        return take(text.chars(), columns).into_iter().collect();
    }
    let last = take(text.chars().rev(), room / 2);
    let last: String = last.into_iter().rev().collect();
    let first: String = take(text.chars(), room - width(&last)).into_iter().collect();
    format!("{first}{cut}{last}")
}

/// The first characters that take at most this many columns.
fn take(chars: impl Iterator<Item = char>, columns: usize) -> Vec<char> {
    let mut left = columns;
    chars
        .map_while(|c| {
            left = left.checked_sub(c.width().unwrap_or(1))?;
            Some(c)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_times_are_short() {
        let rates = [4.52e6, 45_200.0, 1_234.0, 12.0, 9.96, 2.44, 1.0, 0.588, 0.009, 0.001];
        assert_eq!(
            rates.map(rate),
            [
                "4.5M/s",
                "45k/s",
                "1234/s",
                "12/s",
                "10/s",
                "2.4/s",
                "1.0/s",
                "1.7 s/job",
                "111 s/job",
                "17 min/job"
            ]
        );
        let left = [0.2, 12.9, 83.0, 3_723.0, 180_000.0];
        let left = left.map(|seconds| time_left(Duration::from_secs_f64(seconds)));
        assert_eq!(left, ["0:00", "0:13", "1:23", "1:02:03", "2d 02h"]);
        let run = [0.0, 4.29, 59.99, 65.0, 7_800.0];
        let run = run.map(|seconds| run_time(Duration::from_secs_f64(seconds)));
        assert_eq!(run, ["0.0s", "4.2s", "59.9s", "1m05s", "2h10m"]);
        assert_eq!([0, 7, 1_234, 98_765].map(about), [0, 7, 1_230, 98_700]);
    }

    #[test]
    fn the_middle_of_a_text_is_left_out() {
        assert_eq!(fit("abcdef", 6, "…"), "abcdef");
        assert_eq!(fit("abcdefgh", 6, "…"), "abc…gh");
        assert_eq!(fit("abcdefgh", 6, "..."), "ab...h");
        assert_eq!(fit("abcdef", 1, "…"), "a");
        assert_eq!(fit("日本語の名前", 7, "…"), "日本…前");
        for columns in 0..20 {
            assert!(width(&fit("日本語の名前, aé", columns, "…")) <= columns);
        }
    }
}
