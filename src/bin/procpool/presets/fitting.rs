//! Which presets fit the command line: an option from elsewhere never makes a command line wrong.

use std::ffi::OsString;

use super::Preset;
use crate::cli::options::parse_words;
use crate::cli::{EarlyExit, Options};
use crate::plan;
use crate::run::hosts;
use crate::run::sides::ServerRole;

/// The words of the command line, and the presets before its options.
pub struct Fitting<'a> {
    pub words: &'a [OsString],
    pub presets: Vec<Preset>,
}

impl Fitting<'_> {
    /// Marks the presets as idle that make the command line wrong.
    pub fn fit(&mut self) {
        if self.problem().is_none() {
            return;
        }
        let candidates: Vec<usize> =
            (0..self.presets.len()).filter(|&index| !self.presets[index].is_idle).collect();
        self.presets.iter_mut().for_each(|preset| preset.is_idle = true);
        let mut problem = self.problem();
        // An option may need one that comes after it.
        loop {
            let before = self.presets.iter().filter(|preset| preset.is_idle).count();
            for &index in candidates.iter() {
                if !std::mem::replace(&mut self.presets[index].is_idle, false) {
                    continue;
                }
                // It may be what the command line lacks.
                match self.problem() {
                    None => problem = None,
                    now if now == problem => {}
                    _ => self.presets[index].is_idle = true,
                }
            }
            if self.presets.iter().filter(|preset| preset.is_idle).count() == before {
                return;
            }
        }
    }

    /// Parses the command line with the presets that are not idle.
    pub fn parse(&self) -> Result<Options, EarlyExit> {
        let used = || self.presets.iter().filter(|preset| !preset.is_idle);
        let mut all: Vec<OsString> = self.words.first().cloned().into_iter().collect();
        for preset in used() {
            preset.option.push_to(&mut all);
        }
        all.extend(self.words.iter().skip(1).cloned());
        parse_words(&all).map_err(|exit| {
            let mut origins: Vec<String> = used().map(|preset| preset.origin.to_string()).collect();
            origins.dedup();
            if origins.is_empty() {
                return exit;
            }
            EarlyExit::misuse(&format!(
                "{} (with the options of {})",
                exit.reason(),
                origins.join(", ")
            ))
        })
    }

    /// Why the command line is wrong with the presets that are not idle.
    fn problem(&self) -> Option<String> {
        let options = match self.parse() {
            Ok(options) => options,
            Err(exit) => return Some(exit.reason()),
        };
        if options.commands.semaphore.semaphore.is_some() {
            return None;
        }
        let role = ServerRole::of(&options);
        let problem = match role.map(|role| (role, role.check(&options).err())) {
            // The server knows the workers.
            Some((ServerRole::Connect | ServerRole::Status | ServerRole::Stop, problem)) => problem,
            Some((_, problem)) => problem.or_else(|| plan::misuse(&options)),
            None => hosts::check(&options).err().or_else(|| plan::misuse(&options)),
        };
        problem.map(|problem| problem.to_string())
    }
}
