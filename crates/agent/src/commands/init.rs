//! `init`: a host begins to follow a repository.

use std::fmt::Write as _;

use camino::Utf8Path;
use handover_hoststeps::disk::{self, SlotsStore};
use handover_model::{
    AgentName, ComponentName, Digest, LAUNCHER_PROTOCOL, MANIFEST_FORMAT, Mode, Readiness, Recipe,
    ReleaseId, RunId, Slot, Slots, StopSpec,
};
use serde::Serialize;

use super::print::Printer;
use super::read_named;
use crate::accepted::Accepted;
use crate::agent::Agent;
use crate::failure::{Exit, Failure};
use crate::fetch::parse_address;
use crate::policy::parse_policy;
use crate::repository::{RepositoryError, join};
use crate::unpack::MANIFEST;

/// The component that is this program.
pub(crate) const SELF: &str = "handover-agent";

/// What was asked for.
pub(super) struct Wish<'a> {
    pub(super) repository: &'a str,
    pub(super) targets: Option<&'a str>,
    pub(super) trusted_root: &'a Utf8Path,
    pub(super) name: &'a AgentName,
    pub(super) components: &'a [ComponentName],
}

/// What a host is set up with.
pub(super) struct SetUp<'a> {
    pub(super) metadata: String,
    pub(super) targets: String,
    pub(super) root_json: &'a [u8],
    pub(super) name: &'a AgentName,
    pub(super) components: &'a [ComponentName],
    /// Of every component that is listed.
    pub(super) mode: Mode,
}

#[derive(Serialize)]
pub(super) struct Made {
    pub(super) root: String,
    pub(super) policy: String,
    pub(super) agent: String,
    pub(super) launcher: Option<String>,
    pub(super) slot: Option<ReleaseId>,
}

/// `init`.
pub(super) fn init(agent: &mut Agent, wish: &Wish<'_>, printer: Printer) -> Result<Exit, Failure> {
    parse_address(wish.repository).map_err(RepositoryError::Fetch)?;
    let root_json = read_named(wish.trusted_root)?;
    let set_up = SetUp {
        metadata: join(wish.repository, "metadata"),
        targets: wish.targets.map_or_else(|| join(wish.repository, "targets"), ToOwned::to_owned),
        root_json: &root_json,
        name: wish.name,
        components: wish.components,
        mode: Mode::Automatic,
    };
    let made = make(agent, &set_up)?;
    printer.data(&made, |made| {
        format!(
            "{} follows {}.\nEdit {} to add components, then start it:\n  {} --root {} {SELF}",
            made.agent,
            wish.repository,
            made.policy,
            agent.home.launcher(),
            made.root
        )
    })
}

/// Makes the root, or finishes one that was begun; what is there already stays.
pub(super) fn make(agent: &mut Agent, wish: &SetUp<'_>) -> Result<Made, Failure> {
    let text = policy_text(wish);
    parse_policy(&agent.home.policy(), text.as_bytes())?;
    disk::make_dir(agent.home.root())?;
    disk::make_dir_mode(&agent.home.incoming(), 0o700)?;
    disk::make_dir(&agent.home.components())?;
    let was_set_up = agent.home.trust().root_path().exists();
    Accepted::of(&agent.home).set_up(was_set_up)?;
    agent.home.trust().set_up(wish.root_json, agent.now().wall)?;
    let launcher = install_launcher(agent)?;
    let slot = seed_own_slot(agent)?;
    if !disk::write_new(&agent.home.policy(), text.as_bytes(), 0o644)? {
        agent.voice.say(&format!("{} is there already and stays as it is", agent.home.policy()));
    }
    Ok(Made {
        root: agent.home.root().to_string(),
        policy: agent.home.policy().to_string(),
        agent: wish.name.to_string(),
        launcher: launcher.then(|| agent.home.launcher().to_string()),
        slot,
    })
}

fn policy_text(wish: &SetUp<'_>) -> String {
    let mode = match wish.mode {
        Mode::Automatic => "",
        Mode::Manual => "    mode: manual\n",
    };
    let mut text = format!(
        "# What this host follows. Edits are noticed at once; `handover-agent check` tries them.\n\
         agent: {}\n\
         repository:\n\
         \x20 metadata: {:?}\n\
         \x20 targets: {:?}\n\
         # How often to look, give or take a tenth.\n\
         poll: 1m\n\
         # bytes_per_second: 1000000\n\
         components:\n\
         \x20 - name: {SELF}\n{mode}",
        wish.name, wish.metadata, wish.targets,
    );
    for component in wish.components.iter().filter(|component| component.as_str() != SELF) {
        // Writing to a string can't fail.
        let _ = write!(text, "  - name: {component}\n{mode}");
    }
    text.push_str(
        "#   - name: web\n\
         #     channel: stable\n\
         #     mode: manual            # automatic where left out\n\
         #     pin: \">=1.2, <2\"\n\
         #     after: [db]\n\
         #     windows: [{days: [sat, sun], start: \"02:00\", for: 2h, zone: UTC}]\n\
         #     parameters: {port: \"8080\"}\n",
    );
    text
}

/// Puts the launcher from beside this program into `bin/`. False where there is none to put.
fn install_launcher(agent: &Agent) -> Result<bool, Failure> {
    let goal = agent.home.launcher();
    if goal.exists() {
        return Ok(true);
    }
    let Some(bytes) = beside(agent, "handover-launch")? else {
        agent.voice.say("there is no handover-launch beside this program; put one into bin/");
        return Ok(false);
    };
    if let Some(bin) = goal.parent() {
        disk::make_dir(bin)?;
    }
    disk::write(&goal, &bytes, 0o755)?;
    Ok(true)
}

fn beside(agent: &Agent, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let Some(directory) = agent.program.parent() else { return Ok(None) };
    read_program(&directory.join(name))
}

/// Programs may be larger than the small files that `disk::read` is for.
fn read_program(path: &Utf8Path) -> Result<Option<Vec<u8>>, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Failure::Stream { act: "read a program to install", source }),
    }
}

/// Gives the agent itself a first slot, so that the launcher can run it and its first update has
/// something to return to. It comes from no package: its place in the order of production is 0,
/// before everything that was ever released.
fn seed_own_slot(agent: &mut Agent) -> Result<Option<ReleaseId>, Failure> {
    let name: ComponentName = SELF.parse().expect("a constant that is a name");
    let layout = agent.home.component(&name);
    let store = SlotsStore::new(layout.slots());
    if let Some(current) = store.load()?.current {
        return Ok(Some(current.release));
    }
    let Some(bytes) = read_program(&agent.program)? else { return Ok(None) };
    let version = env!("CARGO_PKG_VERSION").parse().expect("the crate's version is one");
    let release = ReleaseId { version, digest: Digest::of(&bytes) };
    let directory = layout.release(&release);
    disk::make_dir(&directory.join("bin"))?;
    let executable = directory.join("bin/handover-agent");
    disk::write(&executable, &bytes, 0o755)?;
    if let Some(launcher) = beside(agent, "handover-launch")? {
        disk::write(&directory.join("bin/handover-launch"), &launcher, 0o755)?;
    }
    // What takes over from this slot reads its manifest, as that of any other.
    let manifest = serde_json::json!({
        "format": MANIFEST_FORMAT, "component": name, "version": release.version, "sequence": 0,
        "upgrades_from": "*", "notes": "put here by `handover-agent init`",
        "service": {
            "executable": "bin/handover-agent",
            "arguments": ["--root", agent.home.root(), "follow"],
            "readiness": "notify",
        },
    });
    disk::make_dir(&directory.join("handover"))?;
    disk::write(&directory.join(MANIFEST), manifest.to_string().as_bytes(), 0o644)?;
    let mut files = std::collections::BTreeMap::new();
    for name in ["bin/handover-agent", "bin/handover-launch", MANIFEST] {
        if let Some(bytes) = read_program(&directory.join(name))? {
            files.insert(name.into(), Digest::of(&bytes));
        }
    }
    crate::contents::keep(&layout, &release, &files)?;
    let config = layout.config(0);
    disk::make_dir(&config)?;
    let now = agent.now().wall;
    let slot = Slot {
        release: release.clone(),
        sequence: 0,
        recipe: Recipe {
            launcher: LAUNCHER_PROTOCOL,
            executable,
            executable_digest: Digest::of(&bytes),
            arguments: vec!["--root".into(), agent.home.root().to_string(), "follow".into()],
            environment: std::collections::BTreeMap::new(),
            directory: agent.home.root().to_owned(),
            user: None,
            stop: StopSpec::default(),
            readiness: Readiness::Notify,
            sockets: Vec::new(),
        },
        state: None,
        config,
        run: RunId::mint(&mut agent.ids, now),
        committed_at: Some(now),
        guard: None,
    };
    let first = Slots { generation: 1, current: Some(slot), ..Slots::default() };
    store.publish(&first)?;
    Ok(Some(release))
}
