//! `--example-worker`: a worker to start from, in each language.

use crate::cli::help::ExampleLanguage;

/// The text of a worker.
pub fn example(language: ExampleLanguage) -> &'static str {
    match language {
        ExampleLanguage::Python => include_str!("../../../examples/worker.py"),
        ExampleLanguage::Node => include_str!("../../../examples/worker.js"),
        ExampleLanguage::Perl => include_str!("../../../examples/worker.pl"),
        ExampleLanguage::Ruby => include_str!("../../../examples/worker.rb"),
        ExampleLanguage::Sh => include_str!("../../../examples/worker.sh"),
        ExampleLanguage::Rust => include_str!("../../../examples/worker.rs"),
    }
}
