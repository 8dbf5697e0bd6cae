//! Proof as a type.

/// A value whose signatures, thresholds, versions and expiry were all checked. Only this crate
/// makes one; whatever takes it need not check again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(crate) fn new(proved: T) -> Self {
        Self(proved)
    }

    /// Gives up the proof and keeps the value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
