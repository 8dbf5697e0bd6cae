//! The real clock and the system's dice: the only place of this crate that reads them.

use std::fs::File;
use std::io::{self, Read as _};
use std::time::Instant;

use handover_model::{Now, Timestamp};
use zeroize::Zeroizing;

/// Where time comes from. Tests bring their own.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Both clocks, read together.
    fn now(&self) -> Now;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct RealClock {
    born: Instant,
}

impl RealClock {
    /// Monotonic time counts from here.
    #[expect(clippy::disallowed_methods, reason = "this is the shell's one reader of the clock")]
    pub fn start() -> Self {
        Self { born: Instant::now() }
    }
}

impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "this is the shell's one reader of the clock")]
    fn now(&self) -> Now {
        Now { wall: Timestamp::from(jiff::Timestamp::now()), mono: self.born.elapsed() }
    }
}

/// Bytes that nobody can guess: seeds, secrets, keys.
///
/// # Errors
/// When the system has no `/dev/urandom`.
pub(crate) fn random<const N: usize>() -> io::Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    File::open("/dev/urandom")?.read_exact(bytes.as_mut_slice())?;
    Ok(bytes)
}
