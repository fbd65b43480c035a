//! `--show-options`: each option that is in force, and where it comes from.

use clap::{Arg, ArgAction};

use super::{Invoked, Preset};
use crate::cli::options::definition;

/// The options of a run and their origins, a line each.
pub fn show(invoked: &Invoked) -> String {
    let definition = definition();
    let mut rows: Vec<(String, String)> = Vec::new();
    let shown = |id: &str| !["help", "version", "show_options", "profile"].contains(&id);
    let options = definition.get_arguments().filter(|arg| !arg.is_positional());
    for arg in options.filter(|arg| shown(arg.get_id().as_str())) {
        let id = arg.get_id().as_str();
        let given: Vec<&Preset> =
            invoked.presets.iter().filter(|preset| preset.option.id == id).collect();
        let last = given.iter().rfind(|preset| !preset.is_idle);
        for preset in &given {
            let is_replaced = !adds(arg) && last.is_some_and(|last| !std::ptr::eq(*last, *preset));
            if preset.is_idle {
                rows.push((written(preset), format!("{}, without effect here", preset.origin)));
            } else if !is_replaced {
                rows.push((written(preset), preset.origin.to_string()));
            }
        }
        if last.is_none()
            && let Some(default) = default(arg)
        {
            rows.push((default, "default".to_owned()));
        }
    }
    let width = rows.iter().map(|(option, _)| option.chars().count()).max().unwrap_or_default();
    rows.iter().map(|(option, origin)| format!("{option:width$}  {origin}\n")).collect()
}

/// Whether each time that an option is given counts.
fn adds(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// An option as it is typed.
fn written(preset: &Preset) -> String {
    let mut words = Vec::new();
    preset.option.push_to(&mut words);
    let words: Vec<String> = words
        .iter()
        .map(|word| procpool::engine::printable(&shell_words::quote(&word.to_string_lossy())))
        .collect();
    words.join(" ")
}

/// The default value of an option, if it has one.
fn default(arg: &Arg) -> Option<String> {
    if !arg.get_action().takes_values() {
        return None;
    }
    let values: Vec<_> = arg.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
    let name = arg.get_long()?;
    (!values.is_empty()).then(|| format!("--{name} {}", values.join(",")))
}
