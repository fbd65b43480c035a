//! The files that a run writes. No two are the same file, and none is an input of the run. A file may have many names,
//! so files are compared by device and inode.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use procpool::engine::files::{FilePlace, Links, is_regular, is_same};
use procpool::engine::input::Source;
use procpool::engine::input::remainder::Remainder;
use rustix::fs::{FileType, Stat, fstat, stat, tell};

use crate::cli::Options;
use crate::descriptors::{self, Stream};
use crate::plan::Misuse;

/// The names of stderr. These are not opened: a sandbox may forbid that, and stderr is open already.
const STDERR: [&str; 3] = ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"];

/// A place that a run writes to.
#[derive(Debug)]
pub enum WriteTarget {
    Stderr,
    Place(Box<FilePlace>),
}

impl WriteTarget {
    fn find(path: &Path) -> io::Result<Self> {
        if STDERR.iter().any(|name| path == Path::new(name)) {
            return Ok(Self::Stderr);
        }
        FilePlace::find(path, Links::Followed).map(Box::new).map(Self::Place)
    }

    /// Makes the file, or empties the one that is there.
    ///
    /// # Errors
    /// It can't be written.
    pub fn create(&self) -> io::Result<File> {
        match self {
            Self::Stderr => Ok(File::from(descriptors::copy(Stream::Stderr)?)),
            Self::Place(place) => place.create(),
        }
    }

    /// The place of a file. stderr has none, because several outputs may go there.
    fn place(&self) -> Option<&FilePlace> {
        match self {
            Self::Stderr => None,
            Self::Place(place) => Some(place),
        }
    }
}

/// The files that a run writes besides stdout and stderr.
#[derive(Debug, Default)]
pub struct Outputs {
    pub joblog: Option<(PathBuf, WriteTarget)>,
    pub failed: Option<(PathBuf, WriteTarget)>,
    /// The reports, in the order of the options. `None`: it goes to stdout.
    pub reports: Vec<Option<(PathBuf, WriteTarget)>>,
    pub trace: Option<(PathBuf, WriteTarget)>,
    /// If `--failed` names an input file: the lines of that file that were not run. They stay in it.
    pub rest: Option<Arc<Remainder>>,
    /// Some input is a pipe. The program at its other end may be reading any of the files.
    pub is_piped: bool,
}

impl Outputs {
    /// Finds the files, and checks that they can be used together.
    ///
    /// # Errors
    /// A file can't be written, or two of them are the same.
    pub fn find(options: &Options, sources: &[Source]) -> anyhow::Result<Self> {
        let joblog =
            options.output.joblog.as_ref().filter(|_| !options.commands.dry_run).map(|path| {
                let context = || format!("the job log '{}' can't be written", path.display());
                anyhow::Ok((path.clone(), WriteTarget::find(path).with_context(context)?))
            });
        let failed =
            options.failures.failed.as_ref().filter(|_| !options.commands.dry_run).map(|path| {
                anyhow::Ok((
                    path.clone(),
                    WriteTarget::find(path).with_context(|| unwritable(path))?,
                ))
            });
        let find = |what: &str, path: &Path| {
            let context = || format!("the {what} '{}' can't be written", path.display());
            anyhow::Ok((path.to_owned(), WriteTarget::find(path).with_context(context)?))
        };
        let reports = options.output.report.iter().map(|report| report.file.as_deref());
        let reports = reports.map(|file| file.map(|file| find("report", file)).transpose());
        let trace = options.output.trace.as_deref().map(|file| find("trace", file));
        let mut outputs = Self {
            joblog: joblog.transpose()?,
            failed: failed.transpose()?,
            reports: reports.collect::<Result<_, _>>()?,
            trace: trace.transpose()?,
            rest: None,
            is_piped: false,
        };
        let inputs = inputs(sources);
        outputs.is_piped = inputs.iter().any(|(_, file)| is_pipe(file));
        // An error is reported when the journal is opened.
        let journal = options.journal.file.as_ref().and_then(|path| {
            let place = FilePlace::find(path, Links::Refused).ok()?;
            Some((path.clone(), WriteTarget::Place(Box::new(place))))
        });
        let made = [
            ("--journal", journal.as_ref()),
            ("--joblog", outputs.joblog.as_ref()),
            ("--failed", outputs.failed.as_ref()),
            ("--trace", outputs.trace.as_ref()),
        ];
        let reports = outputs.reports.iter().map(|report| ("--report", report.as_ref()));
        let made = made.into_iter().chain(reports).filter_map(|(option, made)| {
            let (path, target) = made?;
            Some(Made { option, path, place: target.place()? })
        });
        let made: Vec<_> = made.collect();
        check(&made, &inputs)?;
        outputs.rest = outputs.rest(sources, &inputs)?;
        Ok(outputs)
    }

    /// If `--failed` names input files: opens them, to keep the lines that are not run.
    fn rest(
        &self,
        sources: &[Source],
        inputs: &[(usize, Stat)],
    ) -> anyhow::Result<Option<Arc<Remainder>>> {
        let Some((path, WriteTarget::Place(place))) = &self.failed else { return Ok(None) };
        let rest = Remainder::default();
        let mut has_any = false;
        for (index, _) in inputs.iter().filter(|(_, file)| place.is(file)) {
            let opened = match &sources[*index] {
                Source::File(file) => File::open(file).map(|file| (file, 0)),
                _ => descriptors::copy(Stream::Stdin)
                    .and_then(|stdin| Ok((File::from(stdin), tell(descriptors::stdin())?))),
            };
            let (file, begin) = opened.with_context(|| unwritable(path))?;
            rest.keep(u32::try_from(*index).unwrap_or(u32::MAX), file, begin);
            has_any = true;
        }
        Ok(has_any.then(|| Arc::new(rest)))
    }
}

/// The message for a file that can't take the lines of failed jobs.
pub fn unwritable(path: &Path) -> String {
    format!("the lines of failed jobs can't be written to '{}'", path.display())
}

/// A file that an option names.
struct Made<'a> {
    option: &'static str,
    path: &'a Path,
    place: &'a FilePlace,
}

/// The sources that are files or pipes, each with its number.
fn inputs(sources: &[Source]) -> Vec<(usize, Stat)> {
    let stats = sources.iter().enumerate().filter_map(|(index, source)| {
        let found = match source {
            Source::Stdin => fstat(descriptors::stdin()),
            Source::File(path) => stat(path),
            Source::Args(_) => return None,
        };
        // An error is reported when the source is read.
        Some((index, found.ok()?))
    });
    stats.filter(|(_, file)| is_regular(file) || is_pipe(file)).collect()
}

fn is_pipe(file: &Stat) -> bool {
    matches!(FileType::from_raw_mode(file.st_mode), FileType::Fifo | FileType::Socket)
}

/// Refuses files that would overwrite each other, or the input.
fn check(made: &[Made<'_>], inputs: &[(usize, Stat)]) -> Result<(), Misuse> {
    for (index, file) in made.iter().enumerate() {
        check_file(file, &made[..index], inputs)?;
    }
    check_stream(Stream::Stdout, "stdout", made, inputs)?;
    check_stream(Stream::Stderr, "stderr", made, inputs)
}

/// Refuses a file that would overwrite the input, or one of the others.
fn check_file(
    file: &Made<'_>,
    others: &[Made<'_>],
    inputs: &[(usize, Stat)],
) -> Result<(), Misuse> {
    let Made { option, path, place } = file;
    let path = path.display();
    let is_input = inputs.iter().any(|(_, file)| place.is(file));
    // --failed may name an input: the new lines replace the file after the run.
    if is_input && !(*option == "--failed" && place.is_regular()) {
        return Err(Misuse::new(format!(
            "{option} would write to '{path}', which jobs are read from: name another file"
        )));
    }
    let is_same = |other: &&Made<'_>| place.is_regular() && other.place.is_that_of(place);
    match others.iter().find(is_same) {
        Some(Made { option: other, .. }) => Err(Misuse::new(format!(
            "{other} and {option} would both write to '{path}': name two files"
        ))),
        None => Ok(()),
    }
}

/// Refuses a file that a stream goes to as well, and a stream that goes to an input.
fn check_stream(
    stream: Stream,
    name: &str,
    made: &[Made<'_>],
    inputs: &[(usize, Stat)],
) -> Result<(), Misuse> {
    let Some(file) = descriptors::found(stream).filter(is_regular) else { return Ok(()) };
    if let Some(Made { option, path, .. }) = made.iter().find(|made| made.place.is(&file)) {
        let path = path.display();
        return Err(Misuse::new(format!(
            "{option} would write to '{path}', and {name} goes there too: name another file"
        )));
    }
    if inputs.iter().any(|(_, input)| is_same(input, &file)) {
        return Err(Misuse::new(format!(
            "{name} goes to a file that jobs are read from: redirect it to another file"
        )));
    }
    Ok(())
}
