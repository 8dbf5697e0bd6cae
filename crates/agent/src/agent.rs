//! What every command works with: the host's files, clock, dice, and a voice for people.

use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use handover_hoststeps::disk::Lock;
use handover_hoststeps::{Host as _, HostError, RealHost, Running};
use handover_model::{ComponentName, HostPolicy, IdGen, Now, Platform, ReleaseId, RunId};

use crate::bandwidth::Bucket;
use crate::control::identity::{ControlFiles, roots_of};
use crate::dice::Dice;
use crate::failure::Failure;
use crate::fetch::{Fetcher, Options, Roots};
use crate::home::Home;
use crate::policy::load_policy;
use crate::real_world::{Clock, RealClock, Stop, draw_seed};
use crate::voice::Voice;

/// A host's agent, for the length of one command.
pub struct Agent {
    /// The host's files.
    pub home: Home,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Ends waits.
    pub stop: Stop,
    /// Ids of runs and orders.
    pub ids: IdGen,
    /// Jitter.
    pub dice: Dice,
    /// The platform of this host.
    pub platform: Platform,
    /// This program's own executable.
    pub program: Utf8PathBuf,
    /// How to tell people what goes on.
    pub voice: Voice,
    /// Told of each run before it begins, if somebody must know it durably; may refuse it.
    pub carrier: Option<Carrier>,
}

/// Hears of a component's run, and to which release, before it begins.
pub type Carrier =
    Arc<dyn Fn(&ComponentName, RunId, &ReleaseId) -> Result<(), Failure> + Send + Sync>;

impl Agent {
    /// An agent of the host at `home`, with the machine's own clock and dice.
    ///
    /// # Errors
    /// [`Failure::Stream`] when the system gives no random bytes or no path of this program.
    pub fn real(home: Home, stop: Stop, voice: Voice) -> Result<Self, Failure> {
        let failed = |act| move |source| Failure::Stream { act, source };
        let seed = draw_seed().map_err(failed("read random bytes"))?;
        let mut first = [0; 8];
        first.copy_from_slice(&seed[..8]);
        let program = std::env::current_exe().map_err(failed("find this program"))?;
        let program = Utf8PathBuf::from_path_buf(program)
            .map_err(|path| std::io::Error::other(format!("{} is not UTF-8", path.display())))
            .map_err(failed("use this program's path"))?;
        Ok(Self {
            home,
            clock: Arc::new(RealClock::start()),
            stop,
            ids: IdGen::new(seed),
            dice: Dice::new(u64::from_be_bytes(first)),
            platform: Platform::of_this_build(),
            program,
            voice,
            carrier: None,
        })
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The policy as it is now, choices included.
    ///
    /// # Errors
    /// [`Failure::Policy`].
    pub fn policy(&self) -> Result<HostPolicy, Failure> {
        Ok(load_policy(&self.home.policy(), &self.home.choices())?)
    }

    /// A client of the repository's metadata or targets server. One on the control plane's own
    /// address stands behind the channel's certificate authorities; all others behind the
    /// system's.
    ///
    /// # Errors
    /// [`Failure::Repository`] for an address that can't be asked; [`Failure::Host`] when the
    /// control plane's files are damaged.
    pub fn fetcher(&self, base: &str) -> Result<Fetcher, Failure> {
        let files = ControlFiles::of(&self.home);
        let inside = files.identity()?.is_some_and(|identity| identity.serves(base));
        let ca = if inside { files.ca()? } else { None };
        let roots = ca.map_or(Roots::System, |ca| roots_of(&ca));
        let options = Options { roots, ..Options::default() };
        let fetcher = Fetcher::with(base, &options, Arc::clone(&self.clock));
        Ok(fetcher.map_err(crate::repository::RepositoryError::Fetch)?)
    }

    /// The bandwidth limit of `policy`.
    pub fn bucket(&self, policy: &HostPolicy) -> Bucket {
        Bucket::new(policy.bytes_per_second, self.now().mono)
    }

    /// Takes the component's update lock.
    ///
    /// # Errors
    /// [`Failure::Busy`] when another process has it.
    pub fn lock(&self, component: &ComponentName) -> Result<Lock, Failure> {
        handover_hoststeps::disk::make_dir(&self.home.component(component).directory())?;
        let path = self.home.update_lock(component);
        if let Some(lock) = Lock::try_take(&path)? {
            return Ok(lock);
        }
        let holder = Lock::holder(&path)?;
        Err(Failure::Busy {
            component: component.clone(),
            holder: holder.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()),
        })
    }

    /// What the component's launcher runs, proved by looking at the process.
    ///
    /// # Errors
    /// [`Failure::Host`].
    pub fn running(&self, component: &ComponentName) -> Result<Running, HostError> {
        RealHost::new(self.home.root()).running(component)
    }

    /// Waits; true when the end was asked for.
    pub fn wait(&self, length: Duration) -> bool {
        self.stop.wait(length)
    }
}
