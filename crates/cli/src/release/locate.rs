//! Finding the line of a field in a YAML text, for messages: the parser's own positions end where
//! parsing does, and contradictions are found after it.

/// The line, counted from 1, on which the last part of `field` stands, such as
/// `state.migrations[1].down`; or that of the nearest part that is there.
pub(super) fn line_of(text: &str, field: &str) -> Option<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut found, mut from) = (None, 0_usize);
    for part in field.split('.') {
        let (key, index) = match part.split_once('[') {
            Some((key, rest)) => (key, rest.trim_end_matches(']').parse::<usize>().ok()),
            None => (part, None),
        };
        let Some(at) = find(&lines, from, key) else { break };
        (found, from) = (Some(at), at);
        if let Some(index) = index {
            let items = lines.iter().enumerate().skip(at).filter(|(_, line)| is_item(line));
            let Some((item, _)) = items.clone().nth(index) else { break };
            (found, from) = (Some(item), item);
        }
    }
    found.map(|at| at.saturating_add(1))
}

fn is_item(line: &str) -> bool {
    line.trim_start().starts_with("- ")
}

fn find(lines: &[&str], from: usize, key: &str) -> Option<usize> {
    let wanted = format!("{key}:");
    lines.iter().enumerate().skip(from).find_map(|(at, line)| {
        let content = line.split(" #").next().unwrap_or_default();
        let is_comment = content.trim_start().starts_with('#');
        let starts = |position: usize| {
            content[..position].chars().next_back().is_none_or(|c| " {,\"'".contains(c))
        };
        let here = content.match_indices(&wanted).any(|(position, _)| starts(position));
        (here && !is_comment).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_where_they_stand() {
        let text = "format: 1\nstate:\n  schema: 3\n  migrations:\n    - { from: 1 }\n    - from: 2\n      down: []\n# down: no\n";
        for (field, line) in [
            ("format", 1),
            ("state.schema", 3),
            ("state.migrations[0].from", 5),
            ("state.migrations[1].down", 7),
            ("state.migrations[1].up", 6),
            ("state", 2),
        ] {
            assert_eq!(line_of(text, field), Some(line), "{field}");
        }
        assert_eq!(line_of(text, "nowhere"), None);
    }
}
