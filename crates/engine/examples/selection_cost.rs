//! What a selection costs per agent: a hundred thousand different agents, asked ten times.
//!
//! `CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo run -p handover-engine --example selection_cost`

#![expect(clippy::print_stdout, reason = "it prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::time::Instant;

use handover_engine::selection::{Resolved, Selection, Subject};
use handover_model::api::{AgentState, ComponentSummary};
use handover_model::{AgentId, AgentName, IdGen, Labels, Platform, Timestamp, Version};

struct Host {
    id: AgentId,
    name: AgentName,
    platform: Platform,
    labels: Labels,
    components: Vec<ComponentSummary>,
}

fn main() {
    let mut ids = IdGen::new([1; 32]);
    let hosts: Vec<Host> = (0..100_000).filter_map(|number| host(number, &mut ids)).collect();
    for text in [
        "all",
        "label.site = site-7",
        "label.site = site-7 and web < 2.0.0",
        "name = host-9*",
        "has web and not (label.tier in (db, cache) or state = away) and seen < 10m",
        "label.site in (site-1, site-2, site-3, site-4) and web in \">=1.2, <2\" and platform = linux-*",
    ] {
        let Ok(selection) = Selection::parse(text) else { continue };
        let Ok(selection) = selection.resolve(|_| None) else { continue };
        measure(text, &selection, &hosts);
    }
}

fn measure(text: &str, selection: &Resolved, hosts: &[Host]) {
    let (facts, agent_version) = (Labels::default(), Version::new(0, 3, 0));
    let now = Timestamp::from_micros(1_000_000_000);
    let mut matched = 0_usize;
    let started = Instant::now();
    for _ in 0..10 {
        for host in hosts {
            let subject = Subject {
                id: host.id,
                name: &host.name,
                state: AgentState::Present,
                platform: &host.platform,
                agent_version: &agent_version,
                labels: &host.labels,
                facts: &facts,
                components: &host.components,
                last_seen: Some(now),
                now,
            };
            matched += usize::from(selection.matches(&subject));
        }
    }
    let each = started.elapsed().as_nanos() / 1_000_000;
    println!("{each:5} ns per agent, {matched:7} of 1,000,000 match: {text}");
}

fn host(number: u32, ids: &mut IdGen) -> Option<Host> {
    let tier = ["web", "db", "cache"][usize::try_from(number % 3).ok()?];
    let labels = [
        format!("site=site-{}", number % 50),
        format!("tier={tier}"),
        format!("rack=r{}", number % 997),
        "env=production".to_owned(),
    ];
    let component = |name: &str, minor| {
        Some(ComponentSummary {
            component: name.parse().ok()?,
            current: Some(Version::new(1, minor, 0)),
            proved: true,
            trial: None,
            outlook: None,
        })
    };
    Some(Host {
        id: AgentId::mint(ids, Timestamp::from_micros(i64::from(number))),
        name: format!("host-{number}").parse().ok()?,
        platform: "linux-x86_64".parse().ok()?,
        labels: Labels::parse(labels.iter().map(String::as_str)).ok()?,
        components: vec![
            component("handover-agent", 3)?,
            component("db", 2)?,
            component("web", u64::from(number % 5))?,
        ],
    })
}
