//! From manifest, order and facts to the plan.

use camino::Utf8PathBuf;
use handover_model::{
    CONTRACT_VERSION, Edits, Guard, Health, LAUNCHER_PROTOCOL, Layout, Manifest, Millis, OnRevert,
    Order, OutsideFile, ReleaseId, Slot,
};
use serde::Serialize;
use serde_json::Value;

use super::inputs::{
    Command, CommitSlots, ConfigCopy, CopyConfig, GuardHealth, Install, KeepFew, MigrateDown,
    OutsideCopy, PauseSlots, Preflight, PrepareState, ReplaceLauncher, SetTrial, Space, SwapSlots,
    WatchHealth, Watched,
};
use super::recipe::{self, command, fill, host_command};
use super::{HostFacts, Places, Refused};
use crate::run::{Party, Plan, Spec};
use crate::slots::quarantined;

/// A step's id, its kind, and the stage that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The id; outside files append `-<number>`.
    pub id: &'static str,
    /// The kind with its revision.
    pub kind: &'static str,
}

/// The steps of a host upgrade by their ids.
pub mod steps {
    use super::Step;

    /// There is room, and the new binary starts here.
    pub const PREFLIGHT: Step = Step { id: "preflight", kind: "preflight/1" };
    /// The package becomes an installed release.
    pub const INSTALL: Step = Step { id: "install", kind: "install/1" };
    /// The slot's configuration.
    pub const CONFIG: Step = Step { id: "config", kind: "config.copy/1" };
    /// The old child is stopped.
    pub const PAUSE: Step = Step { id: "pause", kind: "slots.pause/1" };
    /// The slot's state.
    pub const STATE: Step = Step { id: "state", kind: "state.prepare/1" };
    /// The slot is on trial.
    pub const TRIAL: Step = Step { id: "trial", kind: "slots.trial/1" };
    /// The launcher runs it.
    pub const SWAP: Step = Step { id: "swap", kind: "slots.swap/1" };
    /// It is healthy.
    pub const WATCH: Step = Step { id: "watch", kind: "watch/1" };
    /// It is current.
    pub const COMMIT: Step = Step { id: "commit", kind: "slots.commit/1" };
    /// On return, the state is migrated down.
    pub const DOWN: Step = Step { id: "state-down", kind: "state.down/1" };
    /// One file outside the slot.
    pub const OUTSIDE: Step = Step { id: "outside", kind: "outside.put/1" };
    /// The launcher itself.
    pub const LAUNCHER: Step = Step { id: "launcher", kind: "launcher.replace/1" };
    /// Nothing superfluous is kept.
    pub const RETENTION: Step = Step { id: "retention", kind: "retention/1" };
    /// It stays healthy.
    pub const GUARD: Step = Step { id: "guard", kind: "guard/1" };
}

/// Where the launcher lies inside the package of the component that brings it.
pub const LAUNCHER_IN_PACKAGE: &str = "bin/handover-launch";

/// The component that brings the launcher.
pub const BRINGS_LAUNCHER: &str = "handover-agent";

/// Compiles the upgrade that `order` asks for.
///
/// # Errors
/// Any [`Refused`]; nothing was changed, since nothing here can change anything.
pub fn compile(order: &Order, manifest: &Manifest, facts: &HostFacts) -> Result<Plan, Refused> {
    check_order(order, manifest, facts)?;
    check_agent(manifest, facts)?;
    check_host(order, manifest, facts)?;
    let compiler = Compiler::new(order, manifest, facts)?;
    let mut specs = Specs::default();
    compiler.inside(&mut specs)?;
    compiler.trial(&mut specs)?;
    compiler.after_commit(&mut specs)?;
    Ok(specs.into_plan(format!("{} {}", order.component, order.to)))
}

fn check_order(order: &Order, manifest: &Manifest, facts: &HostFacts) -> Result<(), Refused> {
    if order.contract == 0 || order.contract > CONTRACT_VERSION {
        return Err(Refused::Contract { found: order.contract, newest: CONTRACT_VERSION });
    }
    if facts.now > order.deadline {
        return Err(Refused::Expired { deadline: order.deadline, now: facts.now });
    }
    let wanted = (&order.component, &order.to.version, order.sequence);
    let found = (&manifest.component, &manifest.version, manifest.sequence);
    if wanted != found {
        let text = |(name, version, sequence)| format!("{name} {version} (sequence {sequence})");
        return Err(Refused::Foreign { wanted: text(wanted), found: text(found) });
    }
    let current = facts.slots.current.as_ref();
    if let Some(current) = current.filter(|current| current.release == order.to) {
        return Err(Refused::AlreadyCurrent { release: current.release.clone() });
    }
    if order.from.as_ref() != current.map(|current| &current.release) {
        let text = |release: Option<&ReleaseId>| {
            release.map_or_else(|| "nothing".to_owned(), ToString::to_string)
        };
        let found = text(current.map(|current| &current.release));
        return Err(Refused::From { wanted: text(order.from.as_ref()), found });
    }
    if let Some(entry) = quarantined(&facts.slots, &order.to) {
        return Err(Refused::Quarantined {
            component: order.component.clone(),
            version: order.to.version.clone(),
            reason: entry.reason.clone(),
        });
    }
    let trial = facts.slots.trial.as_ref().map(|trial| trial.slot.run);
    let pause = facts.slots.pause.as_ref().map(|pause| pause.run);
    match facts.unfinished_run.or(trial).or(pause) {
        Some(run) => Err(Refused::Busy { run }),
        None => Ok(()),
    }
}

/// What the component that runs entrypoints and brings the launcher must and must not have.
fn check_agent(manifest: &Manifest, facts: &HostFacts) -> Result<(), Refused> {
    let component = &manifest.component;
    if component.as_str() != BRINGS_LAUNCHER {
        return Ok(());
    }
    // Its pause would stop whoever runs the entrypoint, between stopping it and trying the new one.
    if manifest.state.is_some() {
        return Err(Refused::AgentState { component: component.clone() });
    }
    // It is put in place after commit, when there is no way back from its absence.
    if !facts.has_launcher {
        let path = LAUNCHER_IN_PACKAGE;
        return Err(Refused::LauncherMissing { component: component.clone(), path });
    }
    Ok(())
}

fn check_host(order: &Order, manifest: &Manifest, facts: &HostFacts) -> Result<(), Refused> {
    if manifest.launcher > LAUNCHER_PROTOCOL {
        return Err(Refused::Launcher { needs: manifest.launcher, speaks: LAUNCHER_PROTOCOL });
    }
    // A first release may be installed before its launcher is started for the first time.
    if !facts.launcher_runs && facts.slots.current.is_some() {
        return Err(Refused::NoLauncher { component: order.component.clone() });
    }
    if let (Some(found), Some(host)) = (facts.executable_machine, facts.host_machine)
        && found != host
    {
        return Err(Refused::Machine { found, host });
    }
    if let Some(address) = facts.taken_sockets.first() {
        return Err(Refused::SocketTaken { address: address.clone() });
    }
    if let Some(why) = &facts.unusable_user {
        return Err(Refused::User { why: why.clone() });
    }
    let refusing = manifest
        .configuration
        .iter()
        .filter(|file| file.edits == Edits::Refuse)
        .map(|file| file.path.as_str())
        .chain(
            manifest
                .outside
                .iter()
                .filter(|file| file.edits == Edits::Refuse)
                .map(|file| file.path.as_str()),
        )
        .find(|path| facts.edited.contains(*path));
    match refusing {
        Some(path) => Err(Refused::Edited { path: path.to_owned() }),
        None => Ok(()),
    }
}

struct Compiler<'a> {
    order: &'a Order,
    manifest: &'a Manifest,
    facts: &'a HostFacts,
    layout: Layout,
    slot: Utf8PathBuf,
    old_slot: Option<Utf8PathBuf>,
    state: Option<Utf8PathBuf>,
    config: Utf8PathBuf,
    places: Places,
    old_places: Places,
    parameters: std::collections::BTreeMap<String, String>,
    health: Health,
}

impl<'a> Compiler<'a> {
    fn new(
        order: &'a Order,
        manifest: &'a Manifest,
        facts: &'a HostFacts,
    ) -> Result<Self, Refused> {
        let layout = Layout::new(order.root.clone(), order.component.clone());
        let slot = layout.release(&order.to);
        let state = manifest.state.as_ref().map(|spec| layout.state(spec.schema, facts.free_state));
        let config = layout.config(facts.free_config);
        let parameters = recipe::parameters(manifest, &order.parameters)?;
        let places =
            recipe::places(&layout, manifest, &parameters, &slot, state.as_deref(), &config);
        let health = recipe::health(manifest, &places, &slot)?;
        let current = facts.slots.current.as_ref();
        let old_slot = current.map(|current| layout.release(&current.release));
        let old_places = match (&facts.old, current, &old_slot) {
            (Some(old), Some(current), Some(at)) => recipe::places(
                &layout,
                old,
                &recipe::parameters(old, &facts.old_parameters).unwrap_or_default(),
                at,
                current.state.as_deref(),
                &current.config,
            ),
            (Some(_) | None, Some(_) | None, Some(_) | None) => Places::default(),
        };
        Ok(Self {
            order,
            manifest,
            facts,
            layout,
            slot,
            old_slot,
            state,
            config,
            places,
            old_places,
            parameters,
            health,
        })
    }

    /// What the running version can't notice.
    fn inside(&self, specs: &mut Specs) -> Result<(), Refused> {
        specs.add(steps::PREFLIGHT, 3, Some(MINUTE), &self.preflight()?);
        if self.facts.package != self.slot {
            specs.add(steps::INSTALL, 3, Some(MINUTE), &self.install());
        }
        specs.add(steps::CONFIG, 3, Some(MINUTE), &self.config());
        Ok(())
    }

    fn preflight(&self) -> Result<Preflight, Refused> {
        let package = &self.facts.package;
        // The package lies in `incoming` still.
        let places = recipe::places(
            &self.layout,
            self.manifest,
            &self.parameters,
            package,
            self.state.as_deref(),
            &self.config,
        );
        let service = &self.manifest.service;
        let self_test = if service.self_test.is_empty() {
            None
        } else {
            let user = service.user.as_ref();
            let limit = Millis(30_000);
            Some(command("the self-test", &service.self_test, &places, package, user, limit)?)
        };
        // A tenth more than is copied, and room for journals and slots.
        let bytes = self.facts.copied_bytes.saturating_add(self.facts.copied_bytes / 10);
        let bytes = bytes.saturating_add(SPARE_BYTES);
        let what = "copies of state and configuration".to_owned();
        Ok(Preflight {
            marker: self.layout.run(self.order.run).join("preflight.done"),
            spaces: vec![Space { path: self.layout.directory(), bytes, what }],
            self_test,
            executable_digest: self.facts.executable_digest,
        })
    }

    fn install(&self) -> Install {
        Install {
            component: self.order.component.clone(),
            release: self.order.to.clone(),
            from: self.facts.package.clone(),
            to: self.slot.clone(),
        }
    }

    fn config(&self) -> CopyConfig {
        let old = |path: &camino::Utf8Path| {
            let manifest = self.facts.old.as_ref()?;
            manifest.configuration.iter().find(|file| file.path == path)
        };
        let files = self.manifest.configuration.iter().map(|file| {
            let shipped = old(&file.path);
            ConfigCopy {
                path: file.path.clone(),
                source: self.slot.join(&file.source),
                original: shipped.and_then(|old| Some(self.old_slot.as_ref()?.join(&old.source))),
                edits: file.edits,
                fill: file.fill,
                original_fill: shipped.is_some_and(|old| old.fill),
            }
        });
        CopyConfig {
            component: self.order.component.clone(),
            release: self.order.to.clone(),
            from: self.facts.slots.current.as_ref().map(|current| current.config.clone()),
            to: self.config.clone(),
            files: files.collect(),
            places: self.places.clone(),
            old_places: self.old_places.clone(),
        }
    }

    /// From the first thing that the running version notices up to the commit.
    fn trial(&self, specs: &mut Specs) -> Result<(), Refused> {
        let run = self.order.run;
        let component = self.order.component.clone();
        let paused = self.state(specs)?;
        let recipe =
            super::recipe(self.manifest, &self.places, &self.slot, self.facts.executable_digest)?;
        let slot = Slot {
            release: self.order.to.clone(),
            sequence: self.manifest.sequence,
            recipe,
            state: self.state.clone(),
            config: self.config.clone(),
            run,
            committed_at: None,
            guard: None,
        };
        let window = self.manifest.trial.window;
        let guard = self.manifest.return_within.map(|within| Guard {
            within,
            elapsed: Millis(0),
            crashes_left: self.health.failures,
        });
        let boots = self.manifest.trial.boots;
        let set = SetTrial {
            component: component.clone(),
            slot: Box::new(slot),
            window,
            boots,
            guard,
            paused,
        };
        specs.add(steps::TRIAL, 3, Some(MINUTE), &set);
        let swap_limit = Millis(self.old_grace().0.saturating_add(30_000));
        // A first release waits for whoever starts its launcher, as long as that takes.
        let swap_limit = self.facts.slots.current.as_ref().map(|_| swap_limit);
        specs.add(steps::SWAP, 3, swap_limit, &SwapSlots { watched: self.watched() });
        // The last tenth of the window is left for an orderly revert that says what was ill. The
        // launcher's own rule, which can't know that, stays for a watcher that is gone.
        let watch_limit = Millis(window.0 - window.0 / 10);
        let watch = WatchHealth { watched: self.watched(), health: self.health.clone() };
        specs.add(steps::WATCH, 3, Some(watch_limit), &watch);
        let release = self.order.to.clone();
        let down = self.down()?;
        let back = down.as_ref().map(|(_, slot)| slot.clone());
        specs.add(steps::COMMIT, 3, Some(MINUTE), &CommitSlots { component, run, release, back });
        if let Some((down, _)) = down {
            specs.add(steps::DOWN, 3, Some(down.window), &down);
        }
        Ok(())
    }

    /// Says whether the swap begins with a pause.
    fn state(&self, specs: &mut Specs) -> Result<bool, Refused> {
        let (Some(spec), Some(to)) = (&self.manifest.state, &self.state) else { return Ok(false) };
        let current = self.facts.slots.current.as_ref();
        let from = current.and_then(|current| current.state.clone());
        let old = self.facts.old.as_ref().and_then(|old| old.state.as_ref());
        let work = Utf8PathBuf::from(format!("{to}.work"));
        let mut migrations = Vec::new();
        if let (Some(_), Some(old)) = (&from, old) {
            migrations = self.migrations(old.schema, spec.schema, &work)?;
        }
        let budget = migrations
            .iter()
            .fold(COPY_LIMIT, |sum, one: &Command| Millis(sum.0.saturating_add(one.timeout.0)));
        let paused = from.is_some();
        let component = self.order.component.clone();
        if paused {
            let pause =
                PauseSlots { component: component.clone(), run: self.order.run, window: budget };
            let limit = Millis(self.old_grace().0.saturating_add(15_000));
            specs.add(steps::PAUSE, 3, Some(limit), &pause);
        }
        let prepare = PrepareState {
            component,
            release: self.order.to.clone(),
            run: self.order.run,
            from,
            work,
            to: to.clone(),
            aside: self.layout.state(spec.schema, self.facts.free_state.saturating_add(1)),
            migrations,
            user: self.manifest.service.user.clone(),
            paused,
        };
        specs.add(steps::STATE, 3, Some(budget), &prepare);
        Ok(paused)
    }

    /// The way back for state, if the release declares one, and the old slot with what it makes.
    fn down(&self) -> Result<Option<(MigrateDown, Box<Slot>)>, Refused> {
        let current = self.facts.slots.current.as_ref();
        let old = self.facts.old.as_ref();
        let (OnRevert::MigrateDown, Some(spec), Some(state), Some(current), Some(old)) =
            (self.manifest.on_revert, &self.manifest.state, &self.state, current, old)
        else {
            return Ok(None);
        };
        let Some(schema) = old.state.as_ref().map(|state| state.schema) else { return Ok(None) };
        // Two numbers are used up: the new state's own, and where it is set aside.
        let to = self.layout.state(schema, self.facts.free_state.saturating_add(2));
        let work = Utf8PathBuf::from(format!("{to}.work"));
        let places = self.places.clone().with("state", work.as_str());
        let mut migrations = Vec::new();
        for from in (schema..spec.schema).rev() {
            let found = spec.migrations.iter().find(|migration| migration.from == from);
            let found = found.filter(|migration| !migration.down.is_empty());
            let found = found.ok_or(Refused::MigrationGap { from: from + 1, to: schema })?;
            let place = format!("the migration down to schema {from}");
            let user = self.manifest.service.user.as_ref();
            migrations.push(command(
                &place,
                &found.down,
                &places,
                &self.slot,
                user,
                found.timeout,
            )?);
        }
        let window = migrations
            .iter()
            .fold(COPY_LIMIT, |sum, one: &Command| Millis(sum.0.saturating_add(one.timeout.0)));
        let old_slot = self.layout.release(&current.release);
        let old_places = self.old_places.clone().with("state", to.as_str());
        let digest = current.recipe.executable_digest;
        let recipe = super::recipe(old, &old_places, &old_slot, digest)?;
        let back = Slot { recipe, state: Some(to.clone()), ..current.clone() };
        let down = MigrateDown {
            component: self.order.component.clone(),
            run: self.order.run,
            from: state.clone(),
            work,
            to,
            migrations,
            user: old.service.user.clone(),
            window,
            marker: self.layout.run(self.order.run).join("state-down.failed"),
        };
        Ok(Some((down, Box::new(back))))
    }

    fn migrations(
        &self,
        from: u32,
        to: u32,
        work: &camino::Utf8Path,
    ) -> Result<Vec<Command>, Refused> {
        if from > to {
            return Err(Refused::OlderSchema { found: from, wanted: to });
        }
        let places = self.places.clone().with("state", work.as_str());
        let all = self.manifest.state.iter().flat_map(|spec| &spec.migrations).collect::<Vec<_>>();
        let mut steps = Vec::new();
        for schema in from..to {
            let found = all.iter().find(|migration| migration.from == schema);
            let found = found.ok_or(Refused::MigrationGap { from: schema, to })?;
            let place = format!("the migration from schema {schema}");
            let user = self.manifest.service.user.as_ref();
            steps.push(command(&place, &found.up, &places, &self.slot, user, found.timeout)?);
        }
        Ok(steps)
    }

    fn after_commit(&self, specs: &mut Specs) -> Result<(), Refused> {
        for (number, file) in self.manifest.outside.iter().enumerate() {
            let id = format!("{}-{}", steps::OUTSIDE.id, number + 1);
            specs.add_as(&id, steps::OUTSIDE.kind, 2, Some(TEN_MINUTES), &self.outside(&id, file)?);
        }
        if self.order.component.as_str() == BRINGS_LAUNCHER {
            let source = self.slot.join(LAUNCHER_IN_PACKAGE);
            let replace = ReplaceLauncher { source, target: self.layout.launcher() };
            specs.add(steps::LAUNCHER, 2, Some(MINUTE), &replace);
        }
        let keep = KeepFew {
            component: self.order.component.clone(),
            directory: self.layout.directory(),
            keep: self.manifest.keep,
            run: self.order.run,
        };
        specs.add(steps::RETENTION, 3, Some(TEN_MINUTES), &keep);
        if self.manifest.return_within.is_some() && self.facts.slots.current.is_some() {
            let guard = GuardHealth { watched: self.watched(), health: self.health.clone() };
            specs.add(steps::GUARD, 3, None, &guard);
        }
        Ok(())
    }

    fn outside(&self, id: &str, file: &OutsideFile) -> Result<OutsideCopy, Refused> {
        let place = format!("the outside file {}", file.path);
        let path = Utf8PathBuf::from(fill(&self.places, &place, &file.path)?);
        let bad = |why: &str| Refused::Manifest { place: place.clone(), why: why.to_owned() };
        if !path.is_absolute() {
            return Err(bad("its path is not absolute"));
        }
        let mode = u32::from_str_radix(&file.mode, 8).ok().filter(|mode| mode & !0o755 == 0);
        let mode = mode.ok_or_else(|| bad("its mode is not octal, or is more than 0755"))?;
        let old = self.facts.old.as_ref();
        let shipped = old.and_then(|old| old.outside.iter().find(|was| was.path == file.path));
        let original = shipped.and_then(|was| Some(self.old_slot.as_ref()?.join(&was.source)));
        let run = self.layout.run(self.order.run);
        Ok(OutsideCopy {
            path,
            source: self.slot.join(&file.source),
            original,
            mode,
            edits: file.edits,
            places: self.places.clone(),
            old_places: self.old_places.clone(),
            then: host_command(&place, &file.then, &self.places, &self.slot, MINUTE)?,
            marker: run.join(format!("{id}.done")),
            blobs: run.join("blobs"),
        })
    }

    fn watched(&self) -> Watched {
        Watched {
            component: self.order.component.clone(),
            run: self.order.run,
            release: self.order.to.clone(),
            executable_digest: self.facts.executable_digest,
            directory: self.slot.clone(),
        }
    }

    fn old_grace(&self) -> Millis {
        let current = self.facts.slots.current.as_ref();
        current.map_or(Millis(0), |current| current.recipe.stop.grace)
    }
}

/// The steps so far; each needs the one before it.
#[derive(Default)]
struct Specs(Vec<Spec>);

impl Specs {
    fn add(&mut self, step: Step, attempts: u32, timeout: Option<Millis>, inputs: &impl Serialize) {
        self.add_as(step.id, step.kind, attempts, timeout, inputs);
    }

    fn add_as(
        &mut self,
        id: &str,
        kind: &str,
        attempts: u32,
        timeout: Option<Millis>,
        inputs: &impl Serialize,
    ) {
        let inputs: Value =
            serde_json::to_value(inputs).expect("inputs have text keys and no odd numbers");
        self.0.push(Spec {
            id: id.parse().expect("ids are fixed words and numbers"),
            kind: kind.parse().expect("kinds are fixed"),
            owner: HOST.parse().expect("the owner is a fixed word"),
            needs: self.0.last().map(|before| before.id.clone()).into_iter().collect(),
            inputs,
            attempts,
            timeout,
            asks: None,
        });
    }

    fn into_plan(self, name: String) -> Plan {
        let role = HOST.parse().expect("the owner is a fixed word");
        Plan {
            name,
            revert_on_failure: true,
            width: 1,
            roles: std::iter::once((role, party())).collect(),
            steps: self.0,
        }
    }
}

/// The party that runs a host's own plans.
///
/// # Panics
/// Never: it is a fixed word.
pub fn party() -> Party {
    HOST.parse().expect("the party is a fixed word")
}

/// The role and the party of a host's own runs.
const HOST: &str = "host";

const MINUTE: Millis = Millis(60_000);
const TEN_MINUTES: Millis = Millis(600_000);
/// How long copying state may take, beside its migrations.
const COPY_LIMIT: Millis = Millis(600_000);
/// Room for journals, slots and a little air.
const SPARE_BYTES: u64 = 4 << 20;

#[cfg(test)]
mod tests;
