//! What a rollout would do, before anything moves.

use handover_model::Millis;
use handover_model::api::{
    Play, PreviewPath, PreviewRequest, PreviewWave, RolloutPreview, RolloutSpec,
};

use super::super::api::Api;
use super::super::{ControlError, Desk, routes};
use super::view::grouped;
use crate::output::{fields, table};

/// What is to be played.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) failures: Option<Vec<f64>>,
    pub(super) each_takes: Option<Millis>,
    pub(super) seed: Option<u64>,
}

/// Shows it. Whether every agent is meant is not asked: nothing moves.
pub(super) fn preview(
    api: &Api,
    mut spec: RolloutSpec,
    asked: Asked,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    spec.all = true;
    let request = PreviewRequest {
        spec,
        failures: asked.failures,
        each_takes: asked.each_takes,
        seed: asked.seed,
    };
    let found: RolloutPreview =
        api.post("preview the rollout", routes::ROLLOUT_PREVIEW, &request)?;
    desk.out.result(&found, |found| describe(&request.spec, found));
    for warning in &found.warnings {
        crate::output::warn(warning);
    }
    Ok(())
}

fn describe(spec: &RolloutSpec, found: &RolloutPreview) -> String {
    let mut pairs = vec![
        ("what", format!("{} → {}", spec.component, spec.to)),
        ("selection", spec.select.clone()),
        ("matches", format!("{} agents", grouped(found.matched))),
        ("members", grouped(found.members)),
    ];
    let out: Vec<_> = found
        .left_out
        .iter()
        .map(|out| {
            let names: Vec<_> = out.agents.iter().map(ToString::to_string).collect();
            let names =
                if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
            format!("{}: {}{names}", grouped(out.count), out.text)
        })
        .collect();
    if !out.is_empty() {
        pairs.push(("left out", out.join("\n")));
    }
    let mut parts = vec![fields(&pairs)];
    if !found.waves.is_empty() {
        parts.push(table(&waves(&found.waves)));
    }
    if !found.paths.is_empty() {
        parts.push(table(&paths(&found.paths)));
    }
    if !found.plays.is_empty() {
        let seed = found.seed;
        parts.push(format!("{}\n(seed {seed})", table(&plays(&found.plays))));
    }
    parts.join("\n\n")
}

fn waves(waves: &[PreviewWave]) -> Vec<Vec<String>> {
    let head = ["", "WAVE", "MEMBERS", "AWAY", "APPROVAL", "STEPS", "FIRST"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(waves.iter().zip(1_u32..).map(|(wave, number)| {
        let first: Vec<_> = wave.first.iter().map(ToString::to_string).collect();
        vec![
            number.to_string(),
            wave.name.clone(),
            grouped(wave.members),
            grouped(wave.away),
            if wave.approval { "a person's" } else { "" }.to_owned(),
            steps(&wave.steps),
            first.join(", "),
        ]
    }));
    rows
}

/// `10, 20, 40, …, 310`.
fn steps(steps: &[u32]) -> String {
    let shown: Vec<_> = steps.iter().take(4).map(|step| grouped(*step)).collect();
    match steps.last() {
        Some(last) if steps.len() > 5 => format!("{}, …, {}", shown.join(", "), grouped(*last)),
        Some(last) if steps.len() == 5 => format!("{}, {}", shown.join(", "), grouped(*last)),
        Some(_) | None => shown.join(", "),
    }
}

fn paths(paths: &[PreviewPath]) -> Vec<Vec<String>> {
    let mut rows = vec![["PLATFORM", "FROM", "WAY", "HOSTS"].map(str::to_owned).to_vec()];
    rows.extend(paths.iter().map(|path| {
        let hops: Vec<_> = path.hops.iter().map(ToString::to_string).collect();
        vec![
            path.platform.to_string(),
            path.from.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            hops.join(" → "),
            grouped(path.members),
        ]
    }));
    rows
}

fn plays(plays: &[Play]) -> Vec<Vec<String>> {
    let head = ["IF THIS SHARE FAILS", "STOPPED", "EXPOSED", "AT WORST", "FAILED", "TAKES"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(plays.iter().map(|play| {
        vec![
            format!("{} %", play.failures),
            format!("{:.0} %", play.stopped),
            grouped(play.exposed_p50),
            grouped(play.exposed_p95),
            grouped(play.failed_p50),
            coarse(play.takes_p50),
        ]
    }));
    rows
}

/// Without parts that nobody plans by: `2h 5m`, `40s`.
fn coarse(length: Millis) -> String {
    let whole =
        if length.0 >= 60_000 { length.0 / 60_000 * 60_000 } else { length.0 / 1000 * 1000 };
    Millis(whole).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_preview_reads_as_tables() {
        let spec = serde_saphyr::from_str("name: a\ncomponent: web\nto: 1.5.0\nselect: all\n");
        let found: RolloutPreview = serde_json::from_value(json!({
            "matched": 1003, "members": 1000,
            "left_out": [{ "code": "pinned", "text": "a pin keeps them", "count": 3, "agents": ["web-1"] }],
            "waves": [{ "name": "5 %", "members": 50, "away": 2, "approval": true,
                "first": ["web-9"], "steps": [10, 20, 20] }],
            "paths": [{ "platform": "linux-x86_64", "from": "1.0.0", "hops": ["1.4.0", "1.5.0"], "members": 12 }],
            "warnings": [],
            "plays": [{ "failures": 10.0, "plays": 200, "stopped": 100.0, "exposed_p50": 31,
                "exposed_p95": 62, "failed_p50": 6, "takes_p50": "2h 5m 7s" }],
            "seed": 7,
        }))
        .expect("a preview");
        let text = describe(&spec.expect("a rollout"), &found);
        for wanted in [
            "left out   3: a pin keeps them (web-1)",
            "10, 20, 20",
            "1.4.0 → 1.5.0",
            "10 %                 100 %    31       62        6       2h 5m",
        ] {
            assert!(text.contains(wanted), "{wanted:?} in\n{text}");
        }
        assert_eq!(steps(&[1, 2, 3, 4, 5, 1000]), "1, 2, 3, 4, …, 1,000");
        assert_eq!(steps(&[1, 2, 3, 4, 5]), "1, 2, 3, 4, 5");
        assert_eq!(coarse(Millis(999)), "0s");
    }
}
