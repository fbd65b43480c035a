//! Rules for the source itself: invariants of the engine, and the layout.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn no_unsafe_code() {
    const WORD: &str = concat!("un", "safe");
    assert!(read("Cargo.toml").contains(&format!("{WORD}_code = \"forbid\"")));
    for folder in ["src", "tests", "examples", "benches"] {
        forbid(&sources(folder), &[WORD], |_| false);
    }
}

#[test]
fn only_output_writes_stdout() {
    let files = sources("src");
    let forbidden = [
        "println!",
        "print!",
        "io::stdout",
        "stdio::stdout",
        "raw_stdout",
        "take_stdout",
        "dup2_stdout",
    ];
    // To ask whether stdout is a terminal is not to write to it.
    forbid(&files, &forbidden, |(path, line)| {
        path.starts_with("src/output/") || line.contains("stdout().is_terminal()")
    });
}

#[test]
fn only_process_signals_children() {
    let files = sources("src");
    let forbidden = [
        "kill_process",
        "kill_process_group",
        "kill_current_process_group",
        "pidfd_send_signal",
        "killpg",
        "child.kill",
    ];
    forbid(&files, &forbidden, |(path, _)| path.starts_with("src/process/"));
    assert!(files.iter().any(|(path, text)| {
        path.starts_with("src/process/")
            && text.contains("kill_process_group(self.group, Signal::KILL)")
    }));
}

#[test]
fn protocols_do_no_io() {
    let files = sources("src/protocol");
    assert!(files.len() >= 3);
    let forbidden = [
        "rustix",
        "tokio",
        "std::fs",
        "std::net",
        "std::os",
        "std::process",
        "std::thread",
        "std::env",
        "io::Read",
        "io::BufRead",
        "io::stdin",
        "io::stderr",
        "impl Write",
        "dyn Write",
        "impl Read",
        "dyn Read",
        "File",
        "AsFd",
        "OwnedFd",
        "Process",
        "Mutex",
        "Instant",
    ];
    forbid(&files, &forbidden, |_| false);
}

/// Blocking reads of a worker's pipes would wait for as long as a grandchild holds them open.
#[test]
fn workers_are_not_read_with_blocking_calls() {
    let forbidden = [
        "read_to_end",
        "read_to_string",
        "read_exact",
        "read_line",
        "read_until",
        "BufReader",
        "wait_with_output",
        "thread::sleep",
    ];
    // What the system tells of a process is there at once, a program is a file, and so is a journal,
    // whose lock is waited for before anything is started.
    let mut files = sources("src");
    for (_, text) in &mut files {
        text.truncate(text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len()));
    }
    forbid(&files, &forbidden, |(path, line)| {
        line.contains("\"/proc/")
            || path == "src/process/lookup.rs"
            || path.starts_with("src/journal/")
    });
}

/// Code that is not a test handles each error. Nothing is assumed to succeed.
#[test]
fn no_error_is_assumed_away() {
    let mut files = sources("src");
    files.retain(|(path, _)| !path.ends_with("/tests.rs"));
    for (path, text) in &mut files {
        text.truncate(text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len()));
        for word in [".unwrap()", ".expect(", "unreachable!", "panic!"] {
            assert!(!text.contains(word), "{path}: {word}");
        }
    }
}

// ---- The house

/// The layers of the library: each may use those in the rows before its own.
const LAYERS: [&[&str]; 11] = [
    &["util"],
    &["job"],
    &["command", "journal"],
    &["protocol", "process", "output"],
    &["config", "interpreter"],
    &["worker", "input"],
    &["link"],
    &["pool"],
    &["agent"],
    &["server", "jetstream"],
    &["lib"],
];

/// Where a folder is in [`LAYERS`].
#[track_caller]
fn layer(room: &str) -> usize {
    let found = LAYERS.iter().position(|row| row.contains(&room));
    found.unwrap_or_else(|| panic!("{room} has no place among the layers in tests/it/source.rs"))
}

#[test]
fn no_layer_reaches_up() {
    for (file, targets) in imports() {
        let room = room_of(&file);
        for target in targets {
            let used = room_of(&target);
            let is_below = used == room || layer(used) < layer(room);
            assert!(is_below, "{file} uses {target}, which is no layer below its own");
        }
    }
}

/// A registry and its entries may know each other: the entries are in the registry's table, and use
/// what it has for all of them.
#[test]
fn no_circle_of_imports() {
    let imports = imports();
    for file in imports.keys() {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&String> = imports[file].iter().collect();
        while let Some(target) = next.pop() {
            if reached.insert(target) {
                next.extend(imports.get(target).into_iter().flatten());
            }
        }
        let is_registry = file.starts_with("src/protocol/");
        assert!(is_registry || !reached.contains(file), "{file} is in a circle: {reached:?}");
    }
}

/// Queues are a feature of their own: without it, no crate of theirs is built.
#[test]
fn the_usual_build_has_no_crate_of_queues() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--edges", "normal,build", "--prefix", "none", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo can be run");
    let crates = String::from_utf8_lossy(&output.stdout);
    assert!(crates.contains("clap"), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["async-nats", "futures-util", "nkeys", "ring", "rustls", "url", "tokio-util"] {
        assert!(!crates.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
    }
}

/// The library is built without what only the command needs.
#[test]
fn the_library_is_built_without_the_command() {
    if !crate::common::heavy() {
        return;
    }
    let cargo = |args: &[&str]| {
        let output = Command::new(env!("CARGO"))
            .args(args)
            .args(["--no-default-features", "--offline"])
            .current_dir(root())
            .output()
            .expect("cargo can be run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "cargo {args:?}: {said}");
        String::from_utf8(output.stdout).expect("text")
    };
    let crates = cargo(&["tree", "--edges", "normal", "--prefix", "none"]);
    assert!(crates.contains("serde_json"), "{crates}");
    let names: BTreeSet<_> = crates.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() <= 30, "the library alone takes {} crates: {names:?}", names.len());
    for name in ["anyhow", "clap", "close_fds", "quick-xml", "unicode-width"] {
        assert!(!crates.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
    }
    // In a folder of its own: other features, and nobody waits for another's lock.
    cargo(&["check", "--lib", "--target-dir", "target/library"]);
    // The engine without the features `csv` and `journal`.
    cargo(&["check", "--lib", "--features", "unstable-engine", "--target-dir", "target/library"]);
}

/// The library has few names. More that the command needs are in the module `engine`.
#[test]
fn public_names_are_few() {
    let text = read("src/lib.rs");
    let names = text.lines().filter_map(|line| line.strip_prefix("pub use "));
    let names: Vec<&str> = names
        .flat_map(|path| path.trim_end_matches(';').rsplit("::").next().unwrap_or(path).split(','))
        .map(|name| name.trim_matches(|byte| "{} ".contains(byte)))
        .collect();
    assert!(names.contains(&"Pool") && names.contains(&"Kind"), "{names:?}");
    assert!(names.len() <= 18, "{} names: {names:?}", names.len());
}

/// A file is a room that one person can look over, and so is a function a page.
#[test]
fn files_functions_and_structs_are_of_a_size_to_look_over() {
    for (path, text) in sources("src") {
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() <= 600, "{path} has {} lines", lines.len());
        for (begin, line) in lines.iter().enumerate() {
            let indent = &line[..line.len() - line.trim_start().len()];
            let end = lines[begin..].iter().position(|line| *line == format!("{indent}}}"));
            let Some(length) = end.map(|end| end + 1) else { continue };
            let code = lines[begin..begin + length].join("\n");
            if is_function(line) && !line.trim_end().ends_with([';', '}']) {
                assert!(length <= 60, "{path}, line {}: a function of {length} lines", begin + 1);
            }
            if is_struct(line) {
                let fields = code.lines().filter(|line| is_field(line)).count();
                assert!(fields <= 14, "{path}, line {}: a struct of {fields} fields", begin + 1);
            }
        }
    }
}

/// The first words of a line of code, without who may use it.
fn without_visibility(line: &str) -> &str {
    let line = line.trim_start();
    let Some(rest) = line.strip_prefix("pub") else { return line };
    rest.strip_prefix('(')
        .and_then(|rest| Some(rest.split_once(')')?.1))
        .unwrap_or(rest)
        .trim_start()
}

fn is_function(line: &str) -> bool {
    let line = without_visibility(line);
    let line = line.strip_prefix("const ").or(line.strip_prefix("async ")).unwrap_or(line);
    line.starts_with("fn ")
}

fn is_struct(line: &str) -> bool {
    without_visibility(line).starts_with("struct ") && line.trim_end().ends_with('{')
}

fn is_field(line: &str) -> bool {
    let field = without_visibility(line);
    line.starts_with("    ")
        && !line.starts_with("     ")
        && field
            .split_once(": ")
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// A reader of one file must not have to ask which of two things a name means.
#[test]
fn no_type_name_means_two_things() {
    // What traits of others are made of has their names.
    const OF_TRAITS: [&str; 6] = ["Item", "Output", "Value", "Target", "Err", "Error"];
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources("src") {
        for line in text.lines() {
            let mut words =
                without_visibility(line).split(|c: char| !(c.is_alphanumeric() || c == '_'));
            let is_definition = words
                .next()
                .is_some_and(|word| ["struct", "enum", "trait", "type"].contains(&word));
            let name = words.next().unwrap_or_default();
            if is_definition
                && name.starts_with(|c: char| c.is_ascii_uppercase())
                && !OF_TRAITS.contains(&name)
            {
                files.entry(name.to_owned()).or_default().insert(path.clone());
            }
        }
    }
    assert!(files.len() > 100, "{files:?}");
    for (name, files) in files {
        assert!(files.len() == 1, "{name} is defined in {files:?}");
    }
}

#[test]
fn an_if_is_not_a_match() {
    for (path, text) in sources("src") {
        let arm = text.lines().find(|line| {
            let line = line.trim_start();
            line.starts_with("true =>") || line.starts_with("false =>")
        });
        assert!(arm.is_none(), "{path}: {arm:?}");
    }
}

#[test]
fn no_public_error_is_a_string() {
    for (path, text) in sources("src") {
        if path.starts_with("src/bin/") {
            continue;
        }
        let signature =
            text.lines().find(|line| line.contains("pub fn ") && line.contains(", String> {"));
        assert!(signature.is_none(), "{path}: {signature:?}");
    }
}

/// The library names settings, in `util/setting.rs`. Which options set them only the command knows.
#[test]
fn the_library_names_no_option() {
    // These start programs with options of the programs' own.
    const STARTERS: [&str; 2] = ["src/link/boot.rs", "src/process/guardian.rs"];
    let options = crate::docs::option_names();
    let is_option = |word: &str| options.iter().any(|option| option == word);
    for (path, text) in sources("src") {
        let is_library = !path.starts_with("src/bin/") && !path.ends_with("/tests.rs");
        if !is_library || STARTERS.contains(&&*path) {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let line = line.replace("sudo -n", "sudo").replace("ssh -o", "ssh");
            let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '-'));
            let option = words.find(|word| is_option(word));
            assert!(option.is_none(), "{path} names {option:?}:\n{line}");
        }
    }
    // The options of the command's table exist.
    let table = read("src/bin/procpool/cli/setting_names.rs");
    let named: Vec<_> =
        table.split(['"', ' ']).filter(|word| word.starts_with('-') && *word != "->").collect();
    assert!(named.len() > 15, "{named:?}");
    named.iter().for_each(|word| assert!(is_option(word), "{word} is no option"));
}

/// Which files of the library use which others of it.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let files = sources("src");
    let files: Vec<_> = files.iter().filter(|(path, _)| !path.starts_with("src/bin/")).collect();
    let by_module: BTreeMap<String, &str> =
        files.iter().map(|(path, _)| (module_of(path), path.as_str())).collect();
    assert!(by_module.len() > 40, "{by_module:?}");
    let mut imports = BTreeMap::new();
    for (path, text) in &files {
        let module = module_of(path);
        let targets: BTreeSet<String> = uses(&module, text)
            .filter_map(|used| longest_module(&used, &by_module))
            .filter(|target| target != path)
            .map(str::to_owned)
            .collect();
        imports.insert(path.clone(), targets);
    }
    imports
}

/// The paths, from the root of the crate, that a module's code begins with `crate::`, `super::` or the
/// name of a module below it.
fn uses(module: &str, text: &str) -> impl Iterator<Item = String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: Vec<&str> =
        code.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect();
    let mut used = Vec::new();
    let above = module.rsplit_once("::").map_or("", |(above, _)| above);
    for line in &code {
        for (word, base) in [("crate::", ""), ("super::", above)] {
            for (at, _) in line.match_indices(word) {
                used.push(joined(base, path_in(&line[at + word.len()..])));
            }
        }
        if let Some(rest) = line.strip_prefix("use ").or(line.strip_prefix("pub use ")) {
            used.push(joined(module, path_in(rest)));
        }
    }
    used.into_iter()
}

/// The path that a text begins with: names with `::` between them.
fn path_in(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    &text[..end.unwrap_or(text.len())]
}

fn joined(base: &str, path: &str) -> String {
    if base.is_empty() { path.to_owned() } else { format!("{base}::{path}") }
}

/// The file of the longest path of modules that this path begins with.
fn longest_module<'a>(path: &str, by_module: &BTreeMap<String, &'a str>) -> Option<&'a str> {
    let mut path = path;
    loop {
        if let Some(file) = by_module.get(path.trim_end_matches(':')) {
            return Some(file);
        }
        path = path.rsplit_once("::")?.0;
    }
}

/// `src/pool/slot/mod.rs` is `pool::slot`.
fn module_of(path: &str) -> String {
    let path = path.strip_prefix("src/").and_then(|path| path.strip_suffix(".rs"));
    let path = path.expect("a source file").replace('/', "::");
    path.strip_suffix("::mod").map_or(path.clone(), str::to_owned)
}

/// The folder of `src` that a file is in, or its own name where it is in none.
fn room_of(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap_or(path);
    path.split(['/', '.']).next().unwrap_or(path)
}

#[test]
fn paths_are_found() {
    let used: Vec<String> =
        uses("a::b", "use super::c::D;\nuse d::E;\nlet x = crate::f::g(1);").collect();
    assert_eq!(used, ["a::c::D", "a::b::super::c::D", "a::b::d::E", "f::g"]);
    assert_eq!(module_of("src/pool/slot/mod.rs"), "pool::slot");
    assert_eq!(room_of("src/config.rs"), "config");
}

/// Asserts that no line of code holds one of these words, but where that is fine.
#[track_caller]
fn forbid(files: &[(String, String)], words: &[&str], is_fine: impl Fn((&str, &str)) -> bool) {
    for (path, text) in files {
        for (index, line) in text.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            for word in words.iter().filter(|word| !is_comment && has_word(line, word)) {
                let number = index + 1;
                assert!(is_fine((path, line)), "`{word}` in {path}, line {number}:\n{line}");
            }
        }
    }
}

/// Whether a line holds a word, and not only as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        !is_part(line[..at].chars().next_back()) && !is_part(line[at + word.len()..].chars().next())
    })
}

#[test]
fn words_are_whole() {
    assert!(has_word("println!(\"a\")", "println"));
    assert!(!has_word("eprintln!(\"a\")", "println"));
    assert!(!has_word("kill_process_group(a)", "kill_process"));
}

/// All Rust files in a folder of the repository: path and text.
pub(crate) fn sources(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root().join(&folder)) else {
            continue;
        };
        for entry in entries {
            let entry = entry.expect("the folder can be read");
            let name = entry.file_name().into_string().expect("the name is UTF-8");
            let path = format!("{folder}/{name}");
            match entry.path().is_dir() {
                true => folders.push(path),
                false if name.ends_with(".rs") => files.push((path.clone(), read(&path))),
                false => {}
            }
        }
    }
    files.sort();
    files
}

#[track_caller]
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
