//! The host policy: what is accepted can be followed.
#![no_main]

use camino::Utf8Path;
use handover_agent::policy::{in_order, parse_policy};
use handover_engine::window::Schedule;
use handover_fuzz::{now, round_trip};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(policy) = parse_policy(Utf8Path::new("policy.yaml"), bytes) else { return };
    round_trip(&policy);
    let ordered = in_order(&policy.components).expect("an accepted policy has an order");
    assert_eq!(ordered.len(), policy.components.len());
    for (at, component) in ordered.iter().enumerate() {
        let before = &ordered[..at];
        assert!(component.after.iter().all(|name| before.iter().any(|other| other.name == *name)));
        if let Ok(schedule) = Schedule::parse(&component.windows, jiff::tz::db())
            && let Some(opens) = schedule.opens_at(now())
        {
            assert!(opens >= now() && schedule.is_open(opens), "{opens} is no opening");
        }
    }
});
