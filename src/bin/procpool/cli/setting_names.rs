//! The settings of the library → the options that set them, for messages of the library.

use procpool::engine::Setting;

/// The option that sets this.
pub fn option(setting: Setting) -> &'static str {
    match setting {
        Setting::AfterRequest => "--after-request",
        Setting::Banner => "--banner",
        Setting::BeforeRequest => "--before-request",
        Setting::Buffer => "--buffer",
        Setting::Cwd => "--cwd",
        Setting::Env => "--env",
        Setting::Framing => "--framing",
        Setting::Init => "--init",
        Setting::InputBase64 => "--input base64",
        Setting::InputJson => "--input json",
        Setting::MaxLoad => "--max-load",
        Setting::MaxLine => "--max-line",
        Setting::MaxMemory => "--max-memory",
        Setting::MaxReply => "--max-reply",
        Setting::MinFreeMemory => "--min-free-memory",
        Setting::NamedWorkers => "-w NAME=CMDLINE",
        Setting::Names => "--header or --input json",
        Setting::Notify => "--notify",
        Setting::Protocol => "--protocol",
        Setting::Pty => "--pty",
        Setting::QueueRun => "--run",
        Setting::Replace => "-I",
        Setting::ReplyEnd => "--reply-end",
        Setting::ReplyMessages => "--reply-messages",
        Setting::Resume => "--resume",
        Setting::Route => "--route",
        Setting::Shell => "--shell",
        Setting::Silence => "--silence",
        Setting::Stdin => "--stdin",
    }
}
