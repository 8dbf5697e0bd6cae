//! Which words a misspelt one was probably meant to be.

/// The names that `wanted` was probably meant to be, the nearest first, at most three.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let most = (wanted.chars().count() / 3).clamp(1, 3);
    let mut near: Vec<(usize, &str)> = names
        .into_iter()
        .filter(|name| !name.is_empty() && !wanted.is_empty())
        .map(|name| {
            let begins = name.starts_with(wanted) || wanted.starts_with(name);
            (if begins { 1 } else { distance(wanted, name) }, name)
        })
        .filter(|(distance, _)| *distance <= most)
        .collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour to turn one
/// into the other (Damerau and Levenshtein, restricted).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, one) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in b.iter().enumerate() {
            let change = last[j] + usize::from(one != other);
            let mut fewest = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *one == b[j - 1] && a[i - 1] == *other {
                fewest = fewest.min(before[j - 1] + 1);
            }
            row.push(fewest);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_finds_the_name() {
        let names = ["web-1", "web-2", "db-1", "cache"];
        assert_eq!(nearest("wbe-1", names), ["web-1"]);
        assert_eq!(nearest("cach", names), ["cache"]);
        assert_eq!(nearest("web", names), ["web-1", "web-2"]);
        assert!(nearest("mail", names).is_empty());
        assert!(nearest("", names).is_empty());
    }
}
