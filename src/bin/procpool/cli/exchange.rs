//! The options for messages: how they are separated, what ends a reply, what is sent around each request,
//! what a program prints at its start, and which results are failures.

use clap::Args;
use procpool::engine::protocol::framing::Framing;

use super::framing::FramingParser;
use super::values;

#[derive(Debug, Args)]
pub struct ExchangeOptions {
    /// Where a message ends [default: as usual for the protocol]
    ///
    /// line, nul: a newline or a NUL byte ends each message. u16, u32, u32le: the length comes before
    /// each message, big-endian, or little-endian with le. varint: the length comes before each message,
    /// as in protocol buffers. content-length: a header as in HTTP. netstring: 5:hello, for the message
    /// hello. json: each message is a JSON value, and nothing separates the messages. size-line: after a
    /// line that ends with a number come that many bytes, as with git cat-file --batch; requests are lines. If
    /// requests and replies have different framings, give two names: line,content-length.
    #[arg(hide_short_help = true, long, value_name = "NAME[,NAME]", value_parser = FramingParser, hide_possible_values = true)]
    pub framing: Option<(&'static Framing, &'static Framing)>,

    /// A reply is N messages instead of one (raw, with line or nul)
    ///
    /// This is for programs that print several fields or lines for each input, such as 3 for git
    /// check-attr -z with one attribute. The N messages are one result, which keeps their separators.
    #[arg(hide_short_help = true, long, value_name = "N", default_value_t = 1, value_parser = values::whole::<usize>)]
    pub reply_messages: usize,

    /// A reply ends with TEXT, and may be any number of lines (raw)
    ///
    /// TEXT is a prompt or a mark that the program prints, such as '>>> ' or '{ready}'. re:REGEX is a
    /// pattern, in which ^ and $ match at each line. An empty TEXT is a blank line. The first TEXT ends the
    /// reply. TEXT and the newlines before and after it are not part of the result. A request may then be
    /// several lines.
    #[arg(hide_short_help = true, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub reply_end: Option<String>,

    /// Keep the end of a reply in the result
    #[arg(hide_short_help = true, long)]
    pub keep_end: bool,

    /// Send TEXT before each request (raw, jsonrpc)
    ///
    /// With raw, TEXT is a message that the program does not answer. With jsonrpc it is a notification: a
    /// method and its params. In the strings of the params, {} stands for the args of the job, and {a.b} for
    /// a field of args. Example: 'textDocument/didOpen {"textDocument":"{textDocument}"}'.
    #[arg(hide_short_help = true, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub before_request: Option<String>,

    /// Send TEXT after each request, to make the program print an end (raw, jsonrpc)
    ///
    /// TEXT has the same form as for --before-request. Example, for sqlite3: --after-request '.print END'
    /// --reply-end END.
    #[arg(hide_short_help = true, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub after_request: Option<String>,

    /// Drop what each new worker prints first: N messages, or all up to TEXT
    ///
    /// re:REGEX is a pattern, and an empty TEXT is a blank line. The first job waits until the banner is
    /// over.
    #[arg(hide_short_help = true, long, value_name = "N|TEXT", allow_hyphen_values = true)]
    pub banner: Option<String>,

    /// A result with TEXT is a failure; may be repeated
    ///
    /// re:REGEX is a pattern, in which ^ and $ match at each line. For results that are JSON, PATH=VALUE
    /// means a field with that value: status=failed, or items.0.ok=false. The job fails with the kind
    /// error. With jsonrpc, a result with isError=true (which MCP servers send) is always a failure.
    #[arg(hide_short_help = true, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub fail_on: Vec<String>,
}
