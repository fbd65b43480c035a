//! Plain lines: a byte that chooses the form of a line and how many make a job, then lines.

use std::borrow::Cow;

use procpool::engine::command::{Names, Template, TemplateSettings};
use procpool::engine::input::plain_lines::{Columns, Pack, Packed, Plain, Target, split};

use super::{assert_json, choice};

/// No line makes it panic, and the args of jobs are the fields of their lines.
pub fn check(data: &[u8]) {
    let (how, bytes) = choice(data);
    let columns = [Columns::One, Columns::Json, Columns::Csv, Columns::Tsv][usize::from(how % 4)];
    let pack = match how / 4 % 4 {
        3 => Pack::Bytes { most: 20, longest: 8, overhead: 2, copies: 2 },
        lines => Pack::Lines(usize::from(lines) + 1),
    };
    let head: &[&str] = if how & 16 == 0 { &[] } else { &["first"] };
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();

    let words: Vec<String> = head.iter().map(|&word| word.to_owned()).collect();
    let mut worker = Plain::strings("resize", &words);
    (worker.columns, worker.pack) = (columns, pack);
    let mut command = Plain::new(Target::Command(template()), columns);
    command.pack = pack;
    for plain in [&mut worker, &mut command] {
        for line in &lines {
            if let Ok(Some(fields)) = plain.parse(line) {
                assert_json(fields.args.as_bytes());
            }
        }
        pack_all(plain, head, &lines);
        // The same lines below a header.
        let names = split(columns, lines[0]).into_iter().map(Cow::into_owned).collect();
        plain.has_header = plain.header.set(names).is_ok();
        pack_all(plain, head, &lines[1..]);
    }
}

/// Makes jobs of all lines, as the reader does.
fn pack_all(plain: &Plain, head: &[&str], lines: &[&[u8]]) {
    let (mut packed, mut rows, mut seq) = (Packed::default(), Vec::new(), 0);
    for line in lines {
        let columns = split(plain.columns, line);
        if plain.is_full(&packed, &columns) {
            take(plain, head, &mut packed, &mut rows, &mut seq);
        }
        match plain.add(&mut packed, &columns) {
            Ok(is_complete) => {
                rows.push(columns);
                if is_complete {
                    take(plain, head, &mut packed, &mut rows, &mut seq);
                }
            }
            Err(invalid) => assert!(!invalid.message.is_empty()),
        }
    }
    take(plain, head, &mut packed, &mut rows, &mut seq);
    assert!(packed.is_empty() && rows.is_empty());
}

/// Takes a job and compares its args with the rows that it was made of.
fn take(
    plain: &Plain,
    head: &[&str],
    packed: &mut Packed,
    rows: &mut Vec<Vec<Cow<'_, [u8]>>>,
    seq: &mut u64,
) {
    *seq += 1;
    let Some(job) = plain.take(packed, *seq) else { return assert!(rows.is_empty()) };
    let fields = rows.iter().flatten();
    match (&plain.target, plain.has_header) {
        (Target::Command(_), _) => {
            let words: Vec<&[u8]> = job.arg_words().expect("words").collect();
            assert_eq!(words, fields.map(AsRef::as_ref).collect::<Vec<&[u8]>>());
        }
        (Target::Worker { .. }, true) => assert_json(job.args()),
        (Target::Worker { .. }, false) => {
            assert_json(job.args());
            let args: Vec<String> = serde_json::from_slice(job.args()).expect("strings");
            let fields = fields.map(|field| std::str::from_utf8(field).expect("UTF-8"));
            assert_eq!(args, head.iter().copied().chain(fields).collect::<Vec<_>>());
        }
    }
    rows.clear();
}

fn template() -> Template {
    let (names, env) = (Names::None, Vec::new());
    let settings =
        TemplateSettings { shell: None, replace: None, names, stdin: false, env, cwd: None };
    Template::new(&["resize".into()], &settings).expect("a command")
}
