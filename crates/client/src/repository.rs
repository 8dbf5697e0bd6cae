//! The repository as this host knows it: what is remembered on disk, and updates over HTTP.
//!
//! Invariant: version floors are durable before the metadata that raised them, and both before
//! anything rests on them. A damaged or vanished floors file stops every update by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::{HostError, disk};
use handover_model::{ComponentName, ErrorClass, Timestamp};
use handover_trust::{
    Answer, Goal, Limits, Memory, Poll, Refresh, Refreshed, Save, VerifyError, VersionFloors, Want,
};

use crate::fetch::{FetchError, Fetcher};
use crate::real_world::{Clock, Stop};

/// How long one command waits while another one uses the repository's memory.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);

/// An update of repository metadata that failed.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// What came is refused.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The server failed us.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The disk failed us.
    #[error(transparent)]
    Disk(#[from] HostError),
    /// This host was never set up.
    #[error("{path} does not exist: run `handover-agent init` first")]
    NoRoot {
        /// Where the root should be.
        path: Utf8PathBuf,
    },
    /// It was set up before, and may not be again with another root.
    #[error(
        "{path} exists already with other content: this host trusts another repository; use a \
         new --root"
    )]
    OtherRoot {
        /// The root that is there.
        path: Utf8PathBuf,
    },
    /// Another command uses it.
    #[error("another command is refreshing repository metadata; try again in a moment")]
    Busy,
}

impl RepositoryError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Verify(error) => error.class(),
            Self::Fetch(error) => error.class(),
            Self::Disk(error) => error.class(),
            Self::NoRoot { .. } | Self::OtherRoot { .. } => ErrorClass::Permanent,
            Self::Busy => ErrorClass::Retry,
        }
    }

    /// A name for programs, stable over releases.
    pub fn code(&self) -> String {
        match self {
            Self::Verify(error) => code_of(error),
            Self::Fetch(error) => error.code().to_owned(),
            Self::Disk(_) => "disk".to_owned(),
            Self::NoRoot { .. } => "trust.no-root".to_owned(),
            Self::OtherRoot { .. } => "trust.other-root".to_owned(),
            Self::Busy => "busy".to_owned(),
        }
    }

    /// How long the server asked us to stay away.
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Fetch(error) = self { error.retry_after() } else { None }
    }
}

/// What a host remembers of its repository, in `trust/`.
#[derive(Debug, Clone)]
pub struct TrustStore {
    dir: Utf8PathBuf,
}

impl TrustStore {
    /// The store in `dir`.
    pub fn new(dir: impl Into<Utf8PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The root that the host was set up with.
    pub fn root_path(&self) -> Utf8PathBuf {
        self.dir.join("root.json")
    }

    /// The version floors.
    pub fn floors_path(&self) -> Utf8PathBuf {
        self.dir.join("versions.json")
    }

    fn metadata(&self) -> Utf8PathBuf {
        self.dir.join("metadata")
    }

    /// Sets the host up to trust `root`, once. Doing it again with the same root changes nothing.
    ///
    /// # Errors
    /// [`RepositoryError::OtherRoot`]; [`RepositoryError::Verify`] when `root` is no root.
    pub fn set_up(&self, root: &[u8], now: Timestamp) -> Result<(), RepositoryError> {
        if let Some(there) = disk::read(&self.root_path())? {
            if there == root {
                return Ok(());
            }
            return Err(RepositoryError::OtherRoot { path: self.root_path() });
        }
        let floors = VersionFloors::first();
        let memory = Memory { pinned_root: root.to_vec(), floors, ..Memory::default() };
        // Only a root that a refresh could start from is taken.
        Refresh::begin(memory, Vec::new(), Limits::default(), now)?;
        disk::make_dir_mode(&self.dir, 0o700)?;
        disk::make_dir_mode(&self.metadata(), 0o700)?;
        // Floors of an earlier life, whose root was lost, stay: they must not fall by that.
        disk::write_new(&self.floors_path(), &VersionFloors::first().seal()?, 0o600)?;
        // Last: its presence says that the host is set up, and floors are missed from then on.
        disk::write(&self.root_path(), root, 0o600)?;
        Ok(())
    }

    /// Everything that is remembered.
    ///
    /// # Errors
    /// [`RepositoryError::NoRoot`], or damaged or missing floors by name.
    pub fn load(&self) -> Result<Memory, RepositoryError> {
        let path = self.root_path();
        let pinned_root = disk::read(&path)?.ok_or(RepositoryError::NoRoot { path })?;
        let floors = VersionFloors::open(disk::read(&self.floors_path())?.as_deref())?;
        self.load_files(Memory { pinned_root, floors, ..Memory::default() })
    }

    /// The floors that the kept metadata proves, where the file of floors was lost.
    ///
    /// # Errors
    /// [`RepositoryError::NoRoot`]; [`RepositoryError::Verify`] where it doesn't prove them all.
    pub fn derive_floors(&self) -> Result<VersionFloors, RepositoryError> {
        let path = self.root_path();
        let pinned_root = disk::read(&path)?.ok_or(RepositoryError::NoRoot { path })?;
        let memory = self.load_files(Memory { pinned_root, ..Memory::default() })?;
        Ok(VersionFloors::derive(&memory)?)
    }

    fn load_files(&self, mut memory: Memory) -> Result<Memory, RepositoryError> {
        let dir = self.metadata();
        let entries = match dir.read_dir_utf8() {
            Ok(entries) => entries,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(memory),
            Err(source) => return Err(HostError::Io { act: "list", path: dir, source }.into()),
        };
        for entry in entries {
            let entry =
                entry.map_err(|source| HostError::Io { act: "list", path: dir.clone(), source })?;
            if let (true, Some(bytes)) =
                (entry.path().extension() == Some("json"), disk::read(entry.path())?)
            {
                memory.files.insert(entry.file_name().to_owned(), bytes);
            }
        }
        Ok(memory)
    }

    fn save(&self, save: &Save) -> Result<(), RepositoryError> {
        disk::make_dir_mode(&self.metadata(), 0o700)?;
        disk::write(&self.floors_path(), &save.floors.seal()?, 0o600)?;
        disk::write(&self.metadata().join(&save.name), &save.bytes, 0o600)?;
        Ok(())
    }

    fn lock(&self, stop: &Stop, clock: &dyn Clock) -> Result<disk::Lock, RepositoryError> {
        let until = clock.now().mono.saturating_add(LOCK_PATIENCE);
        loop {
            if let Some(lock) = disk::Lock::try_take(&self.dir.join("lock"))? {
                return Ok(lock);
            }
            if clock.now().mono >= until || stop.wait(Duration::from_millis(50)) {
                return Err(RepositoryError::Busy);
            }
        }
    }
}

/// Where metadata is fetched from.
pub enum Source<'a> {
    /// The server at this base address.
    Server(&'a Fetcher, &'a str),
    /// Nobody: only what is remembered counts, as it was verified last. For answers offline.
    Memory,
}

/// What came of an update.
#[derive(Debug)]
pub struct Known {
    /// What is offered.
    pub refreshed: Refreshed,
    /// Components whose own roles were refused, and why. Nothing is known of them; the others go
    /// on, since who signs for one component must not hold back another.
    pub refused: BTreeMap<ComponentName, VerifyError>,
}

/// Updates what is known of `components`.
///
/// # Errors
/// Any [`RepositoryError`]; what was accepted before it stays accepted. What is refused of one
/// component alone is one of [`Known::refused`], unless no other was asked for.
pub fn refresh(
    store: &TrustStore,
    source: &Source<'_>,
    components: &[ComponentName],
    stop: &Stop,
    clock: &Arc<dyn Clock>,
) -> Result<Known, RepositoryError> {
    if !store.root_path().exists() {
        return Err(RepositoryError::NoRoot { path: store.root_path() });
    }
    let _lock = store.lock(stop, clock.as_ref())?;
    let mut goals = components.to_vec();
    let mut refused = BTreeMap::new();
    loop {
        let mut culprit = None;
        let error = match refresh_for(store, source, &goals, clock.now().wall, &mut culprit) {
            Ok(refreshed) => return Ok(Known { refreshed, refused }),
            Err(error) => error,
        };
        match (error, culprit) {
            // Nobody speaks for it: it is held with `not-offered`.
            (RepositoryError::Verify(VerifyError::UnknownRole { .. }), Some(component)) => {
                goals.retain(|goal| *goal != component);
            }
            (RepositoryError::Verify(error), Some(component)) if components.len() > 1 => {
                goals.retain(|goal| *goal != component);
                refused.insert(component, error);
            }
            (error, _) => return Err(error),
        }
    }
}

/// One update; `culprit` is the component whose own role it failed at, if it did.
fn refresh_for(
    store: &TrustStore,
    source: &Source<'_>,
    components: &[ComponentName],
    now: Timestamp,
    culprit: &mut Option<ComponentName>,
) -> Result<Refreshed, RepositoryError> {
    let memory = store.load()?;
    let kept = memory.files.get("timestamp.json").cloned();
    let goals = components.iter().cloned().map(Goal::Component).collect();
    let mut refresh = Refresh::begin(memory, goals, Limits::default(), now)?;
    loop {
        match refresh.poll() {
            Poll::Fetch(want) => {
                let answer = fetch(source, &want, kept.as_deref())?;
                if let Err(error) = refresh.feed(answer) {
                    *culprit = refresh.pursued().cloned();
                    // What all components share was accepted whole, and stays so.
                    while let (Some(_), Poll::Save(save)) = (&*culprit, refresh.poll()) {
                        store.save(&save)?;
                    }
                    return Err(error.into());
                }
            }
            Poll::Save(save) => store.save(&save)?,
            Poll::Done => return Ok(refresh.finish()?),
        }
    }
}

fn fetch(
    source: &Source<'_>,
    want: &Want,
    kept_timestamp: Option<&[u8]>,
) -> Result<Answer, FetchError> {
    match source {
        Source::Server(fetcher, base) => {
            match fetcher.small(&join(base, &want.name), want.max_bytes) {
                Ok(bytes) => Ok(Answer::Bytes(bytes)),
                Err(FetchError::NotFound { .. }) => Ok(Answer::NotFound),
                Err(FetchError::TooLarge { .. }) => Ok(Answer::TooLong),
                Err(other) => Err(other),
            }
        }
        // The kept timestamp again is "no news" (TUF 1.0.34, 5.4.3.1); nothing else is asked for
        // as long as what it lists is kept too.
        Source::Memory if want.name == "timestamp.json" => {
            Ok(kept_timestamp.map_or(Answer::NotFound, |bytes| Answer::Bytes(bytes.to_vec())))
        }
        Source::Memory => Ok(Answer::NotFound),
    }
}

/// A refusal's name for programs, stable over releases.
pub fn code_of(error: &VerifyError) -> String {
    format!("trust.{}", error.code().replace('_', "-"))
}

/// `base/name`, with one slash.
pub fn join(base: &str, name: &str) -> String {
    format!("{}/{name}", base.trim_end_matches('/'))
}

/// Whether `dir` was set up as a host's trust before.
pub fn is_set_up(dir: &Utf8Path) -> bool {
    TrustStore::new(dir).root_path().exists()
}
