//! Every input in `fuzz/corpus/` is checked as the fuzz target of its folder checks it.

#[path = "../../fuzz/src/lib.rs"]
mod checks;

use std::fs;
use std::path::Path;

/// Checks all inputs of a target.
fn check_all(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("a corpus") {
        let path = entry.expect("an entry").path();
        // Tells which one it was if the check panics.
        println!("{}", path.display());
        check(&fs::read(&path).expect("a file"));
        count += 1;
    }
    assert!(count >= 3, "{} has {count} inputs", folder.display());
    check(b"");
}

#[test]
fn framings() {
    check_all("framings", checks::framings::check);
}

#[test]
fn envelopes() {
    check_all("envelopes", checks::envelopes::check);
}

#[test]
fn job_lines() {
    check_all("job_lines", checks::job_lines::check);
}

#[test]
fn journal() {
    check_all("journal", checks::journal::check);
}

#[test]
fn lines() {
    check_all("lines", checks::lines::check);
}

#[test]
fn plain() {
    check_all("plain", checks::plain::check);
}

#[test]
fn templates() {
    check_all("templates", checks::templates::check);
}

#[test]
fn every_corpus_and_every_target_is_tried() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let this = fs::read_to_string(root.join("tests/it/fuzz_corpus.rs")).expect("this file");
    for folder in ["fuzz/corpus", "fuzz/fuzz_targets"] {
        for entry in fs::read_dir(root.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let target = path.file_stem().and_then(|name| name.to_str()).expect("a name");
            assert!(this.contains(&format!("check_all(\"{target}\"")), "{}", path.display());
        }
    }
}
