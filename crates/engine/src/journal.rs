//! The journal: append-only JSON lines in a hash chain, intent before effect.
//!
//! A line is `{"rec":<raw>,"prev":"<sum before>","sum":"<sha256(prev ‖ raw)>"}` and a line end.
//! The raw bytes are hashed, never a parsed and printed form. A torn tail (a last line without
//! its end) is cut; anything else that is wrong is an error with a name. Whole lines lost from
//! the end can't be noticed here: whoever must notice keeps the head elsewhere.

mod line;
mod record;

pub use line::{JournalError, Replay, write_line};
pub use record::{Body, Record};
