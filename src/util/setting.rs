//! The settings that messages name, in the words of the library. A program with words of its own for them,
//! such as the options of the command, gives those once.

use std::fmt;
use std::sync::OnceLock;

/// A setting that a message names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// What is sent after each request.
    AfterRequest,
    /// What a fresh worker prints unasked.
    Banner,
    /// What is sent before each request.
    BeforeRequest,
    /// How much memory waiting results may take.
    Buffer,
    /// The directory that commands run in.
    Cwd,
    /// Variables of the environment of commands.
    Env,
    /// How a worker's messages are separated.
    Framing,
    /// A job that a fresh worker runs first.
    Init,
    /// Lines are base64.
    InputBase64,
    /// Lines are JSON.
    InputJson,
    /// The load above which no job starts.
    MaxLoad,
    /// The longest line of input.
    MaxLine,
    /// The memory that a job may use.
    MaxMemory,
    /// The longest reply.
    MaxReply,
    /// The free memory below which no job starts.
    MinFreeMemory,
    /// Workers with names.
    NamedWorkers,
    /// Placeholders may be names.
    Names,
    /// A message that a fresh worker gets first and does not answer.
    Notify,
    /// The language of a worker.
    Protocol,
    /// A worker's stdout is a terminal.
    Pty,
    /// The name of a run that submits jobs to a queue.
    QueueRun,
    /// The text that is the placeholder.
    Replace,
    /// What ends a reply.
    ReplyEnd,
    /// How many messages are one reply.
    ReplyMessages,
    /// The journal is continued.
    Resume,
    /// The key that decides on a job's worker.
    Route,
    /// The command is a text for a shell.
    Shell,
    /// How long a job may print nothing.
    Silence,
    /// Args go to the command's stdin.
    Stdin,
}

/// The names of the settings in the program that uses the library.
static NAMES: OnceLock<fn(Setting) -> &'static str> = OnceLock::new();

/// From now on all messages of this process call a setting as `names` does. Only the first call counts.
pub fn name_settings(names: fn(Setting) -> &'static str) {
    // A second call changes nothing.
    let _ = NAMES.set(names);
}

/// Whether the program that uses the library has names of its own for the settings.
pub(crate) fn has_names() -> bool {
    NAMES.get().is_some()
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.get().copied().unwrap_or(Self::name);
        f.write_str(name(*self))
    }
}

impl Setting {
    /// Its name in the library.
    fn name(self) -> &'static str {
        match self {
            Self::AfterRequest => "Exchange::after",
            Self::Banner => "Exchange::banner",
            Self::BeforeRequest => "Exchange::before",
            Self::Buffer => "output::Settings::buffer",
            Self::Cwd => "TemplateSettings::cwd",
            Self::Env => "TemplateSettings::env",
            Self::Framing => "framing",
            Self::Init => "the init job",
            Self::InputBase64 => "Coding::Base64",
            Self::InputJson => "Columns::Json",
            Self::MaxLoad => "Limits::max_load",
            Self::MaxLine => "Reader::max_line",
            Self::MaxMemory => "Builder::max_memory",
            Self::MaxReply => "Builder::max_reply",
            Self::MinFreeMemory => "Limits::min_free_memory",
            Self::NamedWorkers => "Route::Names",
            Self::Names => "Names::Any",
            Self::Notify => "the first message",
            Self::Protocol => "protocol",
            Self::Pty => "Builder::pty",
            Self::QueueRun => "SubmitSettings::run",
            Self::Replace => "TemplateSettings::replace",
            Self::ReplyEnd => "Exchange::reply_end",
            Self::ReplyMessages => "Protocol::with_reply_messages",
            Self::Resume => "JournalSettings::resume",
            Self::Route => "Route::by_key",
            Self::Shell => "TemplateSettings::shell",
            Self::Silence => "Builder::silence",
            Self::Stdin => "TemplateSettings::stdin",
        }
    }
}
