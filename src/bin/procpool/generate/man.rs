//! The man page procpool(1): the texts of the options, and short chapters on all else.

use std::io;

use clap_mangen::Man;

use crate::cli::options::definition;
use crate::cli::texts::{ABOUT, EXAMPLES, LONG_ABOUT};

/// The chapters that the help does not have.
const CHAPTERS: &str = include_str!("man.txt");

/// Defines the string `Aq`, an apostrophe that can be copied.
const APOSTROPHE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// The page, in roff.
pub fn page() -> String {
    let mut page = String::from(APOSTROPHE);
    // No date: it would make every page stale.
    let version = env!("CARGO_PKG_VERSION");
    page.push_str(&format!(".TH PROCPOOL 1 \"\" \"procpool {version}\" \"User Commands\"\n"));
    page.push_str(&format!(".SH NAME\nprocpool \\- {ABOUT}\n"));
    page.push_str(SYNOPSIS);
    page.push_str(&section("DESCRIPTION", LONG_ABOUT));
    page.push_str(&options());
    page.push_str(&help_chapters());
    for chapter in CHAPTERS.split("\n# ").skip(1) {
        let (heading, text) = chapter.split_once('\n').unwrap_or((chapter, ""));
        page.push_str(&section(heading, text.trim()));
    }
    page
}

const SYNOPSIS: &str = ".SH SYNOPSIS
\\fBprocpool\\fR [OPTIONS] COMMAND [ARG]... [::: ARG...]
.br
\\fBprocpool\\fR [OPTIONS] {\\fB\\-\\-python\\fR|\\fB\\-\\-perl\\fR|\\fB\\-\\-node\\fR|\\fB\\-\\-ruby\\fR|\\fB\\-\\-sh\\fR} CODE|FILE [COMMAND]
.br
\\fBprocpool\\fR [OPTIONS] \\fB\\-\\-worker\\fR CMDLINE [COMMAND [ARG]...]
";

/// The section of the options. Groups are parts of it, and an option has all of its names.
fn options() -> String {
    // Of an option without a long text, the short one is all there is.
    let definition =
        definition().mut_args(|arg| match (arg.get_help().cloned(), arg.get_long_help()) {
            (Some(help), None) => arg.long_help(help),
            _ => arg,
        });
    let mut part = rendered(|out| Man::new(definition.clone()).render_options_section(out));
    for arg in definition.get_arguments() {
        if let Some(heading) = arg.get_help_heading() {
            let section = format!("\n.SH {}\n", heading.to_uppercase());
            part = part.replace(&section, &format!("\n.SS {heading}\n"));
        }
        let bold = |short: char| format!("\n\\fB\\-{short}\\fR, ");
        for alias in arg.get_visible_short_aliases().unwrap_or_default() {
            let short = bold(arg.get_short().unwrap_or(alias));
            part = part.replace(&short, &format!("{short}{}", bold(alias).trim_start()));
        }
    }
    part
}

/// The chapters at the end of `--help`. Each paragraph begins with its heading.
fn help_chapters() -> String {
    let chapter = |paragraph: &str| {
        let (heading, body) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        let heading = heading.trim_end_matches(':');
        match heading.split_once(", ") {
            Some((heading, rest)) => {
                let (first, rest) = rest.split_at(1);
                section(heading, &format!("{}{rest}:\n\n{body}", first.to_uppercase()))
            }
            None => section(heading, body),
        }
    };
    EXAMPLES.split("\n\n").map(chapter).collect()
}

/// A part of the page, without the definitions at the head of the page.
fn rendered(render: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> String {
    let mut roff = Vec::new();
    // A Vec takes everything.
    let _ = render(&mut roff);
    let roff = String::from_utf8_lossy(&roff).into_owned();
    roff.strip_prefix(APOSTROPHE).map_or(roff.clone(), str::to_owned)
}

/// A section of running text. Indented lines stay as they are. A line `TERM: text` in a list of such lines begins
/// with `* `.
fn section(heading: &str, text: &str) -> String {
    let heading = heading.to_uppercase();
    let mut roff = if heading.contains(' ') {
        format!(".SH \"{heading}\"\n")
    } else {
        format!(".SH {heading}\n")
    };
    let mut is_indented = false;
    for line in text.lines() {
        if line.starts_with(' ') != is_indented {
            is_indented = !is_indented;
            roff.push_str(if is_indented { ".RS 4\n.nf\n" } else { ".fi\n.RE\n" });
        }
        if let Some((term, text)) = line.strip_prefix("* ").and_then(|line| line.split_once(": ")) {
            roff.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", escape(term), escape(text)));
            continue;
        }
        match line.trim_start() {
            "" => roff.push_str(".PP\n"),
            line => roff.push_str(&format!("{}\n", escape(line))),
        }
    }
    if is_indented {
        roff.push_str(".fi\n.RE\n");
    }
    roff
}

fn escape(line: &str) -> String {
    let mut escaped = String::new();
    for c in line.chars() {
        match c {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\*(Aq"),
            c => escaped.push(c),
        }
    }
    if escaped.starts_with('.') { format!("\\&{escaped}") } else { escaped }
}
