//! Instructions per job of each step that a job goes through, and of the whole program, beside those of
//! `instructions.txt`: `cargo bench --bench instructions`. valgrind counts them, so that a regression is found on
//! a busy machine as well. `-- --update` writes the counts to `instructions.txt` and to the table in `README.md`.

#[path = "parts/steps.rs"]
mod steps;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use tempfile::TempDir;

type Result<T> = std::result::Result<T, String>;

/// A count that is higher by this share is marked.
const TOLERANCE: f64 = 0.03;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["step", name, size, count] => step(name, size, count),
        // `cargo test` must not wait for it.
        args if !args.contains(&"--bench") => Ok(()),
        args => compare(args.contains(&"--update")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("instructions: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Does a step many times: valgrind counts what this process does.
fn step(name: &str, size: &str, count: &str) -> Result<()> {
    let (_, prepare) = steps::STEPS.iter().find(|step| step.0 == name).ok_or("no such step")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    prepare(number(size)? as usize)(number(count)?);
    Ok(())
}

fn compare(update: bool) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let before = fs::read_to_string(&file).unwrap_or_default();
    let before = committed(&before);
    let mut text = String::new();
    println!("{:34} {:>12} {:>9} {:>7}", "instructions per job", "committed", "now", "");
    for (name, count) in steps_counted()?.into_iter().chain(programs_counted()?) {
        let _ = writeln!(text, "{name}\t{count}");
        let old = before.get(name.as_str()).copied();
        let ratio = old.map(|old| count as f64 / old as f64);
        let mark = if ratio.is_some_and(|ratio| ratio > 1.0 + TOLERANCE) { " more" } else { "" };
        let old = old.map_or("–".to_owned(), |old| old.to_string());
        let ratio = ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
        println!("{name:34} {old:>12} {count:>9} {ratio:>7}{mark}");
    }
    if !update {
        return Ok(());
    }
    let readme = file.with_file_name("README.md");
    let page = fs::read_to_string(&readme).map_err(|error| error.to_string())?;
    let page = with_table(&page, &text).ok_or("README.md has no table of instructions")?;
    [(file, text), (readme, page)].into_iter().try_for_each(|(path, text)| {
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    })
}

/// The page with these counts in its table.
fn with_table(page: &str, counts: &str) -> Option<String> {
    const HEAD: &str = "| step | instructions per job |\n|---|---:|\n";
    let (before, rest) = page.split_once(HEAD)?;
    let (_, after) = rest.split_once("\n\n")?;
    let rows: String = counts.lines().filter_map(|line| line.split_once('\t')).map(row).collect();
    Some(format!("{before}{HEAD}{rows}\n{after}"))
}

fn row((step, count): (&str, &str)) -> String {
    let digits = count.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    format!("| {step} | {} |\n", digits.collect::<Vec<_>>().join(","))
}

fn committed(text: &str) -> HashMap<&str, u64> {
    let counts = text.lines().filter_map(|line| line.split_once('\t'));
    counts.filter_map(|(name, count)| Some((name, count.parse().ok()?))).collect()
}

fn steps_counted() -> Result<Vec<(String, u64)>> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    for (name, _) in steps::STEPS {
        for size in steps::SIZES {
            let count = |jobs: u64| {
                let mut command = counted(&program);
                counts(command.args(["step", name, &size.to_string(), &jobs.to_string()]))
            };
            all.push((format!("{name}, {size} bytes"), per_job(count, 1000, 21_000)?));
        }
    }
    Ok(all)
}

/// The whole program with workers, which are not counted.
fn programs_counted() -> Result<Vec<(String, u64)>> {
    let folder = TempDir::new().map_err(|error| error.to_string())?;
    let jobs = |number: u64| -> Result<PathBuf> {
        let path = folder.path().join(number.to_string());
        let lines: String =
            (1..=number).map(|n| format!("{{\"cmd\":\"double\",\"args\":[{n}]}}\n")).collect();
        let mut file = File::create(&path).map_err(|error| error.to_string())?;
        file.write_all(lines.as_bytes()).map_err(|error| error.to_string())?;
        Ok(path)
    };
    let worker = example("double")?;
    let procpool = Path::new(env!("CARGO_BIN_EXE_procpool"));
    let mut all = Vec::new();
    for (name, pipeline, few, many) in
        [("auto", "auto", 20_000, 200_000), ("one in flight", "1", 10_000, 40_000)]
    {
        let count = |number: u64| {
            let mut command = counted(procpool);
            command.args(["-j2", "--pipeline", pipeline, "-w"]).arg(&worker).arg("-a");
            counts(command.arg(jobs(number)?))
        };
        all.push((format!("procpool, {name}"), per_job(count, few, many)?));
    }
    Ok(all)
}

/// The worker that is built beside this benchmark.
fn example(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = program.ancestors().nth(2).ok_or("this program is in no folder")?;
    let worker = folder.join("examples").join(name);
    if !worker.exists() {
        return Err(format!("{} is missing: cargo build --release --examples", worker.display()));
    }
    Ok(worker)
}

/// How many instructions a job more takes.
fn per_job(count: impl Fn(u64) -> Result<u64>, few: u64, many: u64) -> Result<u64> {
    Ok((count(many)?.saturating_sub(count(few)?)) / (many - few))
}

fn counted(program: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command
}

/// Runs it, and returns how many instructions valgrind has counted.
fn counts(command: &mut Command) -> Result<u64> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = output.output().map_err(|error| format!("valgrind can't be run ({error})"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.contains("refs:")).filter(|_| output.status.success());
    let count = line.and_then(|line| line.rsplit(' ').next()?.replace(',', "").parse().ok());
    count.ok_or_else(|| format!("valgrind fails: {text}"))
}
