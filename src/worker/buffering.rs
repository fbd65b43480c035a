//! What to do about a worker that holds its replies back in a buffer, since it writes to a pipe and
//! not to a terminal.

use std::ffi::OsString;
use std::path::Path;

/// What cures most programs.
const PTY: &str = "or give it a terminal with --pty.";

/// The remedy for the program of this command line, as a sentence.
pub(crate) fn remedy(argv: &[OsString]) -> String {
    let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
    let Some((program, args)) = words.split_first() else { return String::new() };
    let name = Path::new(&**program).file_name().map(|name| name.to_string_lossy());
    let name = name.as_deref().unwrap_or_default();
    let has = |options: &[&str]| args.iter().any(|arg| options.contains(&&**arg));
    let advice = match name {
        "sed" if !has(&["-u", "--unbuffered"]) => "run it as 'sed -u'",
        "jq" | "gojq" if !has(&["--unbuffered"]) => "run it as 'jq --unbuffered'",
        "grep" | "egrep" | "fgrep" if !has(&["--line-buffered"]) => {
            "run it as 'grep --line-buffered'"
        }
        "awk" | "gawk" | "nawk" | "original-awk" => {
            "call fflush() after each print (as mawk: with -W interactive)"
        }
        "mawk" => "run it as 'mawk -W interactive'",
        "tcpdump" if !has(&["-l"]) => "run it as 'tcpdump -l'",
        _ if name.starts_with("python") => "call print(..., flush=True), or sys.stdout.flush()",
        "perl" => "set $| = 1",
        "ruby" => "set $stdout.sync = true",
        "php" => "call flush() after each reply",
        "node" | "nodejs" | "sh" | "bash" | "dash" => {
            "what it runs must flush its stdout after each reply"
        }
        "stdbuf" => return "It does not heed stdbuf: give it a terminal with --pty.".to_owned(),
        _ => return format!("Run it as 'stdbuf -oL {}', {PTY}", shell_words::join(&words)),
    };
    format!("To cure that, {advice}, {PTY}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_has_its_own() {
        for (line, part) in [
            ("sed s/a/b/", "'sed -u'"),
            ("/usr/bin/jq -c .", "'jq --unbuffered'"),
            ("grep x", "'grep --line-buffered'"),
            ("tr a b", "'stdbuf -oL tr a b'"),
            ("awk '{ print }'", "fflush()"),
            ("python3.11 worker.py", "flush=True"),
            ("stdbuf -oL ./static", "does not heed"),
        ] {
            let words = shell_words::split(line).expect("words");
            let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
            let remedy = remedy(&words);
            assert!(remedy.contains(part), "{line}: {remedy}");
            assert!(remedy.contains("--pty") && remedy.ends_with('.'), "{remedy}");
        }
    }
}
