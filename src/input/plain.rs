//! Plain lines: each is the args of one fixed command.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::job_line::{Fields, Invalid, on_one_line, utf8};

/// A command whose args come line by line.
#[derive(Clone, Debug)]
pub struct Plain {
    /// The command, as a JSON string.
    cmd: String,
    /// The beginning of the args: an open bracket, and the args that come before those of the line.
    head: String,
    /// The line is JSON, and is all the args.
    json: bool,
}

impl Plain {
    /// Lines that are one string arg each, behind `args`.
    pub fn strings(cmd: &str, args: &[String]) -> Self {
        let quoted: String = args.iter().map(|arg| quote(arg) + ",").collect();
        Self { cmd: quote(cmd), head: format!("[{quoted}"), json: false }
    }

    /// Lines that are a JSON value each.
    pub fn json(cmd: &str) -> Self {
        Self { cmd: quote(cmd), head: String::new(), json: true }
    }

    /// Reads a line; `Ok(None)`: it is blank, and should be JSON.
    ///
    /// # Errors
    /// Why it can't be the args of a job.
    pub fn parse<'a>(&'a self, line: &'a [u8]) -> Result<Option<Fields<'a>>, Invalid> {
        let args = match self.json {
            false => Cow::Owned(format!("{}{}]", self.head, quote(utf8(line)?))),
            true if line.trim_ascii().is_empty() => return Ok(None),
            true => json(utf8(line)?)?,
        };
        let cmd = Cow::Borrowed(self.cmd.as_str());
        Ok(Some(Fields { cmd, args, id: "", timeout: None, retries: None }))
    }
}

fn json(text: &str) -> Result<Cow<'_, str>, Invalid> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) => Ok(on_one_line(value.get())),
        Err(error) => {
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or(&what);
            let message = format!("it is not JSON ({what}), which --input json asks for");
            Err(Invalid::new(error.column(), message))
        }
    }
}

fn quote(text: &str) -> String {
    // A string can always be written as JSON.
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_args() {
        let plain = Plain::strings("resize", &["-w".into(), "1\"0".into()]);
        let fields = plain.parse(b"a b.png").expect("valid").expect("a job");
        assert_eq!((&*fields.cmd, &*fields.args), (r#""resize""#, r#"["-w","1\"0","a b.png"]"#));
        let fields = plain.parse(b"").expect("valid").expect("a job");
        assert_eq!(fields.args, r#"["-w","1\"0",""]"#);
    }

    #[test]
    fn json_lines_are_the_args() {
        let plain = Plain::json("resize");
        let fields = plain.parse(br#" {"w": 1} "#).expect("valid").expect("a job");
        assert_eq!(fields.args, r#"{"w": 1}"#);
        assert_eq!(plain.parse(b" "), Ok(None));
        assert!(plain.parse(b"a.png").expect_err("invalid").message.contains("--input json"));
    }

    proptest! {
        #[test]
        fn any_text_is_one_string(text in any::<String>()) {
            let plain = Plain::strings("a", &[]);
            let fields = plain.parse(text.as_bytes()).expect("valid").expect("a job");
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&fields.args).expect("JSON"), vec![text]);
        }
    }
}
