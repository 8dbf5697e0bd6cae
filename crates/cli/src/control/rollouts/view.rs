//! How a rollout stands, as lines: its waves, what holds it, what its gate sees, why it halted.
//! Pure, so that the same lines are printed once, and drawn while one watches.

use handover_model::Timestamp;
use handover_model::api::{
    Counts, EvidenceInfo, HaltInfo, Hold, HoldLifter, RolloutInfo, RolloutKind, WaveInfo,
};
use serde::Serialize;

use super::super::words;
use crate::output::table;

/// How many deciding hosts are shown.
const MOST_HOSTS: usize = 10;

/// `web → 1.5.0`.
pub(super) fn what(rollout: &RolloutInfo) -> String {
    let spec = &rollout.spec;
    match &rollout.kind {
        RolloutKind::Update => format!("{} → {}", spec.component, spec.to),
        RolloutKind::Revert { wave: None, .. } => format!("{} ← {}", spec.component, spec.to),
        RolloutKind::Revert { wave: Some(wave), .. } => {
            format!("{} ← {}, wave {}", spec.component, spec.to, wave.saturating_add(1))
        }
    }
}

/// Below this many columns the waves are sentences and no table.
const NARROW: usize = 96;

/// Everything that moves: what is stuck and why, the waves, what the gate sees. `columns` is how
/// wide it may be, where that matters.
pub(super) fn progress(rollout: &RolloutInfo, now: Timestamp, columns: Option<usize>) -> String {
    let mut stuck: Vec<String> = Vec::new();
    stuck.extend(rollout.halt.iter().flat_map(halt));
    stuck.extend(rollout.holds.iter().map(|one| hold_at(one, now)));
    stuck.extend(
        rollout.alerts.iter().map(|alert| format!("alert: {}: {}", alert.code, alert.text)),
    );
    let waves = if columns.is_some_and(|columns| columns < NARROW) {
        sentences(rollout)
    } else {
        waves(rollout)
    };
    let evidence = rollout.evidence.as_ref().map(evidence).unwrap_or_default();
    let parts = [stuck.join("\n"), waves, evidence];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// The waves, two lines each.
fn sentences(rollout: &RolloutInfo) -> String {
    let wave = |(wave, number): (&WaveInfo, u32)| {
        format!("{number} {}: {}\n    {}", wave.name, state_of(wave), counted(&wave.counts))
    };
    rollout.waves.iter().zip(1_u32..).map(wave).collect::<Vec<_>>().join("\n")
}

/// How many stand how, in words; what is none is left out.
pub(super) fn counted(counts: &Counts) -> String {
    let mut text = format!("{} of {} released", grouped(counts.released), grouped(counts.members));
    for (count, what) in [
        (counts.running, "running"),
        (counts.done, "done"),
        (counts.failed, "failed"),
        (counts.silent, "silent"),
        (counts.away, "away"),
        (counts.refused, "refused"),
        (counts.satisfied, "there already"),
    ] {
        if count > 0 {
            text = format!("{text}, {} {what}", grouped(count));
        }
    }
    text
}

/// The waves, a row each, and all of them together.
fn waves(rollout: &RolloutInfo) -> String {
    let head =
        ["", "WAVE", "STATE", "MEMBERS", "RELEASED", "RUNNING", "DONE", "FAILED", "SILENT", "AWAY"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(rollout.waves.iter().zip(1_u32..).map(|(wave, number)| {
        let mut row = vec![number.to_string(), wave.name.clone(), state_of(wave)];
        row.extend(numbers(&wave.counts));
        row
    }));
    if rollout.waves.len() != 1 {
        let mut row = vec![String::new(), "all".to_owned(), rollout.state.to_string()];
        row.extend(numbers(&rollout.counts));
        rows.push(row);
    }
    let mut text = table(&rows);
    let others = others(&rollout.counts);
    if !others.is_empty() {
        text = format!("{text}\n{others}");
    }
    text
}

fn state_of(wave: &WaveInfo) -> String {
    match (&wave.approved_by, wave.approval) {
        (Some(by), _) => format!("{}, approved by {by}", word(&wave.state)),
        (None, true) if wave.began_at.is_none() => {
            format!("{}, needs approval", word(&wave.state))
        }
        (None, _) => word(&wave.state),
    }
}

fn numbers(counts: &Counts) -> [String; 7] {
    [
        counts.members,
        counts.released,
        counts.running,
        counts.done,
        counts.failed,
        counts.silent,
        counts.away,
    ]
    .map(grouped)
}

/// What has no column of its own.
fn others(counts: &Counts) -> String {
    let parts: Vec<String> = [
        (counts.satisfied, "were there already"),
        (counts.refused, "did not begin"),
        (counts.withdrawn, "were withdrawn"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} {what}", grouped(count)))
    .collect();
    parts.join(", ")
}

/// What holds it, and who or what can lift that.
pub(super) fn hold(hold: &Hold) -> String {
    let by = match hold.lifted_by {
        HoldLifter::Time => "ends by itself",
        HoldLifter::Hosts => "the hosts lift it",
        HoldLifter::Person => "a person lifts it",
        HoldLifter::Outside => "somebody outside lifts it",
    };
    let agents: Vec<_> = hold.agents.iter().map(ToString::to_string).collect();
    let agents =
        if agents.is_empty() { String::new() } else { format!(" [{}]", agents.join(", ")) };
    format!("held: {}: {}{agents} ({by})", word(&hold.code), hold.text)
}

fn hold_at(one: &Hold, now: Timestamp) -> String {
    let until = one.until.filter(|until| *until > now);
    let until = until.map_or_else(String::new, |at| format!(", {}", words::until(at, now)));
    format!("{}{until}", hold(one))
}

/// Why it halted, and by which hosts.
pub(super) fn halt(halt: &HaltInfo) -> Vec<String> {
    let wave = halt.wave.saturating_add(1);
    let mut lines = vec![format!("halted in wave {wave} by {}: {}", halt.gate, halt.text)];
    lines.extend(halt.deciding.iter().take(MOST_HOSTS).map(|host| {
        let said: Vec<&str> =
            [host.text.as_deref(), host.code.as_deref()].into_iter().flatten().collect();
        format!("  {}  {}  {}", host.name, word(&host.outcome), said.join(" "))
            .trim_end()
            .to_owned()
    }));
    let more = halt.deciding.len().saturating_sub(MOST_HOSTS);
    if more > 0 {
        lines.push(format!("  … and {more} more; `--output json` has them all"));
    }
    lines
}

/// What the gate sees.
fn evidence(seen: &EvidenceInfo) -> String {
    let worst = seen.worst_stratum.as_ref().filter(|worst| worst.e > 1.0).map(|worst| {
        let from = worst.from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
        format!("; worst: {}{from} {}", worst.platform, odds(worst.e))
    });
    format!(
        "evidence: {} of {} (failures {}, strata {}, silence {}); {} exposed, {} failed, {} \
         silent; a good day fails {:.2} %{}",
        odds(seen.combined),
        odds(seen.halt_at),
        odds(seen.e_explicit),
        odds(seen.e_stratum),
        odds(seen.e_silent),
        grouped(seen.exposed),
        grouped(seen.failures),
        grouped(seen.silent),
        seen.baseline,
        worst.unwrap_or_default()
    )
}

/// A likelihood ratio, to two digits that matter.
fn odds(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else if value < 1_000_000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.0e}")
    }
}

/// `12,345`.
pub(super) fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A value's name in documents, as words.
pub(super) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name.replace('_', " "),
        Ok(other) => other.to_string(),
        Err(_never) => String::new(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use handover_model::api::WaveState;
    use serde_json::json;

    use super::*;

    /// A rollout in its second wave.
    pub(in super::super) fn rollout() -> RolloutInfo {
        let counts = |members: u32, released: u32, done: u32| {
            json!({
                "members": members, "released": released, "away": 1, "exposed": released - 1,
                "running": released - 1 - done, "done": done, "failed": 0, "silent": 0,
                "refused": 0, "withdrawn": 0, "satisfied": 0,
            })
        };
        serde_json::from_value(json!({
            "id": "rollout_01890a5d4c7b7f3d8a2b6c1e5f904b37", "name": "web-15",
            "kind": { "is": "update" },
            "spec": { "name": "web-15", "component": "web", "to": "1.5.0", "select": "all", "all": true },
            "state": "running", "generation": 7, "by": "anna",
            "created_at": "2030-01-01T00:00:00Z",
            "counts": counts(1000, 60, 55),
            "waves": [
                { "name": "5 %", "state": "through", "counts": counts(50, 50, 49), "approval": false },
                { "name": "100 %", "state": "running", "counts": counts(950, 10, 6), "approval": true, "approved_by": "ben" },
            ],
            "holds": [{ "code": "ramp", "text": "4 hosts of this step have no outcome yet",
                "lifted_by": "hosts", "wave": 1, "agents": ["web-3"] }],
            "evidence": {
                "exposed": 58, "failures": 1, "silent": 0, "baseline": 0.1, "silence_baseline": 1.0,
                "e_explicit": 3.25, "e_stratum": 1.5, "e_silent": 0.9, "combined": 2.4,
                "halt_at": 1000.0,
                "worst_stratum": { "platform": "linux-x86_64", "from": "1.4.0", "members": 400, "e": 12.5 },
            },
        }))
        .expect("a rollout")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn waves_holds_and_evidence_are_lines() {
        let text = progress(&rollout(), at("2030-01-01T00:10:00Z"), None);
        for wanted in [
            "1  5 %    through",
            "2  100 %  running, approved by ben",
            "held: ramp: 4 hosts of this step have no outcome yet [web-3] (the hosts lift it)",
            "evidence: 2.40 of 1000 (failures 3.25, strata 1.50, silence 0.90); 58 exposed",
            "worst: linux-x86_64 from 1.4.0 12",
        ] {
            assert!(text.contains(wanted), "{wanted:?} in\n{text}");
        }
    }

    #[test]
    fn on_a_narrow_terminal_waves_are_sentences_and_what_is_stuck_comes_first() {
        let text = progress(&rollout(), at("2030-01-01T00:10:00Z"), Some(60));
        assert!(text.starts_with("held: ramp"), "{text}");
        let wave = "2 100 %: running, approved by ben\n    10 of 950 released, 3 running, 6 done";
        assert!(text.contains(wave), "{text}");
    }

    #[test]
    fn a_hold_with_an_end_says_when_it_is() {
        let mut rollout = rollout();
        rollout.holds[0].until = Some(at("2030-01-01T02:10:00Z"));
        let text = progress(&rollout, at("2030-01-01T00:10:00Z"), None);
        assert!(text.contains("(the hosts lift it), in 2h"), "{text}");
    }

    #[test]
    fn a_halt_names_its_hosts() {
        let mut rollout = rollout();
        let host = json!({
            "agent": "agent_01890a5d4c7b7f3d8a2b6c1e5f904b37", "name": "web-7",
            "outcome": "failed", "code": "health", "text": "the check failed",
        });
        let hosts = vec![host; 12];
        rollout.halt = serde_json::from_value(json!({
            "gate": "evidence", "text": "6 of 30 failed", "at": "2030-01-01T00:00:00Z", "wave": 1,
            "deciding": hosts,
        }))
        .ok();
        let text = progress(&rollout, at("2030-01-01T00:10:00Z"), None);
        assert!(text.contains("halted in wave 2 by evidence: 6 of 30 failed"), "{text}");
        assert!(text.contains("  web-7  failed  the check failed health"), "{text}");
        assert!(text.contains("… and 2 more"), "{text}");
    }

    #[test]
    fn numbers_and_words_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(word(&WaveState::Soaking), "soaking");
        assert_eq!([0.5, 42.4, 2.5e9].map(odds), ["0.50", "42", "2e9"]);
    }
}
