//! Code of the user's that panics: a sink, a watcher, a callback, a waker. Nobody waits for ever for it.

use std::panic::panic_any;
use std::task::{Context, Wake, Waker};

use super::*;

/// A watcher that panics whenever it is called.
struct Panics;

impl Watcher for Panics {
    fn worker_stderr(&self, _: &[u8]) {
        panic_any("stderr, as it is to");
    }

    fn note(&self, _: &str) {
        panic_any("a note, as it is to");
    }

    fn start_limit_reached(&self, _: &Failure) {
        panic_any("the limit, as it is to");
    }

    fn worker_ended(&self, _: &procpool::engine::WorkerEnd) {
        panic_any("the end of a worker, as it is to");
    }
}

#[tokio::test]
async fn a_watcher_that_panics_is_blamed_on_no_job() {
    let crew = Crew::new();
    let builder = Pool::builder(&crew.worker("")).max_procs(2).max_reqs(2);
    let pool = builder.watcher(Arc::new(Panics)).build().expect("a pool");
    for at in 0..20_u64 {
        assert_eq!(ok("a job", pool.process::<u64>("first", [at])).await, at);
    }
    soon("shutdown", pool.shutdown()).await;
    assert!(crew.left().is_empty());
}

#[tokio::test]
async fn a_callback_that_panics_is_blamed_on_no_job() {
    let worker = r#"sh -c 'while read -r l; do echo said >&2; echo "{\"result\":42}"; done'"#;
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let pool = Pool::builder(worker).max_procs(1).on_stderr(move |_, _, _| {
        count.fetch_add(1, Ordering::Relaxed);
        panic_any("as it is to");
    });
    let pool = pool.build().expect("a pool");
    for _ in 0..5 {
        assert_eq!(ok("a job", pool.process::<u64>("a", ())).await, 42);
    }
    soon("shutdown", pool.shutdown()).await;
    assert!(calls.load(Ordering::Relaxed) > 0);
}

/// A sink whose `flush` always panics.
#[derive(Default)]
struct NeverFlushes(AtomicUsize);

impl Sink for NeverFlushes {
    fn deliver(&self, _: &Done<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn flush(&self) {
        panic_any("as it is to");
    }
}

#[tokio::test]
async fn a_sink_whose_flush_always_panics_holds_nobody_up() {
    let crew = Crew::new();
    let (sink, notes) = (Arc::new(NeverFlushes::default()), Arc::new(Notes::default()));
    let builder = Pool::builder(&crew.worker("")).max_procs(2).sink(Arc::clone(&sink) as Arc<_>);
    let pool = builder.watcher(Arc::clone(&notes) as Arc<_>).build().expect("a pool");
    pool.feed(&mut fed("first", 1..=50)).expect("open");
    soon("join", pool.join()).await;
    assert_eq!(sink.0.load(Ordering::Relaxed), 50);
    assert_eq!(notes.lock().notes.len(), 1, "{:?}", notes.lock().notes);
    soon("shutdown", pool.shutdown()).await;
    assert!(crew.left().is_empty());
}

/// A waker that panics.
struct Insomnia;

impl Wake for Insomnia {
    fn wake(self: Arc<Self>) {
        panic_any("as it is to");
    }
}

#[tokio::test]
async fn a_waker_that_panics_costs_no_other_call_its_answer() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1).depth(8));
    let gate = crew.path("gate");
    let first = pool.defer::<bool>("await_file", [&gate]);
    let mut bad: Vec<_> = (0..3_u64).map(|at| pool.defer::<u64>("first", [at])).collect();
    let good: Vec<_> = (0..20_u64).map(|at| pool.defer::<u64>("first", [at])).collect();
    let waker = Waker::from(Arc::new(Insomnia));
    for call in &mut bad {
        assert!(Pin::new(call).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    crew.file("gate", "");
    assert!(ok("the first", first).await);
    for (at, call) in good.into_iter().enumerate() {
        assert_eq!(ok("a good one", call).await, at as u64);
    }
    for (at, call) in bad.into_iter().enumerate() {
        assert_eq!(ok("a bad one", call).await, at as u64);
    }
    assert_eq!(crew.logged("start").len(), 1);
}

/// A screen that panics when stdout is to be written.
struct NoScreen(Arc<Notes>);

impl procpool::engine::output::Screen for NoScreen {
    fn failure(&self, _: &[u8]) {}

    fn around_write(&self, _: &[u8], _: &mut dyn FnMut()) {
        panic_any("as it is to");
    }

    fn trouble(&self, trouble: procpool::engine::output::Trouble) {
        self.0.note(&format!("{trouble:?}"));
    }
}

/// The thread that writes results has panicked, and slots have more results than it may keep waiting.
#[tokio::test]
async fn an_output_whose_thread_panics_stops_no_slot() {
    use procpool::engine::output::format::{Shape, Tag};
    use procpool::engine::output::{Format, Output, Settings};
    let notes = Arc::new(Notes::default());
    let format = Format {
        shape: Shape::Record,
        detail: false,
        tag: Tag::None,
        newline: false,
        skip_null: false,
        unpack: false,
        commands: None,
        is_open: false,
        sources: Vec::new(),
        failures: Default::default(),
    };
    let settings = Settings { format, ordered: true, buffer: 1 << 20, journal: None };
    let screen = Arc::new(NoScreen(Arc::clone(&notes)));
    let output = Arc::new(Output::start(settings, screen).expect("an output"));
    let pool = build(Pool::builder(&worker("")).max_procs(2).sink(Arc::clone(&output) as Arc<_>));
    let text = "x".repeat(20_000);
    let mut jobs = (1..=300).map(|seq| job("echo", seq, &json!([text]))).collect();
    pool.feed(&mut jobs).expect("open");
    soon("join", pool.join()).await;
    soon("finish", output.finish()).await;
    assert_has(&notes.lock().notes.concat(), &["Broken", "has panicked"]);
}
