//! What a rollout is asked to be: the body of `POST /rollouts`, and the file that people keep in
//! git.

use serde::{Deserialize, Serialize};

use crate::{ComponentName, Millis, RolloutName, Timestamp, Version, Window};

/// A rollout as it is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the file")]
pub struct RolloutSpec {
    /// Its name, unique among rollouts that are not over.
    pub name: RolloutName,
    /// The component.
    pub component: ComponentName,
    /// The version that every member is to come to.
    pub to: Version,
    /// Which agents, in the language of selections: `label.region = eu and not name = web-1`.
    pub select: String,
    /// Says that a selection that matches every agent is meant.
    #[serde(default, skip_serializing_if = "is_false")]
    pub all: bool,
    /// Agents that match and could not get there (pinned, no way, below a floor) are left out; else
    /// the rollout is refused because of them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub leave_out_unable: bool,
    /// Takes the place of rollouts of the same component that have some of the same agents and are
    /// not over; else the rollout is refused because of them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub supersede: bool,
    /// Whether members are those that matched at the start, or whoever matches.
    #[serde(default)]
    pub membership: Membership,
    /// In which waves.
    #[serde(default)]
    pub strategy: Strategy,
    /// What must hold before more hosts are touched.
    #[serde(default)]
    pub gate: GateSpec,
    /// When hosts may be touched; empty: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// Hosts download and verify as soon as they are released, and activate in the window.
    #[serde(default, skip_serializing_if = "is_false")]
    pub early_download: bool,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Timestamp>,
    /// Among rollouts that have something for the same agent the highest goes first.
    #[serde(default = "middle")]
    #[cfg_attr(feature = "openapi", schema(maximum = 100))]
    pub priority: u8,
    /// How many hosts may be under way at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitSpec>,
    /// What a host must run already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
    /// How what did not come off for a passing reason is tried again.
    #[serde(default)]
    pub retries: RetrySpec,
    /// How long a host may take from its acknowledgement to its proof; after that one that talks
    /// has failed, and one that does not is silent.
    #[serde(default = "half_an_hour")]
    pub deadline: Millis,
    /// The label whose value says which hosts share a network: their silence counts once.
    #[serde(default = "site")]
    pub site_label: String,
    /// What a halt does beside stopping.
    #[serde(default)]
    pub on_halt: OnHalt,
    /// How long and with what consequence the release is watched after its hosts committed it.
    #[serde(default)]
    pub after: AfterSpec,
    /// Checks outside of the fleet that must pass before a wave is followed by the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckSpec>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Who belongs to a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// Those that match when it starts.
    #[default]
    Frozen,
    /// Those too that come to match later: they join the last wave.
    Live,
}

/// In which waves a rollout goes through its members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Strategy {
    /// Everybody at once: no waves, no ramp. The gate still stops it.
    Immediate {},
    /// Growing shares of the members; each holds the ones before.
    Staged {
        /// Where each wave ends, in percent of the members: ascending, the last one 100.
        #[serde(default = "five_quarter_all")]
        percent: Vec<f64>,
        /// Which waves wait for a person.
        #[serde(default)]
        approval: Approval,
    },
    /// Waves by selection, in order; a member belongs to the first that takes it.
    Waves {
        /// The waves.
        waves: Vec<WaveSpec>,
        /// What becomes of members that no wave takes.
        #[serde(default)]
        rest: Rest,
    },
}

impl Default for Strategy {
    fn default() -> Self {
        Self::Staged { percent: five_quarter_all(), approval: Approval::None }
    }
}

/// Which waves wait for a person before they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// None.
    #[default]
    None,
    /// Every wave but the first.
    Between,
    /// Every wave.
    Every,
}

/// One wave of a rollout by selection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct WaveSpec {
    /// Its name.
    pub name: String,
    /// Which members.
    pub select: String,
    /// Whether it waits for a person before it begins.
    #[serde(default, skip_serializing_if = "is_false")]
    pub approval: bool,
    /// Its own soak time, instead of the gate's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Millis>,
}

/// What becomes of members that no wave takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Rest {
    /// A last wave that waits for a person.
    #[default]
    Held,
    /// A last wave.
    Last,
}

/// What must hold before more hosts are touched. Percentages are of the wave's released members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GateSpec {
    /// Whether the sequential test may halt, and paces the ramp.
    #[serde(default = "yes")]
    pub sequential: bool,
    /// How many hosts the ramp begins with inside each wave.
    #[serde(default = "ten")]
    pub first: u32,
    /// More than this share of explicit failures halts, in percent.
    #[serde(default = "a_fifth", skip_serializing_if = "Option::is_none")]
    pub failures_share: Option<f64>,
    /// More than this number of explicit failures, in all waves together, halts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures_at_most: Option<u32>,
    /// A wave is followed by the next only when this share of its exposed members is done, in
    /// percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_share: Option<f64>,
    /// How long a wave is watched after its last outcome before the next begins.
    #[serde(default)]
    pub soak: Millis,
    /// The share of updates that fails on a good day, in percent; absent: estimated from the last
    /// 10,000 updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
}

impl Default for GateSpec {
    fn default() -> Self {
        Self {
            sequential: true,
            first: ten(),
            failures_share: a_fifth(),
            failures_at_most: None,
            success_share: None,
            soak: Millis(0),
            baseline: None,
        }
    }
}

/// How many hosts may be under way at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LimitSpec {
    /// At most so many.
    pub at_most: u32,
    /// Of those that share a value of this label; absent: of all. A host without the label is
    /// alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
}

/// What a host must run before the rollout may touch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// The component.
    pub component: ComponentName,
    /// Committed, in this version or a higher one.
    pub at_least: Version,
}

/// How an attempt that did not come off for a passing reason (a download, a busy host, an order
/// that lapsed) is followed by another. A release that failed on a host is not tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RetrySpec {
    /// How many attempts in all.
    #[serde(default = "three")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10))]
    pub attempts: u8,
    /// How long before the second; doubled before each further one.
    #[serde(default = "five_minutes")]
    pub backoff: Millis,
}

impl Default for RetrySpec {
    fn default() -> Self {
        Self { attempts: three(), backoff: five_minutes() }
    }
}

/// What a halt does beside stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnHalt {
    /// Nothing: a person decides.
    #[default]
    Stop,
    /// Takes the hosts of the wave back.
    RevertWave,
    /// Takes every host back.
    RevertRollout,
}

/// What follows after the hosts committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AfterSpec {
    /// How long a rollout that is done goes on being watched.
    #[serde(default = "a_day")]
    pub watch: Millis,
    /// What a decay does, beside raising an alert.
    #[serde(default)]
    pub on_decay: OnDecay,
}

impl Default for AfterSpec {
    fn default() -> Self {
        Self { watch: a_day(), on_decay: OnDecay::Alert }
    }
}

/// What is done when a release decays on hosts that had committed it. Silence alone only alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnDecay {
    /// An alert.
    #[default]
    Alert,
    /// What still runs of the rollout halts.
    Stop,
    /// Every host is taken back.
    TakeBack,
}

/// A check outside of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CheckSpec {
    /// Its name, unique in the rollout.
    pub name: String,
    /// How its answer comes.
    pub how: CheckHow,
    /// An answer that is older than this counts as none.
    #[serde(default = "five_minutes")]
    pub fresh: Millis,
}

/// How the answer of an external check comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CheckHow {
    /// The server asks, with `GET`: the answer is a [`CheckAnswer`] with status 200.
    Poll {
        /// Where; `https`, or `http` on loopback.
        url: String,
        /// How often.
        #[serde(default = "half_a_minute")]
        every: Millis,
    },
    /// Somebody says: a `POST` of a [`CheckAnswer`], signed with the check's secret.
    Webhook {},
}

/// What an external check says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckAnswer {
    /// The verdict.
    pub verdict: CheckVerdict,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The verdict of an external check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// Go on.
    Pass,
    /// Halt.
    Fail,
    /// Wait.
    Inconclusive,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

fn yes() -> bool {
    true
}

fn ten() -> u32 {
    10
}

fn three() -> u8 {
    3
}

fn middle() -> u8 {
    50
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the field's type")]
fn a_fifth() -> Option<f64> {
    Some(20.0)
}

fn five_quarter_all() -> Vec<f64> {
    vec![5.0, 25.0, 100.0]
}

fn site() -> String {
    "site".to_owned()
}

fn half_a_minute() -> Millis {
    Millis(30_000)
}

fn five_minutes() -> Millis {
    Millis(5 * 60_000)
}

fn half_an_hour() -> Millis {
    Millis(30 * 60_000)
}

fn a_day() -> Millis {
    Millis(24 * 3_600_000)
}
