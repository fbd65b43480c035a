//! The file of profiles: named lists of options, one option a line.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::{OptionOrigin, Preset, preset, read};
use crate::cli::EarlyExit;

/// The options of these profiles, one after the other.
pub fn read_all(names: &[String]) -> Result<Vec<Preset>, EarlyExit> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let path = path().ok_or_else(|| EarlyExit::misuse("--profile: HOME is not set"))?;
    let wrong = |why: &str| EarlyExit::misuse(&format!("{}: {why}", path.display()));
    let text = std::fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => EarlyExit::misuse(&format!(
            "--profile {}: there is no file '{}'; write '[{}]' into it, and an option in each line \
             after that",
            names[0],
            path.display(),
            names[0]
        )),
        _ => wrong(&error.to_string()),
    })?;
    let text = String::from_utf8(text).map_err(|_| wrong("it is not UTF-8"))?;
    let profiles = profiles(&text).map_err(|why| wrong(&why))?;
    let mut presets = Vec::new();
    for name in names {
        presets.extend(one(name, &profiles, &path)?);
    }
    Ok(presets)
}

/// The file of profiles.
fn path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let config = set("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = config.or_else(|| Some(PathBuf::from(set("HOME")?).join(".config")))?;
    Some(folder.join("procpool/config"))
}

/// A profile: its name, and its lines with their numbers.
type Profile = (String, Vec<(usize, Vec<String>)>);

/// Reads all profiles.
fn profiles(text: &str) -> Result<Vec<Profile>, String> {
    let mut profiles: Vec<Profile> = Vec::new();
    // Some editors begin a file with the mark of UTF-8.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            profiles.push((name.trim().to_owned(), Vec::new()));
            continue;
        }
        let words = shell_words::split(line)
            .map_err(|_| format!("line {number}: a quote is not closed"))?;
        match profiles.last_mut() {
            Some((_, lines)) => lines.push((number, words)),
            None => return Err(format!("line {number}: the first line is a name: [ci]")),
        }
    }
    Ok(profiles)
}

/// The options of one profile.
fn one(name: &str, profiles: &[Profile], path: &Path) -> Result<Vec<Preset>, EarlyExit> {
    let mut parts = profiles.iter().filter(|(known, _)| known == name).peekable();
    if parts.peek().is_none() {
        let names: Vec<&str> = profiles.iter().map(|(name, _)| name.as_str()).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(EarlyExit::misuse(&format!(
            "--profile {name}: there is no such profile in '{}', which has {known}",
            path.display()
        )));
    }
    let mut presets = Vec::new();
    for (number, words) in parts.flat_map(|(_, lines)| lines) {
        let origin = OptionOrigin::Profile(name.to_owned(), path.to_owned());
        let options = read(&origin, words.clone())
            .map_err(|exit| EarlyExit::misuse(&format!("line {number}: {}", exit.reason())))?;
        if options.iter().any(|option| option.id == "profile") {
            let why = format!("{origin}, line {number}: a profile can't name another one");
            return Err(EarlyExit::misuse(&why));
        }
        presets.extend(options.into_iter().map(|option| preset(origin.clone(), option)));
    }
    Ok(presets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_lists_of_options() {
        let text =
            "# mine\n[ci]\n--retries 2\n\n--env 'A=b c' # why\n[ big ]\n-j50%\n[ci]\n--tag\n";
        let profiles = profiles(text).expect("profiles");
        let names: Vec<_> = profiles.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ci", "big", "ci"]);
        assert_eq!(profiles[0].1[1], (5, vec!["--env".to_owned(), "A=b c".to_owned()]));
        assert!(super::profiles("--tag\n").is_err());
        assert!(super::profiles("\u{feff}[a]\n--tag\n").is_ok());
        assert!(super::profiles("[a]\n'\n").is_err());
        let ci = one("ci", &profiles, Path::new("/c")).expect("a profile");
        let ids: Vec<_> = ci.iter().map(|preset| preset.option.id.as_str()).collect();
        assert_eq!(ids, ["retries", "env", "tag"]);
        assert!(one("no", &profiles, Path::new("/c")).is_err());
    }
}
