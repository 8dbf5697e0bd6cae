//! Health as a pure machine: sights in, verdict out. Used before commit (enough good looks in a
//! row) and after it (too many bad looks in a row).

use std::time::Duration;

use handover_model::{Digest, Health, ReleaseId};

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The process, its start time, its release and executable, readiness and age; absent when
    /// none is alive.
    pub process: Option<Process>,
    /// What the declared checks said: name and complaint of each that was not well.
    pub complaints: Vec<(String, String)>,
}

/// A process as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Id and start time: the same pair is the same process.
    pub identity: (u32, u64),
    /// The release that the launcher started.
    pub release: ReleaseId,
    /// What it really runs.
    pub executable: Digest,
    /// Whether it said that it is ready.
    pub ready: bool,
    /// How long it has been running.
    pub age: Duration,
}

/// Why a look was not good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ill(pub String);

/// What a watch has seen so far, in this life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vigil {
    identity: Option<(u32, u64)>,
    good: u32,
    bad: u32,
    last: Option<String>,
}

impl Vigil {
    /// Takes one look in; says what was not well, if anything.
    ///
    /// # Errors
    /// [`Ill`] when the look was not good.
    pub fn see(
        &mut self,
        health: &Health,
        release: &ReleaseId,
        executable: &Digest,
        sight: &Sight,
    ) -> Result<(), Ill> {
        let complaint = complaint(release, executable, sight);
        let identity = sight.process.as_ref().map(|process| process.identity);
        // Another process than last time starts the count again, even if it is well.
        if identity != self.identity {
            self.good = 0;
        }
        self.identity = identity;
        if let Some(why) = complaint {
            self.good = 0;
            self.bad = self.bad.saturating_add(1);
            self.last = Some(why.clone());
            return Err(Ill(why));
        }
        self.bad = 0;
        // Young is not ill: it only doesn't count as good yet.
        if let Some(process) = &sight.process
            && process.age < health.stable_for.duration()
        {
            self.good = 0;
            let why = format!("it has been running for less than {}", health.stable_for);
            return Err(Ill(why));
        }
        self.good = self.good.saturating_add(1);
        Ok(())
    }

    /// Whether enough looks in a row were good, all of one process.
    pub fn is_proved(&self, health: &Health) -> bool {
        self.good >= health.successes.max(1)
    }

    /// Whether so many looks in a row were not good that the release must go.
    pub fn is_lost(&self, health: &Health) -> bool {
        self.bad >= health.failures.max(1)
    }

    /// How many looks in a row were good.
    pub fn good(&self) -> u32 {
        self.good
    }

    /// What was not well last, if anything ever was.
    pub fn last_complaint(&self) -> Option<&str> {
        self.last.as_deref()
    }
}

fn complaint(release: &ReleaseId, executable: &Digest, sight: &Sight) -> Option<String> {
    let Some(process) = &sight.process else {
        return Some("its process does not run".to_owned());
    };
    if process.release != *release {
        return Some(format!("the launcher runs {} instead", process.release));
    }
    if process.executable != *executable {
        return Some(format!(
            "the process runs an executable of digest {}, not {}",
            process.executable.short(),
            executable.short()
        ));
    }
    if !process.ready {
        return Some("it has not said that it is ready".to_owned());
    }
    let (name, why) = sight.complaints.first()?;
    Some(format!("health check {name}: {why}"))
}

#[cfg(test)]
mod tests {
    use handover_model::Millis;

    use super::*;

    fn health() -> Health {
        Health { stable_for: Millis(500), successes: 2, failures: 2, ..Health::default() }
    }

    fn release() -> ReleaseId {
        ReleaseId { version: "1.0.0".parse().unwrap(), digest: Digest::of(b"package") }
    }

    fn well(pid: u32) -> Sight {
        Sight {
            process: Some(Process {
                identity: (pid, 1),
                release: release(),
                executable: Digest::of(b"exe"),
                ready: true,
                age: Duration::from_secs(1),
            }),
            complaints: Vec::new(),
        }
    }

    fn changed(change: impl FnOnce(&mut Process)) -> Sight {
        let mut sight = well(1);
        change(sight.process.as_mut().unwrap());
        sight
    }

    fn see(vigil: &mut Vigil, sight: &Sight) -> Result<(), Ill> {
        vigil.see(&health(), &release(), &Digest::of(b"exe"), sight)
    }

    #[test]
    fn good_looks_at_two_processes_prove_nothing() {
        let mut vigil = Vigil::default();
        see(&mut vigil, &well(1)).unwrap();
        see(&mut vigil, &well(2)).unwrap();
        assert!(!vigil.is_proved(&health()));
        see(&mut vigil, &well(2)).unwrap();
        assert!(vigil.is_proved(&health()));
    }

    #[test]
    fn a_bad_look_starts_the_count_again() {
        let mut vigil = Vigil::default();
        see(&mut vigil, &well(1)).unwrap();
        let ill = Sight { complaints: vec![("http".to_owned(), "404".to_owned())], ..well(1) };
        assert_eq!(see(&mut vigil, &ill), Err(Ill("health check http: 404".to_owned())));
        see(&mut vigil, &well(1)).unwrap();
        assert!(!vigil.is_proved(&health()) && !vigil.is_lost(&health()));
        assert_eq!(vigil.last_complaint(), Some("health check http: 404"));
    }

    #[test]
    fn only_bad_looks_in_a_row_lose_it() {
        let mut vigil = Vigil::default();
        let gone = Sight { process: None, complaints: Vec::new() };
        see(&mut vigil, &gone).unwrap_err();
        see(&mut vigil, &well(1)).unwrap();
        see(&mut vigil, &gone).unwrap_err();
        assert!(!vigil.is_lost(&health()));
        see(&mut vigil, &gone).unwrap_err();
        assert!(vigil.is_lost(&health()));
    }

    #[test]
    fn a_young_process_is_neither_proved_nor_lost() {
        let mut vigil = Vigil::default();
        for _ in 0..5 {
            see(&mut vigil, &changed(|process| process.age = Duration::ZERO)).unwrap_err();
        }
        assert!(!vigil.is_proved(&health()) && !vigil.is_lost(&health()));
    }

    #[test]
    fn alive_is_not_enough() {
        for sight in [
            changed(|process| process.ready = false),
            changed(|process| process.executable = Digest::of(b"other")),
            changed(|process| process.release.digest = Digest::of(b"other")),
            changed(|process| process.age = Duration::from_millis(499)),
        ] {
            see(&mut Vigil::default(), &sight).unwrap_err();
        }
    }
}
