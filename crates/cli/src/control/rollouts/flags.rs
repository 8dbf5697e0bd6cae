//! A rollout said in flags.

use camino::Utf8PathBuf;
use handover_engine::selection::Selection;
use handover_model::api::{
    Approval, LimitSpec, MemberOutcome, Membership, OnDecay, OnHalt, Requirement, Rest,
    RolloutSpec, Strategy, WaveSpec,
};
use handover_model::{ComponentName, Millis, RolloutName, Timestamp, Version, Window};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::super::{ControlError, select};
use super::apply;

/// What a rollout is to be. What is not said is as in files (docs/rollouts.md).
#[derive(Debug, clap::Args)]
pub(crate) struct Spec {
    /// A file that says it all, YAML or JSON; `-` is standard input.
    #[arg(
        long, short, value_name = "FILE",
        conflicts_with_all = [
            "component", "to", "select", "name", "live", "reason", "Obstacles", "Waves", "Gate",
            "Pace",
        ]
    )]
    file: Option<Utf8PathBuf>,
    /// The component.
    #[arg(long, short, value_name = "NAME", required_unless_present = "file")]
    component: Option<ComponentName>,
    /// The version that every member is to come to.
    #[arg(long, value_name = "VERSION", required_unless_present = "file")]
    to: Option<Version>,
    /// Which agents (docs/selections.md).
    #[arg(
        long, value_name = "SELECTION", required_unless_present = "file",
        value_parser = select::parse_argument
    )]
    select: Option<Selection>,
    /// A selection that matches every agent is meant.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    obstacles: Obstacles,
    /// Its name; made of component and version unless said.
    #[arg(long)]
    name: Option<RolloutName>,
    #[command(flatten)]
    waves: Waves,
    #[command(flatten)]
    gate: Gate,
    #[command(flatten)]
    pace: Pace,
    /// Agents that come to match later join the last wave.
    #[arg(long)]
    live: bool,
    /// Why, for people.
    #[arg(long)]
    reason: Option<String>,
}

/// What is done about what stands in the way.
#[derive(Debug, clap::Args)]
struct Obstacles {
    /// Leave out agents that match and can't get there; else they are a reason to refuse.
    #[arg(long)]
    leave_out_unable: bool,
    /// Take the place of rollouts of the same component that have some of the same agents.
    #[arg(long)]
    supersede: bool,
}

/// In which waves.
#[derive(Debug, clap::Args)]
struct Waves {
    /// Where each wave ends, in percent of the members; 5,25,100 unless said.
    #[arg(long, value_name = "PERCENT,…", value_delimiter = ',', value_parser = percent)]
    percent: Option<Vec<f64>>,
    /// Everybody at once; the gate still stops it.
    #[arg(long, conflicts_with_all = ["percent", "by_selection"])]
    immediate: bool,
    /// A wave by selection, as NAME=SELECTION; repeat it in the order of the waves.
    #[arg(long = "wave", value_name = "NAME=SELECTION", value_parser = wave, conflicts_with = "percent")]
    by_selection: Vec<WaveSpec>,
    /// What becomes of members that no --wave takes: held (for a person), or last.
    #[arg(long, value_name = "WHAT", requires = "by_selection", value_parser = word::<Rest>)]
    rest: Option<Rest>,
    /// Every wave waits for a person.
    #[arg(long, conflicts_with = "immediate")]
    approve_each: bool,
    /// Every wave but the first waits for a person.
    #[arg(long, conflicts_with_all = ["immediate", "approve_each"])]
    approve_between: bool,
}

/// What must hold before more hosts are touched.
#[derive(Debug, clap::Args)]
struct Gate {
    /// How long a wave is watched after its last outcome before the next begins.
    #[arg(long, value_name = "LENGTH")]
    soak: Option<Millis>,
    /// How many hosts the ramp begins with inside each wave; 10 unless said.
    #[arg(long, value_name = "COUNT")]
    first: Option<u32>,
    /// More explicit failures than this, in all waves together, halt it.
    #[arg(long, value_name = "COUNT")]
    failures_at_most: Option<u32>,
    /// A larger share of explicit failures than this halts it, in percent; 20 unless said.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    failures_share: Option<f64>,
    /// A wave is followed by the next only when this share of its exposed members is done.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    success_share: Option<f64>,
    /// The share of updates that fails on a good day; estimated unless said.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    baseline: Option<f64>,
    /// What a halt does: stop, revert-wave or revert-rollout.
    #[arg(long, value_name = "WHAT", value_parser = word::<OnHalt>)]
    on_halt: Option<OnHalt>,
    /// How long the release is watched after its hosts committed it; 24h unless said.
    #[arg(long, value_name = "LENGTH")]
    watch_for: Option<Millis>,
    /// What a decay after that does: alert, stop or take-back.
    #[arg(long, value_name = "WHAT", value_parser = word::<OnDecay>)]
    on_decay: Option<OnDecay>,
}

/// When, how many at once, and how often.
#[derive(Debug, clap::Args)]
struct Pace {
    /// When hosts may be touched, as `[DAYS] HH:MM+LENGTH [ZONE]`; repeat it for several.
    #[arg(long = "window", value_name = "WINDOW", value_parser = window)]
    windows: Vec<Window>,
    /// Hosts download and verify at once, and activate in the window.
    #[arg(long, requires = "windows")]
    early_download: bool,
    /// Not before this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    start_at: Option<Timestamp>,
    /// Among rollouts for the same agents the highest goes first; 50 unless said.
    #[arg(long, value_name = "0-100", value_parser = clap::value_parser!(u8).range(0..=100))]
    priority: Option<u8>,
    /// How many hosts may be under way at once, as COUNT or COUNT/LABEL; repeat it for several.
    #[arg(long = "limit", value_name = "COUNT[/LABEL]", value_parser = limit)]
    limits: Vec<LimitSpec>,
    /// What a host must run already, as COMPONENT>=VERSION; repeat it for several.
    #[arg(long = "requires", value_name = "COMPONENT>=VERSION", value_parser = requirement)]
    requires: Vec<Requirement>,
    /// How long a host may take from its acknowledgement to its proof; 30m unless said.
    #[arg(long, value_name = "LENGTH")]
    deadline: Option<Millis>,
    /// How many attempts there are, for passing reasons; 3 unless said.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=10))]
    attempts: Option<u8>,
    /// How long before the second attempt, doubled for each further one; 5m unless said.
    #[arg(long, value_name = "LENGTH")]
    backoff: Option<Millis>,
    /// The label that says which hosts share a network; `site` unless said.
    #[arg(long, value_name = "LABEL")]
    site_label: Option<String>,
}

impl Spec {
    /// The rollout that the flags, or the file, say.
    pub(super) fn spec(self) -> Result<RolloutSpec, ControlError> {
        if let Some(file) = &self.file {
            let mut spec = apply::read(file)?;
            spec.all |= self.all;
            return Ok(spec);
        }
        let (Some(component), Some(to), Some(select)) = (self.component, self.to, self.select)
        else {
            let what = "say what is to be rolled out: --component, --to and --select, or -f FILE";
            return Err(ControlError::Usage { what: what.to_owned() });
        };
        let name = match self.name {
            Some(name) => name,
            None => name_of(&component, &to)?,
        };
        // The model says what stands where nothing is said, once for all ways to say it.
        let bare = json!({
            "name": name, "component": component, "to": to, "select": select,
        });
        let mut spec: RolloutSpec = serde_json::from_value(bare).map_err(|source| {
            ControlError::Answer { act: "make a rollout of the flags".to_owned(), source }
        })?;
        spec.all = self.all;
        spec.leave_out_unable = self.obstacles.leave_out_unable;
        spec.supersede = self.obstacles.supersede;
        spec.reason = self.reason;
        if self.live {
            spec.membership = Membership::Live;
        }
        self.waves.put_in(&mut spec);
        self.gate.put_in(&mut spec);
        self.pace.put_in(&mut spec);
        apply::checked(spec)
    }
}

impl Waves {
    fn put_in(self, spec: &mut RolloutSpec) {
        let approval = match (self.approve_each, self.approve_between) {
            (true, _) => Approval::Every,
            (false, true) => Approval::Between,
            (false, false) => Approval::None,
        };
        if self.immediate {
            spec.strategy = Strategy::Immediate {};
        } else if self.by_selection.is_empty() {
            if let Strategy::Staged { percent, approval: asked } = &mut spec.strategy {
                *asked = approval;
                if let Some(given) = self.percent {
                    *percent = given;
                }
            }
        } else {
            let mut waves = self.by_selection;
            for (at, wave) in waves.iter_mut().enumerate() {
                wave.approval = self.approve_each || self.approve_between && at > 0;
            }
            spec.strategy = Strategy::Waves { waves, rest: self.rest.unwrap_or_default() };
        }
    }
}

impl Gate {
    fn put_in(self, spec: &mut RolloutSpec) {
        let gate = &mut spec.gate;
        put(&mut gate.soak, self.soak);
        put(&mut gate.first, self.first);
        gate.failures_at_most = self.failures_at_most;
        gate.failures_share = self.failures_share.or(gate.failures_share);
        gate.success_share = self.success_share;
        gate.baseline = self.baseline;
        put(&mut spec.on_halt, self.on_halt);
        put(&mut spec.after.watch, self.watch_for);
        put(&mut spec.after.on_decay, self.on_decay);
    }
}

impl Pace {
    fn put_in(self, spec: &mut RolloutSpec) {
        spec.windows = self.windows;
        spec.early_download = self.early_download;
        spec.start_at = self.start_at;
        spec.limits = self.limits;
        spec.requires = self.requires;
        put(&mut spec.priority, self.priority);
        put(&mut spec.deadline, self.deadline);
        put(&mut spec.retries.attempts, self.attempts);
        put(&mut spec.retries.backoff, self.backoff);
        put(&mut spec.site_label, self.site_label);
    }
}

fn put<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// `web-1-5-0`.
fn name_of(component: &ComponentName, to: &Version) -> Result<RolloutName, ControlError> {
    let text = format!("{component}-{to}").replace('.', "-");
    text.parse().map_err(|_long| ControlError::Usage {
        what: format!("{text:?} can't be a rollout's name: give it one with --name"),
    })
}

/// `5` or `5%`.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim();
    match number.parse::<f64>() {
        Ok(share) if (0.0..=100.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err("a percentage lies between 0 and 100".to_owned()),
    }
}

/// A word of an enumeration, with hyphens or underscores.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let value = serde_json::Value::String(text.replace('-', "_"));
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// How a member stands.
pub(super) fn outcome(text: &str) -> Result<MemberOutcome, String> {
    word(text)
}

fn wave(text: &str) -> Result<WaveSpec, String> {
    let (name, selection) =
        text.split_once('=').ok_or("write NAME=SELECTION, such as canaries='label.ring = 0'")?;
    let selection = select::parse_argument(selection)?;
    Ok(WaveSpec {
        name: name.trim().to_owned(),
        select: selection.to_string(),
        approval: false,
        soak: None,
    })
}

/// `[DAYS] HH:MM+LENGTH [ZONE]`.
fn window(text: &str) -> Result<Window, String> {
    let wrong =
        || "write [DAYS] HH:MM+LENGTH [ZONE], such as `sat,sun 02:00+4h Europe/Berlin`".to_owned();
    let parts: Vec<&str> = text.split_whitespace().collect();
    let at = parts.iter().position(|part| part.contains(':')).ok_or_else(wrong)?;
    let (days, rest) = parts.split_at(at);
    let (span, zone) = rest.split_first().ok_or_else(wrong)?;
    let (start, length) = span.split_once('+').ok_or_else(wrong)?;
    let length = length.parse().map_err(|error: handover_model::MillisError| error.to_string())?;
    let days: Vec<String> = days
        .iter()
        .flat_map(|part| part.split(','))
        .filter(|day| !day.is_empty())
        .map(str::to_owned)
        .collect();
    let zone = match zone {
        [] => "UTC",
        [zone] => zone,
        [..] => return Err(wrong()),
    };
    Ok(Window { days, start: start.to_owned(), length, zone: zone.to_owned() })
}

fn limit(text: &str) -> Result<LimitSpec, String> {
    let (count, per) = match text.split_once('/') {
        Some((count, label)) => (count, Some(label.to_owned())),
        None => (text, None),
    };
    let at_most = count.parse().map_err(|_none| "write COUNT or COUNT/LABEL, such as 1/cluster")?;
    Ok(LimitSpec { at_most, per })
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let (component, version) =
        text.split_once(">=").ok_or("write COMPONENT>=VERSION, such as db>=2.0.0")?;
    let component: ComponentName =
        component.trim().parse().map_err(|error: handover_model::NameError| error.to_string())?;
    let at_least =
        version.trim().parse().map_err(|error: handover_model::VersionError| error.to_string())?;
    Ok(Requirement { component, at_least })
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn said(words: &[&str]) -> Result<RolloutSpec, String> {
        let matches = Spec::augment_args(Command::new("create"))
            .try_get_matches_from([&["create"], words].concat())
            .map_err(|error| error.to_string())?;
        let flags = Spec::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        flags.spec().map_err(|error| error.to_string())
    }

    const BARE: [&str; 6] = ["--component", "web", "--to", "1.5.0", "--select", "label.x = y"];

    #[test]
    fn what_is_not_said_is_as_in_a_file_of_four_lines() {
        let file: RolloutSpec = serde_saphyr::from_str(
            "name: web-1-5-0\ncomponent: web\nto: 1.5.0\nselect: label.x = y\n",
        )
        .expect("a rollout");
        assert_eq!(said(&BARE), Ok(file));
    }

    #[test]
    fn every_flag_reaches_its_field() {
        let flags = [
            "--percent=5,25%,100",
            "--approve-each",
            "--soak=10m",
            "--first=4",
            "--failures-at-most=3",
            "--failures-share=10",
            "--success-share=95",
            "--baseline=0.5",
            "--on-halt=revert-wave",
            "--watch-for=2h",
            "--on-decay=take-back",
            "--window=sat,sun 02:00+4h Europe/Berlin",
            "--window=22:30+90m",
            "--early-download",
            "--start-at=2030-01-01T00:00:00Z",
            "--priority=70",
            "--limit=20",
            "--limit=1/cluster",
            "--requires=db>=2.0.0",
            "--deadline=15m",
            "--attempts=2",
            "--backoff=1m",
            "--site-label=rack",
            "--live",
            "--reason=CVE",
            "--name=web-fix",
            "--all",
            "--supersede",
            "--leave-out-unable",
        ];
        let spec = said(&[&BARE[..], &flags].concat()).expect("a rollout");
        let file: RolloutSpec = serde_saphyr::from_str(
            "name: web-fix\ncomponent: web\nto: 1.5.0\nselect: label.x = y\nall: true\nsupersede: true\nleave_out_unable: true\n\
             membership: live\nreason: CVE\nsite_label: rack\ndeadline: 15m\npriority: 70\n\
             start_at: 2030-01-01T00:00:00Z\nearly_download: true\non_halt: revert_wave\n\
             strategy: { kind: staged, percent: [5, 25, 100], approval: every }\n\
             gate: { soak: 10m, first: 4, failures_at_most: 3, failures_share: 10, success_share: 95, baseline: 0.5 }\n\
             after: { watch: 2h, on_decay: take_back }\n\
             windows:\n  - { days: [sat, sun], start: '02:00', for: 4h, zone: Europe/Berlin }\n  - { start: '22:30', for: 90m }\n\
             limits: [{ at_most: 20 }, { at_most: 1, per: cluster }]\n\
             requires: [{ component: db, at_least: 2.0.0 }]\n\
             retries: { attempts: 2, backoff: 1m }\n",
        )
        .expect("a rollout");
        assert_eq!(spec, file);
    }

    #[test]
    fn waves_by_selection_are_approved_as_said() {
        let words =
            ["--wave=canary=label.ring = 0", "--wave=ost=label.site = ost", "--approve-between"];
        let spec = said(&[&BARE[..], &words].concat()).expect("a rollout");
        let Strategy::Waves { waves, rest } = spec.strategy else { panic!("{:?}", spec.strategy) };
        assert_eq!(rest, Rest::Held);
        let waves: Vec<_> = waves
            .iter()
            .map(|wave| (wave.name.as_str(), wave.select.as_str(), wave.approval))
            .collect();
        assert_eq!(waves, [("canary", "label.ring = 0", false), ("ost", "label.site = ost", true)]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_way_to_write_it() {
        for (flag, says) in [
            ("--percent=5,200", "between 0 and 100"),
            ("--window=nights", "HH:MM+LENGTH"),
            ("--limit=many", "1/cluster"),
            ("--requires=db", ">=VERSION"),
            ("--wave=x", "NAME=SELECTION"),
            ("--wave=x=label.y", "expected"),
            ("--on-halt=panic", "revert_wave"),
            ("--priority=200", "200"),
        ] {
            let error = said(&[&BARE[..], &[flag]].concat()).expect_err(flag);
            assert!(error.contains(says), "{flag}: {error}");
        }
        assert!(said(&[&BARE[..], &["--immediate", "--percent=1,100"]].concat()).is_err());
        for flags in [&["-f", "a.yaml", "--soak=1m"][..], &["-f", "a.yaml", "--to=1.0.0"], &[]] {
            assert!(said(flags).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn a_file_says_it_all() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/rollouts/cluster.yaml");
        let spec = said(&["-f", file, "--all"]).expect("a rollout");
        assert_eq!((spec.name.as_str(), spec.all), ("db-16", true));
    }
}
