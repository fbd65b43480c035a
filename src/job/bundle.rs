//! Bundles: successive jobs that travel as one [`Job`]. So allocating, moving and freeing are paid once for
//! many. Code that must treat one job separately takes it out.

use super::unit::{BundleParts, Job, JobForm, Part, Place};

/// A bundle of JSON is complete when it has this many bytes, about as many as one read returns.
const ENOUGH: usize = 64 << 10;

/// A job of more bytes than this travels alone: its other costs are small compared with its bytes.
const LARGE: usize = 4 << 10;

impl Job {
    /// A bundle of messages: the `count` lines of `lines`, each with its newline. One line is a single job.
    pub(crate) fn of_lines(seq: u64, lines: &[u8], count: usize) -> Self {
        match count {
            1 => Self::message(seq, lines.strip_suffix(b"\n").unwrap_or(lines)),
            _ => Self::bytes(seq, lines, JobForm::Lines(count)),
        }
    }

    /// How many jobs this is: 1 unless it is a bundle.
    pub(crate) fn count(&self) -> usize {
        match &self.body.form {
            JobForm::Lines(count) => *count,
            JobForm::Parts(parts) => parts.all.len() - parts.first,
            JobForm::Json
            | JobForm::Words
            | JobForm::Message
            | JobForm::Block(_)
            | JobForm::Joint(_) => 1,
        }
    }

    /// The lines of a bundle of messages.
    pub(crate) fn lines(&self) -> Option<&[u8]> {
        matches!(self.body.form, JobForm::Lines(_)).then_some(&self.body.text[self.body.begin..])
    }

    /// Where the line after the first `count` lines begins.
    pub(crate) fn offset(&self, count: usize) -> usize {
        let Some(last) = count.checked_sub(1) else { return 0 };
        let lines = self.lines().unwrap_or_default();
        memchr::memchr_iter(b'\n', lines).nth(last).map_or(lines.len(), |at| at + 1)
    }

    /// Copies job `nth` of a bundle of JSON, counted from 0, to `job`. `job` keeps its buffer, so that many
    /// jobs can be copied without an allocation for each.
    pub(crate) fn show(&self, nth: usize, job: &mut Self) {
        let Some((begin, part)) = self.part(nth) else { return };
        let end = part.end as usize;
        job.seq = self.seq + nth as u64;
        job.place = self.place.after(nth);
        job.body.text.clear();
        job.body.text.extend_from_slice(&self.body.text[begin..end]);
        job.body.args_at = part.args_at as usize - begin;
        job.body.id_at = part.id_at as usize - begin;
    }

    /// Job `nth` of a bundle of JSON, counted from 0.
    pub(crate) fn nth(&self, nth: usize) -> Self {
        let mut job = Self::new(0, "", "", "");
        if let Some((begin, part)) = self.part(nth) {
            job.body.text = Vec::with_capacity(part.end as usize - begin);
        }
        self.show(nth, &mut job);
        job
    }

    /// Where job `nth` of a bundle of JSON, counted from 0, begins, and where its texts are.
    fn part(&self, nth: usize) -> Option<(usize, Part)> {
        let JobForm::Parts(parts) = &self.body.form else { return None };
        let at = parts.first + nth;
        let part = *parts.all.get(at)?;
        let begin = if nth == 0 { self.body.begin } else { parts.all[at - 1].end as usize };
        Some((begin, part))
    }

    /// The texts of the jobs of a bundle of JSON, from job `first` on: command, args and id.
    pub(crate) fn texts(&self, first: usize) -> impl Iterator<Item = [&[u8]; 3]> {
        let (parts, begin) = match (&self.body.form, self.part(first)) {
            (JobForm::Parts(parts), Some((begin, _))) => (&parts.all[parts.first + first..], begin),
            _ => (&[][..], 0),
        };
        let mut begin = begin;
        parts.iter().map(move |part| {
            let (args_at, id_at) = (part.args_at as usize, part.id_at as usize);
            let end = part.end as usize;
            let cmd_at = std::mem::replace(&mut begin, end);
            let text = &self.body.text;
            [&text[cmd_at..args_at], &text[args_at..id_at], &text[id_at..end]]
        })
    }

    /// Job `nth` of a bundle of any kind, counted from 0.
    pub(crate) fn one(&self, nth: usize) -> Self {
        let Some(lines) = self.lines() else { return self.nth(nth) };
        let line = &lines[self.offset(nth)..self.offset(nth + 1)];
        let job = Self::of_lines(self.seq + nth as u64, line, 1);
        Self { place: self.place.after(nth), ..job }
    }

    /// Takes the first `count` jobs out of a bundle that has more.
    pub(crate) fn split_off_first(&mut self, count: usize) -> Self {
        let (mut taken, end) = match &self.body.form {
            JobForm::Parts(parts) => {
                let some = &parts.all[parts.first..parts.first + count];
                let end = some.last().map_or(self.body.begin, |part| part.end as usize);
                let taken = match count {
                    1 => self.nth(0),
                    _ => Self::of_parts(
                        self.seq,
                        &self.body.text[self.body.begin..end],
                        some,
                        self.body.begin,
                    ),
                };
                (taken, end)
            }
            _ => {
                let end = self.body.begin + self.offset(count);
                (Self::of_lines(self.seq, &self.body.text[self.body.begin..end], count), end)
            }
        };
        taken.place = self.place;
        taken.timeout = self.timeout;
        taken.leash.clone_from(&self.leash);
        self.forget_first(count, end);
        taken
    }

    /// Removes the first `count` jobs, which end at `end`, from the bundle.
    fn forget_first(&mut self, count: usize, end: usize) {
        let left = self.count() - count;
        let place = self.place.after(count);
        let (leash, timeout) = (self.leash.take(), self.timeout);
        self.seq += count as u64;
        self.place = place;
        self.body.begin = end;
        match &mut self.body.form {
            JobForm::Parts(parts) => {
                parts.first += count;
                if left == 1 {
                    *self = self.nth(0);
                }
            }
            form => {
                *form = JobForm::Lines(left);
                if left == 1 {
                    *self = Self::of_lines(self.seq, &self.body.text[end..], 1);
                    self.place = place;
                }
            }
        }
        (self.leash, self.timeout) = (leash, timeout);
    }

    /// A bundle of these parts, at least 2. Their positions count from `before` bytes before the text.
    fn of_parts(seq: u64, text: &[u8], parts: &[Part], before: usize) -> Self {
        // A `u32` holds every position, since the text is shorter than 4 GiB.
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        let parts = parts
            .iter()
            .map(|part| Part {
                args_at: part.args_at - before,
                id_at: part.id_at - before,
                end: part.end - before,
            })
            .collect();
        Self::bytes(seq, text, JobForm::Parts(BundleParts::new(parts)))
    }

    /// How many bytes the positions of the jobs of a bundle take.
    pub(super) fn size_of_parts(&self) -> usize {
        match &self.body.form {
            JobForm::Parts(_) => self.count() * size_of::<Part>(),
            JobForm::Joint(jobs) => jobs.0.iter().map(|job| size_of::<Job>() + job.size()).sum(),
            _ => 0,
        }
    }
}

/// Makes bundles of jobs that are read one by one.
#[derive(Debug, Default)]
pub(crate) struct Bundler {
    seq: u64,
    place: Place,
    text: Vec<u8>,
    parts: Vec<Part>,
}

impl Bundler {
    /// Adds a job, with texts as for [`Job::new`]. Returns `false` if the job does not follow the jobs before
    /// it, if the bundle is complete, or if the job is large. Then take the bundle, and add the job again or
    /// let it travel alone.
    pub(crate) fn add(
        &mut self,
        (seq, place): (u64, Place),
        cmd: impl AsRef<[u8]>,
        args: impl AsRef<[u8]>,
        id: impl AsRef<[u8]>,
    ) -> bool {
        let (cmd, args, id) = (cmd.as_ref(), args.as_ref(), id.as_ref());
        let count = self.parts.len();
        let len = cmd.len() + args.len() + id.len();
        if count == 0 {
            self.seq = seq;
            self.place = place;
        }
        let follows = (seq, place) == (self.seq + count as u64, self.place.after(count));
        if !follows || len > LARGE || self.text.len() >= ENOUGH {
            return false;
        }
        let begin = self.text.len();
        self.text.extend_from_slice(cmd);
        self.text.extend_from_slice(args);
        self.text.extend_from_slice(id);
        // `ENOUGH` and `LARGE` keep each position within a `u32`.
        let args_at = (begin + cmd.len()) as u32;
        let id_at = args_at + args.len() as u32;
        self.parts.push(Part { args_at, id_at, end: id_at + id.len() as u32 });
        true
    }

    /// Takes all jobs that were added, as one [`Job`]. `None`: there are none.
    pub(crate) fn take(&mut self) -> Option<Job> {
        let mut job = match self.parts.as_slice() {
            [] => return None,
            parts => Job::of_parts(self.seq, &self.text, parts, 0),
        };
        job.place = self.place;
        if self.parts.len() == 1 {
            job = job.nth(0);
        }
        self.text.clear();
        self.parts.clear();
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A text for each job of a bundle.
    fn all(mut job: Job) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let is_last = job.count() == 1;
            let first = if is_last { None } else { Some(job.split_off_first(1)) };
            let one = first.as_ref().unwrap_or(&job);
            let texts = [one.cmd(), one.args(), one.id().unwrap_or_default()];
            let message = one.as_message().map(<[u8]>::to_vec);
            let place = (one.place.source, one.place.line);
            all.push(format!("{} {place:?} {texts:?} {message:?}", one.seq));
            if is_last {
                return all;
            }
        }
    }

    fn bundle(texts: &[(String, String, String)]) -> Job {
        let mut bundler = Bundler::default();
        for (nth, (cmd, args, id)) in texts.iter().enumerate() {
            let at = (7 + nth as u64, Place { source: 2, line: 3 + nth as u64 });
            assert!(bundler.add(at, cmd, args, id));
        }
        bundler.take().expect("a job")
    }

    proptest! {
        #[test]
        fn wherever_it_is_split_the_jobs_are_the_same(
            texts in prop::collection::vec(("[a-c]{0,3}", "[d-f]{0,3}", "[0-9]{0,3}"), 1..12),
            cuts in prop::collection::vec(1_usize..4, 0..6),
            is_json in any::<bool>(),
        ) {
            let make = || if is_json { bundle(&texts) } else {
                    let lines: String = texts.iter().map(|(cmd, ..)| format!("{cmd}\n")).collect();
                    let mut job = Job::of_lines(7, lines.as_bytes(), texts.len());
                    job.place = Place { source: 2, line: 3 };
                    job
                };
            let whole = all(make());
            prop_assert_eq!(whole.len(), texts.len());
            let (mut rest, mut pieces) = (make(), Vec::new());
            let size = rest.size();
            for cut in cuts {
                if cut < rest.count() {
                    let piece = rest.split_off_first(cut);
                    prop_assert!(piece.size() <= size);
                    pieces.extend(all(piece));
                }
            }
            if is_json && rest.count() > 1 {
                let texts = |first| rest.texts(first).map(|texts| texts.map(<[u8]>::to_vec));
                let each = (0..rest.count()).map(|nth| {
                    let job = rest.nth(nth);
                    [job.cmd(), job.args(), job.id().unwrap_or_default()].map(<[u8]>::to_vec)
                });
                prop_assert!(texts(0).eq(each.clone()) && texts(1).eq(each.skip(1)));
            }
            pieces.extend(all(rest));
            prop_assert_eq!(pieces, whole);
        }

        #[test]
        fn what_is_added_is_what_comes_out(
            texts in prop::collection::vec(("[a-c]{0,3}", "[d-f]{0,3}", "[0-9]{0,3}"), 1..12),
        ) {
            let bundle = bundle(&texts);
            prop_assert_eq!(bundle.count(), texts.len());
            let expected = texts.iter().enumerate().map(|(nth, (cmd, args, id))| {
                let mut job = Job::new(7 + nth as u64, cmd, args, id);
                job.place = Place { source: 2, line: 3 + nth as u64 };
                all(job).remove(0)
            });
            prop_assert_eq!(all(bundle), expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn only_what_follows_goes_along() {
        let place = |line| Place { source: 0, line };
        let mut bundler = Bundler::default();
        assert!(bundler.take().is_none());
        assert!(!bundler.add((1, place(1)), "", "x".repeat(LARGE + 1), ""));
        assert!(bundler.add((1, place(1)), "a", "b", ""));
        assert!(!bundler.add((3, place(2)), "a", "b", ""));
        assert!(!bundler.add((2, place(3)), "a", "b", ""));
        assert!(bundler.add((2, place(2)), "a", "b", ""));
        assert_eq!(bundler.take().map(|job| job.count()), Some(2));
        let long = "x".repeat(LARGE);
        let added = (1..).take_while(|&line| bundler.add((line, place(line)), "", &long, ""));
        assert_eq!(added.count(), ENOUGH / LARGE);
    }
}
