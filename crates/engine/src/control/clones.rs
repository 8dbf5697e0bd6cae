//! Two hosts with one identity: a disk image that was copied after enrolment.
//!
//! Each life of an agent's process draws a session. An agent that restarts shows a new session
//! and never an old one again. So a session that speaks after a newer one was heard is a second
//! process with the same credentials.

use handover_model::{Digest, SessionId};

/// What is remembered of an agent's voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voice {
    /// The session that was heard last; none before the first sync.
    pub session: Option<SessionId>,
    /// The one before.
    pub before: Option<SessionId>,
    /// The machine that was heard last.
    pub machine: Digest,
}

/// What a sync says about who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// The process that was heard last.
    Same,
    /// A new process on the same machine: the agent was restarted, or updated itself.
    Restarted,
    /// A new process on another machine: the host was moved or its machine id was made anew. If
    /// the old one speaks again, it was copied.
    Moved,
    /// A process that was thought to be gone: two of them use one identity.
    Cloned,
}

/// Who speaks.
pub fn hear(known: &Voice, session: SessionId, machine: Digest) -> Hearing {
    if known.session == Some(session) {
        // A session is drawn by one process: the same one on another machine is a copied memory.
        return if known.machine == machine { Hearing::Same } else { Hearing::Cloned };
    }
    if known.before == Some(session) {
        return Hearing::Cloned;
    }
    if known.machine == machine { Hearing::Restarted } else { Hearing::Moved }
}

/// What is remembered from now on.
#[must_use]
pub fn remember(known: &Voice, session: SessionId, machine: Digest) -> Voice {
    let before = if known.session == Some(session) { known.before } else { known.session };
    Voice { session: Some(session), before, machine }
}

#[cfg(test)]
mod tests {
    use handover_model::{IdGen, Timestamp};

    use super::*;

    fn session(n: u8) -> SessionId {
        SessionId::mint(&mut IdGen::new([n; 32]), Timestamp::from_micros(0))
    }

    fn play(speakers: &[(u8, &[u8])]) -> Vec<Hearing> {
        let (_, first) = speakers.first().copied().unwrap_or((0, b""));
        let mut voice = Voice { session: None, before: None, machine: Digest::of(first) };
        let mut heard = Vec::new();
        for (n, machine) in speakers {
            let machine = Digest::of(machine);
            heard.push(hear(&voice, session(*n), machine));
            voice = remember(&voice, session(*n), machine);
        }
        heard
    }

    #[test]
    fn an_agent_may_restart_as_often_as_it_likes() {
        use Hearing::{Restarted, Same};
        let heard = play(&[(1, b"m"), (1, b"m"), (2, b"m"), (3, b"m"), (3, b"m")]);
        assert_eq!(heard, [Restarted, Same, Restarted, Restarted, Same]);
    }

    #[test]
    fn two_machines_that_speak_in_turn_are_clones() {
        use Hearing::{Cloned, Moved, Restarted};
        assert_eq!(play(&[(1, b"m"), (2, b"n"), (1, b"m")]), [Restarted, Moved, Cloned]);
    }

    #[test]
    fn two_processes_on_one_machine_are_clones_too() {
        assert_eq!(play(&[(1, b"m"), (2, b"m"), (1, b"m")])[2], Hearing::Cloned);
    }

    #[test]
    fn a_host_that_was_moved_is_no_clone_as_long_as_the_old_one_is_silent() {
        use Hearing::{Moved, Restarted, Same};
        assert_eq!(play(&[(1, b"m"), (2, b"n"), (2, b"n")]), [Restarted, Moved, Same]);
    }

    #[test]
    fn a_memory_that_was_copied_while_it_ran_is_a_clone() {
        assert_eq!(play(&[(1, b"m"), (1, b"n")])[1], Hearing::Cloned);
    }
}
