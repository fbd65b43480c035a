//! The name of a job in messages, its place in the input, and its id.

use super::call::FIRST_CALL;
use super::party::without_party;
use super::unit::{Job, Place};
use crate::util::text::printable;

/// The name of a job in messages: `job j1 (line 3)`, with the source if there are several.
pub fn name(job: &Job, sources: &[String]) -> String {
    let id = id(job);
    match place(job.place, sources) {
        Some(place) => format!("job {id} ({place})"),
        None => format!("job {id}"),
    }
}

/// The id of a job and its place, as details in brackets: `job j1, line 3`.
pub(crate) fn details(job: &Job, sources: &[String]) -> String {
    let id = id(job);
    match (place(job.place, sources), job.block()) {
        (Some(place), _) => format!("job {id}, {place}"),
        (None, Some(block)) => {
            format!("job {id}, {} bytes from byte {} on", block.body_len(), block.begin)
        }
        (None, None) => format!("job {id}"),
    }
}

/// The place of a job, with the name of its source if it has one. `None`: the job was not read from input.
pub(crate) fn place(place: Place, sources: &[String]) -> Option<String> {
    let source = usize::try_from(place.source).ok().and_then(|index| sources.get(index));
    match (place.line, source.filter(|source| !source.is_empty())) {
        (0, _) => None,
        (line, None) => Some(format!("line {line}")),
        (line, Some(source)) => Some(format!("{} line {line}", printable(source))),
    }
}

/// The job's number among all jobs; 0: it is the job of a call.
pub(crate) fn number(job: &Job) -> u64 {
    if job.seq < FIRST_CALL { without_party(job.seq) } else { 0 }
}

/// The job's id, as a person would write it.
pub(crate) fn id(job: &Job) -> String {
    let Some(id) = job.id() else { return number(job).to_string() };
    let text = String::from_utf8_lossy(id);
    let text = serde_json::from_str::<String>(&text).unwrap_or_else(|_| text.into_owned());
    printable(&text.chars().take(80).collect::<String>())
}
