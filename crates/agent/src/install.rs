//! One update of one component, from its package in the repository to what a look at the host
//! says became of it.
//!
//! The agent's part ends with the entrypoint's answer (DESIGN 5.3). What counts is never that
//! answer but the run's outcome file and the slots, looked at afterwards.

use std::time::Duration;

use camino::Utf8PathBuf;
use handover_hoststeps::disk;
use handover_model::{
    CONTRACT_VERSION, ComponentPolicy, ExitCode, HostPolicy, Layout, Order, OrderId, Permit,
    ReleaseId, RunId,
};
use handover_trust::{Package, TargetFacts, Verified};

use crate::accepted::Accepted;
use crate::agent::Agent;
use crate::download::{Means, Wanted, download, whole_path};
use crate::entrypoint::{Answered, Entrypoint, last_words, run_entrypoint};
use crate::failure::Failure;
use crate::repository::join;
use crate::runs::{Standing, look_at_run};
use crate::unpack::{ENTRYPOINT, Unpacked, unpack};

/// Bytes beside package and content that must be free before a download begins.
const MARGIN: u64 = 16 * 1024 * 1024;
/// How long an order stays valid: long enough for any preparation, too short to be found later.
const ORDER_LIFE: Duration = Duration::from_hours(24);

/// What became of an update, by looking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landed {
    /// It runs and is committed.
    Committed,
    /// It is on trial; its watcher decides.
    OnTrial(RunId),
    /// Nothing changed; why.
    Refused(String),
    /// It was tried and taken back; why.
    Reverted(String),
    /// It can't be said yet; what was seen.
    Unknown(String),
    /// This process was asked to end; the entrypoint goes on.
    LeftAlone,
}

/// Brings `package` to this host, spends the permit that allows it, if it needs one, and runs its
/// entrypoint. The caller holds the component's lock.
///
/// # Errors
/// [`Failure`] for whatever happens before the entrypoint runs; nothing has changed then.
pub fn install(
    agent: &mut Agent,
    policy: &HostPolicy,
    component: &ComponentPolicy,
    package: &Package,
    permit: Option<&Verified<Permit>>,
) -> Result<Landed, Failure> {
    let layout = agent.home.component(&component.name);
    let to = ReleaseId { version: package.facts.version.clone(), digest: package.target.digest };
    let incoming = agent.home.incoming();
    let unpacked = prepare(agent, policy, component, package)?;
    crate::contents::keep(&layout, &to, &unpacked.files)?;
    let unpacked = unpacked.path;
    if let Some(permit) = permit {
        // Not before the package is here: what the network does must not cost a permit.
        let (agent_name, now) = (&policy.agent, agent.now().wall);
        let accepted = Accepted::of(&agent.home);
        accepted.spend(permit, agent_name, &component.name, &to.version, now)?;
    }
    let order = write_order(agent, policy, component, package, &to)?;
    if let Some(carrier) = &agent.carrier {
        carrier(&component.name, order.run, &to)?;
    }
    let output = incoming.join(format!("{}.progress", to.digest));
    let arguments = ["run", "--contract", "1", "--order", order.path.as_str()];
    let entrypoint = Entrypoint {
        stage: agent.program.clone(),
        program: unpacked.join(ENTRYPOINT),
        arguments: arguments.map(str::to_owned).to_vec(),
        output: output.clone(),
        patience: policy.patience.duration(),
    };
    tracing::info!(component = %component.name, release = %to, run.id = %order.run, "entrypoint starts");
    let voice = agent.voice.clone();
    let answered =
        run_entrypoint(&entrypoint, agent.clock.as_ref(), &agent.stop, &mut |progress| {
            voice.relay(progress);
        })?;
    let landed = look(agent, &layout, &to, order.run, &answered, &output)?;
    tracing::info!(component = %component.name, release = %to, ?landed, "entrypoint answered");
    if !matches!(landed, Landed::LeftAlone | Landed::Unknown(_)) {
        clean(agent, &to, &order.path);
    }
    Ok(landed)
}

/// Brings `package` to this host, verifies and unpacks it, and begins nothing. What is here
/// already is not brought again.
///
/// # Errors
/// [`Failure`]; nothing but `incoming/` has changed.
pub fn prepare(
    agent: &mut Agent,
    policy: &HostPolicy,
    component: &ComponentPolicy,
    package: &Package,
) -> Result<Unpacked, Failure> {
    let to = ReleaseId { version: package.facts.version.clone(), digest: package.target.digest };
    check_space(agent, package)?;
    let incoming = agent.home.incoming();
    disk::make_dir_mode(&incoming, 0o700)?;
    let archive =
        bring(agent, policy, &package.target, &format!("{} {}", component.name, to.version))?;
    check_openpgp(agent, policy, package, &archive)?;
    Ok(unpack(&archive, &incoming, &to.digest, &package.facts)?)
}

/// Downloads one signed target.
fn bring(
    agent: &mut Agent,
    policy: &HostPolicy,
    target: &TargetFacts,
    what: &str,
) -> Result<Utf8PathBuf, Failure> {
    let base = &policy.repository.targets;
    let fetcher = agent.fetcher(base)?;
    let wanted =
        Wanted { url: join(base, &target.served_as), digest: target.digest, length: target.length };
    let mut bucket = agent.bucket(policy);
    let bar = agent.voice.bar(what.to_owned(), target.length);
    let mut means = Means {
        clock: agent.clock.as_ref(),
        stop: &agent.stop,
        dice: &mut agent.dice,
        bucket: &mut bucket,
        attempts: 5,
        progress: &mut |bytes| bar.set(bytes),
    };
    let brought = download(&fetcher, &wanted, &agent.home.incoming(), &mut means);
    bar.done();
    Ok(brought?)
}

fn check_space(agent: &Agent, package: &Package) -> Result<(), Failure> {
    let need =
        package.target.length.saturating_add(package.facts.unpacked_bytes).saturating_add(MARGIN);
    let root = agent.home.root();
    let stat = rustix::fs::statvfs(root.as_std_path()).map_err(|errno| Failure::Stream {
        act: "measure the free space under the root",
        source: errno.into(),
    })?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= need {
        return Ok(());
    }
    let reason = format!(
        "the disk that holds {root} has {} free, the update needs {}; `handover-agent doctor` \
         says what could go",
        bytes(free),
        bytes(need)
    );
    Err(Failure::Refused { code: "disk-full", reason })
}

/// The additional OpenPGP signature, where the policy demands one.
fn check_openpgp(
    agent: &mut Agent,
    policy: &HostPolicy,
    package: &Package,
    archive: &Utf8PathBuf,
) -> Result<(), Failure> {
    let Some(demand) = &policy.openpgp else { return Ok(()) };
    let Some(sidecar) = &package.openpgp else {
        let reason = format!(
            "{} carries no OpenPGP signature and the policy demands one (`openpgp`)",
            package.target.path
        );
        return Err(Failure::Refused { code: "openpgp.missing", reason });
    };
    let signature = bring(agent, policy, &sidecar.target, "signature")?;
    crate::openpgp::verify(&demand.keyring, &signature, archive)
}

struct Written {
    path: Utf8PathBuf,
    run: RunId,
}

fn write_order(
    agent: &mut Agent,
    policy: &HostPolicy,
    component: &ComponentPolicy,
    package: &Package,
    to: &ReleaseId,
) -> Result<Written, Failure> {
    let now = agent.now().wall;
    let current = agent.home.slots(&component.name)?.current;
    let run = RunId::mint(&mut agent.ids, now);
    let order = Order {
        contract: CONTRACT_VERSION,
        id: OrderId::mint(&mut agent.ids, now),
        run,
        component: component.name.clone(),
        root: agent.home.root().to_owned(),
        from: current.map(|slot| slot.release),
        to: to.clone(),
        sequence: package.facts.sequence,
        deadline: now.after(ORDER_LIFE),
        patience: policy.patience,
        parameters: component.parameters.clone(),
    };
    let path = agent.home.incoming().join(format!("{}.order.json", to.digest));
    let text = serde_json::to_vec_pretty(&order)
        .map_err(|source| Failure::Stream { act: "write the order", source: source.into() })?;
    disk::write(&path, &text, 0o600)?;
    Ok(Written { path, run })
}

/// What a fresh look says, with the entrypoint's answer as a hint for what can't be seen.
fn look(
    agent: &Agent,
    layout: &Layout,
    to: &ReleaseId,
    run: RunId,
    answered: &Answered,
    output: &Utf8PathBuf,
) -> Result<Landed, Failure> {
    if *answered == Answered::LeftAlone {
        return Ok(Landed::LeftAlone);
    }
    let standing = look_at_run(&agent.home, layout.component(), run)?;
    let words = || last_words(output).map_or_else(String::new, |words| format!(" ({words})"));
    let silence = match answered {
        Answered::Silent => Some("the entrypoint did not answer in time and was ended"),
        Answered::Babbled => Some("the entrypoint wrote without end and was ended"),
        Answered::Ended(_) | Answered::LeftAlone => None,
    };
    let slots = agent.home.slots(layout.component())?;
    Ok(match standing {
        Standing::Committed => Landed::Committed,
        Standing::OnTrial => Landed::OnTrial(run),
        Standing::Refused(why) => Landed::Refused(why),
        Standing::Reverted(why) => Landed::Reverted(why),
        Standing::Stuck(why) | Standing::Cut(why) => Landed::Unknown(why),
        Standing::NeverBegan if slots.current.is_some_and(|slot| slot.release == *to) => {
            Landed::Committed
        }
        Standing::NeverBegan => match (silence, answered) {
            (Some(silence), _) => Landed::Reverted(format!("{silence}; nothing had changed")),
            (None, Answered::Ended(ExitCode::Refused)) => {
                Landed::Refused(format!("the entrypoint refused{}", words()))
            }
            (None, Answered::Ended(ExitCode::Reverted)) => {
                Landed::Reverted(format!("the entrypoint failed and took it back{}", words()))
            }
            (None, Answered::Ended(ExitCode::Trial)) => Landed::Unknown(
                "the entrypoint says that a trial runs, and there is none".to_owned(),
            ),
            (None, _) => Landed::Reverted(format!(
                "the entrypoint ended without an answer and before it changed anything{}",
                words()
            )),
        },
    })
}

/// What a finished attempt leaves in `incoming/` and nobody needs: the archive, the order. What
/// can't be removed is doctor's business.
fn clean(agent: &Agent, to: &ReleaseId, order: &Utf8PathBuf) {
    let incoming = agent.home.incoming();
    let unpacked = incoming.join(to.digest.to_string());
    for path in [whole_path(&incoming, &to.digest), order.clone(), unpacked] {
        if let Err(error) = disk::remove_tree(&path) {
            tracing::debug!(%path, %error, "left behind");
        }
    }
}

/// A count of bytes for people.
pub fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}
