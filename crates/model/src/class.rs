//! What a caller may do about an error.

/// What the caller of a failed act may do next. Every public error answers `class()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The same act may succeed later, unchanged.
    Retry,
    /// Somebody else changed the world first: look again, then decide.
    Conflict,
    /// The act will never succeed as asked.
    Permanent,
    /// A broken invariant of our own.
    Bug,
}
