//! Finds the functions that a file of code defines, by its text. Only workers load the file: loading it
//! may take long, and do anything.

use super::code::Code;
use super::code_file::CodeFileError;
use super::language::Language;
use crate::util::similar::similar;

/// A message lists at most this many names.
const MOST: usize = 12;

/// Checks whether a file may have a function of this name. The name must occur in the text, unless the
/// text may bring in names from elsewhere.
///
/// # Errors
/// The file has no such function.
pub(super) fn check(code: &Code, text: &str, name: &str) -> Result<(), CodeFileError> {
    let all = [text, &code.setup.join("\n")].join("\n");
    let is_class =
        code.language == Language::Perl && name.starts_with(|c: char| c.is_ascii_uppercase());
    let is_named = words(&all).any(|word| word == name);
    if is_class || is_named || brings_in_others(code.language, &all) {
        return Ok(());
    }
    let known = defined(code.language, text);
    if known.is_empty() {
        // Perhaps the file is not code at all. Its interpreter says that better.
        return Ok(());
    }
    Err(CodeFileError::NoFunction {
        path: code.text.clone(),
        name: name.to_owned(),
        meant: similar(name, known.iter().copied()).map(str::to_owned),
        known: known.iter().take(MOST).map(|&name| name.to_owned()).collect(),
        has_more: known.len() > MOST,
    })
}

/// Whether a file may have functions whose names do not occur in it. Which functions a worker counts as
/// the file's own differs from language to language.
fn brings_in_others(language: Language, text: &str) -> bool {
    let signs: &[&str] = match language {
        Language::Python => &[
            "import *",
            "globals(",
            "setattr",
            "exec(",
            "vars(",
            "locals(",
            "__dict__",
            "sys.modules",
        ],
        // Functions of other files do not count in Perl.
        Language::Perl => &["*{", "*$"],
        Language::Ruby => &["define_method", "eval", "def_"],
        Language::Node => &[
            "export *",
            "assign(",
            "exports[",
            "defineProperty",
            "extends",
            "eval(",
            "Proxy",
            "fromEntries",
        ],
        Language::Sh => &[],
    };
    let is_sourced = |word: &str| matches!(word, "." | "source" | "eval" | "alias");
    match language {
        Language::Sh => text.split_whitespace().any(is_sourced),
        _ => {
            let exports = text.split("exports").chain(text.split("default")).skip(1);
            // If an object is spread, or comes from another file, its names are not in this text.
            let is_open =
                exports.map(|rest| rest.split('}').next().unwrap_or_default()).any(|rest| {
                    let rest = rest.trim_start_matches(['=', ' ']);
                    rest.starts_with("require") || rest.starts_with("new ") || rest.contains("...")
                });
            signs.iter().any(|sign| text.contains(sign)) || (language == Language::Node && is_open)
        }
    }
}

/// The words of a text, each of which may be a name.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !is_letter(c))
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

/// The functions that a text defines, in order, each once.
fn defined(language: Language, text: &str) -> Vec<&str> {
    let mut known = Vec::new();
    for line in text.lines().map(str::trim_start) {
        let name = match language {
            Language::Python => {
                let line = line.strip_prefix("async ").map_or(line, str::trim_start);
                line.strip_prefix("def ")
            }
            Language::Perl => line.strip_prefix("sub "),
            Language::Ruby => line.strip_prefix("def "),
            Language::Node => {
                let line = ["export ", "default ", "async "]
                    .iter()
                    .fold(line, |line, word| line.strip_prefix(word).map_or(line, str::trim_start));
                let words = ["function ", "module.exports.", "exports.", "const "];
                words.iter().find_map(|word| line.strip_prefix(word))
            }
            Language::Sh => {
                let line = line.strip_prefix("function ").unwrap_or(line);
                line.split_once('(')
                    .filter(|(_, rest)| rest.trim_start().starts_with(')'))
                    .map(|of| of.0)
            }
        };
        let name = name.and_then(|name| words(name.trim_start_matches(['*', ' '])).next());
        let is_open = |name: &&str| !name.is_empty() && !name.starts_with('_');
        if let Some(name) = name.filter(is_open)
            && !known.contains(&name)
        {
            known.push(name);
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked_for(language: Language, text: &str, name: &str) -> Result<(), String> {
        let code = Code::guess(language, "f".to_owned(), Vec::new(), false);
        check(&code, text, name).map_err(|error| error.to_string())
    }

    #[test]
    fn functions_that_are_not_there() {
        for (language, text) in [
            (
                Language::Python,
                "import json\nasync def load(p):\n    return 1\n\ndef save(p): pass\n",
            ),
            (Language::Perl, "use strict;\nsub load { 1 }\nsub save { 2 }\n1;\n"),
            (Language::Node, "exports.load = (x) => x;\nexport async function save(x) {}\n"),
            (Language::Ruby, "def load(x) = x\ndef save(x)\nend\n"),
            (Language::Sh, "load() { echo; }\nfunction save {\n:\n}\nsave () { :; }\n"),
        ] {
            let error = looked_for(language, text, "laod").expect_err("none");
            assert_eq!(error, "there is no function 'laod' in 'f'; did you mean 'load'?");
            let error = looked_for(language, text, "zzz").expect_err("none");
            assert_eq!(error, "there is no function 'zzz' in 'f'; it has load, save");
            assert_eq!(looked_for(language, text, "load"), Ok(()), "{language:?}");
        }
    }

    #[test]
    fn functions_that_may_come_from_elsewhere() {
        for (language, text) in [
            (Language::Python, "from ops import *"),
            (Language::Python, "globals()['l' + 'oad'] = len"),
            (Language::Perl, "*{\"main::l\" . \"oad\"} = sub { 1 };"),
            (Language::Node, "module.exports = require('./other')"),
            (Language::Node, "module.exports = { ...require('./other'), save }"),
            (Language::Ruby, "define_method(:\"l#{x}\") { 1 }"),
            (Language::Sh, ". ./other.sh"),
        ] {
            assert_eq!(looked_for(language, text, "laod"), Ok(()), "{text}");
        }
        assert_eq!(looked_for(Language::Perl, "sub a {}", "Some::Class"), Ok(()));
    }
}
