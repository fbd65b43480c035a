//! Templates, filled: with the args of jobs, and in a real shell.

use std::borrow::Cow;
use std::process;

use super::super::cut::Cut;
use super::*;
use crate::command::{Names, Shell, command_line, quote};
use proptest::prelude::*;

fn settings(names: Names) -> TemplateSettings {
    TemplateSettings { shell: None, replace: None, names, stdin: false, env: vec![], cwd: None }
}

fn shell() -> TemplateSettings {
    TemplateSettings { shell: Some(Shell::default()), ..settings(Names::None) }
}

fn args<'a>(words: &[&'a str]) -> Args<'a> {
    Args { words: words.iter().map(|word| word.as_bytes().into()).collect(), ..Args::default() }
}

fn of(words: &[Vec<u8>]) -> Args<'_> {
    Args { words: words.iter().map(|word| word.as_slice().into()).collect(), ..Args::default() }
}

fn named<'a>(fields: &[(&'a str, &'a str)]) -> Args<'a> {
    Args {
        words: fields.iter().map(|(_, word)| word.as_bytes().into()).collect(),
        names: fields.iter().map(|(name, _)| name.as_bytes().into()).collect(),
        whole: None,
    }
}

fn template(words: &[&str], settings: &TemplateSettings) -> Result<Template, CommandError> {
    Template::new(&words.iter().map(OsString::from).collect::<Vec<_>>(), settings)
}

fn argv(
    words: &[&str],
    settings: &TemplateSettings,
    args: &Args<'_>,
) -> Result<Vec<String>, CommandError> {
    let command = template(words, settings)?.fill(args, 7, 2)?;
    Ok(command.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect())
}

fn filled(words: &[&str], of: &[&str]) -> Vec<String> {
    argv(words, &settings(Names::None), &args(of)).expect("a command")
}

fn script(text: &str, of: &[&str]) -> Vec<String> {
    argv(&[text], &shell(), &args(of)).expect("a command").split_off(2)
}

#[test]
fn placeholders_of_paths() {
    for (path, expected) in [
        ("d/a.tar.gz", ["d/a.tar.gz", "d/a.tar", "a.tar.gz", "d", "a.tar"]),
        ("a", ["a", "a", "a", ".", "a"]),
        ("", ["", "", "", ".", ""]),
        ("/", ["/", "/", "", "/", ""]),
        ("/a", ["/a", "/a", "a", "/", "a"]),
        ("a//b", ["a//b", "a//b", "b", "a", "b"]),
        ("a/b/", ["a/b/", "a/b/", "", "a", ""]),
        ("a/", ["a/", "a/", "", ".", ""]),
        ("d.e/.f", ["d.e/.f", "d.e/", ".f", "d.e", ""]),
        ("d.e/f.", ["d.e/f.", "d.e/f", "f.", "d.e", "f"]),
        ("/a.b/c", ["/a.b/c", "/a.b/c", "c", "/a.b", "c"]),
        ("a b/-c d.e", ["a b/-c d.e", "a b/-c d", "-c d.e", "a b", "-c d"]),
    ] {
        let words = ["x", "{}", "{.}", "{/}", "{//}", "{/.}"];
        assert_eq!(filled(&words, &[path])[1..], expected, "{path}");
        let words = ["x", "{1}", "{1.}", "{1/}", "{1//}", "{1/.}"];
        assert_eq!(filled(&words, &[path])[1..], expected, "{path}");
    }
}

#[test]
fn placeholders_stand_anywhere() {
    assert_eq!(filled(&["x{}y{}", "{#}-{%}", "{}"], &["a b"]), ["xa bya b", "7-2", "a b"]);
    assert_eq!(filled(&["{}", "x"], &["program"]), ["program", "x"]);
    assert_eq!(filled(&["e", "{a{}b}", "{{}}"], &["1"]), ["e", "{a1b}", "{1}"]);
    assert_eq!(filled(&["e", "{2}", "{1}", "{3}"], &["a", "b", ""]), ["e", "b", "a", ""]);
    let far = "{99999999999999999999999}";
    let beyond =
        argv(&["e", far], &settings(Names::None), &args(&["a"])).expect_err("too far").to_string();
    assert!(beyond.ends_with("has no value: this job has 1 arg"), "{beyond}");
    for text in ["{print $1}", "{\"a\":1}", "{a,b}", "}{", "{", "}", "{1x}", "{-1}", "{ }"] {
        assert_eq!(filled(&["awk", text], &["f"]), ["awk", text, "f"], "{text}");
    }
}

#[test]
fn several_args() {
    assert_eq!(filled(&["e"], &["a", "b"]), ["e", "a", "b"]);
    assert_eq!(filled(&["e", "{#}"], &["a", "b"]), ["e", "7", "a", "b"]);
    assert_eq!(filled(&["e", "{}", "d"], &["a", "b c"]), ["e", "a", "b c", "d"]);
    assert_eq!(filled(&["e", "{.}"], &["a.x", "b.y"]), ["e", "a", "b"]);
    assert_eq!(filled(&["e", "<{.}>"], &["a.x", "b.y"]), ["e", "<a b>"]);
    assert_eq!(filled(&["e", "{}", "<{}>"], &[]), ["e", "<>"]);
    let whole = Args { whole: Some(b"{}".into()), ..named(&[("a", "1"), ("b", "2")]) };
    let settings = settings(Names::Any);
    assert_eq!(argv(&["e"], &settings, &whole), Ok(vec!["e".into(), "{}".into()]));
    let words = ["e", "<{}>", "{}", "{b}{1}"];
    assert_eq!(argv(&words, &settings, &whole).expect("a command")[1..], ["<{}>", "{}", "21"]);
}

#[test]
fn misuse_is_told() {
    for (word, part) in [
        ("{foo}", "{foo} is unknown; known are {} {.}"),
        ("{foo/.}", "{foo/.} is unknown; known are {} {.}"),
        ("{0}", "counted from 1"),
        ("{0.}", "counted from 1"),
    ] {
        let error = template(&["e", word], &settings(Names::None)).expect_err(word).to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(template(&[], &settings(Names::None)).is_err());
    for wrong in ["A", "=x", ""] {
        let settings = TemplateSettings { env: vec![wrong.into()], ..settings(Names::None) };
        assert!(template(&["e"], &settings).expect_err(wrong).to_string().contains("NAME=VALUE"));
    }
    let empty = TemplateSettings { replace: Some(vec![]), ..settings(Names::None) };
    assert!(template(&["e"], &empty).is_err());
    for (words, of, part) in [(["e", "{}"], "a\0b", "NUL"), (["{}", ""], "", "program is empty")] {
        let error = argv(&words, &settings(Names::None), &args(&[of])).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn names() {
    let any = settings(Names::Any);
    let words = ["e", "{w}x{f/.}", "{a b}", "{a b/}", "{c d}", "{w"];
    let of = named(&[("w", "0"), ("f", "d/e.f"), ("a b", "x/y"), ("w", "1")]);
    let filled = argv(&words, &any, &of).expect("a command");
    assert_eq!(filled[1..], ["1xe", "x/y", "y", "{c d}", "{w"]);
    let with = template(&words, &any).expect("a template");
    let error = with.check_names(&[b"w".to_vec(), b"v".to_vec()]).expect_err("no f").to_string();
    assert!(error.contains("{f/.}") && error.contains("w, v") && error.contains("{//}"));
    assert_eq!(with.check_names(&[b"w".to_vec(), b"f".to_vec()]), Ok(()));
    let error = with.fill(&named(&[("v", "1")]), 1, 1).expect_err("no w").to_string();
    assert!(error.contains("{w}") && error.contains("fields are v"), "{error}");
    let words = ["{my f%.gz}", "{my f s/a/b/}", "{my f/%.gz}", "{no f%.gz}"];
    let cut = argv(&words, &any, &named(&[("my f", "d/a.gz")])).expect("a command");
    assert_eq!(cut, ["d/a", "d/b.gz", "a", "{no f%.gz}"]);
    // If a text in braces is no placeholder, the args are appended.
    assert_eq!(argv(&["e", "{a b}"], &any, &named(&[("v", "1")])).expect("")[1..], ["{a b}", "1"]);
    assert_eq!(argv(&["e", "{a b}"], &any, &named(&[("a b", "1")])).expect("")[1..], ["1"]);
}

#[test]
fn another_placeholder() {
    let settings = TemplateSettings { replace: Some(b"X".to_vec()), ..settings(Names::None) };
    let filled = argv(&["e", "aXb{}{foo}{#}", "X"], &settings, &args(&["1", "2"]));
    assert_eq!(filled.expect("a command")[1..], ["a1 2b{}{foo}{#}", "1", "2"]);
    let settings = TemplateSettings { shell: Some(Shell::default()), ..settings };
    let filled = argv(&["e 'X'X {}"], &settings, &args(&["1"])).expect("a command");
    assert_eq!(filled[2], "e ''\"${1}\"''\"${1}\" {}");
}

#[test]
fn environment_and_directory() {
    let env = vec!["A=x{}=".into(), "B=".into(), "C={2}".into()];
    let settings =
        TemplateSettings { env, cwd: Some("{1//}".into()), stdin: true, ..settings(Names::None) };
    let with = template(&["ls"], &settings).expect("a template");
    let command = with.fill(&args(&["d/f", "g"]), 1, 1).expect("a command");
    assert_eq!(command.argv, ["ls"]);
    let env = [("A", "xd/f g="), ("B", ""), ("C", "g")];
    assert_eq!(command.env, env.map(|(name, value)| (name.into(), value.into())));
    assert_eq!(command.cwd, Some("d".into()));
    assert_eq!(command_line(&command), b"(cd ./d && env A='xd/f g=' B= C=g ls)");
    let appended = TemplateSettings { stdin: false, ..settings };
    assert_eq!(argv(&["ls"], &appended, &args(&["a", "b"])).expect("")[1..], ["a", "b"]);
    let nowhere = TemplateSettings { cwd: Some("{3}".into()), ..appended };
    assert!(
        argv(&["ls"], &nowhere, &args(&["a", "b", ""]))
            .expect_err("no cwd")
            .to_string()
            .contains("TemplateSettings::cwd")
    );
}

#[test]
fn jobs_that_name_their_command() {
    let settings = TemplateSettings { env: vec!["A={1}{#}".into()], ..settings(Names::Any) };
    let with = Template::for_jobs(&settings).expect("a template");
    let command = with.fill_job(b"{}", &args(&["a", "b"]), 7, 1).expect("a command");
    assert_eq!(command.argv, ["{}", "a", "b"]);
    assert_eq!(command.env, [("A".into(), "a7".into())]);
    assert!(with.fill_job(b"", &args(&[]), 7, 1).is_err());
    assert!(with.fill_job(b"a\0", &args(&[]), 7, 1).is_err());
    assert!(with.fill(&args(&[]), 7, 1).is_err());
    assert_eq!(with.program(), None);
    let with = Template::for_jobs(&TemplateSettings { shell: Some(Shell::default()), ..settings })
        .expect("a template");
    let command = with.fill_job(b"-x", &args(&["a"]), 7, 1).expect("a command");
    assert_eq!(command.argv[2], " -x");
    let command = with.fill_job(b"echo $1", &args(&["a"]), 7, 1).expect("a command");
    assert_eq!(command.argv, ["sh", "-c", "echo $1", "sh", "a"]);
    assert_eq!(with.program(), Some(OsStr::new("sh")));
}

#[test]
fn what_is_the_same_for_all_jobs() {
    let measure = |words: &[&str], settings: &TemplateSettings| {
        let with = template(words, settings).expect("a template");
        (with.copies(), with.fixed_size(), with.program().map(OsStr::to_owned))
    };
    let none = settings(Names::None);
    assert_eq!(measure(&["echo", "-n"], &none), (1, 4 + 2 + 18, Some("echo".into())));
    assert_eq!(measure(&["{}", "<{}>"], &none), (2, 2 + 9, None));
    let env = TemplateSettings { env: vec!["A={}".into()], stdin: true, ..none.clone() };
    assert_eq!(measure(&["e"], &env), (1, 10, Some("e".into())));
    let (copies, _, program) = measure(&["echo {} '{}'"], &shell());
    assert_eq!((copies, program), (2, Some("sh".into())));
}

#[test]
fn shell_texts() {
    assert_eq!(script("e", &["a", "b"]), ["e \"$@\"", "sh", "a", "b"]);
    assert_eq!(script("e \n", &["a"]), ["e \"$@\"", "sh", "a"]);
    assert_eq!(script("e {} {};", &["a", "b"]), ["e \"$@\" \"$@\";", "sh", "a", "b"]);
    assert_eq!(script("e {}x", &["a", "b"]), ["e \"${1}\"x", "sh", "a b"]);
    assert_eq!(script("e >{}", &["a", "b"]), ["e >\"${1}\"", "sh", "a b"]);
    assert_eq!(
        script("e '{}' {} \"{}\"", &["a", "b"]),
        ["e ''\"${1}\"'' \"${2}\" \"${3}\" \"${1}\"", "sh", "a b", "a", "b"]
    );
    assert_eq!(script("e {#}", &["a"]), ["e \"${1}\" \"${2}\"", "sh", "7", "a"]);
    assert_eq!(
        script("e ${HOME} \\{} # {}'\n e {1}", &["a"])[0],
        "e ${HOME} \\{} # {}'\n e \"${1}\""
    );
    assert_eq!(script("e \"\\${1}\"", &["a"])[0], "e \"\\$${1}\"");
    let joined = argv(&["e", "{}", "x"], &shell(), &args(&["a"])).expect("a command");
    assert_eq!(joined[2], "e \"$@\" x");
    let stdin = TemplateSettings { stdin: true, ..shell() };
    let fed = argv(&["e #"], &stdin, &args(&["a"])).expect("a command");
    assert_eq!(fed, ["sh", "-c", "e #", "sh"]);
}

#[test]
fn shell_texts_that_are_misused() {
    for (text, part) in [
        ("e # x", "can't be appended"),
        ("e;", "can't be appended"),
        ("e 'x", "can't be appended"),
        ("cat <<E\nE", "can't be appended"),
        ("e ${1}", "\\${1}"),
        ("e \"${}\"", "\\${}"),
        ("e ${x:-{}}", "variable"),
        ("e $(({}))", "variable"),
        ("cat <<E\n{}\nE", "TemplateSettings::stdin"),
        ("e {foo}", "unknown"),
    ] {
        let error = template(&[text], &shell()).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    let any = TemplateSettings { names: Names::Any, ..shell() };
    let of = named(&[("a b", "1"), ("n", "2")]);
    let filled = argv(&["e {a b} '{c d}' ${n} ${x:-a b} {n}"], &any, &of).expect("a command");
    assert_eq!(filled[2], "e \"${1}\" '{c d}' ${n} ${x:-a b} \"${2}\"");
    let filled = argv(&["f() { echo \"a; }\"; }; f {n}"], &any, &of).expect("a command");
    let text = "procpool_1=${1}; f() { echo \"a; }\"; }; f \"${procpool_1}\"";
    assert_eq!(filled[2], text);
}

#[test]
fn json_args() {
    let text = |words: &[Cow<'_, [u8]>]| -> Vec<String> {
        words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    };
    let read = |json: &str| {
        let args = Args::from_json(json.as_bytes()).expect("args");
        (text(&args.words), text(&args.names), args.whole.map(|whole| text(&[whole]).remove(0)))
    };
    let array = r#" ["a\n\" b", 1e400, null, 12345678901234567890, {"x": [1, "y \" z"]}]"#;
    let words = ["a\n\" b", "1e400", "null", "12345678901234567890", r#"{"x":[1,"y \" z"]}"#];
    assert_eq!(read(array), (words.map(String::from).to_vec(), vec![], None));
    assert_eq!(read(" 1.0 "), (vec!["1.0".into()], vec![], None));
    assert_eq!(read(r#""\u00e4 b""#), (vec!["ä b".into()], vec![], None));
    let (words, names, whole) = read(r#"{"b": "x y", "a": 2, "b": 3}"#);
    assert_eq!((words, names), (vec!["3".into(), "2".into()], vec!["b".into(), "a".into()]));
    assert_eq!(whole.as_deref(), Some(r#"{"b":"x y","a":2,"b":3}"#));
    for wrong in ["", "[1,]", "{\"a\":1", "a", "[1] 2"] {
        let error = Args::from_json(wrong.as_bytes()).expect_err(wrong).to_string();
        assert!(error.contains("not JSON") && !error.contains("line"), "{error}");
    }
    let half = Args::from_json(br#"["\ud800"]"#).expect_err("no text").to_string();
    assert!(half.contains("half of a character") && !half.contains("line"), "{half}");
    assert!(Args::from_json(b"[\"\xff\"]").is_err());
}

#[test]
fn lines_to_paste() {
    for (argv, line) in [
        (vec!["a", "b c", "", "it's"], r"a 'b c' '' 'it'\''s'"),
        (vec!["A=b", "A=b"], "'A=b' A=b"),
        (vec!["time", "time"], "'time' time"),
        (vec!["~a", "#b", "a\nb"], "'~a' '#b' 'a\nb'"),
    ] {
        let argv = argv.into_iter().map(OsString::from).collect();
        let shown = command_line(&Command { argv, ..Command::default() });
        assert_eq!(String::from_utf8_lossy(&shown), line);
    }
    let command = Command {
        argv: vec!["a".into()],
        env: vec![("B".into(), "c d".into())],
        cwd: Some("-".into()),
    };
    assert_eq!(command_line(&command), b"(cd ./- && env B='c d' a)");
}

/// The stdout of a command. It runs in a directory where it must leave nothing.
fn output(argv: &[OsString]) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = process::Command::new(&argv[0]);
    let output = command.args(&argv[1..]).current_dir(directory.path()).output();
    let left = directory.path().read_dir().expect("it is there").count();
    assert_eq!(left, 0, "a file was written");
    output.expect("it runs").stdout
}

fn with_nul(words: &[Vec<u8>]) -> Vec<u8> {
    words.iter().flat_map(|word| [word, &b"\0"[..]].concat()).collect()
}

fn has_bash() -> bool {
    has("bash")
}

fn has(shell: &str) -> bool {
    process::Command::new(shell).arg("-c").arg(":").status().is_ok()
}

fn nasty() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        prop::sample::select(b" \t\n'\"\\$`(){};|&<>*?~#-!%=[]/.".to_vec()),
        1_u8..=255
    ];
    let fixed: [&[u8]; 7] =
        [b"$(touch pwned)'\";", b"`touch pwned`", b"'; touch pwned; '", b"\\", b"*", b"~", b"-n"];
    let fixed: Vec<Vec<u8>> = fixed.iter().map(|text| text.to_vec()).collect();
    prop_oneof![prop::sample::select(fixed), prop::collection::vec(byte, 0..8)]
}

/// Pieces of a shell command, and the words that each becomes.
type Expected = fn(&[Vec<u8>]) -> Vec<Vec<u8>>;
const PIECES: [(&str, Expected); 23] = [
    ("{}", <[Vec<u8>]>::to_vec),
    ("{/}", |words| {
        words
            .iter()
            .map(|word| Cut::split(b"/").expect("a cut").1.apply(word).into_owned())
            .collect()
    }),
    ("x{}y", |words| around("x", words, "y")),
    ("\"{}\"", |words| around("", words, "")),
    ("'{}'", |words| around("", words, "")),
    ("\"it's {}\"", |words| around("it's ", words, "")),
    ("'say \"{}\"'", |words| around("say \"", words, "\"")),
    ("'\\{}'", |words| around("\\", words, "")),
    ("\"\\{}\"", |words| around("\\", words, "")),
    ("\"\\\\{}\"", |words| around("\\", words, "")),
    ("\\\\{}", |words| around("\\", words, "")),
    ("\"\\$({})\"", |words| around("$(", words, ")")),
    ("\"\\${} }\"", |words| around("$", words, " }")),
    ("\"$(printf %s. \"{}\")\"", |words| around("", words, ".")),
    ("\"$(printf %s. '{}')\"", |words| around("", words, ".")),
    ("\"$(printf %s. x{})\"", |words| around("x", words, ".")),
    ("\"`printf %s. x{}`\"", |words| around("x", words, ".")),
    ("\"`printf %s. \"{}\"`\"", |words| around("", words, ".")),
    ("\"$(# it's {}\nprintf %s. '(' x{})\"", |words| around("(.x", words, ".")),
    ("\"$((1 << 2)){}\"", |words| around("4", words, "")),
    ("\\{}", |_| vec![b"{}".to_vec()]),
    ("'{2}'", |words| vec![words[1].clone()]),
    ("{1}{#}\"{%}\"", |words| vec![[words[0].as_slice(), b"72"].concat()]),
];

/// What only bash and zsh have.
const OTHER_PIECES: [(&str, Expected); 16] = [
    ("{}", <[Vec<u8>]>::to_vec),
    ("\"x{}\"", |words| around("x", words, "")),
    ("'{}'", |words| around("", words, "")),
    ("$'a\\'{}\\\\'", |words| around("a'", words, "\\")),
    ("$'\\t'{}", |words| around("\t", words, "")),
    ("\"$(cat <<<x{}.)\"", |words| around("x", words, ".")),
    ("\"$(cat <<< \"{}.\")\"", |words| around("", words, ".")),
    ("\"$(cat <(printf %s. x{}))\"", |words| around("x", words, ".")),
    ("\"$(cat <(printf %s. \"{}\") <(printf y))\"", |words| around("", words, ".y")),
    ("\"$([[ -n x{} ]] && printf .)\"", |_| vec![b".".to_vec()]),
    ("\"$([[ x{} == \"x{}\" ]] && printf .)\"", |_| vec![b".".to_vec()]),
    ("\"$(a=({} x); printf %s. \"${a[@]}\")\"", |words| {
        vec![
            words
                .iter()
                .chain([&b"x".to_vec()])
                .flat_map(|word| [word, &b"."[..]].concat())
                .collect(),
        ]
    }),
    ("\"$(x={}; typeset y=x{}; printf %s. \"$x$y\")\"", |words| {
        vec![[words.join(&b' ').as_slice(), b"x", &words.join(&b' '), b"."].concat()]
    }),
    ("\"$(f() { printf %s. \"$1\" x{}; }; f y)\"", |words| around("y.x", words, ".")),
    ("\"$(function f { printf %s. x{}; }; f y)\"", |words| around("x", words, ".")),
    ("\"$( (( 1 < 2 )) && printf %s. x{})\"", |words| around("x", words, ".")),
];

fn shells() -> impl Strategy<Value = Shell> {
    prop::sample::select(vec!["sh", "bash", "zsh"])
        .prop_map(|name| Shell::named(name.as_ref()).expect("a known shell"))
}

fn around(before: &str, words: &[Vec<u8>], after: &str) -> Vec<Vec<u8>> {
    vec![[before.as_bytes(), &words.join(&b' '), after.as_bytes()].concat()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arguments_are_what_the_template_says(words in prop::collection::vec(nasty(), 0..4)) {
        let template = template(&["printf", "%s\\0", "{}", "<{}>"], &settings(Names::None));
        let command = template.expect("a template").fill(&of(&words), 1, 1).expect("a command");
        let expected = [words.clone(), around("<", &words, ">")].concat();
        prop_assert_eq!(output(&command.argv), with_nul(&expected));
    }

    #[test]
    fn a_shell_takes_nothing_of_them_for_its_own(
        words in prop::collection::vec(nasty(), 2..4),
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 1..8),
    ) {
        let texts: Vec<&str> = pieces.iter().map(|(text, _)| *text).collect();
        let text = format!("printf '%s\\0' s {} # {{}} '", texts.join(" "));
        // It ends in a comment, where nothing could be appended.
        let stdin = TemplateSettings { stdin: true, ..shell() };
        let template = template(&[&text], &stdin).expect("a template");
        let mut argv = template.fill(&of(&words), 7, 2).expect("a command").argv;
        let expected: Vec<_> = pieces.iter().flat_map(|(_, expected)| expected(&words)).collect();
        let expected = with_nul(&[vec![b"s".to_vec()], expected].concat());
        prop_assert_eq!(&output(&argv), &expected, "{}", argv[2].to_string_lossy());
        if has_bash() {
            argv[0] = "bash".into();
            prop_assert_eq!(output(&argv), expected, "{}", argv[2].to_string_lossy());
        }
    }

    #[test]
    fn bash_and_zsh_take_nothing_of_them_for_their_own(
        words in prop::collection::vec(nasty(), 2..4),
        pieces in prop::collection::vec(prop::sample::select(OTHER_PIECES.to_vec()), 1..8),
        name in prop::sample::select(vec!["bash", "zsh"]),
    ) {
        if has(name) {
            let texts: Vec<&str> = pieces.iter().map(|(text, _)| *text).collect();
            let text = format!("printf '%s\\0' s {}", texts.join(" "));
            let shell = Shell::named(name.as_ref());
            let stdin = TemplateSettings { stdin: true, shell, ..settings(Names::None) };
            let template = template(&[&text], &stdin).expect("a template");
            let argv = template.fill(&of(&words), 7, 2).expect("a command").argv;
            let expected: Vec<_> = pieces.iter().flat_map(|(_, expected)| expected(&words)).collect();
            let expected = with_nul(&[vec![b"s".to_vec()], expected].concat());
            prop_assert_eq!(output(&argv), expected, "{}", argv[2].to_string_lossy());
        }
    }

    #[test]
    fn args_are_appended_to_a_shell_command(words in prop::collection::vec(nasty(), 0..4)) {
        let template = template(&["printf", "'%s\\0'", "s"], &shell()).expect("a template");
        let command = template.fill(&of(&words), 1, 1).expect("a command");
        let expected = [vec![b"s".to_vec()], words.clone()].concat();
        prop_assert_eq!(output(&command.argv), with_nul(&expected));
    }

    #[test]
    fn a_shell_reads_quoted_words_back(words in prop::collection::vec(nasty(), 1..4)) {
        let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();
        let script = [b"printf '%s\\0' ", quoted.join(&b' ').as_slice()].concat();
        let argv = ["sh".into(), "-c".into(), OsString::from_vec(script)];
        prop_assert_eq!(output(&argv), with_nul(&words));
    }

    #[test]
    fn a_shell_runs_what_it_is_shown(words in prop::collection::vec(nasty(), 1..4)) {
        let words: Vec<_> = words.into_iter().map(OsString::from_vec).collect();
        let head = ["printf", "%s\\0%s\\0"].map(OsString::from);
        let env = vec![("A".into(), words[0].clone())];
        let mut argv = head.to_vec();
        argv.extend(words.clone());
        let line = command_line(&Command { argv: argv.clone(), env, cwd: Some("/".into()) });
        let shown = ["sh".into(), "-c".into(), OsString::from_vec(line)];
        prop_assert_eq!(output(&shown), output(&argv));
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        text in "([{}./#%0-9a-c\"'$()`<>\\\\ \n]|\\{\\}|[$]\\(\\(|<<|\\$'|case )\
                 {0,16}",
        shell in prop::option::of(shells()),
        stdin in any::<bool>(),
        any in any::<bool>(),
        replace in prop::option::of("[{}a$\"]{1,2}"),
    ) {
        let names = if any { Names::Any } else { Names::None };
        let replace = replace.map(String::into_bytes);
        let settings = TemplateSettings { shell, stdin, replace, ..settings(names) };
        if let Ok(template) = template(&["e", &text], &settings) {
            let _ = (template.copies(), template.fixed_size(), template.program());
            let _ = template.check_names(&[b"a".to_vec()]);
            let _ = template.fill(&named(&[("a", "x"), ("a b", "y")]), 1, 1);
            let _ = template.fill(&args(&[]), 1, 1);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = Args::from_json(&bytes);
        for shell in [None, Some(Shell::default()), Shell::named("zsh".as_ref())] {
            let settings = TemplateSettings { shell, ..settings(Names::Any) };
            if let Ok(with) = Template::new(&[OsString::from_vec(bytes.clone())], &settings) {
                let _ = with.fill(&of(std::slice::from_ref(&bytes)), 1, 1);
            }
        }
    }
}
