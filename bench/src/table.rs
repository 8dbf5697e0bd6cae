//! The table: rows, medians, and the machine.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: &'static str,
    /// What came of it.
    pub(crate) found: String,
    /// What we aim at.
    pub(crate) aim: &'static str,
    /// Whether the aim is met; `None` where there is none.
    pub(crate) is_met: Option<bool>,
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

/// How many of `small` go into `large`, for figures that are no lengths of time.
pub(crate) fn times(large: f64, small: f64) -> String {
    format!("{:.2} times", large / small.max(1e-9))
}

/// Microseconds with one digit behind the point.
pub(crate) fn us(length: Duration) -> String {
    format!("{:.1} µs", length.as_secs_f64() * 1e6)
}

/// What is measured together, and can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Agent, launcher, updates.
    Host,
    /// Verification.
    Chain,
    /// The control plane.
    Control,
    /// The sequential gate of rollouts.
    Gates,
    /// Plan and controller of a rollout.
    Planning,
    /// A rollout through a large fleet.
    Rollout,
}

impl Group {
    /// All, in the order of the page.
    pub(crate) const ALL: [Self; 6] =
        [Self::Host, Self::Chain, Self::Control, Self::Gates, Self::Planning, Self::Rollout];

    /// The group of that name.
    pub(crate) fn named(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|group| group.name() == name);
        let names = Self::ALL.map(Self::name).join(", ");
        found.with_context(|| format!("{name:?} is no group; there are {names}"))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Chain => "chain",
            Self::Control => "control",
            Self::Gates => "gates",
            Self::Planning => "planning",
            Self::Rollout => "rollout",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Host => "A host and its updates",
            Self::Chain => "Verification",
            Self::Control => "The control plane",
            Self::Gates => "The gate of rollouts",
            Self::Planning => "Planning a rollout",
            Self::Rollout => "A rollout",
        }
    }

    /// What a reader has to know to judge the rows.
    fn notes(self) -> &'static str {
        match self {
            Self::Host | Self::Chain => "",
            Self::Control => include_str!("control/notes.md"),
            Self::Gates => include_str!("gates/notes.md"),
            Self::Rollout => include_str!("control/rollouts.md"),
            Self::Planning => include_str!("planning.md"),
        }
    }

    /// Whether our programs have to be built for it.
    pub(crate) fn runs_programs(self) -> bool {
        match self {
            Self::Host | Self::Control | Self::Rollout => true,
            Self::Chain | Self::Gates | Self::Planning => false,
        }
    }
}

/// The page: a section for each group, so that one can be measured anew and the others stay.
#[derive(Debug, Default)]
pub(crate) struct Page(Vec<(Group, String)>);

impl Page {
    /// The page as it is on disk; an empty one when there is none.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let sections = text.split("\n## ").skip(1).filter_map(|section| {
            let (title, body) = section.split_once('\n')?;
            let group = Group::ALL.into_iter().find(|group| group.title() == title.trim())?;
            Some((group, body.trim().to_owned()))
        });
        Self(sections.collect())
    }

    /// Replaces a group's section.
    pub(crate) fn put(&mut self, group: Group, rows: &[Row]) {
        let mut text = format!("Machine: {}. Command: `make bench", machine());
        // Writing to a string can't fail.
        let _ = write!(text, " ONLY={}`.\n\n", group.name());
        text += "| what | found | aim | met | beside it |\n| --- | --- | --- | --- | --- |\n";
        for row in rows {
            let met = match row.is_met {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "",
            };
            // Writing to a string can't fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {met} | {} |",
                row.what, row.found, row.aim, row.beside
            );
        }
        text += "\n";
        text += group.notes();
        self.0.retain(|(other, _)| *other != group);
        self.0.push((group, text.trim().to_owned()));
    }

    /// The page as it is written.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(
            "# Benchmarks\n\nWritten by `make bench` (`ONLY=host`, `chain`, `control`, `gates`, `planning` or `rollout` measures \
             one section and keeps the others); do not edit. Every figure stands beside a peer or a \
             limit of the machine that was measured in the same run: compare ratios, not times.\n",
        );
        for group in Group::ALL {
            let section = self.0.iter().find(|(other, _)| *other == group);
            if let Some((_, body)) = section {
                // Writing to a string can't fail.
                let _ = write!(text, "\n## {}\n\n{body}\n", group.title());
            }
        }
        text
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_is_measured_anew_leaves_the_others_as_they_are() {
        let row = |found: &str| Row {
            what: "a thing",
            found: found.to_owned(),
            aim: "",
            is_met: None,
            beside: String::new(),
        };
        let mut page = Page::default();
        page.put(Group::Control, &[row("old control")]);
        page.put(Group::Host, &[row("old host")]);
        let mut again = Page::parse(&page.text());
        again.put(Group::Control, &[row("new control")]);
        let text = again.text();
        assert!(text.contains("old host") && text.contains("new control"));
        assert!(!text.contains("old control"));
        assert_eq!(Page::parse(&text).text(), text);
    }
}
