//! Planning at 1,000,000 members: from their list to the first step of the first wave, and each
//! event with the decision that follows it; beside a plain percentage gate over the same members.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use handover_engine::rollout::controller::{
    Controller, Decision, Event, Facts, MemberFact, Progress, Watched, WindowFact,
};
use handover_engine::rollout::gate::{Baseline, Counts};
use handover_engine::rollout::outcome::Outcome;
use handover_engine::rollout::roster::{Candidate, draw};
use handover_model::api::RolloutSpec;
use handover_model::{AgentId, IdGen, Millis, Platform, Timestamp, Version};

use sha2::{Digest as _, Sha256};

use crate::process::{cpu_of_tree, resident};
use crate::real_world::timed;
use crate::table::{Row, Samples, ms, ratio, us};

/// Hosts whose events are measured one by one.
const HOSTS: u32 = 20_000;

/// One in so many fails: less than the baseline, so that nothing halts.
const FAILS_EVERY: u32 = 2_000;

/// Measures it over a million members, or a part of that.
pub(crate) fn measure(scale: u32) -> anyhow::Result<Vec<Row>> {
    let members = 1_000_000 / scale;
    let crowd = Crowd::new(members)?;
    let candidates = crowd.candidates();
    let seed = [7; 32];
    let before = resident(std::process::id())?;
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    let spec = crowd.spec.clone();
    let (first, took) = worked(|| {
        let baseline = Baseline::of(Counts { failures: 10, trials: 10_000 });
        let (plan, roster) = draw(&spec, seed, baseline, &candidates);
        let progress = Progress::new(now);
        let mut controller = Controller::open(Arc::new(plan), Arc::new(roster), spec, progress);
        let decision = decide(&mut controller, now);
        (controller, decision)
    })?;
    let (mut controller, _) = first;
    ensure!(controller.progress().released > 0, "the first step was not released");
    let grown = resident(std::process::id())?.saturating_sub(before);
    let (peer, peer_took) = worked(|| Peer::draw(seed, &crowd.ids))?;
    let (events, cpu) = worked(|| play(&mut controller, now))?;
    let events = events?;
    let each = cpu / u32::try_from(events.0.len().max(1))?;
    let peer_events = peer.play(HOSTS.min(members));
    let per_member = grown * 1024 / u64::from(members);
    Ok(vec![
        Row {
            what: "1,000,000 members: from their list to the first step, processor time",
            found: ms(took),
            aim: "≤ 1 s",
            is_met: Some(took <= Duration::from_secs(1)),
            beside: format!(
                "percentage gate, members shuffled by the same hash: {}; {}",
                ms(peer_took),
                ratio(took, peer_took)
            ),
        },
        Row {
            what: "an event of a member and the decision after it: processor time, mean",
            found: format!(
                "{}; on the clock {} (median) and {} (p99)",
                us(each),
                us(events.median()),
                us(events.at(99))
            ),
            aim: "≤ 50 µs",
            is_met: Some(each <= Duration::from_micros(50)),
            beside: format!(
                "percentage gate: {}; {}",
                us(peer_events.median()),
                ratio(events.median(), peer_events.median())
            ),
        },
        Row {
            what: "memory of plan, roster and controller",
            found: format!("{per_member} bytes a member: {grown} kB"),
            aim: "",
            is_met: None,
            beside:
                "hawkBit, measured elsewhere on such a machine with 10,000 targets: 1.1 GB for \
                     the whole server"
                    .to_owned(),
        },
    ])
}

/// What `act` returned, and how much processor time it took: others may run beside it.
fn worked<T>(act: impl FnOnce() -> T) -> anyhow::Result<(T, Duration)> {
    let before = cpu_of_tree(std::process::id())?;
    let done = act();
    Ok((done, cpu_of_tree(std::process::id())?.saturating_sub(before)))
}

/// A million agents of a few platforms and versions, at a thousand sites.
struct Crowd {
    spec: RolloutSpec,
    ids: Vec<AgentId>,
    platforms: Vec<Platform>,
    versions: Vec<Version>,
    sites: Vec<String>,
}

impl Crowd {
    fn new(members: u32) -> anyhow::Result<Self> {
        let spec = serde_json::from_value(serde_json::json!({
            "name": "web-2", "component": "web", "to": "2.0.0", "select": "all", "all": true,
        }))?;
        let mut ids = IdGen::new([13; 32]);
        let at = Timestamp::from_micros(1_700_000_000_000_000);
        let platforms = ["linux-x86_64", "linux-aarch64"].map(str::parse::<Platform>);
        let versions = ["1.0.0", "1.1.0", "1.2.0", "1.3.0"].map(str::parse::<Version>);
        Ok(Self {
            spec,
            ids: (0..members).map(|_| AgentId::mint(&mut ids, at)).collect(),
            platforms: platforms.into_iter().collect::<Result<_, _>>().ok().context("platforms")?,
            versions: versions.into_iter().collect::<Result<_, _>>()?,
            sites: (0..1_000).map(|number| format!("site-{number}")).collect(),
        })
    }

    fn candidates(&self) -> Vec<Candidate<'_>> {
        let numbered = self.ids.iter().zip(0_usize..).zip(0_i64..);
        let one = |((id, number), key): ((&AgentId, usize), i64)| Candidate {
            key,
            id: *id,
            platform: &self.platforms[number % 13 % self.platforms.len()],
            current: self.versions.get(number % 17 % self.versions.len()),
            site: self.sites.get(number % self.sites.len()).map(String::as_str),
            wave: None,
        };
        numbered.map(one).collect()
    }
}

fn decide(controller: &mut Controller, now: Timestamp) -> Decision {
    let member = |_| MemberFact { last_seen: Some(now), ..MemberFact::default() };
    let facts = Facts {
        patience: Millis(60_000),
        member: &member,
        checks: &[],
        fleet_stopped: None,
        window: WindowFact::ALWAYS,
        release: Ok(()),
        committed: Watched::default(),
    };
    controller.decide(&facts, now)
}

/// Hosts come, one after the other, as far as they are released: three events each, and a decision
/// after every one.
fn play(controller: &mut Controller, begin: Timestamp) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    let mut now = begin;
    let members = controller.plan().members();
    for position in 0..HOSTS.min(members) {
        ensure!(position < controller.progress().released, "the rollout stands at {position}");
        now = now.after(Duration::from_millis(1));
        let outcome =
            if position % FAILS_EVERY == FAILS_EVERY - 1 { Outcome::Failed } else { Outcome::Done };
        for event in [
            Event::HandedOut { position, attempt: 1, from: now },
            Event::Exposed { position, attempt: 1, from: now },
            Event::Ended { position, attempt: 1, outcome, at: now },
        ] {
            let (_, took) = timed(|| {
                controller.handle(event);
                decide(controller, now)
            });
            samples.0.push(took);
        }
    }
    Ok(samples)
}

/// A percentage gate: members in the order of the same hash, three waves, two counters.
struct Peer {
    members: Vec<u32>,
    ends: [usize; 3],
}

impl Peer {
    fn draw(seed: [u8; 32], ids: &[AgentId]) -> Self {
        let place = |(id, number): (&AgentId, u32)| {
            let mut text = [0; 48];
            text[..32].copy_from_slice(&seed);
            text[32..].copy_from_slice(id.as_bytes());
            let mut first = [0; 8];
            first.copy_from_slice(&Sha256::digest(text)[..8]);
            (u64::from_be_bytes(first), number)
        };
        let mut placed: Vec<_> = ids.iter().zip(0_u32..).map(place).collect();
        placed.sort_unstable();
        let all = placed.len();
        Self {
            members: placed.into_iter().map(|(_, number)| number).collect(),
            ends: [all / 20, all / 4, all],
        }
    }

    fn play(&self, hosts: u32) -> Samples {
        let mut samples = Samples::default();
        let mut waves = [(0_u32, 0_u32); 3];
        for (at, member) in (0_usize..).zip(&self.members).take(usize::try_from(hosts).unwrap_or(0))
        {
            for is_end in [false, false, true] {
                let (halts, took) = timed(|| {
                    let wave = self.ends.iter().position(|end| at < *end).unwrap_or(2);
                    let (ended, failed) = &mut waves[wave];
                    *ended += u32::from(is_end);
                    *failed += u32::from(is_end && member % FAILS_EVERY == 0);
                    std::hint::black_box(u64::from(*failed) * 100 > u64::from(*ended) * 5)
                });
                std::hint::black_box(halts);
                samples.0.push(took);
            }
        }
        samples
    }
}
