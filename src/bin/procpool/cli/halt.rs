//! The value of `--halt`: when the outcomes of jobs end the run.

/// When the outcomes of jobs end the run, in the words of GNU parallel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halt {
    /// Whether running jobs are ended. Otherwise they may finish.
    pub now: bool,
    /// The jobs that count.
    pub what: What,
    /// The number of them that ends the run.
    pub limit: Limit,
}

/// The jobs that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Fail,
    Success,
    Done,
}

/// The number of jobs that ends the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Count(u64),
    /// A percentage of all jobs, whose number is known when all input has been read.
    Percent(u64),
}

/// Parses the value of `--halt`; `Ok(None)`: never.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_halt(text: &str) -> Result<Option<Halt>, String> {
    let text = match text {
        "0" | "never" => return Ok(None),
        "1" => "soon,fail=1",
        "2" => "now,fail=1",
        "-1" => "soon,success=1",
        "-2" => "now,success=1",
        text => text,
    };
    let long = match text.strip_suffix('%').filter(|number| !number.contains(',')) {
        Some(number) => format!("soon,fail={number}%"),
        None => text.to_owned(),
    };
    let expected = || {
        "expected never, or now or soon, then fail, success or done, then a number or a percentage: \
         now,fail=1 or soon,fail=10%"
            .to_owned()
    };
    let (when, rest) = long.split_once(',').ok_or_else(expected)?;
    let (what, number) = rest.split_once('=').ok_or_else(expected)?;
    let now = match when {
        "now" => true,
        "soon" => false,
        _ => return Err(expected()),
    };
    let what = match what {
        "fail" => What::Fail,
        "success" => What::Success,
        "done" => What::Done,
        _ => return Err(expected()),
    };
    let number = number.strip_suffix('%').map_or((number, false), |number| (number, true));
    let limit = match (number.0.parse::<u32>(), number.1) {
        (Ok(count @ 1..), false) => Limit::Count(count.into()),
        (Ok(percent @ 1..=100), true) => Limit::Percent(percent.into()),
        _ => return Err(expected()),
    };
    Ok(Some(Halt { now, what, limit }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halt_is_what_gnu_parallel_takes() {
        let halt = |now, what, limit| Ok(Some(Halt { now, what, limit }));
        assert_eq!(parse_halt("never"), Ok(None));
        assert_eq!(parse_halt("0"), Ok(None));
        assert_eq!(parse_halt("now,fail=1"), halt(true, What::Fail, Limit::Count(1)));
        assert_eq!(parse_halt("2"), parse_halt("now,fail=1"));
        assert_eq!(parse_halt("-1"), parse_halt("soon,success=1"));
        assert_eq!(parse_halt("soon,done=30"), halt(false, What::Done, Limit::Count(30)));
        assert_eq!(parse_halt("5%"), halt(false, What::Fail, Limit::Percent(5)));
        assert_eq!(parse_halt("now,success=50%"), halt(true, What::Success, Limit::Percent(50)));
        for wrong in ["", "soon", "later,fail=1", "now,fail", "now,fail=0", "now,fail=x", "101%"] {
            assert!(parse_halt(wrong).is_err(), "{wrong}");
        }
    }
}
