//! The options for programs that were not written as workers: what ends a reply, what is sent around each
//! request, what a program prints at its start, and which results are failures.

use clap::Args;

#[derive(Debug, Args)]
pub struct ExchangeOptions {
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
    /// method and its params, in whose strings {} stands for the args of the job, and {a.b} for a field of
    /// them. Example: 'textDocument/didOpen {"textDocument":"{textDocument}"}'.
    #[arg(hide_short_help = true, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub before_request: Option<String>,

    /// Send TEXT after each request, to make the program print an end (raw, jsonrpc)
    ///
    /// As --before-request. Example, for sqlite3: --after-request '.print END' --reply-end END.
    #[arg(hide_short_help = true, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub after_request: Option<String>,

    /// Drop what each new worker prints first: N messages, or all up to TEXT
    ///
    /// re:REGEX is a pattern, and an empty TEXT a blank line. The first job waits for it.
    #[arg(hide_short_help = true, long, value_name = "N|TEXT", allow_hyphen_values = true)]
    pub banner: Option<String>,

    /// A result with TEXT is a failure; may be repeated
    ///
    /// re:REGEX is a pattern, in which ^ and $ match at each line. For results that are JSON, PATH=VALUE
    /// means a field with that value: status=failed, or items.0.ok=false. The job fails with the kind
    /// error. With jsonrpc, a result with isError=true (as of MCP servers) is a failure anyway.
    #[arg(hide_short_help = true, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub fail_on: Vec<String>,
}
