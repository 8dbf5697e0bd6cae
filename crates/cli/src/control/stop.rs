//! `handover stop`: the one switch that holds every update of the fleet.

use handover_client::call::Method;
use handover_model::api::{StopInfo, StopRequest};

use super::agents::OnlyIf;
use super::{ControlError, Desk, give, routes, words};
use crate::real_world::now;

/// What `stop` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum StopCommand {
    /// Stop: no update is handed out any more, of rollouts or single orders. What hosts have begun
    /// they finish; reverts and rollbacks go on.
    On {
        /// Why, for whoever asks.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let updates go on.
    Off {
        /// Why, for whoever looks later.
        #[arg(long)]
        reason: Option<String>,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        only: OnlyIf,
    },
    /// Show whether the fleet is stopped, by whom and why.
    Status,
}

/// Runs one.
pub(super) fn run(command: StopCommand, desk: &Desk<'_>) -> Result<(), ControlError> {
    let (_, api) = desk.open()?;
    let act = "reach the fleet-wide stop";
    let stands: StopInfo = match command {
        // Whoever stops a fleet is in a hurry: nothing is asked, and nobody's change is waited for.
        StopCommand::On { reason } => {
            let request = StopRequest { stopped: true, reason };
            api.change(act, (Method::Put, routes::STOP), Some(&request), None)?
        }
        StopCommand::Off { reason, yes, only } => {
            let stands: StopInfo = api.get(act, routes::STOP)?;
            if stands.stopped {
                give::confirm(&format!("{}. Let updates go on?", describe(&stands)), yes)?;
            }
            let request = StopRequest { stopped: false, reason };
            let tag = only.tag();
            api.change(act, (Method::Put, routes::STOP), Some(&request), tag.as_deref())?
        }
        StopCommand::Status => api.get(act, routes::STOP)?,
    };
    desk.out.result(&stands, describe);
    Ok(())
}

fn describe(stands: &StopInfo) -> String {
    let what = if stands.stopped {
        "the fleet is stopped: no update is handed out"
    } else {
        "the fleet is not stopped"
    };
    let since = stands.at.map(|at| format!(", since {}", words::ago(at, now())));
    let by = stands.by.as_ref().map(|by| format!(", by {by}"));
    let why = stands.reason.as_ref().map(|reason| format!(": {reason}"));
    let parts: Vec<String> = [since, by, why].into_iter().flatten().collect();
    format!("{what}{}", parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stopped_the_fleet_and_why_is_told() {
        let mut stands =
            StopInfo { stopped: false, by: None, at: None, reason: None, generation: 0 };
        assert_eq!(describe(&stands), "the fleet is not stopped");
        stands.stopped = true;
        stands.by = Some("anna".to_owned());
        stands.reason = Some("bad disks".to_owned());
        assert_eq!(
            describe(&stands),
            "the fleet is stopped: no update is handed out, by anna: bad disks"
        );
    }
}
