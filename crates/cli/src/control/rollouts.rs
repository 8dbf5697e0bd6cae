//! `handover rollout`: a fleet moved to a release, wave by wave.

mod acts;
mod apply;
mod diff;
mod flags;
mod list;
mod preview;
mod schema;
mod show;
mod view;
mod watch;

use std::process::ExitCode;

use camino::Utf8PathBuf;
use handover_model::api::{MemberOutcome, RolloutInfo, RolloutState};
use handover_model::{ComponentName, Millis};

use super::agents::{OnlyIf, Said};
use super::api::Api;
use super::{ControlError, Desk, routes, select, words};

/// What `rollout` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum RolloutCommand {
    /// Show what a rollout would do, before anything moves: its waves, the ways that hosts would
    /// go, how long it would take, and how many hosts a bad release would meet.
    #[command(after_help = "Examples:\n  handover rollout preview --component web --to 1.5.0 \
                            --select 'label.site = ost'\n  handover rollout preview -f web.yaml \
                            --failures 2,10")]
    Preview {
        #[command(flatten)]
        spec: Box<flags::Spec>,
        /// Failure rates to play, in percent; 0.1, 2, 10 and 100 unless said.
        #[arg(long, value_name = "PERCENT", value_delimiter = ',', value_parser = flags::percent)]
        failures: Option<Vec<f64>>,
        /// How long an update takes on a host, for the play.
        #[arg(long, value_name = "LENGTH")]
        each_takes: Option<Millis>,
        /// The seed of the play, to see the same one again.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Start a rollout.
    #[command(after_help = "Example: handover rollout create --component web --to 1.5.0 --select \
                            'label.site = ost' --percent 5,25,100 --approve-each --soak 10m \
                            --window 'sat,sun 02:00+4h Europe/Berlin'")]
    Create {
        #[command(flatten)]
        spec: Box<flags::Spec>,
        /// Stay, and watch it.
        #[arg(long)]
        watch: bool,
    },
    /// Make a rollout as a file says: create it, change it, or find that nothing is to be done.
    #[command(after_help = "Example: handover rollout apply -f examples/rollouts/staged.yaml \
                            --dry-run")]
    Apply {
        /// The file, YAML or JSON; `-` is standard input.
        #[arg(long, short, value_name = "FILE")]
        file: Utf8PathBuf,
        /// Only show what would change.
        #[arg(long)]
        dry_run: bool,
        /// A selection that matches every agent is meant.
        #[arg(long)]
        all: bool,
        /// Do not ask before a rollout that runs is changed.
        #[arg(long, short)]
        yes: bool,
    },
    /// Show how a file differs from the rollout of that name.
    Diff {
        /// The file, YAML or JSON; `-` is standard input.
        #[arg(long, short, value_name = "FILE")]
        file: Utf8PathBuf,
    },
    /// Print the JSON Schema of such files.
    Schema,
    /// List rollouts, the newest first.
    List {
        /// Only those that stand so.
        #[arg(long)]
        state: Option<RolloutState>,
        /// Only those of this component.
        #[arg(long)]
        component: Option<ComponentName>,
        /// Only those that are not over.
        #[arg(long, conflicts_with = "state")]
        open: bool,
        /// How many at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show a rollout: its waves, what holds it, and what its gate sees.
    Show {
        /// The rollout, by name or id.
        rollout: String,
    },
    /// List the members of a rollout, in the order of their turns.
    Members {
        /// The rollout, by name or id.
        rollout: String,
        /// Only those of this wave, by its number (from 1) or name.
        #[arg(long)]
        wave: Option<String>,
        /// Only those that stand so.
        #[arg(long, value_parser = flags::outcome)]
        outcome: Option<MemberOutcome>,
        /// How many at most.
        #[arg(long)]
        limit: Option<usize>,
    },
    /// Watch a rollout until it is over.
    ///
    /// Exits with 0 when it is done, 4 when its hosts were taken back, 3 when it was aborted or
    /// superseded.
    Watch {
        /// The rollout, by name or id.
        rollout: String,
        #[command(flatten)]
        how: watch::How,
    },
    /// Show what the external checks of a rollout answered.
    Checks {
        /// The rollout, by name or id.
        rollout: String,
        /// Show where and with which key the check of this name is answered.
        #[arg(long, value_name = "CHECK")]
        secret: Option<String>,
    },
    /// Let a wave begin that waits for a person.
    Approve {
        /// The rollout, by name or id.
        rollout: String,
        /// The wave, by its number (from 1) or name; the one that waits unless said.
        #[arg(long)]
        wave: Option<String>,
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        only: OnlyIf,
    },
    /// Stop handing out orders; hosts finish what they began.
    Pause {
        #[command(flatten)]
        act: acts::Act,
        /// Take back orders that hosts have and did not begin.
        #[arg(long)]
        cancel: bool,
    },
    /// Go on with a rollout that was paused, or that a gate halted.
    Resume {
        #[command(flatten)]
        act: acts::Act,
    },
    /// End a rollout; hosts stay where they are.
    Abort {
        #[command(flatten)]
        act: acts::Act,
        /// Take back orders that hosts have and did not begin.
        #[arg(long)]
        cancel: bool,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Take hosts back to what they ran before, by a rollout with a ramp and a gate of its own.
    Revert {
        #[command(flatten)]
        act: acts::Act,
        /// Only this wave, by its number (from 1) or name.
        #[arg(long)]
        wave: Option<String>,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
        /// Stay, and watch it.
        #[arg(long)]
        watch: bool,
    },
    /// Leave hosts out: they get no order, and what they said does not count. `resume` goes on
    /// without them.
    LeaveOut {
        /// The rollout, by name or id.
        rollout: String,
        /// The agents, by name or id.
        #[arg(required = true)]
        agents: Vec<String>,
        /// Why, for the audit trail.
        #[arg(long, required = true)]
        reason: String,
        #[command(flatten)]
        only: OnlyIf,
    },
}

/// Runs one.
pub(super) fn run(command: RolloutCommand, desk: &Desk<'_>) -> Result<ExitCode, ControlError> {
    use RolloutCommand as C;
    if matches!(command, C::Schema) {
        schema::print();
        return Ok(ExitCode::SUCCESS);
    }
    let (_, api) = desk.open()?;
    match command {
        C::Schema => {}
        C::Preview { spec, failures, each_takes, seed } => {
            let play = preview::Asked { failures, each_takes, seed };
            preview::preview(&api, spec.spec()?, play, desk)?;
        }
        C::Create { spec, watch } => return create(&api, *spec, watch, desk),
        C::Apply { file, dry_run, all, yes } => {
            let how = apply::How { dry_run, all, yes };
            apply::apply(&api, &file, how, desk)?;
        }
        C::Diff { file } => apply::diff(&api, &file, desk)?,
        C::List { state, component, open, limit } => {
            let filter = list::Filter { state, component, open, limit };
            list::list(&api, &filter, desk)?;
        }
        C::Show { rollout } => show::show(&api, &rollout, desk)?,
        C::Members { rollout, wave, outcome, limit } => {
            let filter = list::MemberFilter { wave, outcome, limit };
            list::members(&api, &rollout, &filter, desk)?;
        }
        C::Watch { rollout, how } => {
            let rollout = find(&api, &rollout)?;
            return watch::watch(&api, rollout, &how, desk);
        }
        C::Checks { rollout, secret } => {
            list::checks(&api, &rollout, secret.as_deref(), desk)?;
        }
        C::Approve { rollout, wave, said, only } => {
            acts::approve(&api, &rollout, wave.as_deref(), said, only, desk)?;
        }
        C::Pause { act, cancel } => acts::act(&api, "pause", &act, cancel, desk)?,
        C::Resume { act } => acts::act(&api, "resume", &act, false, desk)?,
        C::Abort { act, cancel, yes } => acts::abort(&api, &act, cancel, yes, desk)?,
        C::Revert { act, wave, yes, watch } => {
            let made = acts::revert(&api, &act, wave.as_deref(), yes, desk)?;
            if watch {
                return watch::watch(&api, made, &watch::How::default(), desk);
            }
        }
        C::LeaveOut { rollout, agents, reason, only } => {
            acts::leave_out(&api, &rollout, agents, reason, only, desk)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn create(
    api: &Api,
    spec: flags::Spec,
    watch: bool,
    desk: &Desk<'_>,
) -> Result<ExitCode, ControlError> {
    let mut spec = spec.spec()?;
    spec.all = select::settle(api, &select::parse(&spec.select)?, spec.all)?;
    let made: RolloutInfo = api.post("create the rollout", routes::ROLLOUTS, &spec)?;
    if watch {
        return watch::watch(api, made, &watch::How::default(), desk);
    }
    desk.out.result(&made, |made| format!("rollout {} is {}", made.name, made.state));
    desk.out.say(&format!("`handover rollout watch {}` shows how it goes", made.name));
    Ok(ExitCode::SUCCESS)
}

/// A rollout by its name or id; where there is none, the nearest names are told.
fn find(api: &Api, rollout: &str) -> Result<RolloutInfo, ControlError> {
    match api.get("look the rollout up", &routes::one(routes::ROLLOUTS, rollout)) {
        Err(ControlError::Refused { status: 404, .. }) => {
            let all: Vec<RolloutInfo> =
                api.list("list rollouts", routes::ROLLOUTS, Some(1000)).unwrap_or_default();
            Err(ControlError::Unknown {
                what: "rollout",
                name: rollout.chars().take(80).collect(),
                nearest: words::nearest(rollout, all.iter().map(|one| one.name.as_str())),
            })
        }
        other => other,
    }
}

/// A wave by its number, counted from 1 as people see it, or by its name; answers its number
/// counted from 0 as the API does.
fn wave_of(rollout: &RolloutInfo, wave: &str) -> Result<u32, ControlError> {
    let count = rollout.waves.len();
    let by_name = rollout.waves.iter().position(|one| one.name == wave);
    let by_number = wave.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    by_name
        .or(by_number.filter(|number| *number < count))
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| {
            let named = rollout.waves.iter().zip(1..);
            let named: Vec<_> =
                named.map(|(one, n): (_, u32)| format!("{n} ({})", one.name)).collect();
            ControlError::Unknown {
                what: "wave",
                name: wave.chars().take(80).collect(),
                nearest: named,
            }
        })
}
