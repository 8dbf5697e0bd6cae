//! Watching orders until nothing more becomes of them.
//!
//! What is shown comes from the order itself, asked anew whenever the stream says that something
//! became of it, and from the progress that events carry: so nothing is lost when a connection is,
//! and nothing is shown twice.

use std::collections::BTreeMap;
use std::process::ExitCode;

use handover_client::real_world::Stop;
use handover_model::api::{EventInfo, OrderInfo, OrderState, OrderStep};
use handover_model::{OrderId, Progress, Stage};

use super::api::Api;
use super::live::Live;
use super::stream::{Happening, Stream};
use super::{ControlError, Desk, routes, words};
use crate::output::table;

/// The kind of events that tell progress.
const RUNNING: &str = "order.running";
/// How often orders are looked at where one may not follow the stream.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// Watches `orders`, or only names them; the exit code says how the worst of them ended.
pub(super) fn follow(
    api: &Api,
    orders: Vec<OrderInfo>,
    wait: bool,
    desk: &Desk<'_>,
) -> Result<ExitCode, ControlError> {
    if orders.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if !wait {
        name_given(&orders, desk);
        result(&orders, desk);
        return Ok(ExitCode::SUCCESS);
    }
    let mut watched = Watched::new(orders, desk)?;
    watched.run(api)?;
    let orders = watched.finish();
    if desk.out.is_for_programs() {
        result(&orders, desk);
    }
    Ok(ExitCode::from(worst(&orders)))
}

/// Says how one can see later what becomes of orders.
pub(super) fn name_given(orders: &[OrderInfo], desk: &Desk<'_>) {
    match orders {
        [] => {}
        [one] => desk.out.say(&format!("ordered; `handover watch {}` shows it", one.id)),
        many => desk.out.say(&format!(
            "{} orders are given; `handover order list --open` shows them",
            many.len()
        )),
    }
}

/// One order is itself, several are a list.
fn result(orders: &[OrderInfo], desk: &Desk<'_>) {
    match orders {
        [one] => desk.out.result(one, one_line),
        many => desk.out.result(&many, |many| {
            let mut rows = vec![["ORDER", "AGENT", "STATE", ""].map(str::to_owned).to_vec()];
            rows.extend(many.iter().map(|order| {
                vec![
                    order.id.to_string(),
                    order.agent_name.to_string(),
                    order.state.to_string(),
                    words::outcome(order),
                ]
            }));
            table(&rows)
        }),
    }
}

fn one_line(order: &OrderInfo) -> String {
    format!("{} {} on {}", order.id, order.state, order.agent_name)
}

/// The exit code that an order's end means (docs/exit-codes.md).
pub(super) fn exit_of(state: OrderState) -> u8 {
    match state {
        OrderState::Done => 0,
        OrderState::Reverted => 4,
        // Nothing was begun, so nothing changed.
        OrderState::Refused
        | OrderState::Cancelled
        | OrderState::Expired
        | OrderState::Superseded
        | OrderState::Voided => 3,
        OrderState::Failed
        | OrderState::Pending
        | OrderState::HandedOut
        | OrderState::Accepted
        | OrderState::Cancelling
        | OrderState::Running => 1,
    }
}

/// A failure weighs more than what was taken back, and that more than what never began.
fn worst(orders: &[OrderInfo]) -> u8 {
    let codes: Vec<u8> = orders.iter().map(|order| exit_of(order.state)).collect();
    [1, 4, 3].into_iter().find(|code| codes.contains(code)).unwrap_or(0)
}

/// Orders under watch.
struct Watched<'a> {
    orders: BTreeMap<OrderId, Seen>,
    live: Live<'a>,
    widest: usize,
}

/// One order, and how much of it was shown.
struct Seen {
    info: OrderInfo,
    shown: usize,
    stage: Option<Stage>,
}

impl<'a> Watched<'a> {
    fn new(orders: Vec<OrderInfo>, desk: &'a Desk<'_>) -> Result<Self, ControlError> {
        let widest = orders.iter().map(|order| order.agent_name.as_str().len()).max().unwrap_or(0);
        let hint = match orders.as_slice() {
            [one] => format!("the order goes on; `handover watch {}` shows it again", one.id),
            _ => "the orders go on; `handover order list --open` shows them".to_owned(),
        };
        let live = Live::start(desk.out, &hint)?;
        for order in &orders {
            live.line(&format!(
                "{:widest$}  {}  {}",
                order.agent_name,
                words::action(&order.action),
                order.id
            ));
        }
        let seen = |info: OrderInfo| (info.id, Seen { info, shown: 0, stage: None });
        Ok(Self { orders: orders.into_iter().map(seen).collect(), live, widest })
    }

    fn run(&mut self, api: &Api) -> Result<(), ControlError> {
        let only = match self.orders.keys().next() {
            Some(order) if self.orders.len() == 1 => Some(order.to_string()),
            Some(_) | None => None,
        };
        let path = routes::query(routes::STREAM, &[("order", only)]);
        let mut stream = Stream::new(api, path, None);
        while !self.is_over() {
            match stream.next() {
                Ok(Happening::Connected) => self.look_at_all(api)?,
                Ok(Happening::Lost(why)) => {
                    self.live.line(&format!("connection lost ({why}); resuming"));
                }
                Ok(Happening::Event(event)) => self.hear(api, &event)?,
                // One who may give orders and not follow the stream looks every now and then.
                Err(ControlError::Refused { status: 403, .. }) => {
                    self.look_at_all(api)?;
                    Stop::never().wait(LOOK_EVERY);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Progress stands in the event itself; whatever else became of an order is asked for.
    fn hear(&mut self, api: &Api, event: &EventInfo) -> Result<(), ControlError> {
        let Some(order) = event.order.filter(|order| self.orders.contains_key(order)) else {
            return Ok(());
        };
        let progress = event.data.get("progress").cloned();
        let progress = progress.and_then(|value| serde_json::from_value::<Progress>(value).ok());
        match (progress, self.orders.get_mut(&order)) {
            (Some(progress), Some(seen)) if event.kind == RUNNING && seen.is_running() => {
                let line = seen.take_progress(&progress);
                seen.info.progress = Some(progress);
                if let Some(line) = line {
                    self.live.line(&format!("{:1$}  {line}", seen.info.agent_name, self.widest));
                }
                self.tell();
                Ok(())
            }
            (_, _) => self.look_at(api, order),
        }
    }

    fn is_over(&self) -> bool {
        self.orders.values().all(|seen| seen.info.state.is_final())
    }

    fn look_at_all(&mut self, api: &Api) -> Result<(), ControlError> {
        let open: Vec<_> = self
            .orders
            .iter()
            .filter(|(_, seen)| !seen.info.state.is_final())
            .map(|(id, _)| *id)
            .collect();
        open.into_iter().try_for_each(|order| self.look_at(api, order))
    }

    fn look_at(&mut self, api: &Api, order: OrderId) -> Result<(), ControlError> {
        let info: OrderInfo = api.get("look at the order", &routes::one(routes::ORDERS, order))?;
        if let Some(seen) = self.orders.get_mut(&order) {
            for line in seen.take_in(info) {
                self.live.line(&format!("{:1$}  {line}", seen.info.agent_name, self.widest));
            }
        }
        self.tell();
        Ok(())
    }

    /// The line that moves.
    fn tell(&self) {
        let over = self.orders.values().filter(|seen| seen.info.state.is_final()).count();
        let text = match self.orders.values().next() {
            Some(seen) if self.orders.len() == 1 => match &seen.info.progress {
                Some(progress) => in_motion(progress),
                None => seen.info.state.to_string(),
            },
            Some(_) | None => format!("{over} of {} over", self.orders.len()),
        };
        self.live.tell(&text);
    }

    fn finish(self) -> Vec<OrderInfo> {
        self.live.finish();
        self.orders.into_values().map(|seen| seen.info).collect()
    }
}

impl Seen {
    /// Takes in how the order stands now; returns what is new, a line each.
    fn take_in(&mut self, info: OrderInfo) -> Vec<String> {
        let mut lines: Vec<String> =
            info.history.iter().skip(self.shown).filter_map(in_words).collect();
        self.shown = info.history.len().max(self.shown);
        if let Some(progress) = info.progress.as_ref().filter(|_| !info.state.is_final()) {
            lines.extend(self.take_progress(progress));
        }
        if info.state.is_final() && !self.info.state.is_final() {
            lines.push(format!("{}  {}", info.state, words::outcome(&info)).trim_end().to_owned());
        }
        self.info = info;
        lines
    }

    /// A line for each stage that begins. Stages only go forward: what an event tells late is not
    /// told again.
    fn take_progress(&mut self, progress: &Progress) -> Option<String> {
        if self.stage.is_some_and(|stage| progress.stage <= stage) {
            return None;
        }
        self.stage = Some(progress.stage);
        Some(in_motion(progress))
    }

    fn is_running(&self) -> bool {
        self.info.state == OrderState::Running
    }
}

/// A step of an order's history; its end is told with its outcome.
fn in_words(step: &OrderStep) -> Option<String> {
    if step.state.is_final() {
        return None;
    }
    let text = step.text.as_deref().unwrap_or_default();
    Some(format!("{}  {text}", step.state).trim_end().to_owned())
}

fn in_motion(progress: &Progress) -> String {
    let percent = progress.percent.map_or_else(String::new, |percent| format!("{percent:3} %  "));
    format!("{:18}  {percent}{}", words::stage(progress.stage), progress.detail)
}
