//! The documents agree with procpool: the man page and the completions, README, the
//! pages in docs, ARCHITECTURE.md and CHANGELOG.md.

#[expect(
    dead_code,
    unused_imports,
    reason = "only the definition of the command line is of use here"
)]
#[path = "../../src/bin/procpool/cli/mod.rs"]
mod cli;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::common::{Test, need, without_times};
use crate::source::{read, root, sources};
use clap::Arg;
use tempfile::TempDir;

// ---- Generated files

#[test]
fn the_man_page_is_fresh() {
    is_fresh("man/procpool.1", &man_page());
}

/// After each `.TP` comes a line with the names, and then the text.
#[test]
fn each_option_in_the_man_page_has_a_text() {
    let page = man_page();
    let (_, rest) = page.split_once("\n.SH OPTIONS\n").expect("the section");
    let (section, _) = rest.split_once("\n.SH ").expect("a section after it");
    let section = format!("\n{section}");
    let entries: Vec<&str> = section.split("\n.TP\n").skip(1).collect();
    assert_eq!(entries.len(), options().len() + 1, "all options, and COMMAND");
    for entry in entries {
        let (names, text) = entry.split_once('\n').unwrap_or((entry, ""));
        let text = text.lines().next().unwrap_or_default();
        let has_text = text.chars().filter(|c| c.is_alphabetic()).count() > 10;
        assert!(has_text && !text.starts_with('.'), "{names} has no text: {text:?}");
    }
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
            "CODE",
            "WORKERS",
            "RESULTS",
            "FAILURES",
            "JOURNAL",
            "REPORTS",
            "HOSTS",
            "SERVERS",
            "QUEUES",
            "SIGNALS",
            "ENVIRONMENT",
            "FILES",
            "\"SEE ALSO\"",
        ]
    );
    for heading in headings() {
        assert!(page.contains(&format!("\n.SS {heading}\n")), "{heading}");
    }
}

#[test]
fn the_man_page_can_be_formatted() {
    if !need("mandoc") {
        return;
    }
    let file = TempDir::new().expect("a folder");
    let path = file.path().join("procpool.1");
    fs::write(&path, man_page()).expect("there is room");
    let lint = std::process::Command::new("mandoc")
        .args(["-W", "error", "-T", "lint"])
        .arg(&path)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&lint.stdout);
    // It lists matters of style as well.
    let errors =
        text.lines().filter(|line| line.contains(" ERROR: ") || line.contains(" UNSUPP: "));
    assert_eq!(errors.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn the_completions_are_fresh() {
    for (shell, path) in [
        ("bash", "completions/procpool.bash"),
        ("zsh", "completions/_procpool"),
        ("fish", "completions/procpool.fish"),
        ("powershell", "completions/procpool.ps1"),
    ] {
        is_fresh(path, &generated(shell));
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

/// What `--generate` prints.
fn generated(what: &str) -> String {
    let output = Test::new().args(["--generate", what]).any_stdout().any_stderr().run();
    String::from_utf8(output.stdout).expect("it is UTF-8")
}

fn man_page() -> String {
    generated("man")
}

// ---- Help

/// The headings of the groups of options, in their order.
fn headings() -> Vec<String> {
    let mut headings: Vec<String> = Vec::new();
    for arg in cli::options::definition().get_arguments().filter(|arg| !arg.is_positional()) {
        let heading = heading(arg);
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    headings
}

fn heading(arg: &Arg) -> String {
    arg.get_help_heading().expect("every option is under a heading").to_owned()
}

/// The names of all options: `--resume`, `-I`.
pub(crate) fn option_names() -> Vec<String> {
    let names = options().into_iter().flat_map(|arg| {
        let longs = arg.get_long_and_visible_aliases().unwrap_or_default();
        let shorts = arg.get_short_and_visible_aliases().unwrap_or_default();
        let longs: Vec<_> = longs.iter().map(|long| format!("--{long}")).collect();
        longs.into_iter().chain(shorts.into_iter().map(|short| format!("-{short}")))
    });
    names.collect()
}

/// All options, in the order of the help.
fn options() -> Vec<Arg> {
    let mut definition = cli::options::definition();
    definition.build();
    let mut options: Vec<Arg> =
        definition.get_arguments().filter(|arg| !arg.is_positional()).cloned().collect();
    let headings = headings();
    options.sort_by_key(|arg| headings.iter().position(|other| *other == heading(arg)));
    options
}

/// A terminal of 24 lines and 80 columns, one line of which is the prompt.
#[test]
fn short_help_fits_a_screen() {
    let output = Test::new().arg("-h").env("COLUMNS", "80").any_stdout().run();
    let help = String::from_utf8(output.stdout).expect("it is UTF-8");
    let lines: Vec<&str> = help.lines().collect();
    assert!(lines.len() <= 23, "{} lines:\n{help}", lines.len());
    for line in &lines {
        assert!(line.chars().count() <= 80, "{line:?}");
    }
    assert_eq!(lines[0], "Examples:");
    for example in &lines[1..4] {
        assert!(example.contains("procpool ") && example.contains(" # "), "{example}");
    }
    let names = option_names();
    let words = help.split(|c: char| c.is_whitespace() || ",;:".contains(c));
    let named: Vec<&str> = words.filter(|word| word.starts_with("--")).collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let name = name.split('=').next().unwrap_or(name);
        assert!(names.iter().any(|known| known == name), "-h names {name}, which is no option");
    }
}

#[test]
fn long_help_groups_the_options() {
    let help = cli::options::definition().term_width(100).render_long_help().to_string();
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
        // A value that may be left out is in brackets.
        let names = names.filter_map(|name| name.split('[').next());
        let count = names.filter(|name| *name == format!("--{long}")).count();
        assert_eq!(count, 1, "--{long} is listed once");
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
        let help = render(&mut cli::options::definition().term_width(100)).to_string();
        Test::new().arg(flag).env("COLUMNS", "100").stdout(help).run();
    }
}

// ---- README.md and docs

#[test]
fn the_reference_lists_exactly_the_options_there_are() {
    let reference = read("docs/reference.md");
    let mut rows: BTreeMap<String, &str> = BTreeMap::new();
    let mut order = Vec::new();
    let table =
        reference.split("\n## Options\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    for line in table.expect("the section is there").lines() {
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
    assert_eq!(order, names, "the table of options, in the order of --help");

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
fn the_reference_names_every_kind_and_status() {
    let reference = read("docs/reference.md");
    let page = man_page();
    for kind in [
        "invalid",
        "error",
        "exit",
        "crash",
        "timeout",
        "memory",
        "protocol",
        "spawn",
        "cancelled",
        "lost",
    ] {
        assert!(reference.contains(&format!("| `{kind}` |")), "the kind {kind}");
        assert!(page.contains(&format!("\n\\fB{kind}\\fR\n")), "the kind {kind}");
    }
    for status in ["0", "1", "2", "125", "126", "127", "128+N"] {
        assert!(reference.contains(&format!("| {status} |")), "the status {status}");
    }
}

#[test]
fn the_sessions_in_the_readme_are_real() {
    sessions_are_real("README.md");
}

#[test]
fn the_sessions_about_programs_are_real() {
    sessions_are_real("docs/programs.md");
}

#[test]
fn the_sessions_in_the_guide_are_real() {
    sessions_are_real("docs/guide.md");
}

#[test]
fn the_sessions_about_servers_are_real() {
    sessions_are_real("docs/server.md");
}

#[test]
fn the_sessions_about_workers_are_real() {
    sessions_are_real("docs/workers.md");
}

#[test]
fn the_sessions_about_code_are_real() {
    sessions_are_real("docs/code.md");
}

#[test]
fn the_sessions_about_the_terminal_are_real() {
    sessions_are_real("docs/terminal.md");
}

#[test]
fn the_sessions_in_the_reference_are_real() {
    if need("bash") {
        sessions_are_real("docs/reference.md");
    }
}

/// The programs that the recipes drive are there, or stand-ins for them (`tests/stand-ins`).
#[test]
fn the_recipes_are_real() {
    if ["python3", "perl", "jq", "make", "git", "tar"].into_iter().all(need) {
        sessions_are_real("docs/cookbook.md");
    }
}

#[test]
fn there_are_forty_recipes_in_order() {
    let page = read("docs/cookbook.md");
    let recipes: Vec<&str> = page.lines().filter(|line| line.starts_with("**")).collect();
    assert!(recipes.len() >= 40, "{} recipes", recipes.len());
    for (index, recipe) in recipes.iter().enumerate() {
        assert!(recipe.starts_with(&format!("**{}. ", index + 1)), "{recipe}");
    }
}

/// Runs each session of a page, in a folder that holds the smallest worker on it as `worker.py`, and
/// the examples. A line `…` in its output is any number of lines.
#[track_caller]
fn sessions_are_real(page: &str) {
    if !need("python3") {
        return;
    }
    let page = read(page);
    let folder = TempDir::new().expect("a folder");
    if let Some(worker) = blocks(&page, "python").next() {
        fs::write(folder.path().join("worker.py"), worker).expect("the folder can be written to");
    }
    let stand_ins = root().join("tests/stand-ins");
    let path = format!("{}:{}", stand_ins.display(), std::env::var("PATH").expect("a PATH"));
    let examples = root().join("examples");
    std::os::unix::fs::symlink(examples, folder.path().join("examples")).expect("a link");

    let sessions: Vec<&str> = blocks(&page, "console").collect();
    assert!(sessions.len() >= 3, "{} sessions", sessions.len());
    for session in sessions {
        // The output of each command ends with this line; `$?` is as the command left it.
        const END: &str = "---- the end ----";
        let mut script = String::from("program=$1; PATH=${1%/*}:$PATH; export PATH\n");
        let (mut expected, mut is_first) = (String::new(), true);
        // A line that begins with `>` goes on with the command.
        for line in session.replace("\n> ", "\r").lines() {
            let line = line.replace('\r', "\n");
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
            .stderr("")
            .cwd(folder.path())
            .env("PATH", &path)
            .env("PYTHONPATH", &stand_ins)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .any_stdout()
            .run();
        let printed = String::from_utf8(output.stdout).expect("the output is UTF-8");
        // The time of a failed job is another one each time.
        let (printed, expected) = (without_times(&printed), without_times(&expected));
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

#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 180, "{lines} lines");
}

#[test]
fn the_architecture_is_short() {
    let lines = read("ARCHITECTURE.md").lines().count();
    assert!(lines <= 250, "{lines} lines");
}

/// Every link to a file of the repository, or to a heading of one, leads somewhere.
#[test]
fn links_lead_somewhere() {
    for page in [
        "README.md",
        "docs/guide.md",
        "docs/cookbook.md",
        "docs/workers.md",
        "docs/code.md",
        "docs/server.md",
        "docs/queue.md",
        "docs/terminal.md",
        "docs/programs.md",
        "docs/reference.md",
    ] {
        let text = read(page);
        let folder = root().join(page).parent().expect("a folder").to_owned();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http")) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { root().join(page) } else { folder.join(path) };
            assert!(file.exists(), "{page}: {target}");
            if !heading.is_empty() {
                let text = fs::read_to_string(&file).expect("a page");
                let is_there = text.lines().any(|line| {
                    line.starts_with('#') && anchor(line.trim_start_matches('#').trim()) == heading
                });
                assert!(is_there, "{page}: {target}");
            }
        }
    }
}

/// The anchor of a heading: punctuation is left out.
fn anchor(heading: &str) -> String {
    let is_kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    heading.to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-")
}

/// The code blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let fence = format!("\n```{language}\n");
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, block) = rest.split_once(fence.as_str())?;
        let end = block.find("```").expect("a code block has an end");
        rest = &block[end..];
        Some(&block[..end])
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
            // The folder of a file of tests has the name of the tested file.
            let path = path.strip_suffix("/tests.rs").unwrap_or(path);
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
