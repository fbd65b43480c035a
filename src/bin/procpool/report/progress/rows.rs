//! The rows of the running jobs: how long each has run, where, and what it is.

use super::super::colors::Paint;
use super::facts::RunningJob;
use super::layout::Glyphs;
use super::segments::{fit, run_time, width};

/// A command is shown next to its place if it has at least this many columns.
const LEAST_COMMAND: usize = 12;

/// A row for each job, and at most this many. If there are more jobs, those that have run longest are shown, and the
/// last row says how many others there are.
pub fn rows(jobs: &[RunningJob], columns: usize, most: usize, glyphs: &Glyphs) -> Vec<String> {
    let mut shown: Vec<&RunningJob> = jobs.iter().collect();
    if shown.len() > most {
        shown.sort_by_key(|job| std::cmp::Reverse(job.time));
        shown.truncate(most.saturating_sub(1));
        shown.sort_by_key(|job| job.slot);
    }
    let others = jobs.len() - shown.len();
    let widest = |text: fn(&RunningJob) -> String| shown.iter().map(|job| text(job).len()).max();
    let widths = [
        widest(time_of).unwrap_or(0).max(6),
        widest(|job| job.slot.to_string()).unwrap_or(0),
        widest(|job| job.process.clone()).unwrap_or(0),
    ];
    let mut rows: Vec<String> = shown.iter().map(|job| row(job, widths, columns, glyphs)).collect();
    if others > 0 && most > 0 {
        rows.push(fit(&format!("  {} {others} more", glyphs.cut), columns, glyphs.cut));
    }
    rows
}

/// How long a job has run.
fn time_of(job: &RunningJob) -> String {
    if job.is_starting { "starts".into() } else { run_time(job.time) }
}

/// The row of one job.
fn row(job: &RunningJob, widths: [usize; 3], columns: usize, glyphs: &Glyphs) -> String {
    let [time, slot, process] = widths;
    let time = format!("  {:>time$}", time_of(job));
    let slot = format!("  slot {:<slot$}", job.slot);
    let process = format!("  {:<process$}", job.process);
    let more = if job.waiting > 0 { format!(" (+{} waiting)", job.waiting) } else { String::new() };
    let rooms = [
        (format!("{time}{slot}{process}  "), more.as_str()),
        (format!("{time}{slot}  "), ""),
        (format!("{time}  "), ""),
    ];
    let what = glyphs.shown(&job.what);
    let room = |head: &str, more: &str| columns.saturating_sub(width(head) + width(more));
    let best =
        rooms.iter().find(|(head, more)| room(head, more) >= width(&what).min(LEAST_COMMAND));
    let Some((head, more)) = best else {
        return fit(&format!("{time}  {what}"), columns, glyphs.cut);
    };
    let faint = |text: &str| glyphs.colors.paint(Paint::Faint, text);
    faint(head) + &fit(&what, room(head, more), glyphs.cut) + &faint(more)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::colors::Colors;
    use super::*;

    fn job(slot: usize, seconds: u64) -> RunningJob {
        RunningJob {
            names: vec![],
            what: format!("convert img/p{slot}.jpg -resize 200x200 out/p{slot}.webp"),
            time: Duration::from_secs(seconds),
            slot,
            process: format!("pid {}", 4_000 + slot),
            is_starting: slot == 3,
            waiting: if slot == 2 { 5 } else { 0 },
        }
    }

    #[test]
    fn a_row_says_how_long_where_and_what() {
        let glyphs = Glyphs::of_locale(Colors::NONE);
        let jobs = [job(1, 4), job(2, 65), job(3, 0)];
        assert_eq!(
            rows(&jobs, 100, 20, &glyphs),
            [
                "    4.0s  slot 1  pid 4001  convert img/p1.jpg -resize 200x200 out/p1.webp",
                "   1m05s  slot 2  pid 4002  convert img/p2.jpg -resize 200x200 out/p2.webp (+5 waiting)",
                "  starts  slot 3  pid 4003  convert img/p3.jpg -resize 200x200 out/p3.webp",
            ]
        );
        for columns in 1..120 {
            let rows = rows(&jobs, columns, 20, &glyphs);
            assert!(rows.iter().all(|row| width(row) <= columns), "{columns}: {rows:?}");
        }
    }

    #[test]
    fn the_longest_jobs_are_shown_if_there_is_no_room_for_all() {
        let jobs: Vec<_> = (1..=9).map(|slot| job(slot, slot as u64)).collect();
        let shown = rows(&jobs, 100, 3, &Glyphs::of_locale(Colors::NONE));
        assert_eq!(shown.len(), 3);
        assert!(shown[0].contains("slot 8") && shown[1].contains("slot 9"), "{shown:?}");
        assert!(shown[2].ends_with(" 7 more"), "{shown:?}");
        assert_eq!(rows(&jobs, 100, 0, &Glyphs::of_locale(Colors::NONE)), Vec::<String>::new());
    }
}
