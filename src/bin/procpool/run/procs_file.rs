//! `--max-procs @FILE`: looks at the file once a second, and reads it again if it has changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::cli::Options;
use crate::cli::values;

/// The time between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// The file of the number of processes, if there is one.
#[derive(Debug)]
pub struct ProcsFile {
    path: Option<PathBuf>,
    /// The meaning of 0.
    most: usize,
    count: usize,
    next: Instant,
    /// The file as it was read last.
    seen: Option<Stamp>,
    /// The file was no number when it was read last. It may have been written at that moment, so this is
    /// reported at the next look.
    doubt: Option<String>,
}

/// The facts by which a change of the file shows. `None`: it is not there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// The result of a look.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    None,
    /// There is another number.
    Count(usize),
    /// The file has no number.
    Trouble(String),
}

impl ProcsFile {
    /// The file that the options name. They have read it once.
    pub fn new(options: &Options) -> Self {
        Self {
            path: options.throttling.procs_file.clone(),
            most: options.throttling.procs_file.as_ref().map_or(1, |_| options.most_procs()),
            count: options.workers.max_procs.unwrap_or(1),
            next: Instant::now() + EVERY,
            seen: None,
            doubt: None,
        }
    }

    /// When to look; `None`: never.
    pub fn at(&self) -> Option<Instant> {
        self.path.as_ref().map(|_| self.next)
    }

    /// Looks at the file.
    pub fn look(&mut self) -> News {
        self.next = Instant::now() + EVERY;
        let Some(path) = &self.path else { return News::None };
        let stamp = fs::metadata(path)
            .ok()
            .map(|data| (data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()));
        if self.seen == Some(stamp) {
            return self.doubt.take().map_or(News::None, News::Trouble);
        }
        self.seen = Some(stamp);
        match values::count_in(path) {
            Ok(count) => {
                self.doubt = None;
                let count = if count == 0 { self.most } else { count };
                if std::mem::replace(&mut self.count, count) == count {
                    return News::None;
                }
                News::Count(count)
            }
            Err(error) => {
                let (path, count) = (path.display(), self.count);
                self.doubt =
                    Some(format!("--max-procs @{path}: {error}; it stays at {count} processes"));
                News::None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::options::parse_words;

    #[test]
    fn each_change_is_news_once() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let write = |text: &str| fs::write(&file, text).expect("there is room");
        write("2\n");
        let option = format!("-j@{}", file.path().display());
        let words = ["procpool", &option, "true"].map(Into::into);
        let mut procs = ProcsFile::new(&parse_words(&words).expect("options"));
        assert_eq!((procs.count, procs.look()), (2, News::None));
        write(" 10 ");
        assert_eq!((procs.look(), procs.look()), (News::Count(10), News::None));
        write("many");
        assert_eq!(procs.look(), News::None);
        assert!(
            matches!(procs.look(), News::Trouble(text) if text.ends_with("stays at 10 processes"))
        );
        assert_eq!(procs.look(), News::None);
        write("");
        assert_eq!(procs.look(), News::None);
        write("0\n");
        let most = procs.most;
        assert_eq!((procs.look(), procs.look()), (News::Count(most), News::None));
    }
}
