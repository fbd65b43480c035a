//! The options for programs that were not written as workers → an `Exchange`, a part of the protocol.

use procpool::engine::Protocol;
use procpool::engine::protocol::exchange::{Banner, Exchange, Extra};
use procpool::engine::protocol::fail_on::FailOn;
use procpool::engine::protocol::mark::Mark;
use procpool::engine::protocol::notice::NoticeTemplate;

use super::misuse::Misuse;
use crate::cli::ExchangeOptions;

/// The protocol, with the exchange that the program needs.
pub fn with_exchange(protocol: Protocol, options: &ExchangeOptions) -> Result<Protocol, Misuse> {
    let ExchangeOptions {
        reply_end, keep_end, before_request, after_request, banner, fail_on, ..
    } = options;
    let texts = [reply_end, before_request, after_request, banner];
    if texts.iter().all(|text| text.is_none()) && fail_on.is_empty() && !keep_end {
        return Ok(protocol);
    }
    let exchange = Exchange {
        reply_end: reply_end.as_deref().map(|text| mark("--reply-end", text)).transpose()?,
        keep_end: *keep_end,
        before: extra(&protocol, "--before-request", before_request.as_deref())?,
        after: extra(&protocol, "--after-request", after_request.as_deref())?,
        banner: banner.as_deref().map(parse_banner).transpose()?,
        fail_on: fail_on
            .iter()
            .map(|text| FailOn::parse(text, !protocol.is_raw()))
            .collect::<Result<_, _>>()
            .map_err(|error| Misuse::new(format!("--fail-on: {error}")))?,
    };
    protocol.with_exchange(exchange).map_err(|error| Misuse::new(error.to_string()))
}

fn mark(option: &str, text: &str) -> Result<Mark, Misuse> {
    Mark::parse(text).map_err(|error| Misuse::new(format!("{option}: {error}")))
}

fn parse_banner(text: &str) -> Result<Banner, Misuse> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(0) => Err("--banner 0 drops no message: leave it out".into()),
        Ok(count) if is_number => Ok(Banner::Messages(count)),
        _ => mark("--banner", text).map(Banner::Until),
    }
}

fn extra(protocol: &Protocol, option: &str, text: Option<&str>) -> Result<Option<Extra>, Misuse> {
    let Some(text) = text else { return Ok(None) };
    if protocol.is_raw() {
        return Ok(Some(Extra::Text(text.as_bytes().to_vec())));
    }
    let notice = NoticeTemplate::parse(text)
        .map_err(|error| Misuse::new(format!("{option} '{text:.60}': {error}")))?;
    Ok(Some(Extra::Notice(notice)))
}
