//! Finds the known name that a mistyped name is most like.

/// The known name that a mistyped one is most like. `None`: none is similar. Names are similar if at most
/// one letter in three is changed, missing, added, or swapped with the next.
pub fn similar<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = |text: &str| text.trim_start_matches('-').chars().count();
    let near = known.into_iter().map(|other| (distance(name, other), other));
    let near = near.filter(|(steps, other)| 3 * steps <= length(name).max(length(other)));
    near.min_by_key(|(steps, _)| *steps).map(|(_, other)| other)
}

/// How many letters must be changed, added, removed or swapped with the next to get from one to the
/// other.
fn distance(a: &str, b: &str) -> usize {
    let fold = |text: &str| text.to_lowercase().chars().collect::<Vec<char>>();
    let (a, b) = (fold(a), fold(b));
    // Row `i` has the distances of the first `i` letters of `a` to each beginning of `b`.
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        let known = ["load", "save", "--retries", "--sh", "--joblog", "--timeout"];
        for (name, meant) in [
            ("laod", Some("load")),
            ("Load", Some("load")),
            ("saves", Some("save")),
            ("--retires", Some("--retries")),
            ("--timout", Some("--timeout")),
            ("--shuf", None),
            ("--color", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(similar(name, known), meant, "{name}");
        }
        assert_eq!(similar("x", []), None);
    }
}
