//! The files that make a worker what it is: those that its command line or code names, and those of source or
//! settings that these name in turn, such as the modules that a script imports.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use procpool::engine::locate;

/// The endings of files of source and of settings.
#[rustfmt::skip]
const SOURCES: &[&str] = &[
    "awk", "bash", "bb", "cfg", "cjs", "class", "clj", "cljs", "coffee", "conf", "cts", "dart", "edn", "el", "erl",
    "ex", "exs", "fish", "groovy", "hs", "hx", "hy", "ini", "jar", "java", "jl", "jq", "js", "json", "json5", "jsonc",
    "jsx", "kts", "ksh", "lisp", "lua", "ml", "mjs", "mts", "nim", "nu", "php", "pl", "pm", "ps1", "py", "pyc", "pyi",
    "pyz", "r", "R", "raku", "rb", "rkt", "rs", "sbt", "scala", "scm", "sed", "sh", "sql", "ss", "st", "swift", "t",
    "tcl", "toml", "ts", "tsx", "vim", "wasm", "xml", "xsl", "xslt", "yaml", "yml", "zsh",
];

/// The files of a folder that stand for it.
const OF_FOLDERS: &[&str] = &["__init__", "__main__", "index", "init", "main", "mod", "package"];

/// Folders with what is installed, or with what tools keep.
const NOT_OWN: &[&str] =
    &["node_modules", "site-packages", "dist-packages", "__pycache__", ".git", "target"];

/// Variables with lists of folders where interpreters look for modules.
const SEARCH_PATHS: &[&str] =
    &["PYTHONPATH", "PERL5LIB", "PERLLIB", "NODE_PATH", "RUBYLIB", "LUA_PATH", "CLASSPATH"];

/// No more files are looked for than these, no more entries of a folder are looked at, and no deeper.
const MOST_FILES: usize = 2_000;
const MOST_ENTRIES: usize = 10_000;
const DEEPEST: usize = 6;

/// A longer file is no source that somebody has written.
const LONGEST_SOURCE: u64 = 4 << 20;

/// The files that make a worker what it is, as far as they are found.
#[derive(Debug, Default)]
pub struct CodeFiles {
    /// The folders that workers run in.
    folders: Vec<PathBuf>,
    /// The folders where interpreters look besides.
    search: Vec<PathBuf>,
    found: BTreeSet<PathBuf>,
    /// Files that were found and not read.
    unread: Vec<PathBuf>,
}

impl CodeFiles {
    /// None yet. Names are looked up in these folders.
    pub fn new(folders: Vec<PathBuf>) -> Self {
        let values = SEARCH_PATHS.iter().filter_map(std::env::var_os);
        let search = values.flat_map(|value| std::env::split_paths(&value).collect::<Vec<_>>());
        let search = search.filter(|folder| !folder.as_os_str().is_empty()).collect();
        Self { folders, search, ..Self::default() }
    }

    /// All files, in a fixed order.
    pub fn all(mut self) -> BTreeSet<PathBuf> {
        while let Some(path) = self.unread.pop() {
            self.read(&path);
        }
        self.found
    }

    /// The program and the files that a command line names.
    pub fn add_command(&mut self, line: &str) {
        let words = shell_words::split(line)
            .unwrap_or_else(|_| line.split_whitespace().map(str::to_owned).collect());
        let mut is_log = false;
        for (nth, word) in words.iter().enumerate() {
            if nth == 0 {
                self.add_program(word);
            }
            let was_log = std::mem::replace(&mut is_log, is_option_of_log(word));
            if !was_log {
                self.add_text(word);
            }
        }
        self.add_modules(line);
    }

    /// The program that the system finds under this name, and the interpreter that it names.
    pub fn add_program(&mut self, name: &str) {
        let Some(path) = locate(name.as_ref()) else { return };
        let mut begin = [0; 256];
        let count = fs::File::open(&path).and_then(|mut file| file.read(&mut begin));
        let begin = String::from_utf8_lossy(&begin[..count.unwrap_or_default()]);
        self.found.insert(path);
        if let Some(line) = begin.strip_prefix("#!").and_then(|rest| rest.lines().next()) {
            let interpreters = line.split_whitespace().filter_map(|word| locate(word.as_ref()));
            self.found.extend(interpreters);
        }
    }

    /// The files that a text of the command line names: a word, or code.
    pub fn add_text(&mut self, text: &str) {
        let folders = self.folders.clone();
        for piece in named_in(text) {
            for folder in &folders {
                let path = folder.join(piece);
                match path.metadata() {
                    Ok(found) if found.is_file() => self.add(path),
                    // node . or python3 app: the folder of a program.
                    Ok(found) if found.is_dir() && piece.len() == text.len() => {
                        self.enter(&path, &HashSet::new(), 1);
                    }
                    _ => {}
                }
            }
        }
    }

    /// The modules that a command line or code names: `python3 -m mod`, `import mod`.
    pub fn add_modules(&mut self, text: &str) {
        let names = names_in(text);
        for folder in [&self.folders[..], &self.search].concat() {
            self.enter(&folder, &names, 0);
        }
    }

    fn add(&mut self, path: PathBuf) {
        if self.found.len() < MOST_FILES && self.found.insert(path.clone()) {
            self.unread.push(path);
        }
    }

    /// Finds the files that a file names: those of source or settings beside it, and where its interpreter looks.
    fn read(&mut self, path: &Path) {
        let is_short = path.metadata().is_ok_and(|found| found.size() <= LONGEST_SOURCE);
        let Some(text) = is_short.then(|| fs::read(path).ok()).flatten() else { return };
        if text.iter().take(1024).any(|&byte| byte == 0) {
            return;
        }
        let text = String::from_utf8_lossy(&text);
        let beside = path.parent().unwrap_or(Path::new("/")).to_owned();
        let names = names_in(&text);
        for folder in [&[beside.clone()][..], &self.search].concat() {
            self.enter(&folder, &names, 0);
        }
        let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        for piece in named_in(&text).filter(|piece| piece.contains('/')).take(MOST_ENTRIES) {
            for folder in [&[beside.clone()][..], &self.folders].concat() {
                let whole = folder.join(piece);
                let with_ending = folder.join(format!("{piece}.{ending}"));
                let index = whole.join(format!("index.{ending}"));
                for path in [whole, with_ending, index].into_iter().filter(|path| is_code(path)) {
                    self.add(path);
                }
            }
        }
    }

    /// Finds the files of source or settings in a folder that have one of these names, without their ending.
    fn enter(&mut self, folder: &Path, names: &HashSet<&str>, depth: usize) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.take(MOST_ENTRIES).flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let stem = name.split('.').next().unwrap_or_default();
            let is_named = names.contains(stem) || (depth > 0 && OF_FOLDERS.contains(&stem));
            if !is_named {
                continue;
            }
            let path = entry.path();
            if has_source_ending(&path) && path.is_file() {
                self.add(path);
            } else if depth < DEEPEST && !NOT_OWN.contains(&name) && path.is_dir() {
                self.enter(&path, names, depth + 1);
            }
        }
    }
}

/// The parts of a text that may be names of files that are read. What is written, such as a log, changes as a worker
/// works, and makes it no other one.
fn named_in(text: &str) -> impl Iterator<Item = &str> {
    let is_end = |c: char| c.is_whitespace() || "'\"`;|&()<>{}[],".contains(c);
    let mut is_written = false;
    let mut pieces: Vec<&str> = Vec::new();
    for piece in text.split_inclusive(is_end) {
        let end = piece.chars().next_back().filter(|c| is_end(*c));
        let piece = piece.trim_end_matches(is_end);
        if !piece.is_empty() && !std::mem::take(&mut is_written) {
            pieces.push(piece);
        }
        is_written |= end == Some('>');
    }
    if text.contains(is_end) {
        // A name may have any characters.
        pieces.push(text);
    }
    let parts = pieces.into_iter().flat_map(|piece| {
        // --config=FILE, NAME=FILE, @FILE, -fFILE.
        let value = piece.split_once('=').filter(|(name, _)| !name.contains("log"));
        let value = value.map(|(_, value)| value);
        let attached = piece.strip_prefix('-').and_then(|rest| rest.get(1..));
        [Some(piece), value, attached, piece.strip_prefix('@')].into_iter().flatten()
    });
    parts.filter(|piece| !piece.is_empty() && piece.len() < 4096 && !is_log(piece))
}

/// The words of a text, of which one may be the name of a module.
fn names_in(text: &str) -> HashSet<&str> {
    let is_inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    text.split(|c| !is_inside(c)).filter(|word| !word.is_empty() && word.len() < 256).collect()
}

/// Whether a word is an option that is followed by the name of a log.
fn is_option_of_log(word: &str) -> bool {
    word.starts_with('-') && word.contains("log") && !word.contains('=')
}

/// Whether a file is a log by its name.
fn is_log(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or_default();
    name == "log" || [".log", ".pid"].iter().any(|ending| name.ends_with(ending))
}

fn is_code(path: &Path) -> bool {
    let is_program = |path: &Path| path.metadata().is_ok_and(|found| found.mode() & 0o111 != 0);
    path.is_file() && (has_source_ending(path) || is_program(path))
}

fn has_source_ending(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str);
    ending.is_some_and(|ending| SOURCES.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files that the command line or the code finds in a folder with all of these.
    fn found(files: &[(&str, &str)], add: impl FnOnce(&mut CodeFiles)) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("there is room");
        }
        let mut all = CodeFiles::new(vec![folder.path().to_owned()]);
        add(&mut all);
        let names = all.all().into_iter();
        names
            .filter_map(|path| Some(path.strip_prefix(folder.path()).ok()?.display().to_string()))
            .collect()
    }

    #[test]
    fn a_file_that_a_command_line_names_counts_whatever_its_name() {
        for (line, file) in [
            ("python3 noext", "noext"),
            ("sh -c 'exec python3 w1.data'", "w1.data"),
            ("sh -c \"cat<in.txt;true\"", "in.txt"),
            ("x --config=a.b", "a.b"),
            ("awk -fprog", "prog"),
            ("java @args", "args"),
            ("x 'with blank'", "with blank"),
            ("env A=file x", "file"),
            ("python3 -m mod", "mod.py"),
            ("python3 -m pkg.sub", "pkg/sub.py"),
            ("python3 -m pkg", "pkg/__main__.py"),
            ("node app", "app/index.mjs"),
        ] {
            assert_eq!(
                found(&[(file, ""), ("other.py", "")], |all| all.add_command(line)),
                [file],
                "{line}"
            );
        }
    }

    #[test]
    fn a_file_that_a_worker_writes_does_not_count() {
        let files = [("log", ""), ("w.log", ""), ("out", ""), ("w.pid", "")];
        for line in [
            "x --log out",
            "x --log=out",
            "x log w.log w.pid",
            "sh -c 'exec x 2>>out'",
            "sh -c 'x > out'",
        ] {
            assert_eq!(found(&files, |all| all.add_command(line)), [""; 0], "{line}");
        }
    }

    #[test]
    fn what_a_file_names_counts_in_turn() {
        let files = [
            ("w.py", "import helper\nfrom lib.deep import x\nopen('settings.json')\nimport os"),
            ("helper.py", "from more import y"),
            ("more.py", ""),
            ("lib/__init__.py", ""),
            ("lib/deep.py", ""),
            ("settings.json", ""),
            ("stranger.py", ""),
            ("helper.txt", ""),
        ];
        let all =
            ["helper.py", "lib/__init__.py", "lib/deep.py", "more.py", "settings.json", "w.py"];
        assert_eq!(found(&files, |all| all.add_command("python3 w.py")), all);
        assert_eq!(found(&files, |all| all.add_modules("import more")), ["more.py"]);
        let files = [
            ("bin/w.js", "require('../lib/x'); require('./y')"),
            ("lib/x.js", ""),
            ("bin/y.js", ""),
        ];
        assert_eq!(
            found(&files, |all| all.add_command("node bin/w.js")),
            ["bin/../lib/x.js", "bin/w.js", "bin/y.js"]
        );
        let files = [("w.sh", ". ./lib.sh\n. \"$PWD/other\""), ("lib.sh", "")];
        assert_eq!(found(&files, |all| all.add_text(". ./w.sh")), ["lib.sh", "w.sh"]);
    }
}
