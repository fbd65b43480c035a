//! Decides whether code was meant for the path of a file that does not exist. Division, regular
//! expressions and Perl's quotes have slashes as well.

use std::path::Path;

use super::code::Code;
use super::language::Language;

/// The endings of the names of files of code.
const ENDINGS: [&str; 9] = [".py", ".pl", ".pm", ".js", ".mjs", ".cjs", ".ts", ".rb", ".sh"];

/// The operators before the first slash of Perl's quotes.
const QUOTES: [&str; 8] = ["s", "m", "q", "qq", "qw", "qr", "y", "tr"];

/// Whether the code can only be meant for the path of a file.
pub(super) fn is_meant(code: &Code) -> bool {
    let text = code.text.as_str();
    let is_path = |c: char| c.is_alphanumeric() || "_-./~+@,:%=".contains(c);
    if text.is_empty() || !text.chars().all(is_path) {
        return false;
    }
    if code.language == Language::Sh && crate::process::lookup::locate(text.as_ref()).is_some() {
        return false;
    }
    if ENDINGS.iter().any(|ending| text.strip_suffix(ending).is_some_and(|stem| !stem.is_empty())) {
        return true;
    }
    let Some((first, rest)) = text.split_once('/') else { return false };
    if matches!(first, "." | ".." | "~") || code.language == Language::Sh {
        return true;
    }
    if first.is_empty() {
        return !is_regular_expression(rest) || rest.split_once('/').is_some_and(is_there);
    }
    if Path::new(first).is_dir() {
        return true;
    }
    // An operand of a division is a number, the line, or a name that the setup has defined.
    let is_value = |name: &str| {
        let is_number = name.starts_with(|c: char| c.is_ascii_digit());
        let is_known = ["x", "args", "cmd"].contains(&name.split('.').next().unwrap_or_default());
        is_number || is_known || code.setup.iter().any(|setup| setup.contains(name))
    };
    let is_quote = code.language == Language::Perl && QUOTES.contains(&first);
    !is_quote && !text.split('/').any(is_value)
}

/// Whether this is `/…/` and flags, without the first slash.
fn is_regular_expression(rest: &str) -> bool {
    rest.split_once('/')
        .is_some_and(|(_, flags)| flags.chars().all(|c| "acdgilmnopsuvxy".contains(c)))
}

/// Whether the first part of an absolute path is a directory.
fn is_there((first, _): (&str, &str)) -> bool {
    Path::new("/").join(first).is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_path(language: Language, text: &str, setup: &[&str]) -> bool {
        let setup = setup.iter().map(|&setup| setup.to_owned()).collect();
        is_meant(&Code::guess(language, text.to_owned(), setup, false))
    }

    #[test]
    fn paths() {
        let languages =
            [Language::Python, Language::Perl, Language::Node, Language::Ruby, Language::Sh];
        for language in languages {
            for text in [
                "ops.py",
                "ops.rb",
                "my-ops.mjs",
                "lib/ops.pl",
                "./ops",
                "../ops",
                "~/ops",
                "/tmp/ops",
                "/nosuch/dir/ops",
                "src/ops",
                "src/nosuch/ops",
                "lib/ops",
                "/dev/fd/63",
            ] {
                assert!(is_path(language, text, &[]), "{language:?} {text}");
            }
        }
    }

    #[test]
    fn expressions() {
        for text in [
            "x",
            "x/2",
            "x/y",
            "1/2",
            "int(x)/2",
            "len(x) / 2",
            "args.a/2",
            "x.sh()",
            "a.py b",
            "",
            ".py",
            "x+1",
            "cmd/x",
        ] {
            assert!(!is_path(Language::Python, text, &[]), "{text}");
        }
        assert!(!is_path(Language::Python, "total/count", &["total, count = 3, 4"]));
        for text in ["s/a/b/", "s/a/b/r", "tr/a-z/A-Z/r", "y/a/b/", "m/x/", "/re/", "/re/i", "$_/2"]
        {
            assert!(!is_path(Language::Perl, text, &[]), "{text}");
        }
        for text in ["/re/", "/re/.test(x)", "x.split('/')"] {
            assert!(!is_path(Language::Node, text, &[]), "{text}");
        }
        for text in ["cat", "echo \"$1\"/x", ". ./lib.sh", "sh run.sh", "true"] {
            assert!(!is_path(Language::Sh, text, &[]), "{text}");
        }
    }
}
