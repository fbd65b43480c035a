//! Names that live as long as the program, each kept once: those of machines, which are few.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::util::lock::lock;

static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// The name itself, for as long as the program runs.
pub(crate) fn intern(name: &str) -> &'static str {
    let mut names = lock(&NAMES);
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(kept);
    kept
}
