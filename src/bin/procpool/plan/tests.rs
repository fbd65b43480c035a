//! Plans of command lines, in all modes, and the command lines that are refused.

use std::sync::Arc;

use procpool::engine::input::arg_lists::{ArgList, ArgLists, ListSource};
use procpool::engine::input::plain_lines::{Columns, Pack, Plain, Target};
use procpool::engine::input::route::Route;
use procpool::engine::input::{Form, Source};
use procpool::engine::output::format::Shape;
use procpool::engine::parse_init;

use super::Plan;
use super::machine::Machine;
use crate::cli::options::parse_words;

/// A machine with four CPUs, whose stdin is a pipe.
fn machine() -> Machine {
    Machine { cpus: || 4, stdin_is_terminal: false, arg_space: 128 << 10, environment: 1 << 10 }
}

fn plan_on(machine: &Machine, words: &[&str]) -> Result<Plan, String> {
    let words: Vec<_> = [&["procpool"], words].concat().into_iter().map(Into::into).collect();
    let options = parse_words(&words).expect("options that clap takes");
    Plan::on(machine, &options, Arc::default()).map_err(|misuse| misuse.to_string())
}

#[track_caller]
fn plan(words: &[&str]) -> Plan {
    plan_on(&machine(), words).expect("a plan")
}

/// The message of a command line that is refused.
#[track_caller]
fn refusal(words: &[&str]) -> String {
    plan_on(&machine(), words).err().expect("a refusal")
}

#[track_caller]
fn plain(plan: &Plan) -> &Plain {
    match &plan.reader.form {
        Form::Plain(plain) => plain,
        form => panic!("{form:?}"),
    }
}

/// A file of Python with one function, `resize`.
fn functions() -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".py").tempfile().expect("a file");
    std::fs::write(&file, "def resize(name):\n    return name\n").expect("a file");
    file
}

// ---- Modes

#[test]
fn a_command() {
    let plan = plan(&["cat", "{}"]);
    assert!(matches!(plain(&plan).target, Target::Command(_)));
    assert!(plan.commands.is_some_and(|commands| !commands.in_jobs));
    assert!(plan.workers.is_empty() && plan.code.is_none());
    assert_eq!(plan.shape, Shape::Text);
    assert_eq!(plan.reader.sources, [Source::Stdin]);
    assert_eq!(plan.reader.delimiter, b'\n');
}

#[test]
fn job_lines_that_name_programs() {
    let plan = plan(&[]);
    assert!(matches!(plan.reader.form, Form::Job));
    assert!(plan.commands.is_some_and(|commands| commands.in_jobs));
    assert_eq!(plan.shape, Shape::Text);
}

#[test]
fn job_lines_for_a_worker() {
    let plan = plan(&["-w", "./worker --fast"]);
    assert!(matches!(plan.reader.form, Form::Job));
    assert!(plan.commands.is_none());
    assert_eq!(plan.workers, ["./worker --fast"]);
    assert_eq!(plan.shape, Shape::Record);
}

#[test]
fn a_command_of_a_worker() {
    let plan = plan(&["-w", "./worker", "resize", "small"]);
    let Target::Worker { cmd, head } = &plain(&plan).target else { panic!("no worker") };
    assert_eq!((cmd.as_str(), head.as_str()), ("\"resize\"", "\"small\","));
    assert_eq!(plan.shape, Shape::Record);
}

#[test]
fn messages_to_a_worker() {
    let plan = plan(&["--protocol", "raw", "-w", "jq --unbuffered ."]);
    assert!(matches!(plan.reader.form, Form::Message));
    assert!(plan.protocol.is_raw());
    assert_eq!(plan.shape, Shape::Text);
}

#[test]
fn an_expression() {
    let plan = plan(&["--python", "int(x) * 2"]);
    assert!(plan.code.as_ref().is_some_and(|code| !code.is_file() && !code.lists));
    assert!(plan.commands.is_none());
    assert_eq!(plain(&plan).columns, Columns::One);
    assert_eq!(plan.shape, Shape::Text);
}

#[test]
fn job_lines_that_name_functions() {
    let file = functions();
    let plan = plan(&["--python", file.path().to_str().expect("a path")]);
    assert!(matches!(plan.reader.form, Form::Job));
    assert!(plan.code.is_some_and(|code| code.is_file()));
    assert_eq!(plan.shape, Shape::Record);
}

#[test]
fn a_function_of_a_file() {
    let file = functions();
    let path = file.path().to_str().expect("a path");
    assert!(matches!(plain(&plan(&["--python", path, "resize"])).target, Target::Worker { .. }));
    assert!(refusal(&["--python", path, "rotate"]).contains("resize"));
}

// ---- Lines and sources

#[test]
fn lines_are_divided_as_input_says() {
    for (format, columns) in [
        ("lines", Columns::One),
        ("json", Columns::Json),
        ("csv", Columns::Csv),
        ("tsv", Columns::Tsv),
    ] {
        assert_eq!(plain(&plan(&["--input", format, "cat"])).columns, columns);
        assert_eq!(plain(&plan(&["--input", format, "--python", "x"])).columns, columns);
    }
}

#[test]
fn a_job_has_the_lines_that_were_asked_for() {
    assert!(matches!(plain(&plan(&["cat"])).pack, Pack::Lines(1)));
    assert!(matches!(plain(&plan(&["-n", "3", "cat"])).pack, Pack::Lines(3)));
    assert!(plan(&["-n", "3", "--python", "x"]).code.is_some_and(|code| code.lists));
}

#[test]
fn as_many_lines_as_the_machine_has_room_for() {
    let most = |words: &[&str]| match plain(&plan(words)).pack {
        Pack::Bytes { most, copies, .. } => (most, copies),
        Pack::Lines(lines) => panic!("{lines} lines"),
    };
    let (one, copies) = most(&["-n", "max", "cat"]);
    assert!(one > 120 << 10 && one < 127 << 10, "{one}");
    assert_eq!(copies, 1);
    assert_eq!(most(&["-n", "max", "cat", "{}", "{}"]).1, 2);
    let (less, _) = most(&["-n", "max", "--env", "NAME=value", "cat"]);
    assert_eq!(one - less, "NAME=value".len() + 1 + size_of::<usize>());
}

#[test]
fn lines_end_where_the_options_say() {
    assert_eq!(plan(&["-0", "cat"]).reader.delimiter, 0);
    assert_eq!(plan(&["-d", ",", "cat"]).reader.delimiter, b',');
}

#[test]
fn jobs_come_from_files_in_their_order() {
    let plan = plan(&["-a", "one", "-a", "-", "cat"]);
    assert_eq!(plan.reader.sources, [Source::File("one".into()), Source::Stdin]);
}

#[test]
fn jobs_come_from_the_command_line() {
    let lists = Source::Args(vec![vec!["a".into(), "b".into()], vec!["c".into()]].into());
    assert_eq!(plan(&["cat", ":::", "a", "b", ":::", "c"]).reader.sources, [lists]);
    assert!(refusal(&["-a", "f", "cat", ":::", "a"]).contains("not from both"));
    assert!(refusal(&["--failed", "f", "cat", ":::", "a"]).starts_with("--failed"));
    assert!(refusal(&["cat", ":::+", "f"]).starts_with("':::+' pairs a list with the one before"));
    assert!(refusal(&["--link", "cat", ":::", "a"]).starts_with("--link pairs lists"));
    assert!(refusal(&["--arg-sep", "+++", "cat", ":::", "a"]).starts_with("--arg-sep"));
}

#[test]
fn lists_may_be_in_files() {
    // A single list is read like any file.
    let sources = |words: &[&str]| plan(words).reader.sources;
    assert_eq!(sources(&["cat", "::::", "f"]), [Source::File("f".into())]);
    assert_eq!(sources(&["cat", "::::", "-"]), [Source::Stdin]);
    let list = |from, is_linked| ArgList { from, is_linked };
    let words = |words: &[&str]| ListSource::Words(words.iter().map(Into::into).collect());
    let file = |name: &str| ListSource::File(name.into());
    let lists = |lists, links_all| [Source::Args(ArgLists { lists, links_all })];
    let mixed = vec![list(words(&["a"]), false), list(file("f"), true), list(file("g"), true)];
    assert_eq!(sources(&["cat", ":::", "a", "::::+", "f", "g"]), lists(mixed, false));
    let linked = vec![list(words(&["a"]), false), list(words(&["b"]), false)];
    let words = ["--link", "--arg-sep", "+", "cat", "+", "a", "+", "b"];
    assert_eq!(sources(&words), lists(linked, true));
}

#[test]
fn a_terminal_is_not_read_without_a_command() {
    let machine = Machine { stdin_is_terminal: true, ..machine() };
    let error = plan_on(&machine, &[]).err().expect("a refusal");
    assert!(error.starts_with("nothing to do"), "{error}");
    assert!(plan_on(&machine, &["cat"]).is_ok());
    assert!(plan_on(&machine, &["-a", "jobs"]).is_ok());
}

// ---- Workers

#[test]
fn workers_with_names() {
    let plan = plan(&["-w", "a=./one", "-w", "b=./two", "a"]);
    assert_eq!(plan.workers, ["./one", "./two"]);
    assert!(matches!(&plan.reader.route, Route::Names(names) if names == &["a", "b"]));
    assert!(refusal(&["-w", "a=./one", "-w", "./two"]).starts_with("several workers need names"));
    assert!(refusal(&["-w", "a=./one", "-w", "a=./two"]).starts_with("two workers are named 'a'"));
    assert!(
        refusal(&["-w", "a=./one", "-w", "b=./two", "c"])
            .starts_with("there is no worker 'c'; the workers are a, b")
    );
    assert!(
        refusal(&["--protocol", "raw", "-w", "a=./one"])
            .ends_with("give one --worker, without a name")
    );
}

#[test]
fn a_variable_is_no_name() {
    assert_eq!(plan(&["-w", "LANG=C sort"]).workers, ["LANG=C sort"]);
}

#[test]
fn the_key_of_a_route() {
    let count = |words: &[&str]| match plan(words).reader.route {
        Route::Key { count, .. } => count,
        route => panic!("{route:?}"),
    };
    assert_eq!(count(&["--route", "user", "-w", "./worker"]), 4);
    assert_eq!(count(&["--route", "1", "-j2", "-w", "./worker", "resize"]), 2);
    assert!(refusal(&["--route", "1", "cat"]).starts_with("--route is for workers"));
    assert!(refusal(&["--route", "1", "-w", "a=./one", "a"]).contains("a single kind of worker"));
    let error = refusal(&["--route", "user", "-w", "./worker", "resize"]);
    assert!(error.contains("have no names"), "{error}");
    assert!(refusal(&["--route", "3", "-w", "./worker", "resize"]).starts_with("--route: "));
}

#[test]
fn the_first_messages_keep_their_order() {
    let words =
        ["--init", "a", "--notify", "b", "--init", "c", "--protocol", "raw", "-w", "./worker"];
    let plan = plan(&words);
    let messages = [("a", true), ("b", false), ("c", true)]
        .map(|(line, has_reply)| parse_init(line, has_reply, &plan.protocol).expect("a message"));
    assert_eq!(plan.first, messages);
    assert!(refusal(&["--init", "{", "-w", "./worker"]).starts_with("--init '{': "));
}

#[test]
fn several_messages_of_a_reply() {
    let words = ["--reply-messages", "3", "-w", "./worker"];
    assert!(refusal(&words).starts_with("--reply-messages: "));
    assert!(plan_on(&machine(), &[&["--protocol", "raw"], &words[..]].concat()).is_ok());
}

// ---- Commands

#[test]
fn options_of_commands() {
    let commands = plan(&["--dry-run", "--confirm", "--live", "cat"]).commands.expect("commands");
    assert!(commands.dry_run && commands.confirm && commands.live && !commands.stdin);
    assert!(plan(&["--stdin", "cat"]).commands.is_some_and(|commands| commands.stdin));
}

#[test]
fn commands_that_make_no_sense() {
    assert_eq!(refusal(&[""]), "COMMAND is an empty word");
    assert!(refusal(&["cat", "{3}"]).contains("-n N makes one job of N lines"));
    assert!(refusal(&["cat {} | wc"]).starts_with("no shell is run"));
    assert!(refusal(&["-w", "./a | ./b"]).starts_with("no shell is run"));
    assert!(refusal(&["--python", "x", "nothing"]).starts_with("there is no file 'x', and"));
    assert!(refusal(&["--protocol", "raw", "-w", "cat", "x"]).contains("leave out COMMAND"));
}

#[test]
fn lines_that_make_no_sense() {
    let error = refusal(&["--input", "json", "-n", "2", "cat"]);
    assert!(error.ends_with("leave out -n and --header"), "{error}");
    assert!(refusal(&["--input", "csv", "-0", "cat"]).starts_with("the format CSV defines"));
    let error = refusal(&["--input", "json", "-w", "./worker", "resize", "small"]);
    assert!(error.contains("leave out the ARGs"), "{error}");
}

#[test]
fn an_option_without_use_is_refused() {
    for (words, option) in [
        (&["--pipeline", "2", "cat"][..], "--pipeline"),
        (&["--pty", "--python", "x"], "--pty"),
        (&["--tty", "--python", "x"], "--tty"),
        (&["--no-retry-exit", "1", "cat"], "--no-retry-exit"),
        (&["--ok-exit", "1", "--python", "x"], "--ok-exit"),
        (&["--setup", "x = 1", "cat"], "--setup"),
        (&["--shell"], "--shell"),
        (&["--header", "-w", "./worker"], "--header"),
        (&["-0", "cat", ":::", "a"], "-0"),
        (&["--dry-run", "--joblog", "log", "cat"], "--joblog"),
        (&["--standby", "1", "-w", "./worker"], "--standby"),
        (&["--retry-delay", "1s", "cat"], "--retry-delay"),
    ] {
        assert!(refusal(words).starts_with(&format!("{option} ")), "{words:?}");
    }
}

// ---- Results

#[test]
fn the_shape_of_results() {
    let shape = |words: &[&str]| plan(words).shape;
    assert_eq!(shape(&["--format", "record", "cat"]), Shape::Record);
    assert_eq!(shape(&["--format", "value", "cat"]), Shape::Value);
    assert_eq!(shape(&["--format", "text", "-w", "./worker"]), Shape::Text);
    assert!(refusal(&["--detail", "cat"]).starts_with("--detail"));
    assert!(refusal(&["--tag", "-w", "./worker"]).starts_with("--tag"));
    assert!(refusal(&["--live", "--format", "record", "cat"]).starts_with("--live"));
}

#[test]
fn a_dry_run_waits_for_nothing() {
    let interval = |words: &[&str]| plan(words).limits.interval;
    assert_eq!(interval(&["--rate", "10/s", "cat"]).map(|time| time.as_millis()), Some(100));
    assert_eq!(interval(&["--delay", "1", "--rate", "10/s", "cat"]).map(|t| t.as_secs()), Some(1));
    assert_eq!(interval(&["--delay", "0", "cat"]), None);
    assert_eq!(interval(&["--dry-run", "--rate", "10/s", "cat"]), None);
}

#[test]
fn the_settings_of_the_journal() {
    assert!(plan(&["cat"]).journal.is_none());
    let settings = plan(&["--journal", "j", "--resume", "-n", "max", "cat"]).journal;
    let settings = settings.expect("a journal");
    assert!(settings.resume && !settings.sync && settings.pack.is_some());
    assert_eq!(settings.path, std::path::Path::new("j"));
}

#[test]
fn lines_travel_in_bundles_where_nothing_needs_single_jobs() {
    const RAW: [&str; 6] = ["--protocol", "raw", "--pipeline", "auto", "-w", "cat"];
    let bundles = |more: &[&str]| plan(&[&RAW, more].concat()).reader.bundles;
    assert!(bundles(&[]));
    assert!(bundles(&["--stream"]) && bundles(&["-d", "\\n"]) && bundles(&["--max-reqs", "9"]));
    for more in [
        &["--journal", "j"][..],
        &["--tag"],
        &["--timeout", "1"],
        &["--retries", "1"],
        &["--route", "1"],
        &["--delay", "1"],
        &["--rate", "1/s"],
        &["--max-load", "1"],
        &["--min-free-memory", "1M"],
        &["-0"],
        &["-d", ","],
        &["--framing", "nul"],
        &["--reply-messages", "2"],
        &["--format", "record"],
        &["--pipeline", "2"],
    ] {
        assert!(!bundles(more), "{more:?}");
    }
    assert!(!plan(&["--pipeline", "auto", "-w", "cat"]).reader.bundles);
    assert!(!plan(&["--python", "x"]).reader.bundles);
}

#[test]
fn reports_that_make_no_sense() {
    assert!(refusal(&["--dry-run", "--report", "r.json", "cat"]).contains("--report"));
    assert!(refusal(&["--report", "-.json", "--report", "-.md", "cat"]).contains("stdout"));
    assert!(refusal(&["--trace", "-", "cat"]).starts_with("--trace"));
}
