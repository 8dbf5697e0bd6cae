//! What an answer brings, each part checked by itself: one that is not believed changes nothing,
//! is shown to people, and holds nothing else back.

use handover_engine::orders::{Cancelling, OrderLedger, Reception};
use handover_model::wire::{
    AgentOrder, ChannelCa, OrderReport, OrderStage, Place, SignedDoc, SyncAnswer,
};
use handover_model::{Millis, Now, OrderId, Timestamp};
use handover_trust::control::{next_order_keys, verify_cancel, verify_channel_ca, verify_order_of};
use handover_trust::{Verified, VerifyError};

use super::{Core, Effect, File, report_of, sealed};
use crate::control::standing::Refusal;
use crate::failure::{Failure, chain};
use crate::fetch::certificate_of_pem;
use crate::voice::plain;

/// The most orders and the most cancels that are looked at in one answer.
const MOST: usize = 64;
/// The largest order, as signed.
const LARGEST_ORDER: usize = 16 * 1024;
/// How far the control plane's clock may be from ours before people are told.
const CLOCK_DOUBT: std::time::Duration = std::time::Duration::from_hours(2);

impl Core {
    /// Takes in an answer.
    pub(super) fn take(&mut self, answer: &SyncAnswer, now: Now) -> Result<(), Failure> {
        self.outbox.acknowledge(answer.acknowledged, &mut self.effects);
        self.walk_keys(answer, now.wall)?;
        self.take_ca(answer, now.wall)?;
        self.take_orders(answer, now)?;
        self.take_cancels(answer, now)?;
        if answer.want_state {
            self.told_state = None;
        }
        self.standing.show(&answer.notices);
        // Shown and nothing else: it is not signed.
        let apart = answer.at.since(now.wall).max(now.wall.since(answer.at));
        self.standing.clock_off = (apart > CLOCK_DOUBT).then(|| Millis::of(apart));
        Ok(())
    }

    fn refuse(&mut self, what: &str, error: &VerifyError, at: Timestamp) {
        let code = format!("trust.{}", error.code().replace('_', "-"));
        tracing::warn!(what, code, error = %chain(error), "from the control plane, refused");
        let (what, reason) = (what.to_owned(), plain(&chain(error), 300));
        self.standing.refuse(Refusal { at, what, code, reason });
    }

    fn walk_keys(&mut self, answer: &SyncAnswer, now: Timestamp) -> Result<(), Failure> {
        for doc in answer.order_keys.iter().take(MOST) {
            match next_order_keys(&self.keys, doc) {
                Ok(next) => {
                    self.keys = next.into_inner();
                    self.effects.write(File::OrderKeys, sealed(File::OrderKeys, &self.keys)?);
                    tracing::info!(number = self.keys.number, "order keys walked forward");
                }
                // Known already: an answer that was sent twice.
                Err(VerifyError::Rollback { .. }) => {}
                Err(error) => self.refuse("order keys", &error, now),
            }
        }
        Ok(())
    }

    fn take_ca(&mut self, answer: &SyncAnswer, now: Timestamp) -> Result<(), Failure> {
        let Some(doc) = &answer.ca else { return Ok(()) };
        let checked = verify_channel_ca(doc, &self.keys, self.ca.number)
            .and_then(|ca| check_certificates(&ca).map(|()| ca.into_inner()));
        match checked {
            Ok(ca) => {
                self.effects.write(File::Ca, sealed(File::Ca, &ca)?);
                tracing::info!(number = ca.number, "channel CA renewed");
                self.effects.push(Effect::Believe(Box::new(ca.clone())));
                self.ca = ca;
            }
            Err(VerifyError::Rollback { .. }) => {}
            Err(error) => self.refuse("channel CA", &error, now),
        }
        Ok(())
    }

    fn take_orders(&mut self, answer: &SyncAnswer, now: Now) -> Result<(), Failure> {
        let mut genuine: Vec<Verified<AgentOrder>> = Vec::new();
        for doc in answer.orders.iter().take(MOST) {
            match self.check_order(doc) {
                Ok(order) => genuine.push(order),
                Err(error) => self.refuse("order", &error, now.wall),
            }
        }
        // As they were numbered, in whatever order they were sent.
        genuine.sort_by_key(|order| order.place);
        for order in &genuine {
            self.take_order(order, now)?;
        }
        Ok(())
    }

    fn check_order(&self, doc: &SignedDoc) -> Result<Verified<AgentOrder>, VerifyError> {
        let size = serde_json::to_vec(doc).map_or(usize::MAX, |bytes| bytes.len());
        if size > LARGEST_ORDER {
            let (subject, limit) = ("the order".to_owned(), 16 * 1024);
            return Err(VerifyError::Endless { subject, limit });
        }
        verify_order_of(doc, &self.keys, self.agent)
    }

    fn take_order(&mut self, order: &Verified<AgentOrder>, now: Now) -> Result<(), Failure> {
        match self.ledger.receive(order, now.wall) {
            Reception::Taken(next) => {
                self.change(next)?;
                tracing::info!(
                    order.id = %order.id, action = order.action.name(), "order taken"
                );
                self.tell_endings(now)?;
                let taken = OrderLedger::find(&self.ledger, order.id);
                if taken.is_some_and(|taken| !taken.has_ended()) {
                    self.tell_progress(order, OrderStage::Accepted, None, now)?;
                }
            }
            Reception::Known => self.say_again(order.id, now)?,
            Reception::Stale(ending) => {
                let reason = ending.reason.clone().unwrap_or_default();
                let code = ending.code.clone().unwrap_or_default();
                tracing::warn!(order.id = %order.id, code, reason, "order refused");
                self.answer_order(report_of(order, &ending), now)?;
                let what = "order".to_owned();
                self.standing.refuse(Refusal { at: now.wall, what, code, reason });
            }
        }
        Ok(())
    }

    fn take_cancels(&mut self, answer: &SyncAnswer, now: Now) -> Result<(), Failure> {
        for doc in answer.cancels.iter().take(MOST) {
            match verify_cancel(doc, &self.keys, self.agent) {
                Ok(cancel) => self.take_cancel(cancel.order, now)?,
                Err(error) => self.refuse("cancel", &error, now.wall),
            }
        }
        Ok(())
    }

    fn take_cancel(&mut self, order: OrderId, now: Now) -> Result<(), Failure> {
        match self.ledger.cancel(order, now.wall) {
            Cancelling::Cancelled(next) => {
                self.change(next)?;
                self.bench.forget(order);
                self.tell_endings(now)
            }
            // It has no place here, since it never came.
            Cancelling::Ahead(next) => {
                self.change(next)?;
                self.answer_order(never_came(order), now)
            }
            Cancelling::TooLate => self.say_again(order, now),
        }
    }
}

fn never_came(order: OrderId) -> OrderReport {
    OrderReport {
        order,
        place: Place { epoch: 0, sequence: 0 },
        stage: OrderStage::Cancelled,
        code: Some("order.cancelled".to_owned()),
        reason: Some("it was cancelled before it came".to_owned()),
        release: None,
        progress: None,
    }
}

/// Authorities that nobody could be checked against would cut this host off.
fn check_certificates(ca: &ChannelCa) -> Result<(), VerifyError> {
    let good = (1..=4).contains(&ca.certificates.len())
        && ca.certificates.iter().all(|pem| {
            pem.len() <= 8 * 1024 && certificate_of_pem(pem).is_some_and(|der| !der.is_empty())
        });
    if good {
        return Ok(());
    }
    Err(VerifyError::Malformed {
        subject: "the channel CA".to_owned(),
        source: "it must hold one to four certificates".into(),
    })
}
