//! `--results DIR`: a folder for each job, with files for its stdout, its stderr and its record.

use std::fs::{self, DirBuilder};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use procpool::engine::Done;
use procpool::engine::files::{FilePlace, Links};
use procpool::engine::output::Format;
use procpool::engine::output::format::Shape;
use procpool::engine::output::format::Tag;

use super::names::JobNames;
use crate::lock::lock;

/// The largest number of characters of the args in the name of a job's folder.
const LONGEST: usize = 60;

/// The folder for the results of all jobs.
#[derive(Debug)]
pub struct Results {
    folder: PathBuf,
    record: Format,
    text: Format,
    trouble: Mutex<Option<String>>,
}

impl Results {
    /// Makes the folder. It must be new or empty, unless the run resumes another. `format`: how records look.
    ///
    /// # Errors
    /// A sentence: the folder can't be made, or it is not empty.
    pub fn open(folder: &Path, resumes: bool, format: &Format) -> Result<Self, String> {
        let name = folder.display();
        let cannot =
            |error: io::Error| format!("the folder for results '{name}' can't be used: {error}");
        check_way_into(folder).map_err(cannot)?;
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(cannot)?;
        check_way_into(folder).map_err(cannot)?;
        let is_empty = fs::read_dir(folder).map_err(cannot)?.next().is_none();
        if !is_empty && !resumes {
            return Err(format!(
                "the folder for results '{name}' is not empty: name another, or remove it; with \
                 --journal FILE --resume, a run goes on with it"
            ));
        }
        let record =
            Format { shape: Shape::Record, detail: true, tag: Tag::None, ..format.clone() };
        let text = Format { shape: Shape::Text, ..record.clone() };
        Ok(Self { folder: folder.to_owned(), record, text, trouble: Mutex::new(None) })
    }

    /// Adds a job that is over.
    pub fn add(&self, done: &Done<'_>, names: &JobNames) {
        let folder = self.folder.join(folder_name(done, names));
        if let Err(error) = self.write(done, &folder) {
            let message =
                format!("results could not be written to '{}': {error}", folder.display());
            lock(&self.trouble).get_or_insert(message);
        }
    }

    /// Why the folder is not complete, if it is not.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).take()
    }

    fn write(&self, done: &Done<'_>, folder: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let file = |name: &str| {
            let place = FilePlace::find(&folder.join(name), Links::Refused)?;
            place.create().map(BufWriter::new)
        };
        let mut stdout = file("stdout")?;
        let mut stderr = file("stderr")?;
        match (done.printed, done.outcome) {
            (Some(printed), _) => {
                printed.stdout.each(|piece| stdout.write_all(piece))?;
                printed.stderr.each(|piece| stderr.write_all(piece))?;
            }
            (None, Ok(_)) => self.text.write(done, &mut stdout, &mut stderr)?,
            (None, Err(_)) => {}
        }
        let mut record = file("record.json")?;
        self.record.write(done, &mut record, &mut io::sink())?;
        [stdout, stderr, record].iter_mut().try_for_each(Write::flush)
    }
}

/// Fails if a link of another user's leads to the folder, or to those of its parents that exist.
fn check_way_into(folder: &Path) -> io::Result<()> {
    let exists = |path: &&Path| path.as_os_str().is_empty() || path.symlink_metadata().is_ok();
    let found = folder.ancestors().find(exists).unwrap_or(folder);
    FilePlace::find(&found.join("record.json"), Links::Refused).map(drop)
}

/// The name of a job's folder. Names sort in the order of the input. They have no character that is special to a
/// shell or a file system, whatever the args are.
fn folder_name(done: &Done<'_>, names: &JobNames) -> String {
    let job = done.job;
    let text = names.id(job).unwrap_or_else(|| names.args(job));
    let safe = safe(&text);
    let dash = if safe.is_empty() { "" } else { "-" };
    format!("{:06}{dash}{safe}", job.seq)
}

fn safe(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        let is_safe = c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        match if is_safe { c } else { '_' } {
            // One `_` replaces several characters in a row.
            '_' if safe.is_empty() || safe.ends_with('_') => {}
            c => safe.push(c),
        }
        if safe.len() >= LONGEST {
            break;
        }
    }
    safe.trim_end_matches(['_', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe() {
        for (text, name) in [
            ("img/p 77.jpg", "img_p_77.jpg"),
            ("../../etc/passwd", ".._.._etc_passwd"),
            ("$(reboot); -rf *", "reboot_-rf"),
            ("été\n\u{1b}[2J", "t_2J"),
            ("..", ""),
            ("_a_", "a"),
        ] {
            assert_eq!(safe(text), name, "{text:?}");
        }
        assert_eq!(safe(&"x".repeat(1000)).len(), LONGEST);
    }
}
