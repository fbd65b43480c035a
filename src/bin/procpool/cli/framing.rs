//! The value of `--framing`: a name, or two names with a comma, for requests and for replies.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Command, Error};
use procpool::engine::protocol::framing::{self, Framing};

/// Reads the names, and names all of them where one is wrong.
#[derive(Clone, Debug)]
pub struct FramingParser;

impl TypedValueParser for FramingParser {
    type Value = (&'static Framing, &'static Framing);

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, Error> {
        let text = value.to_str().unwrap_or_default();
        if let Some(pair) = framing::pair(text) {
            return Ok(pair);
        }
        let wrong = text.split(',').find(|name| framing::named(name).is_none()).unwrap_or(text);
        let names = PossibleValuesParser::new(names());
        let name = names.parse_ref(command, arg, OsStr::new(wrong))?;
        // Each name is right, but there are too many.
        names.parse_ref(command, arg, OsStr::new(&format!("{text}: two at most, not {name}")))?;
        Ok((&framing::line::LINE, &framing::line::LINE))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(names().map(PossibleValue::new)))
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    framing::FRAMINGS.iter().chain(framing::OF_REPLIES).map(|framing| framing.name)
}
