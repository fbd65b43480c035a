//! Which of several pools a job is for.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::job_lines::Invalid;
use crate::command::{Args, CommandError, Names, Template, TemplateSettings};
use crate::job::Job;
use crate::util::setting::Setting;

/// How a job's pool is found.
#[derive(Clone, Debug, Default)]
pub enum Route {
    /// There is one pool.
    #[default]
    One,
    /// The pools have names: a job names one, or its command is the name of one.
    Names(Vec<String>),
    /// Jobs with equal keys go to the same pool.
    Key {
        /// Makes the key of a job.
        key: Box<Template>,
        /// How many pools there are, at least 1.
        count: usize,
    },
}

/// Why a text is not a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// It is not a template.
    Template(CommandError),
    /// It names no arg, so it is the same for all jobs.
    NoArg,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template(error) => error.fmt(f),
            Self::NoArg => write!(
                f,
                "{} names no arg: use the name of a field, or {{1}}, {{user}} …",
                Setting::Route
            ),
        }
    }
}

impl std::error::Error for RouteError {}

impl From<CommandError> for RouteError {
    fn from(error: CommandError) -> Self {
        Self::Template(error)
    }
}

impl Route {
    /// Makes a route by a key. The key is a text with placeholders, or the name or number of an arg.
    ///
    /// # Errors
    /// The key is no template, or names no arg.
    pub fn by_key(key: &str, count: usize) -> Result<Self, RouteError> {
        let key = if key.contains('{') { key.to_owned() } else { format!("{{{key}}}") };
        let settings = TemplateSettings {
            shell: None,
            replace: None,
            names: Names::Any,
            // Otherwise the template would append the args to the key.
            stdin: true,
            env: Vec::new(),
            cwd: None,
        };
        let key = Box::new(Template::new(&[key.into()], &settings)?);
        if key.is_plain() {
            return Err(RouteError::NoArg);
        }
        Ok(Self::Key { key, count })
    }

    /// The pool of a job. `worker` is the name that its line gives.
    pub(super) fn pool_of(&self, job: &Job, worker: Option<&str>) -> Result<usize, Invalid> {
        match (self, worker) {
            (Self::One, None) => Ok(0),
            (Self::Names(names), Some(worker)) => position(names, worker),
            (Self::Names(names), None) => {
                let cmd = serde_json::from_slice::<String>(job.cmd()).unwrap_or_default();
                position(names, &cmd)
            }
            (Self::Key { key, count }, None) => Ok(by_hash(key, job, *count)),
            (Self::One | Self::Key { .. }, Some(_)) => Err(Invalid::of_line(format!(
                "the key `worker` needs several workers with names ({})",
                Setting::NamedWorkers
            ))),
        }
    }
}

fn position(names: &[String], name: &str) -> Result<usize, Invalid> {
    names.iter().position(|other| other == name).ok_or_else(|| {
        let known = names.join(", ");
        Invalid::of_line(format!("no worker is named '{name}'; there are {known}"))
    })
}

/// Jobs without the key are dealt out in turn.
fn by_hash(key: &Template, job: &Job, count: usize) -> usize {
    let args = match job.as_message() {
        Some(message) => Ok(Args { words: vec![message.into()], ..Args::default() }),
        None => Args::from_json(job.args()),
    };
    let key = args.and_then(|args| key.fill(&args, job.seq, 1)).map(|command| command.argv);
    let number = match key {
        Ok(key) if key.iter().any(|word| !word.is_empty()) => {
            let mut hasher = DefaultHasher::new();
            key.hash(&mut hasher);
            hasher.finish()
        }
        _ => job.seq,
    };
    usize::try_from(number % count.max(1) as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equal_keys_have_equal_pools(user in "[a-z]{1,5}", other in any::<u32>(), count in 1_usize..9) {
            let pool = |key: &str, args: &str| {
                let route = Route::by_key(key, count).expect("a key");
                route.pool_of(&Job::new(1, r#""x""#, args, ""), None).expect("a pool")
            };
            let first = format!(r#"{{"user":"{user}","n":1}}"#);
            let second = format!(r#"{{"n":{other},"user":"{user}"}}"#);
            prop_assert!(pool("user", &first) < count);
            prop_assert_eq!(pool("user", &first), pool("user", &second));
            prop_assert_eq!(pool("{user}", &first), pool("{user}", &second));
            let (first, second) = (format!(r#"["{user}",1]"#), format!(r#"["{user}",{other}]"#));
            prop_assert_eq!(pool("1", &first), pool("1", &second));
        }
    }
}
