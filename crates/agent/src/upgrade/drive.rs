//! Driving a run's plan on this host, in this process.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use handover_engine::run::{Core, Hold, Input, Plan, StepId, summarize};
use handover_engine::upgrade::party;
use handover_hoststeps::kinds::{Surroundings, host_upgrade};
use handover_hoststeps::shell::{Clock as _, Event, OpenRun, Rested, Shell, open_run};
use handover_hoststeps::{RealClock, RealHost};
use handover_model::{Layout, RunId, Timestamp, Version};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use super::report::Reporter;
use super::verbs::Failed;

/// A run that this process has open.
pub(super) struct Driven {
    open: OpenRun,
    run: RunId,
    plan: Plan,
    stop: UnixStream,
}

impl Driven {
    /// Opens a run that is new, with its plan, or takes the plan from its journal.
    pub(super) fn open(layout: &Layout, run: RunId, plan: Option<Plan>) -> Result<Self, Failed> {
        let open = open_run(&layout.run(run))?;
        let summary = summarize(&open.replay).map_err(|source| Failed::Core { run, source })?;
        let plan = match (summary, plan) {
            (Some(_), Some(_)) => return Err(Failed::Began { run }),
            (Some(summary), None) => summary.plan,
            (None, Some(plan)) => plan,
            (None, None) => return Err(Failed::NeverBegan { run }),
        };
        Ok(Self { open, run, plan, stop: stop_signals()? })
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Drives the run until it rests, or stands before `stop_before`.
    pub(super) fn drive(
        &mut self,
        layout: &Layout,
        reporter: &mut Reporter,
        stop_before: Option<StepId>,
        mut asked: Option<Input>,
        heed_signals: Signals,
    ) -> Result<Rested, Failed> {
        let run = self.run;
        let core_failed = |source| Failed::Core { run, source };
        let stop = match heed_signals {
            Signals::Heed => Some(OwnedFd::from(self.stop.try_clone().map_err(signals)?)),
            Signals::Ignore => None,
        };
        let mut clock = RealClock::new(stop);
        let around = Surroundings::new(wall);
        let kinds = host_upgrade(&around);
        let mut host = RealHost::new(layout.root());
        let engine: Version = env!("CARGO_PKG_VERSION").parse().unwrap_or(Version::new(0, 0, 0));
        let plan = self.plan.clone();
        let replay = &self.open.replay;
        let mut core =
            Core::open(run, plan, &party(), &engine, replay, clock.now()).map_err(core_failed)?;
        if let Some(input) = asked.take()
            && core.turned().is_none()
        {
            core.handle(input, clock.now()).map_err(core_failed)?;
        }
        if let Some(why) = core.turned() {
            around.set_why(why);
        }
        let mut progress = |event: Event<'_>| {
            if let Event::Turned { why } = event {
                around.set_why(why);
            }
            reporter.tell(event);
        };
        let mut shell = Shell {
            host: &mut host,
            kinds: &kinds,
            log: &mut self.open.log,
            clock: &mut clock,
            progress: &mut progress,
            stop_before,
        };
        Ok(shell.drive(&mut core)?)
    }
}

/// Whether waits end when the process is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signals {
    /// They do.
    Heed,
    /// They don't: the run is being taken back already.
    Ignore,
}

/// What holds a parked run, for people.
pub(super) fn held(holds: &[(StepId, Hold)]) -> String {
    let texts: Vec<_> = holds
        .iter()
        .map(|(step, hold)| match hold {
            Hold::Person(why) | Hold::Blocked(why) => format!("step {step}: {why}"),
            Hold::Party(party) => format!("step {step}: it is {party}'s turn"),
            Hold::Later(_) => format!("step {step}: later"),
        })
        .collect();
    texts.join("; ")
}

/// The wall clock, from the one place that reads it.
pub(super) fn wall() -> Timestamp {
    RealClock::new(None).now().wall
}

/// The end of a pipe that can be read once the process was asked to end.
fn stop_signals() -> Result<UnixStream, Failed> {
    let (reader, writer) = UnixStream::pair().map_err(signals)?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        pipe::register(signal, writer.try_clone().map_err(signals)?).map_err(signals)?;
    }
    Ok(reader)
}

fn signals(source: std::io::Error) -> Failed {
    Failed::System { act: "prepare for signals", source }
}
