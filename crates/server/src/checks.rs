//! Answers of external checks: what counts as one, and when it is news.

use std::time::Duration;

use handover_model::Timestamp;
use handover_model::api::{CheckAnswer, CheckHow, CheckSpec, RolloutState};
use handover_store::checks::{self, Check, Checked};
use handover_store::events::{self, NewEvent};
use handover_store::{StoreError, Tx};
use serde_json::json;

/// The shortest time between two questions.
const OFTEN: Duration = Duration::from_secs(1);
/// The most of a reason that is kept, in characters.
const REASON: usize = 500;

/// Whether a rollout that stands so has its checks asked. One that was halted or paused has, so
/// that whoever resumes it finds them as they are.
pub(crate) fn is_asked(state: RolloutState) -> bool {
    match state {
        RolloutState::Running | RolloutState::Paused | RolloutState::Halted => true,
        RolloutState::Scheduled
        | RolloutState::Reverting
        | RolloutState::Reverted
        | RolloutState::Done
        | RolloutState::Aborted
        | RolloutState::Superseded => false,
    }
}

/// Where a check is to be asked at `now`, if it is time.
pub(crate) fn due<'s>(
    spec: &'s CheckSpec,
    known: Option<&Check>,
    now: Timestamp,
) -> Option<&'s str> {
    let CheckHow::Poll { url, every } = &spec.how else { return None };
    let asked_at = known.and_then(|check| check.asked_at);
    let is_due = asked_at.is_none_or(|at| at.after(every.duration().max(OFTEN)) <= now);
    is_due.then_some(url)
}

/// Reads an answer; what stands in it for people is cut, and holds nothing that could deceive a
/// terminal.
///
/// # Errors
/// A sentence.
pub(crate) fn parse(body: &[u8]) -> Result<CheckAnswer, String> {
    let answer: CheckAnswer = serde_json::from_slice(body).map_err(|source| {
        format!("it is not {{\"verdict\": \"pass\" | \"fail\" | \"inconclusive\"}}: {source}")
    })?;
    let plain = |c: &char| !c.is_control() && !('\u{200b}'..='\u{206f}').contains(c);
    let reason = answer.reason.map(|text| text.chars().filter(plain).take(REASON).collect());
    Ok(CheckAnswer { verdict: answer.verdict, reason })
}

/// Stores an answer, with an event where it says something new: another verdict than before, or
/// any after a time without one that was fresh.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn take(
    tx: &mut Tx<'_>,
    rollout: &Checked,
    spec: &CheckSpec,
    answer: &CheckAnswer,
    (answered_at, asked_at): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    let before = checks::answer(tx, rollout, &spec.name, answer, (answered_at, asked_at))?;
    let fresh = spec.fresh.duration();
    let is_same = before.as_ref().is_some_and(|before| {
        before.verdict == Some(answer.verdict)
            && before.answered_at.is_some_and(|at| answered_at < at.after(fresh))
    });
    if is_same {
        return Ok(());
    }
    let data = json!({
        "name": rollout.spec.name,
        "check": spec.name,
        "verdict": answer.verdict,
        "reason": answer.reason,
        "before": before.and_then(|before| before.verdict),
    });
    let event = NewEvent {
        at: answered_at,
        kind: "rollout.check",
        agent: None,
        order: None,
        rollout: Some(rollout.id),
        data,
    };
    events::insert(tx, &event)
}

#[cfg(test)]
mod tests {
    use handover_model::Millis;
    use handover_model::api::CheckVerdict;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn poll(every: u64) -> CheckSpec {
        let how =
            CheckHow::Poll { url: "https://example.com/slo".to_owned(), every: Millis(every) };
        CheckSpec { name: "slo".to_owned(), how, fresh: Millis(300_000) }
    }

    fn asked(second: i64) -> Check {
        Check {
            name: "slo".to_owned(),
            verdict: None,
            reason: None,
            answered_at: None,
            asked_at: Some(at(second)),
        }
    }

    #[test]
    fn a_check_is_asked_at_once_and_then_at_its_rhythm() {
        let spec = poll(30_000);
        assert!(due(&spec, None, at(0)).is_some());
        assert!(due(&spec, Some(&asked(100)), at(129)).is_none());
        assert!(due(&spec, Some(&asked(100)), at(130)).is_some());
        assert!(due(&poll(0), Some(&asked(100)), at(100)).is_none(), "never in a rush");
        let webhook = CheckSpec { how: CheckHow::Webhook {}, ..spec };
        assert!(due(&webhook, None, at(0)).is_none());
    }

    #[test]
    fn an_answer_is_read_with_its_reason_made_harmless() {
        let answer = parse("{\"verdict\":\"fail\",\"reason\":\"p99 \\u001b[31m9 s\"}".as_bytes());
        let answer = answer.unwrap();
        assert_eq!(answer.verdict, CheckVerdict::Fail);
        assert_eq!(answer.reason.as_deref(), Some("p99 [31m9 s"));
        for bad in ["", "{}", "pass", "{\"verdict\":\"perhaps\"}", "{\"verdict\":\"pass\"} x"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
