//! Both commands of each pair in `man/procpool-from-parallel.7.md` are run, and print the same. The man page
//! is made from that file.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::common::need;
use tempfile::TempDir;

const SOURCE: &str = "man/procpool-from-parallel.7.md";
const PAGE: &str = "man/procpool-from-parallel.7";

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("it can be read")
}

/// A section: its title and the commands in it.
fn sections(text: &str) -> Vec<(&str, Vec<&str>)> {
    let sections = text.split("\n## ").skip(1);
    sections
        .map(|section| {
            let commands = section.lines().filter_map(|line| line.strip_prefix("    $ "));
            (section.lines().next().unwrap_or_default(), commands.collect())
        })
        .collect()
}

/// The files that the commands read.
fn files() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    // GNU parallel writes into its own folder.
    fs::create_dir(folder.path().join("home")).expect("a folder");
    let work = folder.path().join("work");
    fs::create_dir_all(work.join("sub")).expect("a folder");
    for (name, text) in [
        ("a.txt", "A\n"),
        ("b c.txt", "B\n"),
        ("sub/d.txt", "D\n"),
        ("list.txt", "a.txt\nb c.txt\n"),
        ("table.tsv", "n1\t1\nn 2\t2\n"),
        ("table.csv", "name,size\n\"Smith, J.\",3\nLee,5\n"),
        ("abc-file", "A\nB\nC\n"),
        ("def-file", "D\nE\nF\n"),
        ("abc_-file", "A_B_C_"),
        ("tsv-file.tsv", "f1\tf2\nA\tB\nC\tD\n"),
        ("my.fasta", ">a\nAC\nGT\n>b\nTT\n"),
    ] {
        fs::write(work.join(name), text).expect("it can be written");
    }
    let numbers: String = (1..=2000).map(|number| format!("{number}\n")).collect();
    fs::write(work.join("num"), numbers).expect("it can be written");
    folder
}

fn printed(command: &str, folder: &Path) -> Vec<u8> {
    let program = Path::new(env!("CARGO_BIN_EXE_procpool")).parent().expect("a folder");
    let others = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(folder.join("work"))
        .env("PATH", format!("{}:{others}", program.display()))
        .env("PARALLEL_HOME", folder.join("home"))
        .env("LC_ALL", "C")
        .env_remove("PROCPOOL_OPTIONS")
        .env_remove("XDG_RUNTIME_DIR")
        .stdin(Stdio::null())
        .output()
        .expect("sh runs");
    output.stdout
}

/// The lines that a command of a section prints.
fn lines(title: &str, command: &str) -> Vec<String> {
    let text = String::from_utf8(printed(command, files().path())).expect("UTF-8");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if title.contains("any order") {
        lines.sort();
    }
    lines
}

#[test]
fn both_print_the_same() {
    if !need("xargs") || !need("parallel") {
        return;
    }
    let has_csv = {
        let perl = Command::new("perl").args(["-MText::CSV", "-e", "1"]).output();
        perl.is_ok_and(|output| output.status.success())
    };
    if !has_csv {
        let required = std::env::var_os("PROCPOOL_TEST_REQUIRE").is_some_and(|what| what == "all");
        assert!(!required, "Text::CSV is not installed, which parallel --csv needs");
        println!("skipped: Text::CSV is not installed");
    }
    let text = read(SOURCE);
    let sections = sections(&text);
    let next = AtomicUsize::new(0);
    let check_some = || {
        while let Some((title, commands)) = sections.get(next.fetch_add(1, Ordering::Relaxed)) {
            let [theirs, ours] = commands[..] else {
                panic!("{title}: two commands, not {commands:?}")
            };
            if theirs.contains("--csv") && !has_csv {
                continue;
            }
            let (expected, got) = (lines(title, theirs), lines(title, ours));
            assert_eq!(got, expected, "{title}: {ours}");
            assert!(!expected.is_empty() || title.contains("No args"), "{title} prints nothing");
        }
    };
    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(check_some))));
}

/// The page says how many pairs each part has.
#[test]
fn the_page_counts_its_pairs() {
    let text = read(SOURCE);
    let counts: Vec<usize> =
        text.split("\n# ").skip(1).take(3).map(|part| sections(part).len()).collect();
    let [common, examples, tutorial] = counts[..] else { panic!("three parts, not {counts:?}") };
    let said = format!(
        "There are {common} common uses, {examples} pairs for GNU parallel's page of examples, and \
         {tutorial} for its tutorial."
    );
    let text = text.replace('\n', " ");
    assert!(text.contains(&said), "{said}");
}

#[test]
fn the_page_is_fresh() {
    let page = page(&read(SOURCE));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("PROCPOOL_UPDATE").is_some() {
        fs::write(&file, &page).expect("it can be written");
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == page,
        "{PAGE} is stale: PROCPOOL_UPDATE=1 cargo test --test it from_parallel makes it anew"
    );
}

/// The man page of a text in the little Markdown that this one has.
fn page(text: &str) -> String {
    let escaped = |line: &str| {
        let line = line.replace('\\', "\\e").replace('-', "\\-").replace('`', "");
        if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
    };
    let mut page = String::from(
        ".TH procpool-from-parallel 7\n.SH NAME\nprocpool\\-from\\-parallel \\- procpool for users of \
         xargs and GNU parallel\n.SH DESCRIPTION\n",
    );
    let mut in_code = false;
    for line in text.lines().skip(2) {
        let code = line.strip_prefix("    ");
        if in_code && code.is_none() {
            page.push_str(".fi\n.RE\n");
        }
        if !in_code && code.is_some() {
            page.push_str(".RS 4\n.nf\n");
        }
        in_code = code.is_some();
        match (code, line.strip_prefix("## "), line.strip_prefix("- ")) {
            (Some(code), ..) => page.push_str(&format!("{}\n", escaped(code))),
            (_, Some(title), _) => page.push_str(&format!(".SS {}\n", escaped(title))),
            (.., Some(item)) => page.push_str(&format!(".IP \\(bu 2\n{}\n", escaped(item))),
            _ if line.is_empty() => page.push_str(".PP\n"),
            _ if line.starts_with("# ") => {
                page.push_str(&format!(".SH {}\n", escaped(&line[2..].to_uppercase())));
            }
            _ => page.push_str(&format!("{}\n", escaped(line.trim_start()))),
        }
    }
    if in_code {
        page.push_str(".fi\n.RE\n");
    }
    page.push_str(".SH SEE ALSO\n.BR procpool (1),\n.BR xargs (1),\n.BR parallel (1)\n");
    page
}
