//! The event stream, resumed where it was cut.

use std::collections::VecDeque;
use std::time::Duration;

use handover_client::backoff::plan_wait;
use handover_client::call::CallError;
use handover_client::dice::Dice;
use handover_client::fetch::{Answer, FetchError};
use handover_client::real_world::Stop;
use handover_client::sse::Parser;
use handover_model::ErrorClass;
use handover_model::api::EventInfo;

use super::ControlError;
use super::api::Api;

/// How long a server may be away before a command gives up on it.
const PATIENCE: Duration = Duration::from_mins(10);
/// The server's word for events that it does not keep any more.
const GONE: &str = "events.gone";
/// What is tried when it fails.
const ACT: &str = "follow what happens";

/// What comes out of the stream.
#[derive(Debug)]
pub(super) enum Happening {
    /// Connected, for the first time or again: whoever keeps a state looks at it anew.
    Connected,
    /// The connection is lost, and will be tried again.
    Lost(String),
    /// Something happened.
    Event(Box<EventInfo>),
}

/// A stream of events.
pub(super) struct Stream<'a> {
    api: &'a Api,
    path: String,
    after: Option<u64>,
    answer: Option<Answer>,
    parser: Parser,
    ready: VecDeque<EventInfo>,
    attempt: u32,
    /// When the server was last heard of, monotonic.
    heard: Duration,
    dice: Dice,
}

impl<'a> Stream<'a> {
    /// Events of `path` after number `after`, or from now on.
    pub(super) fn new(api: &'a Api, path: String, after: Option<u64>) -> Self {
        let heard = api.clock().now().mono;
        let seed = u64::try_from(api.clock().now().wall.as_micros()).unwrap_or(1);
        Self {
            api,
            path,
            after,
            answer: None,
            parser: Parser::default(),
            ready: VecDeque::new(),
            attempt: 0,
            heard,
            dice: Dice::new(seed),
        }
    }

    /// The next thing. Waits for it as long as it takes.
    ///
    /// # Errors
    /// What the server refuses for good, and its absence for ten minutes.
    pub(super) fn next(&mut self) -> Result<Happening, ControlError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.after = Some(event.seq);
                return Ok(Happening::Event(Box::new(event)));
            }
            let Some(answer) = &mut self.answer else {
                match self.connect()? {
                    Some(happening) => return Ok(happening),
                    None => continue,
                }
            };
            let mut piece = [0; 16 * 1024];
            let lost = match answer.read(&mut piece) {
                Ok(0) => "the server ended the stream".to_owned(),
                Ok(count) => {
                    self.take_in(piece.get(..count).unwrap_or_default());
                    continue;
                }
                Err(error) => error.to_string(),
            };
            self.answer = None;
            return Ok(Happening::Lost(lost));
        }
    }

    fn take_in(&mut self, piece: &[u8]) {
        self.heard = self.api.clock().now().mono;
        self.attempt = 0;
        match self.parser.feed(piece) {
            // What is no event of ours is a newer server's; it is passed by.
            Ok(events) => self
                .ready
                .extend(events.iter().filter_map(|event| serde_json::from_str(&event.data).ok())),
            Err(_endless) => self.answer = None,
        }
    }

    fn connect(&mut self) -> Result<Option<Happening>, ControlError> {
        if self.attempt > 0 {
            Stop::never().wait(plan_wait(self.attempt.min(5), None, &mut self.dice));
        }
        self.attempt = self.attempt.saturating_add(1);
        match self.api.follow(&self.path, self.after) {
            Ok(answer) => {
                self.answer = Some(answer);
                self.parser = Parser::default();
                self.heard = self.api.clock().now().mono;
                Ok(Some(Happening::Connected))
            }
            Err(error) => {
                // Events that are kept no more: what was to be seen of them is looked at anew.
                if error.code() == GONE && self.after.take().is_some() {
                    crate::output::warn(&error.to_string());
                    return Ok(None);
                }
                let away = self.api.clock().now().mono.saturating_sub(self.heard);
                if away > PATIENCE || !may_come_back(&error) {
                    return Err(ControlError::call(ACT, error));
                }
                Ok(None)
            }
        }
    }
}

fn may_come_back(error: &CallError) -> bool {
    match error {
        CallError::Problem(problem) => problem.class() == ErrorClass::Retry,
        CallError::Fetch(FetchError::NotFound { .. } | FetchError::Tls { .. })
        | CallError::Meaningless { .. }
        | CallError::Unsendable { .. } => false,
        CallError::Fetch(other) => other.class() == ErrorClass::Retry,
    }
}
