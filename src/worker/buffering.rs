//! Advice for a worker that holds its replies back in a buffer, since it writes to a pipe and not to a
//! terminal.

use std::ffi::OsString;
use std::path::Path;

use crate::config::Config;
use crate::util::setting::Setting;

/// The advice after a quotation of output that is no reply.
pub(crate) const FOR_REPLIES: &str =
    "; a worker's stdout is for replies only, diagnostics belong on stderr";

/// Says what a worker that has read its request and printed nothing may be doing.
pub(crate) fn silence(config: &Config) -> String {
    let is_set = |name: &str| config.process.env.iter().any(|(variable, _)| variable == name);
    let is_unbuffered = is_set("PYTHONUNBUFFERED")
        || std::env::var_os("PYTHONUNBUFFERED").is_none_or(|value| !value.is_empty());
    let protocol = &config.worker.protocol;
    let advice = advice(&config.worker.argv, config.worker.pty, is_unbuffered);
    let advice = match advice {
        Some(advice) => format!(
            "It may be holding its reply back in a buffer: a worker must flush its stdout after each \
             reply. {advice}"
        ),
        None => "It may still be working on it, or be waiting for more input.".to_owned(),
    };
    advice + &protocol.silence()
}

/// The advice for the program of this command line, as a sentence; `None`: the program already writes
/// its replies at once.
fn advice(argv: &[OsString], pty: bool, python_is_unbuffered: bool) -> Option<String> {
    if pty {
        // Programs write each line at once to a terminal.
        return None;
    }
    let terminal = format!("give it a terminal with {}", Setting::Pty);
    let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
    // The program comes after `env NAME=VALUE`.
    let is_env = |word: &str| word == "env" || word.ends_with("/env");
    let prefix = match words.first() {
        Some(first) if is_env(first) => {
            1 + words[1..].iter().take_while(|word| word.contains('=')).count()
        }
        _ => 0,
    };
    let (program, args) = words.get(prefix..)?.split_first()?;
    let name = Path::new(&**program).file_name()?.to_string_lossy();
    let has = |long: &str| args.iter().any(|arg| arg == long);
    // Letters may be joined: -nu.
    let has_letter = |letter: char| {
        let is_short = |arg: &str| arg.starts_with('-') && !arg.starts_with("--");
        args.iter().any(|arg| is_short(arg) && arg.contains(letter))
    };
    let says = |part: &str| args.iter().any(|arg| arg.contains(part));
    let (cure, is_on) = match &*name {
        "sed" | "gsed" => ("run it as 'sed -u'", has_letter('u') || has("--unbuffered")),
        "jq" | "gojq" => ("run it as 'jq --unbuffered'", has("--unbuffered")),
        "grep" | "egrep" | "fgrep" => ("run it as 'grep --line-buffered'", has("--line-buffered")),
        "awk" | "gawk" | "nawk" | "original-awk" => (
            "call fflush() after each print (mawk: run it with -W interactive)",
            says("fflush") || says("interactive"),
        ),
        "mawk" => ("run it as 'mawk -W interactive'", says("fflush") || says("interactive")),
        "tcpdump" => ("run it as 'tcpdump -l'", has_letter('l')),
        _ if name.starts_with("python") => (
            "call print(..., flush=True), or sys.stdout.flush()",
            says("flush")
                || has_letter('u')
                || (python_is_unbuffered && !has_letter('E') && !has_letter('I')),
        ),
        "perl" => ("set $| = 1", says("$|") || says("autoflush")),
        "ruby" => ("set $stdout.sync = true", says("sync")),
        "php" => ("call flush() after each reply", says("flush")),
        "node" | "nodejs" | "sh" | "bash" | "dash" => {
            ("have its code flush stdout after each reply", false)
        }
        "stdbuf" => {
            return Some(format!("It ignores stdbuf: {terminal}."));
        }
        "unbuffer" | "script" | "socat" => return None,
        _ => {
            let line = shell_words::join(&words);
            return Some(format!("Run it as 'stdbuf -oL {line}', or {terminal}."));
        }
    };
    (!is_on).then(|| format!("To cure that, {cure}, or {terminal}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str, pty: bool, python_is_unbuffered: bool) -> Option<String> {
        let words = shell_words::split(line).expect("words");
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        advice(&words, pty, python_is_unbuffered)
    }

    #[test]
    fn each_program_has_advice_of_its_own() {
        for (line, part) in [
            ("sed s/a/b/", "'sed -u'"),
            ("/usr/bin/jq -c .", "'jq --unbuffered'"),
            ("grep x", "'grep --line-buffered'"),
            ("tr a b", "'stdbuf -oL tr a b'"),
            ("awk '{ print }'", "fflush()"),
            ("python3.11 worker.py", "flush=True"),
            ("env A=1 B=2 sed s/a/b/", "'sed -u'"),
            ("stdbuf -oL ./static", "ignores stdbuf"),
        ] {
            let advice = of(line, false, false).expect(line);
            assert!(advice.contains(part), "{line}: {advice}");
            assert!(advice.contains("Builder::pty") && advice.ends_with('.'), "{advice}");
        }
    }

    #[test]
    fn an_option_that_is_given_is_not_advised() {
        for line in [
            "sed -u s/a/b/",
            "sed -nu p",
            "sed --unbuffered p",
            "env A=1 jq --unbuffered .",
            "grep --line-buffered x",
            "awk '{ print; fflush() }'",
            "mawk -W interactive p",
            "perl -ne 'BEGIN { $| = 1 } print'",
            "ruby -e '$stdout.sync = true'",
            "python3 -u worker.py",
            "unbuffer tr a b",
        ] {
            for pty in [true, false] {
                assert_eq!(of(line, pty, false), None, "{line}");
            }
        }
        assert_eq!(of("python3 worker.py", false, true), None);
        assert!(of("python3 -I worker.py", false, true).is_some());
        for line in ["tr a b", "stdbuf -oL tr a b", "perl worker.pl"] {
            assert_eq!(of(line, true, false), None, "{line}");
        }
    }
}
