//! Tables that fit the terminal: the widest columns are cut first; where that is not enough, each
//! row becomes a paragraph of its own.

use std::io::IsTerminal as _;

/// The narrowest that a column is cut to.
const NARROWEST: usize = 8;
/// What stands between columns.
const GAP: usize = 2;

/// Columns, padded to fit; the first row is the heading.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    fit(rows, width())
}

/// Names with their values, a line each, in two columns.
pub(crate) fn fields(pairs: &[(&str, String)]) -> String {
    let widest = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| {
        let mut parts = value.split('\n');
        let first = format!("{name:widest$}  {}", parts.next().unwrap_or_default());
        let rest = parts.map(|part| format!("{:widest$}  {part}", ""));
        std::iter::once(first).chain(rest).map(|line| line.trim_end().to_owned()).collect()
    };
    pairs.iter().map(line).map(|lines: Vec<String>| lines.join("\n")).collect::<Vec<_>>().join("\n")
}

/// The terminal's width; `None` where nobody's is: what is piped is never cut.
pub(crate) fn width() -> Option<usize> {
    if let Some(width) = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()) {
        return Some(width).filter(|width| *width > 0);
    }
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// The terminal's columns and rows, for what is drawn over itself.
pub(crate) fn size() -> (usize, usize) {
    let found = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let or = |value: Option<u16>, none| {
        value.map(usize::from).filter(|count| *count > 0).unwrap_or(none)
    };
    (or(found.map(|found| found.ws_col), 80), or(found.map(|found| found.ws_row), 24))
}

fn fit(rows: &[Vec<String>], most: Option<usize>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let mut widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    if let Some(most) = most
        && !shrink(&mut widths, most)
    {
        return paragraphs(rows);
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            let cell = cut(cell, *width);
            format!("{cell:width$}", width = *width)
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Cuts the widest columns until all fit; says whether they do.
fn shrink(widths: &mut [usize], most: usize) -> bool {
    let gaps = GAP * widths.len().saturating_sub(1);
    loop {
        if widths.iter().sum::<usize>().saturating_add(gaps) <= most {
            return true;
        }
        match widths.iter_mut().max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            Some(_) | None => return false,
        }
    }
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    let kept: String = cell.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

fn paragraphs(rows: &[Vec<String>]) -> String {
    let Some((head, rows)) = rows.split_first() else { return String::new() };
    let paragraph = |row: &Vec<String>| {
        let pairs = head.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
        let pairs: Vec<(&str, String)> =
            pairs.map(|(name, cell)| (name.as_str(), cell.clone())).collect();
        fields(&pairs)
    };
    rows.iter().map(paragraph).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        vec![
            row(["NAME", "REASON", "SINCE"]),
            row(["web-1", "its health check has failed three times in a row", "2m"]),
        ]
    }

    #[test]
    fn a_wide_table_is_cut_at_its_widest_column() {
        let text = fit(&rows(), Some(40));
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.contains("web-1") && text.contains('…'), "{text}");
        assert!(fit(&rows(), None).contains("three times in a row"));
    }

    #[test]
    fn where_cutting_is_not_enough_each_row_is_a_paragraph_and_nothing_is_lost() {
        let text = fit(&rows(), Some(20));
        assert!(
            text.contains("REASON  its health check has failed three times in a row"),
            "{text}"
        );
    }

    #[test]
    fn a_value_of_several_lines_stays_in_its_column() {
        assert_eq!(fields(&[("a", "1\n2".to_owned()), ("bb", String::new())]), "a   1\n    2\nbb");
    }
}
