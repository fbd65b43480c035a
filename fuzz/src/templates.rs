//! The command of a job: a byte that chooses the settings, words with a NUL byte between them, two
//! NUL bytes, and args with a NUL byte between them. Nothing is run.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use procpool::engine::command::{
    Args, Command, Names, Shell, Template, TemplateSettings, command_line,
};

use super::choice;

/// Args come out byte for byte, and are never a part of a shell's text.
pub fn check(data: &[u8]) {
    let (how, data) = choice(data);
    let at = data.windows(2).position(|pair| pair == b"\0\0");
    let (words, given) = at.map_or((data, &[][..]), |at| (&data[..at], &data[at + 2..]));
    let words: Vec<&[u8]> = words.split(|&byte| byte == 0).collect();
    let settings = settings(how, &words);
    let Ok(template) = Template::new(&os_words(&words), &settings) else { return };
    let _ = (template.fixed_size(), template.copies(), template.joins(), template.is_plain());
    let _ = template.program().map(|program| template.finds_as_we_do(program));

    if let Ok(args) = Args::from_json(given)
        && let Ok(command) = template.fill(&args, 7, 3)
    {
        check_line(&command);
    }
    let mut args = Args::default();
    if !given.is_empty() {
        args.words = given.split(|&byte| byte == 0).map(Cow::Borrowed).collect();
    }
    if settings.names == Names::Any {
        args.names = (0..args.words.len()).map(|n| format!("a{n}").into_bytes().into()).collect();
    }
    let names: Vec<Vec<u8>> = args.names.iter().map(|name| name.to_vec()).collect();
    let _ = template.check_names(&names);
    let Ok(command) = template.fill(&args, 7, 3) else { return };
    check_line(&command);
    match &settings.shell {
        Some(shell) => {
            // Another job with as many args has the same text.
            let other = Args { words: vec![b"'\"$(x)"[..].into(); args.words.len()], ..args };
            let other = template.fill(&other, 7, 3).expect("it was filled before");
            assert_eq!(command.argv[..3], other.argv[..3]);
            assert_eq!(command.argv[..2], [shell.program(), OsStr::new("-c")]);
        }
        None => check_words(&settings, &words, &args, &command),
    }
}

fn settings(how: u8, words: &[&[u8]]) -> TemplateSettings {
    let is = |bit: u8| how >> bit & 1 == 1;
    let first = OsStr::from_bytes(words[0]);
    let shell = ["sh", "bash", "zsh", "sh"][usize::from(how >> 6)];
    TemplateSettings {
        shell: Shell::named(OsStr::new(shell)).filter(|_| is(0)),
        replace: is(1).then(|| b"@@".to_vec()),
        names: if is(2) { Names::Any } else { Names::None },
        stdin: is(3),
        env: if is(4) { vec![first.to_owned()] } else { vec![] },
        cwd: is(5).then(|| first.to_owned()),
    }
}

fn os_words(words: &[&[u8]]) -> Vec<OsString> {
    words.iter().map(|word| OsString::from_vec(word.to_vec())).collect()
}

/// Where each word is either all args or certainly none, the command is known.
fn check_words(settings: &TemplateSettings, words: &[&[u8]], args: &Args<'_>, command: &Command) {
    let all = settings.replace.as_deref().unwrap_or(b"{}");
    let is_text = |word: &&[u8]| !word.windows(2).any(|two| two == b"@@") && !word.contains(&b'{');
    if !words.iter().all(|word| *word == all || is_text(word)) {
        return;
    }
    let mut expected: Vec<&[u8]> = Vec::new();
    for word in words {
        match *word == all {
            true => expected.extend(args.words.iter().map(AsRef::as_ref)),
            false => expected.push(word),
        }
    }
    if !words.contains(&all) && !settings.stdin {
        expected.extend(args.words.iter().map(AsRef::as_ref));
    }
    let argv: Vec<&[u8]> = command.argv.iter().map(|word| word.as_bytes()).collect();
    assert_eq!(argv, expected);
}

/// The line that is shown of a command is the command, to a shell.
fn check_line(command: &Command) {
    let line = command_line(command);
    let argv: Option<Vec<&str>> = command.argv.iter().map(|word| word.to_str()).collect();
    if let (Ok(line), Some(argv)) = (std::str::from_utf8(&line), argv)
        && command.env.is_empty()
        && command.cwd.is_none()
    {
        assert_eq!(shell_words::split(line).expect("quotes that end"), argv);
    }
}
