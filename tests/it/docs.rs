//! What is written about procpool agrees with procpool: the man page and the completions, README,
//! ARCHITECTURE.md and CHANGELOG.md; and the invariants hold that the source itself can show.

#[expect(dead_code, reason = "only the definition of the command line is of use here")]
#[path = "../../src/bin/procpool/cli/mod.rs"]
mod cli;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::common::{Test, need};
use clap::Arg;
use clap_complete::Shell;
use clap_mangen::Man;
use tempfile::TempDir;

// ---- Generated files

#[test]
fn the_man_page_is_fresh() {
    is_fresh("man/procpool.1", &man_page());
}

#[test]
fn the_man_page_has_all_sections() {
    let page = man_page();
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
    assert_eq!(
        sections,
        [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXAMPLES",
            "JOBS",
            "\"EXIT STATUS\"",
            "VERSION"
        ]
    );
    for heading in headings() {
        assert!(page.contains(&format!("\n.SS {heading}\n")), "{heading}");
    }
}

#[test]
fn the_completions_are_fresh() {
    for (shell, path) in [
        (Shell::Bash, "completions/procpool.bash"),
        (Shell::Zsh, "completions/_procpool"),
        (Shell::Fish, "completions/procpool.fish"),
    ] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut cli::definition(), "procpool", &mut script);
        is_fresh(path, std::str::from_utf8(&script).expect("a completion is UTF-8"));
    }
}

/// Compares a committed file with what it is generated from; with `PROCPOOL_UPDATE=1`, writes it.
#[track_caller]
fn is_fresh(path: &str, generated: &str) {
    let file = root().join(path);
    if std::env::var_os("PROCPOOL_UPDATE").is_some_and(|update| update == "1") {
        return fs::write(file, generated).expect("the file can be written");
    }
    assert!(
        fs::read_to_string(file).is_ok_and(|committed| committed == generated),
        "{path} is stale: the command line has changed since it was generated. Regenerate it: \
         PROCPOOL_UPDATE=1 cargo test --test it docs"
    );
}

/// The man page, all of it from the definition of the command line.
fn man_page() -> String {
    let definition = cli::definition();
    let man = Man::new(definition.clone());
    let description = definition.get_long_about().expect("a long description").to_string();
    let extra = definition.get_after_long_help().expect("examples").to_string();

    let mut page = String::from(APOSTROPHE);
    // No date: it would make every page stale.
    page.push_str(&format!(
        ".TH PROCPOOL 1 \"\" \"procpool {}\" \"User Commands\"\n",
        env!("CARGO_PKG_VERSION")
    ));
    page.push_str(&rendered(|out| man.render_name_section(out)));
    page.push_str(&rendered(|out| man.render_synopsis_section(out)));
    page.push_str(&section("DESCRIPTION", &description));

    // Groups of options are parts of one section, and an option has all of its names.
    let mut part = rendered(|out| man.render_options_section(out));
    for heading in headings() {
        let section = format!("\n.SH {}\n", heading.to_uppercase());
        assert!(part.contains(&section), "no section for {heading}");
        part = part.replace(&section, &format!("\n.SS {heading}\n"));
    }
    for option in options() {
        let bold = |short: char| format!("\n\\fB\\-{short}\\fR, ");
        for alias in option.get_visible_short_aliases().unwrap_or_default() {
            let short = bold(option.get_short().expect("an alias is of a short name"));
            assert!(part.contains(&short), "{short}");
            part = part.replace(&short, &format!("{short}{}", bold(alias).trim_start()));
        }
    }
    page.push_str(&part);

    // Each paragraph begins with its heading.
    for paragraph in extra.split("\n\n") {
        let (heading, body) = paragraph.split_once('\n').expect("a heading and a body");
        let heading = heading.strip_suffix(':').expect("a heading ends with a colon");
        page.push_str(&match heading.split_once(", ") {
            Some((heading, rest)) => {
                let (first, rest) = rest.split_at(1);
                section(heading, &format!("{}{rest}:\n\n{body}", first.to_uppercase()))
            }
            None => section(heading, body),
        });
    }
    page.push_str(&rendered(|out| man.render_version_section(out)));
    page
}

/// Defines the string `Aq`, an apostrophe that can be copied.
const APOSTROPHE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// What a part of the page is rendered to, without what is defined once at the head of the page.
fn rendered(render: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> String {
    let mut roff = Vec::new();
    render(&mut roff).expect("a Vec takes everything");
    let roff = String::from_utf8(roff).expect("roff is UTF-8");
    roff.strip_prefix(APOSTROPHE).expect("a part begins with this").to_owned()
}

/// A section of running text; indented lines stay as they are.
fn section(heading: &str, text: &str) -> String {
    let heading = heading.to_uppercase();
    let mut roff = match heading.contains(' ') {
        true => format!(".SH \"{heading}\"\n"),
        false => format!(".SH {heading}\n"),
    };
    let mut is_indented = false;
    for line in text.lines() {
        if line.starts_with(' ') != is_indented {
            is_indented = !is_indented;
            roff.push_str(if is_indented { ".RS 4\n.nf\n" } else { ".fi\n.RE\n" });
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
    match escaped.starts_with('.') {
        true => format!("\\&{escaped}"),
        false => escaped,
    }
}

// ---- Help

/// The headings of the groups of options, in their order.
fn headings() -> Vec<String> {
    let mut headings: Vec<String> = Vec::new();
    for arg in cli::definition().get_arguments().filter(|arg| !arg.is_positional()) {
        let heading = heading(arg);
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    headings
}

fn heading(arg: &Arg) -> String {
    arg.get_help_heading().expect("every option stands under a heading").to_owned()
}

/// All options, in the order of the help.
fn options() -> Vec<Arg> {
    let mut definition = cli::definition();
    definition.build();
    let mut options: Vec<Arg> =
        definition.get_arguments().filter(|arg| !arg.is_positional()).cloned().collect();
    let headings = headings();
    options.sort_by_key(|arg| headings.iter().position(|other| *other == heading(arg)));
    options
}

#[test]
fn short_help_fits_a_screen() {
    let help = cli::definition().term_width(100).render_help().to_string();
    let longest = help.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{longest:?} columns:\n{help}");
    assert!(help.lines().count() <= 50, "{} lines:\n{help}", help.lines().count());
}

#[test]
fn long_help_groups_the_options() {
    let help = cli::definition().term_width(100).render_long_help().to_string();
    let headings = headings();
    assert!(headings.len() >= 5, "{headings:?}");
    let mut rest = help.as_str();
    for heading in &headings {
        let heading = format!("\n{heading}:\n");
        let at = rest.find(&heading).unwrap_or_else(|| panic!("{heading:?} is not in its place"));
        rest = &rest[at + heading.len()..];
    }
    for option in options() {
        let long = option.get_long().expect("every option has a long name");
        let names = help.lines().filter(|line| line.trim_start().starts_with('-'));
        let names = names.flat_map(|line| line.split_ascii_whitespace().take(2));
        let count = names.filter(|name| *name == format!("--{long}")).count();
        assert_eq!(count, 1, "--{long} is told of once");
    }
}

#[test]
fn help_and_version_of_the_program() {
    let version = format!("procpool {}\n", env!("CARGO_PKG_VERSION"));
    Test::new().arg("--version").stdout(version).run();
    for (flag, render) in [
        ("-h", clap::Command::render_help as fn(&mut clap::Command) -> clap::builder::StyledStr),
        ("--help", clap::Command::render_long_help),
    ] {
        let help = render(&mut cli::definition().term_width(100)).to_string();
        Test::new().arg(flag).env("COLUMNS", "100").stdout(help).run();
    }
}

// ---- README.md

#[test]
fn the_readme_lists_exactly_the_options_there_are() {
    let readme = read("README.md");
    let mut rows: BTreeMap<String, &str> = BTreeMap::new();
    let mut order = Vec::new();
    let table = readme.split("\n## Options\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    for line in table.expect("README.md has the section").lines() {
        let first = line.strip_prefix("| ").and_then(|row| row.split(" | ").next());
        let Some((_, rest)) = first.and_then(|cell| cell.split_once("--")) else {
            continue;
        };
        let name: String =
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        order.push(name.clone());
        assert!(rows.insert(name, line).is_none(), "twice: {line}");
    }
    let options = options();
    let names: Vec<_> = options.iter().filter_map(Arg::get_long).collect();
    assert_eq!(order, names, "the option table of README.md, in the order of --help");

    for option in &options {
        let row = rows[option.get_long().expect("every option has a long name")];
        let row = row.replace("\\|", "|");
        let shorts = option.get_short_and_visible_aliases().unwrap_or_default();
        for short in shorts {
            assert!(row.contains(&format!("`-{short}`")), "-{short}: {row}");
        }
        if option.get_action().takes_values() {
            let names = option.get_value_names().expect("a value has a name");
            assert!(row.contains(names[0].as_str()), "{}: {row}", names[0]);
            for default in option.get_default_values() {
                let default = default.to_string_lossy();
                assert!(row.contains(&format!("`{default}`")), "default {default}: {row}");
            }
        }
        for value in option.get_possible_values() {
            if option.get_action().takes_values() {
                assert!(row.contains(value.get_name()), "value {}: {row}", value.get_name());
            }
        }
    }
}

#[test]
fn the_readme_names_every_kind_and_status() {
    let readme = read("README.md");
    let kinds = ["invalid", "error", "exit", "crash", "timeout", "protocol", "spawn", "cancelled"];
    for kind in kinds {
        assert!(readme.contains(&format!("| `{kind}` |")), "the kind {kind}");
    }
    for status in ["0", "1", "2", "125", "126", "127", "128+N"] {
        assert!(readme.contains(&format!("| {status} |")), "the status {status}");
    }
}

/// Runs each session of README.md, in a folder that holds its smallest worker as `worker.py`, and
/// the examples. A line `…` in its output stands for any number of lines.
#[test]
fn the_sessions_in_the_readme_are_real() {
    if !need("python3") {
        return;
    }
    let readme = read("README.md");
    let folder = TempDir::new().expect("a folder");
    let worker = blocks(&readme, "python").next().expect("a worker in Python");
    fs::write(folder.path().join("worker.py"), worker).expect("the folder can be written to");
    let examples = root().join("examples");
    std::os::unix::fs::symlink(examples, folder.path().join("examples")).expect("a link");

    let sessions: Vec<&str> = blocks(&readme, "console").collect();
    assert!(sessions.len() >= 3, "{} sessions", sessions.len());
    for session in sessions {
        // The output of each command ends with this line; `$?` is as the command left it.
        const END: &str = "---- the end ----";
        let mut script = String::from("procpool() { \"$program\" \"$@\"; }\nprogram=$1\n");
        let (mut expected, mut is_first) = (String::new(), true);
        for line in session.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => {
                    let command = command.replace("cargo run --release --", "procpool");
                    script
                        .push_str(&format!("{command}\nstatus=$?; echo '{END}'; (exit $status)\n"));
                    expected.push_str(if is_first { "" } else { "---- the end ----\n" });
                    is_first = false;
                }
                None => expected.push_str(&format!("{line}\n")),
            }
        }
        expected.push_str(&format!("{END}\n"));
        let output = Test::through_shell(&format!("exec 2>&1\n{script}\ntrue"))
            .cwd(folder.path())
            .any_stdout()
            .run();
        let printed = String::from_utf8(output.stdout).expect("the output is UTF-8");
        let printed: Vec<&str> = printed.lines().collect();
        let expected: Vec<&str> = expected.lines().collect();
        assert!(is_as_shown(&printed, &expected), "{session}\nreally prints\n{printed:#?}");
    }
}

/// Whether lines are as a session shows them.
fn is_as_shown(printed: &[&str], shown: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((&"…", rest)) => (0..=printed.len()).any(|at| is_as_shown(&printed[at..], rest)),
        Some((line, rest)) => printed
            .split_first()
            .is_some_and(|(first, others)| first == line && is_as_shown(others, rest)),
    }
}

/// The library's example stands in README.md word for word, so that it is compiled and run.
#[test]
fn the_library_example_in_the_readme_is_the_one_that_is_run() {
    let readme = read("README.md");
    let snippet = blocks(&readme, "rust").next().expect("a snippet in Rust");
    assert!(read("examples/library.rs").contains(snippet), "examples/library.rs lacks:\n{snippet}");
}

/// The code blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let fence = format!("\n```{language}\n");
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once(fence.as_str())?;
        let end = behind.find("```").expect("a code block has an end");
        rest = &behind[end..];
        Some(&behind[..end])
    })
}

// ---- ARCHITECTURE.md, CHANGELOG.md

#[test]
fn the_tests_that_architecture_names_exist() {
    let architecture = read("ARCHITECTURE.md");
    let files: Vec<_> = sources("src").into_iter().chain(sources("tests")).collect();
    let mut count = 0;
    for name in architecture.split('`').skip(1).step_by(2) {
        let Some((file, test)) = name.split_once("::") else {
            continue;
        };
        let is_test_name = |name: &str| {
            name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        if !is_test_name(file) || !is_test_name(test) {
            continue;
        }
        let exists = files.iter().any(|(path, text)| {
            Path::new(path).file_stem().is_some_and(|stem| stem == file)
                && text.contains(&format!("fn {test}("))
        });
        assert!(exists, "ARCHITECTURE.md names the test `{name}`, which is nowhere");
        count += 1;
    }
    assert!(count >= 8, "only {count} tests are named");
}

#[test]
fn the_changelog_tells_of_this_version() {
    let changelog = read("CHANGELOG.md");
    let version = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(changelog.contains("## [Unreleased]") || changelog.contains(&version));
}

#[test]
fn the_licence_is_the_one_that_the_package_names() {
    let licence = read("LICENSE");
    assert_eq!(env!("CARGO_PKG_LICENSE"), "BSD-3-Clause");
    assert!(licence.contains("BSD 3-Clause License") && licence.contains("procpool authors"));
}

// ---- Invariants that the source shows

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
    forbid(&sources("src"), &forbidden, |(path, line)| {
        line.contains("\"/proc/")
            || path == "src/process/lookup.rs"
            || path.starts_with("src/journal/")
    });
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
fn sources(folder: &str) -> Vec<(String, String)> {
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
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
