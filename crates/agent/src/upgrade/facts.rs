//! Looking at the host before an upgrade is compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::net::{TcpListener, ToSocketAddrs as _};

use camino::{Utf8Path, Utf8PathBuf};
use handover_engine::run::Plan;
use handover_engine::upgrade::{
    CopyConfig, HostFacts, LAUNCHER_IN_PACKAGE, OutsideCopy, Places, Refused, SetTrial, compile,
    steps,
};
use handover_hoststeps::disk::{self, Lock};
use handover_hoststeps::{Host as _, HostError, RealHost, user_named};
use handover_model::{
    Edits, ErrorClass, Layout, Manifest, Order, RunId, RunResult, SocketSpec, Timestamp,
};
use serde::de::DeserializeOwned;

use super::outcome;

/// Why an upgrade could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The host can't be looked at.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A document that does not parse.
    #[error("{path} can't be read as {what}")]
    Document {
        /// Which file.
        path: Utf8PathBuf,
        /// What it should be.
        what: &'static str,
        /// The parser's complaint.
        source: serde_json::Error,
    },
    /// A file that must be there is not.
    #[error("{path} is missing: the package or the slot is not whole")]
    Missing {
        /// Which file.
        path: Utf8PathBuf,
    },
}

impl FactsError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Refused(source) => source.class(),
            Self::Host(source) => source.class(),
            Self::Document { .. } | Self::Missing { .. } => ErrorClass::Permanent,
        }
    }
}

/// Looks at the host and compiles the upgrade.
pub(super) fn compile_here(
    order: &Order,
    package: &Utf8Path,
    now: Timestamp,
) -> Result<Plan, FactsError> {
    let layout = Layout::new(order.root.clone(), order.component.clone());
    let manifest: Manifest = document(&package.join("handover/release.json"), "a release")?;
    let mut facts = look(order, &manifest, &layout, package, now)?;
    let plan = compile(order, &manifest, &facts)?;
    // Sockets and edits are known only with every placeholder filled in.
    let trial: Option<SetTrial> = inputs(&plan, steps::TRIAL.id).next();
    let current = facts.slots.current.as_ref();
    let held = current.map(|slot| slot.recipe.sockets.clone()).unwrap_or_default();
    facts.taken_sockets =
        trial.map(|trial| taken(&trial.slot.recipe.sockets, &held)).unwrap_or_default();
    facts.edited = edited(&plan, &manifest)?;
    Ok(compile(order, &manifest, &facts)?)
}

fn look(
    order: &Order,
    manifest: &Manifest,
    layout: &Layout,
    package: &Utf8Path,
    now: Timestamp,
) -> Result<HostFacts, FactsError> {
    let host = RealHost::new(order.root.clone());
    let slots = host.slots(&order.component)?;
    let current = slots.current.as_ref();
    let old = match current {
        Some(slot) => Some(document(
            &layout.release(&slot.release).join("handover/release.json"),
            "a release",
        )?),
        None => None,
    };
    let mut copied_bytes = 0u64;
    for path in current.iter().flat_map(|slot| slot.state.iter().chain([&slot.config])) {
        copied_bytes = copied_bytes.saturating_add(disk::tree_bytes(path)?);
    }
    let old_order = current.map(|slot| layout.run(slot.run).join("order.json"));
    let old_parameters = match old_order.filter(|path| path.exists()) {
        Some(path) => document::<Order>(&path, "an order")?.parameters,
        None => BTreeMap::new(),
    };
    let executable = package.join(&manifest.service.executable);
    let missing = || FactsError::Missing { path: executable.clone() };
    Ok(HostFacts {
        now,
        launcher_runs: Lock::holder(&layout.launcher_lock())?.is_some(),
        package: package.to_owned(),
        old,
        old_parameters,
        copied_bytes,
        has_launcher: package.join(LAUNCHER_IN_PACKAGE).is_file(),
        executable_digest: host.digest(&executable)?.ok_or_else(missing)?,
        executable_machine: machine(&executable),
        host_machine: machine(Utf8Path::new("/proc/self/exe")),
        free_state: free(&host, &layout.states(), |name| name.split('.').nth(1))?,
        free_config: free(&host, &layout.configs(), |name| name.split('.').next())?,
        taken_sockets: Vec::new(),
        unusable_user: manifest.service.user.as_deref().and_then(unusable),
        edited: BTreeSet::new(),
        unfinished_run: unfinished(&host, layout)?,
        slots,
    })
}

fn document<T: DeserializeOwned>(path: &Utf8Path, what: &'static str) -> Result<T, FactsError> {
    let bytes = disk::read(path)?.ok_or_else(|| FactsError::Missing { path: path.to_owned() })?;
    serde_json::from_slice(&bytes).map_err(|source| FactsError::Document {
        path: path.to_owned(),
        what,
        source,
    })
}

fn inputs<T: DeserializeOwned>(plan: &Plan, id: &str) -> impl Iterator<Item = T> {
    let ours = plan.steps.iter().filter(move |spec| {
        let found = spec.id.as_str();
        found == id || found.strip_prefix(id).is_some_and(|rest| rest.starts_with('-'))
    });
    ours.filter_map(|spec| T::deserialize(&spec.inputs).ok())
}

/// `e_machine` of an ELF file (System V ABI, ELF header).
fn machine(path: &Utf8Path) -> Option<u16> {
    let mut head = [0; 20];
    File::open(path).and_then(|mut file| file.read_exact(&mut head)).ok()?;
    let pair = [*head.get(18)?, *head.get(19)?];
    let big_endian = *head.get(5)? == 2;
    head.starts_with(b"\x7fELF")
        .then(|| if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
}

/// The first number beyond all that are used, with the one after it free too.
fn free(
    host: &RealHost,
    dir: &Utf8Path,
    number: impl Fn(&str) -> Option<&str>,
) -> Result<u32, HostError> {
    let listed = host.list(dir)?.unwrap_or_default();
    let used = listed.iter().filter_map(|entry| number(&entry.name)?.parse::<u32>().ok());
    Ok(used.max().unwrap_or(0).saturating_add(1))
}

fn unusable(name: &str) -> Option<String> {
    let user = match user_named(name) {
        Ok(user) => user,
        Err(error) => return Some(error.to_string()),
    };
    let ours = rustix::process::geteuid().as_raw();
    (ours != 0 && ours != user.uid).then(|| {
        format!("only root can start a process as {name}; run the launcher as root or as {name}")
    })
}

/// The new sockets that somebody else holds. The launcher's own are not new.
fn taken(wanted: &[SocketSpec], held: &[SocketSpec]) -> Vec<String> {
    let new = wanted.iter().filter(|socket| held.iter().all(|one| one.listen != socket.listen));
    new.filter(|socket| is_taken(&socket.listen)).map(|socket| socket.listen.clone()).collect()
}

fn is_taken(listen: &str) -> bool {
    if let Some(path) = listen.strip_prefix("unix:") {
        return std::os::unix::net::UnixStream::connect(path).is_ok();
    }
    let Ok(mut addresses) = listen.to_socket_addrs() else { return false };
    let in_use = std::io::ErrorKind::AddrInUse;
    addresses.any(|address| {
        address.port() != 0
            && TcpListener::bind(address).is_err_and(|source| source.kind() == in_use)
    })
}

/// Files that were edited on the host and that the release refuses to touch then; by the paths
/// that the manifest gives them.
fn edited(plan: &Plan, manifest: &Manifest) -> Result<BTreeSet<String>, FactsError> {
    let mut edited = BTreeSet::new();
    for copy in inputs::<CopyConfig>(plan, steps::CONFIG.id) {
        let Some(from) = &copy.from else { continue };
        for file in copy.files.iter().filter(|file| file.edits == Edits::Refuse) {
            let places = file.original_fill.then_some(&copy.old_places);
            if differs(&from.join(&file.path), file.original.as_deref(), places)? {
                edited.insert(file.path.as_str().to_owned());
            }
        }
    }
    let outside = inputs::<OutsideCopy>(plan, steps::OUTSIDE.id).zip(&manifest.outside);
    for (copy, file) in outside.filter(|(copy, _)| copy.edits == Edits::Refuse) {
        if differs(&copy.path, copy.original.as_deref(), Some(&copy.old_places))? {
            edited.insert(file.path.clone());
        }
    }
    Ok(edited)
}

/// Whether something is at `path` that is not what the old release had shipped.
fn differs(
    path: &Utf8Path,
    original: Option<&Utf8Path>,
    places: Option<&Places>,
) -> Result<bool, FactsError> {
    let Some(there) = disk::read(path)? else { return Ok(false) };
    let Some(shipped) = original.map(disk::read).transpose()?.flatten() else { return Ok(true) };
    let filled = places.zip(std::str::from_utf8(&shipped).ok());
    let filled = filled.and_then(|(places, text)| places.fill(text).ok());
    Ok(there != filled.map_or(shipped, String::into_bytes))
}

/// A run that began and has not ended. One that is merely guarded gives way to the next.
fn unfinished(host: &RealHost, layout: &Layout) -> Result<Option<RunId>, HostError> {
    for entry in host.list(&layout.runs())?.unwrap_or_default() {
        let Ok(run) = entry.name.parse::<RunId>() else { continue };
        let result = outcome::load(layout, run)?.map(|outcome| outcome.result);
        let open = match result {
            Some(RunResult::Guarded) => false,
            Some(result) => !result.ended(),
            None => layout.run(run).join("journal.jsonl").exists(),
        };
        if open {
            return Ok(Some(run));
        }
    }
    Ok(None)
}
