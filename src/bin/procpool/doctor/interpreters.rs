//! The interpreters that `--python` and the like run, and their versions.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use procpool::engine::Language;

use super::Section;

pub fn section() -> Section {
    let mut section = Section::new("Interpreters");
    for language in Language::ALL {
        let program = language.interpreter();
        let found = procpool::engine::locate(OsStr::new(program));
        let text = match &found {
            Some(path) => {
                format!("{}{}", path.display(), version(language, path))
            }
            None => format!("there is no program '{program}' in PATH"),
        };
        section.row(option(language), text);
    }
    section
}

/// The option that runs the interpreter.
fn option(language: Language) -> &'static str {
    match language {
        Language::Python => "--python",
        Language::Perl => "--perl",
        Language::Node => "--node",
        Language::Ruby => "--ruby",
        Language::Sh => "--sh",
    }
}

/// The version, with a comma before it; or what is wrong with the interpreter.
fn version(language: Language, path: &Path) -> String {
    let arguments: &[&str] = match language {
        Language::Perl => &["-e", "print substr($^V, 1)"],
        Language::Python => &["-c", "import sys; print(sys.version.split()[0])"],
        Language::Node => &["-p", "process.versions.node"],
        Language::Ruby => &["-e", "puts RUBY_VERSION"],
        // POSIX has no way to ask a shell for its version.
        Language::Sh => {
            return path
                .canonicalize()
                .ok()
                .filter(|real| real != path)
                .map_or_else(String::new, |real| format!(" ({})", real.display()));
        }
    };
    let output = Command::new(path).args(arguments).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            text.lines().next().map_or_else(String::new, |line| format!(", version {line}"))
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            format!(": it does not run: {}", text.lines().next().unwrap_or("it prints nothing"))
        }
        Err(error) => format!(": it does not run: {error}"),
    }
}
