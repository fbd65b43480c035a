//! Joint jobs: one request for several jobs, and one list with a result for each. Outcomes belong to the single
//! jobs. A joint job that fails is split, so that each of its jobs is asked for alone.

use serde_json::value::RawValue;

use super::unit::{Job, JobForm, JoinedJobs};
use super::{Failure, Kind, Value};

impl Job {
    /// Joins jobs, at least one, of the same command. The args of the request are `head` (JSON values with a comma
    /// after each), then the list of `elements`, one of each job (JSON values with a comma after each).
    pub fn join(jobs: Vec<Self>, head: &str, elements: &str) -> Self {
        let elements = elements.strip_suffix(',').unwrap_or(elements);
        let first = jobs.first();
        let cmd = first.map_or("\"\"".into(), |job| String::from_utf8_lossy(job.cmd()));
        let seq = first.map_or(0, |job| job.seq);
        let mut joint = Self::new(seq, &cmd, &format!("[{head}[{elements}]]"), "");
        joint.place = first.map(|job| job.place).unwrap_or_default();
        joint.pool = first.map_or(0, |job| job.pool);
        joint.body.form = JobForm::Joint(Box::new(JoinedJobs(jobs)));
        joint
    }

    /// The jobs of a joint job.
    pub(crate) fn joined(&self) -> Option<&[Self]> {
        match &self.body.form {
            JobForm::Joint(jobs) => Some(&jobs.0),
            _ => None,
        }
    }

    /// Whether the result is a list with a result for each of several jobs, or of one.
    pub(crate) fn is_joint(&self) -> bool {
        matches!(self.body.form, JobForm::Joint(_))
    }

    /// The jobs that are delivered: those of a joint job, or the job itself.
    pub(crate) fn singles(&self) -> &[Self] {
        self.joined().unwrap_or(std::slice::from_ref(self))
    }

    /// The same, with each job separate.
    pub(crate) fn into_singles(mut self) -> Vec<Self> {
        match std::mem::replace(&mut self.body.form, JobForm::Json) {
            JobForm::Joint(jobs) => jobs.0,
            form => {
                self.body.form = form;
                vec![self]
            }
        }
    }

    /// Sets which try it is, from 1, of a joint job also for its jobs.
    pub(crate) fn set_attempt(&mut self, attempt: u32) {
        self.attempt = attempt;
        if let JobForm::Joint(jobs) = &mut self.body.form {
            jobs.0.iter_mut().for_each(|job| job.attempt = attempt);
        }
    }

    /// The joint jobs of one job each.
    pub(crate) fn split_joint(self) -> Vec<Self> {
        let args = String::from_utf8_lossy(self.args()).into_owned();
        // `join` has made these args.
        let args: Vec<&RawValue> = serde_json::from_str(&args).unwrap_or_default();
        let Some((list, head)) = args.split_last() else { return vec![self] };
        let head: String = head.iter().map(|arg| format!("{},", arg.get())).collect();
        let elements: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
        let (losses, is_suspect) = (self.losses, self.is_suspect);
        let jobs = self.into_singles().into_iter().zip(elements);
        jobs.map(|(job, element)| {
            let alone = Self::join(vec![job], &head, element.get());
            Self { losses, is_suspect, ..alone }
        })
        .collect()
    }
}

/// The results of a joint job of `count` jobs.
///
/// # Errors
/// The result is no list, or one of another length.
pub(crate) fn results(result: Value<'_>, count: usize) -> Result<Vec<Box<RawValue>>, Failure> {
    let json = result.to_json();
    let wrong = |what: String| {
        let lines = if count == 1 { "1 line".to_owned() } else { format!("{count} lines") };
        Failure::new(Kind::Error, format!("the result for a list of {lines} is {what}"))
    };
    match serde_json::from_str::<Vec<Box<RawValue>>>(json.get()) {
        Ok(results) if results.len() == count => Ok(results),
        Ok(results) => Err(wrong(format!("a list of {}", results.len()))),
        Err(_) => Err(wrong("no list".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::json::Json;

    #[test]
    fn a_joint_job_comes_apart() {
        let job = |seq| Job::new(seq, r#""f""#, &format!("[\"h\",{seq}]"), "");
        let joint = Job::join(vec![job(4), job(5)], r#""h","#, "4,[5, 6],");
        assert_eq!((joint.seq, joint.args()), (4, &br#"["h",[4,[5, 6]]]"#[..]));
        let seqs = |jobs: &[Job]| jobs.iter().map(|job| job.seq).collect::<Vec<_>>();
        assert_eq!(seqs(joint.singles()), [4, 5]);
        let split = joint.split_joint();
        assert_eq!((split[1].seq, split[1].args()), (5, &br#"["h",[[5, 6]]]"#[..]));
        assert_eq!(seqs(split[1].singles()), [5]);
    }

    #[test]
    fn results_have_the_length_of_the_list() {
        let of = |json: &str, count| {
            let raw: &RawValue = serde_json::from_str(json).expect("JSON");
            results(Value::Json(Json::of(raw)), count).map_err(|failure| failure.message)
        };
        assert_eq!(of("[1, [2]]", 2).expect("a list")[1].get(), "[2]");
        assert_eq!(
            of("[1]", 2).expect_err("short"),
            "the result for a list of 2 lines is a list of 1"
        );
        assert_eq!(
            of("\"ab\"", 1).expect_err("text"),
            "the result for a list of 1 line is no list"
        );
    }
}
