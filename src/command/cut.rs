//! The part of a value that a placeholder keeps: a part of a path, a text without its ending, or the text after a
//! substitution.

use std::borrow::Cow;
use std::sync::Arc;

use super::error::CommandError;
use super::foreign::is_suffix;
#[cfg(feature = "unstable-engine")]
use super::substitution::Substitution;

/// What is left of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    folder: FolderPart,
    /// This many extensions are removed, if the name has that many.
    extensions: usize,
    edit: Option<Arc<Edit>>,
}

/// What is left of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FolderPart {
    #[default]
    Kept,
    Removed,
    /// Only the folder is left.
    Alone,
}

/// A change of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Edit {
    /// This ending is removed.
    Suffix(Vec<u8>),
    #[cfg(feature = "unstable-engine")]
    Substitution(Substitution),
}

/// The endings that cut a path. A longer one comes before its own ending.
const ENDINGS: [(&[u8], FolderPart, usize); 8] = [
    (b"/...", FolderPart::Removed, 3),
    (b"/..", FolderPart::Removed, 2),
    (b"/.", FolderPart::Removed, 1),
    (b"//", FolderPart::Alone, 0),
    (b"/", FolderPart::Removed, 0),
    (b"...", FolderPart::Kept, 3),
    (b"..", FolderPart::Kept, 2),
    (b".", FolderPart::Kept, 1),
];

impl Cut {
    /// Splits the text between the braces of a placeholder into its name and the cut.
    ///
    /// # Errors
    /// The pattern of a substitution is wrong.
    pub(super) fn split(inner: &[u8]) -> Result<(&[u8], Self), CommandError> {
        #[cfg(feature = "unstable-engine")]
        if let Some((at, substitution)) = Substitution::find(inner)? {
            let (name, cut) = Self::of_path(inner[..at].trim_ascii_end());
            return Ok((
                name,
                Self { edit: Some(Arc::new(Edit::Substitution(substitution))), ..cut },
            ));
        }
        Ok(Self::of_suffix(inner).unwrap_or_else(|| Self::of_path(inner)))
    }

    /// As [`Cut::split`], after a name of any characters, such as that of a column: `my file%.gz`.
    ///
    /// # Errors
    /// As for [`Cut::split`].
    pub(super) fn split_any(inner: &[u8]) -> Result<(&[u8], Self), CommandError> {
        let (name, cut) = Self::split(inner)?;
        if cut.edit.is_some() {
            return Ok((name, cut));
        }
        let may_begin = |at: &usize| matches!(&inner[*at..], [b'%', ..] | [b' ', b's', ..]);
        for at in (1..inner.len()).filter(may_begin) {
            // After a name that is plain, it is a cut or not.
            let text = [b"x", &inner[at..]].concat();
            if let (b"x", Self { edit: Some(edit), .. }) = Self::split(&text)? {
                let (name, of_path) = Self::of_path(&inner[..at]);
                return Ok((name, Self { edit: Some(edit), ..of_path }));
            }
        }
        Ok((name, cut))
    }

    /// The same for `NAME%SUFFIX`.
    fn of_suffix(inner: &[u8]) -> Option<(&[u8], Self)> {
        let at = memchr::memchr(b'%', inner)?;
        let (before, suffix) = (&inner[..at], &inner[at + 1..]);
        if !is_suffix(before, suffix) {
            return None;
        }
        let (name, cut) = Self::of_path(before);
        Some((name, Self { edit: Some(Arc::new(Edit::Suffix(suffix.to_vec()))), ..cut }))
    }

    fn of_path(inner: &[u8]) -> (&[u8], Self) {
        let found = ENDINGS.iter().find_map(|&(ending, folder, extensions)| {
            Some((inner.strip_suffix(ending)?, Self { folder, extensions, edit: None }))
        });
        found.unwrap_or((inner, Self::default()))
    }

    /// Whether nothing is cut.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it removes an ending.
    pub(super) fn is_suffix(&self) -> bool {
        matches!(self.edit.as_deref(), Some(Edit::Suffix(_)))
    }

    /// Whether a shell may mean something else by it, after a dollar sign: `${1%.gz}`.
    pub(super) fn may_be_shells(&self) -> bool {
        self.edit.is_some() || self.extensions > 1
    }

    /// What is left of a value.
    pub(super) fn apply<'a>(&self, value: &'a [u8]) -> Cow<'a, [u8]> {
        let name = match self.folder {
            FolderPart::Kept => value,
            FolderPart::Removed => {
                memchr::memrchr(b'/', value).map_or(value, |at| &value[at + 1..])
            }
            FolderPart::Alone => folder(value),
        };
        let mut left = name;
        for _ in 0..self.extensions {
            // If the name has fewer extensions, it keeps them.
            let Some(shorter) = without_extension(left) else {
                left = name;
                break;
            };
            left = shorter;
        }
        match self.edit.as_deref() {
            None => Cow::Borrowed(left),
            Some(Edit::Suffix(suffix)) => {
                Cow::Borrowed(left.strip_suffix(suffix.as_slice()).unwrap_or(left))
            }
            #[cfg(feature = "unstable-engine")]
            Some(Edit::Substitution(substitution)) => substitution.apply(left),
        }
    }
}

fn without_extension(path: &[u8]) -> Option<&[u8]> {
    let at = path.iter().rposition(|byte| b"./".contains(byte))?;
    (path[at] == b'.').then(|| &path[..at])
}

/// The folder of a path.
fn folder(path: &[u8]) -> &[u8] {
    let trimmed = without_slashes(path);
    match memchr::memrchr(b'/', trimmed) {
        _ if trimmed.is_empty() && !path.is_empty() => b"/",
        None => b".",
        Some(at) => match without_slashes(&trimmed[..at]) {
            b"" => b"/",
            directory => directory,
        },
    }
}

fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |at| at + 1);
    &path[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn cut(inner: &str, value: &str) -> (String, String) {
        let (name, cut) = Cut::split(inner.as_bytes()).expect("a cut");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(name), text(&cut.apply(value.as_bytes())))
    }

    #[test]
    fn parts_of_paths() {
        for (inner, name, value, left) in [
            ("..", "", "a/b.tar.gz", "a/b"),
            ("..", "", "x.gz", "x.gz"),
            ("..", "", "d.e/f.g", "d.e/f.g"),
            ("...", "", "a.b.c.d", "a"),
            ("/..", "", "a/b.tar.gz", "b"),
            ("2..", "2", "b.tar.gz", "b"),
            ("name/...", "name", "x/b.1.tar.gz", "b"),
            ("//", "", "a/b", "a"),
            ("%.tar.gz", "", "a/b.tar.gz", "a/b"),
            ("%.tar.gz", "", "a/b.gz", "a/b.gz"),
            ("/%.gz", "", "a/b.gz", "b"),
            ("1%.gz", "1", "b.gz", "b"),
            ("1%z", "1", "b.gz", "b.g"),
            ("/.%x", "", "a/bx.gz", "b"),
            ("name%-old", "name", "b-old", "b"),
            ("%_small", "", "b_small", "b"),
            ("%bak", "", "b.bak", "b."),
            ("%.c", "", "b.c", "b"),
            ("%.7z", "", "b.7z", "b"),
            ("%.3gp", "", "b.3gp", "b"),
            ("%s", "%s", "b", "b"),
            ("%-5s", "%-5s", "b", "b"),
            ("%Y-%m", "%Y-%m", "b", "b"),
        ] {
            assert_eq!(cut(inner, value), (name.to_owned(), left.to_owned()), "{inner} {value}");
        }
    }

    #[cfg(feature = "unstable-engine")]
    #[test]
    fn substitutions() {
        for (inner, name, value, left) in [
            ("s/a/b/", "", "aha", "bha"),
            ("s/a/b/g", "", "aha", "bhb"),
            ("s/A/b/gi", "", "aha", "bhb"),
            ("s/(.)(.)/\\2\\1/", "", "ab", "ba"),
            ("s/(.)(.)/$2$1/", "", "ab", "ba"),
            ("s/b/[&]/", "", "abc", "a[b]c"),
            ("s/b/\\&$\\\\/", "", "abc", "a&$\\c"),
            ("s|/|_|g", "", "a/b/c", "a_b_c"),
            ("s/\\//_/g", "", "a/b/c", "a_b_c"),
            ("s,x{2},y,", "", "axxb", "ayb"),
            ("1s/a/b/", "1", "a", "b"),
            ("1 s/a/b/", "1", "a", "b"),
            ("name s/a/b/", "name", "a", "b"),
            ("/s/a/b/", "", "a/a", "b"),
            ("/. s/a/b/", "", "a/a.c", "b"),
            ("s/./x/", "", "\u{e4}b", "xb"),
            ("s/a/b", "s/a/b", "a", "a"),
            ("s/a/b/;p", "s/a/b/;p", "a", "a"),
            ("names/a/b/", "names/a/b", "a", "a"),
        ] {
            assert_eq!(cut(inner, value), (name.to_owned(), left.to_owned()), "{inner} {value}");
        }
        let (_, same) = Cut::split(b"s/b/c/").expect("a cut");
        assert_eq!(same.apply(b"\xffb\xfe").as_ref(), b"\xffc\xfe");
        assert!(Cut::split(b"s/(/b/").is_err());
        assert!(Cut::split(b"s/a/\\1/").is_err());
    }
}
