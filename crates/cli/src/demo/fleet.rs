//! Fifteen more hosts join the five: a fleet of twenty, at four sites.

use anyhow::{Context, ensure};

use super::chapters::{PATIENCE, settled};
use super::host::{Host, Joining};
use super::stage::Stage;
use super::story::{command, tell};

/// Where the newcomers are, and which of them.
const SITES: [(&str, [&str; 5]); 3] = [
    ("north", ["host-6", "host-7", "host-8", "host-9", "host-10"]),
    ("south", ["host-11", "host-12", "host-13", "host-14", "host-15"]),
    ("east", ["host-16", "host-17", "host-18", "host-19", "host-20"]),
];

/// Fifteen more hosts enrol, all at once, and come to the version that the five run.
pub(super) fn join(stage: &mut Stage) -> anyhow::Result<()> {
    stage.story.chapter("Fifteen more hosts");
    tell(
        "Until now hosts were ordered by name. A fleet is not: fifteen more join, at three other \
         sites, and none of them has a history.",
    );
    command("handover token create --bind site=north --count 5    …");
    let mut newcomers = Vec::new();
    for (site, names) in SITES {
        let tokens = stage.control()?.tokens(site, names.len())?;
        ensure!(tokens.len() == names.len(), "{} tokens were made", tokens.len());
        newcomers.extend(names.into_iter().zip(tokens));
    }
    let (url, trusted_root) = (stage.server.url(), stage.publisher.first_root());
    let (hosts, logs, programs) = (stage.directory().join("hosts"), stage.logs(), &stage.programs);
    let joined = at_once(&newcomers, |name, token| {
        // The control plane's orders reach them at once; what they look for by themselves can wait.
        let joining = Joining { token, repository: &url, trusted_root: &trusted_root, poll: "10s" };
        let mut host = Host::enrol(name, &hosts, programs, &joining)?;
        host.switch_on(&logs)?;
        Ok(host)
    })?;
    stage.hosts.extend(joined);
    let names: Vec<&str> = newcomers.iter().map(|(name, _)| *name).collect();
    let ended = stage.control()?.update(&names, "web", "1.5.0", &[])?;
    ensure!(ended.status.success(), "they were not updated: {}{}", ended.out, ended.err);
    stage.expect_everywhere("twenty hosts run web 1.5.0", PATIENCE, |host| settled(host, "1.5.0"))
}

/// Does the same for all, each on a thread of its own.
fn at_once(
    newcomers: &[(&str, String)],
    act: impl Fn(&str, &str) -> anyhow::Result<Host> + Sync,
) -> anyhow::Result<Vec<Host>> {
    let act = &act;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            newcomers.iter().map(|(name, token)| scope.spawn(move || act(name, token))).collect();
        let joined = threads.into_iter().map(|thread| {
            thread.join().ok().context("setting a host up panicked").and_then(|made| made)
        });
        joined.collect()
    })
}
