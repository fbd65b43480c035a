//! The user's code as the job: procpool's own workers for interpreters (`worker.*`), and the check of
//! the code before a worker is started.

mod check;
mod code;
mod code_file;
mod functions;
mod language;
mod path;

pub use check::CodeError;
pub(crate) use check::Unchecked;
pub use code::Code;
pub use code_file::CodeFileError;
pub use language::Language;
