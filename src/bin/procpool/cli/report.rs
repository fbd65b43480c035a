//! The value of `--report` (the format of a report, and its file), and the options that conflict with reports.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Options;

/// A report, which is written at the end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub format: ReportFormat,
    /// `None`: stdout, after the results.
    pub file: Option<PathBuf>,
}

/// The format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    Json,
    /// JUnit's XML, as CI systems read it.
    Junit,
    /// A page for a browser.
    Html,
    Markdown,
}

/// Parses the value of `--report`: a file whose extension names the format, or `FORMAT:FILE`. The file `-` is
/// stdout.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_report(text: OsString) -> Result<Report, String> {
    let bytes = text.as_bytes();
    let with_format = memchr::memchr(b':', bytes).and_then(|colon| {
        let name = std::str::from_utf8(&bytes[..colon]).ok()?;
        Some((format(name)?, OsStr::from_bytes(&bytes[colon + 1..])))
    });
    let (format, file) = match with_format {
        Some((_, file)) if file.is_empty() => {
            return Err("there is no FILE after the colon".into());
        }
        Some((format, file)) => (format, file),
        None => (extension(&text).ok_or_else(expected)?, text.as_os_str()),
    };
    let is_stdout = file == "-" || (with_format.is_none() && is_dash(file));
    Ok(Report { format, file: (!is_stdout).then(|| file.into()) })
}

/// Whether a file is stdout with a format: `-.json`.
fn is_dash(file: &OsStr) -> bool {
    file.as_bytes().starts_with(b"-.")
}

fn expected() -> String {
    "the name of FILE must end with .json, .xml (JUnit), .html or .md; for another name, put the \
     format before it: json:FILE"
        .into()
}

fn extension(file: &OsStr) -> Option<ReportFormat> {
    format(Path::new(file).extension()?.to_str()?)
}

fn format(name: &str) -> Option<ReportFormat> {
    match name.to_ascii_lowercase().as_str() {
        "json" => Some(ReportFormat::Json),
        "xml" | "junit" => Some(ReportFormat::Junit),
        "html" | "htm" => Some(ReportFormat::Html),
        "md" | "markdown" => Some(ReportFormat::Markdown),
        _ => None,
    }
}

/// Why the options of reports conflict, and what to do; `None`: they don't.
pub fn misuse(options: &Options) -> Option<String> {
    let has_report = !options.output.report.is_empty();
    let given = [
        ("--report", has_report),
        ("--trace", options.output.trace.is_some()),
        ("--results", options.output.results.is_some()),
    ];
    if options.commands.dry_run
        && let Some((name, _)) = given.into_iter().find(|(_, is_given)| *is_given)
    {
        return Some(format!(
            "--dry-run runs no jobs, so {name} would be empty: leave out one of them"
        ));
    }
    if options.output.results.is_some() && options.output.live {
        return Some(
            "--live does not keep what a command prints, and --results needs it: leave out one of \
             them"
                .into(),
        );
    }
    if options.output.report.iter().filter(|report| report.file.is_none()).count() > 1 {
        return Some("only one --report can go to stdout: name files for the others".into());
    }
    if options.output.trace.as_deref() == Some(Path::new("-")) {
        return Some("--trace can't go to stdout, which is for results: name a FILE".into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(ReportFormat, Option<String>)> {
        let report = parse_report(text.into()).ok()?;
        Some((report.format, report.file.map(|file| file.display().to_string())))
    }

    #[test]
    fn the_name_or_what_stands_before_it_says_the_format() {
        let file = |format, name: &str| Some((format, Some(name.to_owned())));
        assert_eq!(parsed("run.json"), file(ReportFormat::Json, "run.json"));
        assert_eq!(parsed("a:b/run.HTML"), file(ReportFormat::Html, "a:b/run.HTML"));
        assert_eq!(parsed("xml:/dev/fd/3"), file(ReportFormat::Junit, "/dev/fd/3"));
        assert_eq!(parsed("md:run.json"), file(ReportFormat::Markdown, "run.json"));
        assert_eq!(parsed("-.json"), Some((ReportFormat::Json, None)));
        assert_eq!(parsed("junit:-"), Some((ReportFormat::Junit, None)));
        assert_eq!(parsed("./-.json"), file(ReportFormat::Json, "./-.json"));
        for wrong in ["", "-", "run", "run.txt", "json", "json:", ".json/"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
