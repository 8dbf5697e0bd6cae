//! What can go wrong, at which call.

use std::fmt;

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It fails and has no effect.
    FailBefore,
    /// It fails although it had its effect.
    FailAfter,
    /// The process dies before the effect.
    CrashBefore,
    /// The process dies in the middle: a part of the effect is there. Only calls that are not
    /// atomic can do so.
    CrashWithin,
    /// The process dies after the effect.
    CrashAfter,
    /// The disk is full from here on: whatever writes fails, removing included, until room is made
    /// when the run can't go on.
    FullDisk,
}

impl How {
    /// Whether the process dies.
    pub fn is_crash(self) -> bool {
        match self {
            Self::FailBefore | Self::FailAfter | Self::FullDisk => false,
            Self::CrashBefore | Self::CrashWithin | Self::CrashAfter => true,
        }
    }
}

/// What becomes of the part of the journal that was not synced, when the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// The process alone died: it is there.
    Kept,
    /// The power failed: it is gone, and every process with it.
    Lost,
    /// The power failed: half of it is there, cut in the middle of a line.
    Torn,
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which call, counted from 0 since the start or since the fault before.
    pub at: usize,
    /// How it goes wrong.
    pub how: How,
    /// What becomes of the journal's tail.
    pub tail: Tail,
}

/// Faults of one history, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at call {}", self.how, self.at)?;
        if self.how.is_crash() { write!(f, ", tail {:?}", self.tail) } else { Ok(()) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no fault");
        }
        for (place, fault) in self.0.iter().enumerate() {
            let then = if place == 0 { "" } else { "; then " };
            write!(f, "{then}{fault}")?;
        }
        Ok(())
    }
}
