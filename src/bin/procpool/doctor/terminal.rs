//! The three streams, the terminal, and variables that change what procpool prints.

use std::io::IsTerminal;

use rustix::fs::FileType;

use super::Section;
use crate::cli::values::ProgressMode;
use crate::descriptors::{self, Stream};
use crate::report::progress::manner::{Manner, Surroundings};

pub fn section() -> Section {
    let mut section = Section::new("Terminal");
    for (name, stream) in
        [("stdin", Stream::Stdin), ("stdout", Stream::Stdout), ("stderr", Stream::Stderr)]
    {
        section.row(name, kind(stream));
    }
    section.row("progress", progress());
    section.row(
        "--confirm",
        match std::fs::File::open("/dev/tty") {
            Ok(_) => "can ask on the terminal",
            Err(_) => "can't ask: this process has no terminal",
        },
    );
    for variable in ["TERM", "NO_COLOR", "CI", "GITHUB_ACTIONS", "MAKEFLAGS", "TMPDIR", "LANG"] {
        if let Some(value) = std::env::var_os(variable) {
            section.row(variable, value.to_string_lossy());
        }
    }
    section
}

/// How the progress of a run is shown here.
fn progress() -> &'static str {
    let surroundings = Surroundings::of(&[]);
    match surroundings.manner(ProgressMode::Auto) {
        Manner::Drawn { .. } => "drawn on the terminal",
        Manner::Lines { .. } => "a line now and then, since CI is set",
        Manner::Hidden if !surroundings.is_terminal => "not shown: stderr is no terminal",
        Manner::Hidden if surroundings.is_dumb => "not shown: TERM says that the terminal is dumb",
        Manner::Hidden => "not shown: stdout is a pipe to a program that may use the terminal",
    }
}

/// The kind of a stream.
fn kind(stream: Stream) -> String {
    if descriptors::is_closed(stream) {
        return "closed".into();
    }
    let is_terminal = match stream {
        Stream::Stdin => std::io::stdin().is_terminal(),
        Stream::Stdout => std::io::stdout().is_terminal(),
        Stream::Stderr => std::io::stderr().is_terminal(),
    };
    if is_terminal {
        let size = rustix::termios::tcgetwinsize(descriptors::borrowed(stream)).ok();
        let size = size.filter(|size| size.ws_col > 0);
        return size.map_or_else(
            || "a terminal".into(),
            |size| format!("a terminal, {} columns, {} lines", size.ws_col, size.ws_row),
        );
    }
    let kind = descriptors::found(stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
    match kind {
        Some(FileType::Fifo) => "a pipe",
        Some(FileType::RegularFile) => "a file",
        Some(FileType::CharacterDevice) => "a device",
        Some(FileType::Socket) => "a socket",
        _ => "of another kind",
    }
    .into()
}
