//! Checking a target's bytes as they stream by.

use handover_model::Hasher;

use crate::{TargetFacts, VerifyError};

/// Checks one download: feed it every byte, then ask it. It refuses the first byte too many, so
/// that an endless answer costs nothing.
#[derive(Debug, Clone)]
pub struct TargetCheck {
    wanted: TargetFacts,
    seen: u64,
    hasher: Hasher,
}

impl TargetCheck {
    /// A check against what is signed.
    pub fn new(wanted: TargetFacts) -> Self {
        Self { wanted, seen: 0, hasher: Hasher::default() }
    }

    /// How many bytes have come.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes in the next piece.
    ///
    /// # Errors
    /// [`VerifyError::WrongLength`] as soon as there is more than was signed.
    pub fn update(&mut self, piece: &[u8]) -> Result<(), VerifyError> {
        self.seen = self.seen.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if self.seen > self.wanted.length {
            return Err(self.wrong_length());
        }
        self.hasher.update(piece);
        Ok(())
    }

    /// The verdict on everything that came.
    ///
    /// # Errors
    /// [`VerifyError::WrongLength`] and [`VerifyError::WrongHash`].
    pub fn finish(self) -> Result<(), VerifyError> {
        if self.seen != self.wanted.length {
            return Err(self.wrong_length());
        }
        let found = self.hasher.finish();
        if found == self.wanted.digest {
            return Ok(());
        }
        Err(VerifyError::WrongHash { path: self.wanted.path, wanted: self.wanted.digest, found })
    }

    fn wrong_length(&self) -> VerifyError {
        VerifyError::WrongLength {
            path: self.wanted.path.clone(),
            wanted: self.wanted.length,
            found: self.seen,
        }
    }
}
