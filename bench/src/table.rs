//! The table: rows, medians, and the machine.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: &'static str,
    /// What came of it.
    pub(crate) found: String,
    /// What we aim at.
    pub(crate) aim: &'static str,
    /// Whether the aim is met.
    pub(crate) is_met: bool,
    /// What ran beside it in the same run, and how the two compare.
    pub(crate) beside: String,
}

/// Samples of a length of time.
#[derive(Debug, Default)]
pub(crate) struct Samples(pub(crate) Vec<Duration>);

impl Samples {
    /// The sample below which a share of all lies; zero when there are none.
    pub(crate) fn at(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        let last = sorted.len().saturating_sub(1);
        sorted.get((sorted.len() * percent / 100).min(last)).copied().unwrap_or_default()
    }

    /// The median.
    pub(crate) fn median(&self) -> Duration {
        self.at(50)
    }
}

/// Milliseconds with two digits behind the point.
pub(crate) fn ms(length: Duration) -> String {
    format!("{:.2} ms", length.as_secs_f64() * 1000.0)
}

/// How many times `small` goes into `large`.
pub(crate) fn ratio(large: Duration, small: Duration) -> String {
    format!("{:.2} times", large.as_secs_f64() / small.as_secs_f64().max(1e-9))
}

/// The page.
pub(crate) fn page(rows: &[Row]) -> String {
    let mut text = String::from(
        "# Benchmarks\n\nWritten by `make bench`; do not edit. Every figure stands beside a peer or a \
         limit of the machine that was measured in the same run: compare ratios, not times.\n\n",
    );
    // Writing to a string can't fail.
    let _ = writeln!(text, "Machine: {}.\n", machine());
    text += "| what | found | aim | met | beside it |\n| --- | --- | --- | --- | --- |\n";
    for row in rows {
        let met = if row.is_met { "yes" } else { "**no**" };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {met} | {} |",
            row.what, row.found, row.aim, row.beside
        );
    }
    text
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{cores} cores of {model}, Linux {}, load {load} at the end", kernel.trim())
}
