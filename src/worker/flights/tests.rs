//! Tests of the open requests of a worker.

use super::*;
use crate::job::bundle::Bundler;
use crate::protocol::Protocol;
use crate::worker::outbox::Outbox;

/// A bundle of JSON whose requests differ in length, and where each request ends.
fn bundle() -> (Job, Vec<u64>) {
    let mut bundler = Bundler::default();
    let mut single = Outbox::new();
    let mut ends = Vec::new();
    for (seq, args) in [(1, "[1]"), (2, "[1, 22]"), (3, "[]")] {
        assert!(bundler.add((seq, Place { source: 0, line: seq }), "\"f\"", args, ""));
        let job = Job::new(seq, "\"f\"", args, "");
        let span = single.add(&Protocol::default(), seq, &job).expect("a request");
        ends.push(span.ends_at);
    }
    (bundler.take().expect("a bundle"), ends)
}

fn in_flight(job: Job) -> Flights {
    let mut flights = Flights::new();
    let span = Outbox::new().add(&Protocol::default(), 1, &job).expect("requests");
    flights.push(job, Moment::ZERO, 1, span);
    flights
}

/// Moves of more bytes take twice as long.
#[test]
fn a_flight_is_small() {
    assert!(size_of::<Flight>() <= 256, "{} bytes", size_of::<Flight>());
}

#[test]
fn the_place_of_each_request_of_a_bundle_is_known() {
    let (job, ends) = bundle();
    let mut flights = in_flight(job);
    assert_eq!(flights.oldest_span(), Some((0, ends[0])));
    flights.complete_next(1);
    assert_eq!(flights.oldest_span(), Some((ends[0], ends[1])));
    let second = flights.take_oldest().expect("a job");
    assert_eq!((second.id, second.job.seq), (2, 2));
    assert_eq!((second.next_begins_at(), second.next_ends_at()), (ends[0], ends[1]));
    assert_eq!(flights.oldest_span(), Some((ends[1], ends[2])));
    assert_eq!(flights.end(), ends[2]);
}

#[test]
fn a_bundle_is_taken_apart_for_a_reply_out_of_order() {
    let (job, ends) = bundle();
    let mut flights = in_flight(job);
    assert_eq!(flights.find(Some(1), 3), Match::NextOfBundle);
    assert_eq!(flights.find(Some(3), 3), Match::Flight(2));
    let last = flights.take_answered(2).expect("a job");
    assert_eq!((last.job.seq, last.span.begins_at, last.span.ends_at), (3, ends[1], ends[2]));
    assert!(flights.is_unordered());
    assert_eq!(flights.find(Some(3), 3), Match::Stale(3));
    assert_eq!(flights.find(Some(4), 3), Match::Unknown(4));
    assert_eq!(flights.take_unread(ends[0]).len(), 1);
    assert_eq!(flights.jobs(), 1);
}

#[test]
fn the_place_of_each_line_of_a_bundle_is_known() {
    let mut flights = in_flight(Job::of_lines(1, b"a\nbbb\nc\n", 3));
    assert_eq!(flights.oldest_span(), Some((0, 2)));
    flights.complete_next(1);
    assert_eq!(flights.oldest_span(), Some((2, 6)));
    let second = flights.take_oldest().expect("a job");
    assert_eq!(second.job.as_message(), Some(&b"bbb"[..]));
    assert_eq!(flights.oldest_span(), Some((6, 8)));
}

#[test]
fn the_place_of_the_last_answered_request_is_known() {
    let mut flights = in_flight(Job::of_lines(1, b"a\nbbb\nc\n", 3));
    let begun = |flights: &Flights| [0, 1, 2, 3, 6, 7, 99].map(|n| flights.pending_lines_begun(n));
    assert_eq!(begun(&flights), [0, 1, 1, 2, 2, 3, 3]);
    flights.complete_next(2);
    assert_eq!(flights.answered_from(), 2);
    assert_eq!(begun(&flights), [0, 0, 0, 0, 0, 1, 1]);
    flights.complete_next(1);
    assert_eq!(flights.answered_from(), 6);

    let (job, ends) = bundle();
    let mut flights = in_flight(job);
    for (count, from) in [(1, 0), (1, ends[0]), (1, ends[1])] {
        flights.complete_next(count);
        assert_eq!(flights.answered_from(), from);
    }
}
