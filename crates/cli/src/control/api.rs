//! Calls of a control plane's API: one context, its addresses in turn, bounded retries where a
//! repetition is harmless, pages followed to the end.
//!
//! Every call here is safe to repeat: GET by nature, POST by its idempotency key, the others since
//! they say what shall be and not what shall change.

use std::cell::{Cell, OnceCell};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use handover_client::backoff::plan_wait;
use handover_client::call::{Call, CallError, Method, Reply, Sent};
use handover_client::dice::Dice;
use handover_client::fetch::{Answer, FetchError, Fetcher, Limits, Options, Roots};
use handover_client::real_world::{Clock, RealClock, Stop};
use handover_model::api::{IDEMPOTENCY_KEY, MOST_PER_PAGE, Page};
use handover_model::{Digest, ErrorClass};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::contexts::Context;
use super::{ControlError, authority};
use crate::real_world;

/// How often a call is tried whose trouble may pass.
const ATTEMPTS: u32 = 4;
/// The longest wait that a server's `Retry-After` may ask of a person at a terminal.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most bytes of one answer: a page of a thousand agents with all their components.
const LARGEST_ANSWER: u64 = 64 * 1024 * 1024;
/// The most bytes of a metadata file that are compared.
const LARGEST_METADATA: u64 = 8 * 1024 * 1024;
/// How long the event stream may be silent: the server says something every 15 seconds.
const SILENCE: Duration = Duration::from_secs(50);
/// The most pages of a list that are read.
const MOST_PAGES: u32 = 10_000;

/// How this program behaves on the wire.
pub(crate) fn options(roots: Roots) -> Options {
    Options {
        // The server gives up after 30 seconds, and says so.
        limits: Limits { answer: Duration::from_secs(40), ..Limits::default() },
        roots,
        program: concat!("handover/", env!("CARGO_PKG_VERSION")),
        ..Options::default()
    }
}

/// A control plane that can be called.
pub(crate) struct Api {
    context: Context,
    /// A client per address, made when it is needed.
    fetchers: Vec<OnceCell<Fetcher>>,
    /// Which address answered last.
    chosen: Cell<usize>,
    clock: Arc<dyn Clock>,
    /// Drawn once: a command that is repeated by itself is one command.
    command: String,
    posts: Cell<u32>,
}

/// What is asked of the API.
struct Request<'a> {
    method: Method,
    path: &'a str,
    body: Option<&'a [u8]>,
    headers: Vec<(&'static str, String)>,
}

impl Api {
    /// For one context.
    pub(crate) fn new(context: Context) -> Result<Self, ControlError> {
        for address in &context.addresses {
            if !address.starts_with("https://") {
                return Err(ControlError::Insecure { address: address.clone() });
            }
        }
        let drawn = real_world::random::<16>().map_err(|source| ControlError::ReadToken {
            origin: "/dev/urandom".to_owned(),
            source,
        })?;
        Ok(Self {
            fetchers: context.addresses.iter().map(|_| OnceCell::new()).collect(),
            context,
            chosen: Cell::new(0),
            clock: Arc::new(RealClock::start()),
            command: hex::encode(*drawn),
            posts: Cell::new(0),
        })
    }

    /// The address that answered last.
    pub(crate) fn address(&self) -> &str {
        self.context.addresses.get(self.chosen.get()).map_or("", String::as_str)
    }

    /// The context that it speaks for.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// The clocks.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// `GET`.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        act: &str,
        path: &str,
    ) -> Result<T, ControlError> {
        self.get_tagged(act, path).map(|(value, _)| value)
    }

    /// `GET`, with the entity tag for a later change.
    pub(crate) fn get_tagged<T: DeserializeOwned>(
        &self,
        act: &str,
        path: &str,
    ) -> Result<(T, Option<String>), ControlError> {
        let reply = self.send(act, &Request::of(Method::Get, path))?;
        let tag = reply.header("etag").map(str::to_owned);
        Ok((parse(act, &reply)?, tag))
    }

    /// `POST`, once, however often it has to be sent.
    pub(crate) fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        act: &str,
        path: &str,
        body: &B,
    ) -> Result<T, ControlError> {
        self.post_if(act, path, body, None)
    }

    /// The same, only while the entity tag still holds, where one is given.
    pub(crate) fn post_if<B: Serialize, T: DeserializeOwned>(
        &self,
        act: &str,
        path: &str,
        body: &B,
        tag: Option<&str>,
    ) -> Result<T, ControlError> {
        let number = self.posts.get();
        self.posts.set(number.saturating_add(1));
        let json = encode(act, body)?;
        let mut request = Request::of(Method::Post, path).with_body(&json);
        request.headers.push((IDEMPOTENCY_KEY, format!("{}-{number}", self.command)));
        request.headers.extend(tag.map(|tag| ("if-match", tag.to_owned())));
        parse(act, &self.send(act, &request)?)
    }

    /// `PUT`, `PATCH` or `DELETE`, only while the entity tag still holds, where one is given.
    pub(crate) fn change<B: Serialize, T: DeserializeOwned>(
        &self,
        act: &str,
        (method, path): (Method, &str),
        body: Option<&B>,
        tag: Option<&str>,
    ) -> Result<T, ControlError> {
        let json = body.map(|body| encode(act, body)).transpose()?;
        let mut request = Request::of(method, path);
        request.body = json.as_deref();
        request.headers.extend(tag.map(|tag| ("if-match", tag.to_owned())));
        parse(act, &self.send(act, &request)?)
    }

    /// Sends a file's bytes; the server takes the same ones twice.
    pub(crate) fn upload<T: DeserializeOwned>(
        &self,
        act: &str,
        path: &str,
        open: impl Fn() -> std::io::Result<std::fs::File>,
    ) -> Result<T, ControlError> {
        let reply = self.with_retries(act, |fetcher, base| {
            let file = open().map_err(|source| {
                CallError::Fetch(FetchError::Cut { url: path.to_owned(), source })
            })?;
            let call = Call::new(Method::Put, format!("{base}{path}"))
                .with_bearer(self.context.secret.reveal())
                .with_body(Sent::File(file));
            fetcher.call(call)
        })?;
        parse(act, &reply)
    }

    /// Whether the repository that the server keeps has this very file. Packages bear their digest
    /// in their name; of metadata the content is compared.
    pub(crate) fn has_file(&self, path: &str, digest: &Digest) -> Result<bool, ControlError> {
        let act = "ask what the server has";
        let (fetcher, base) = self.fetcher().map_err(|source| ControlError::call(act, source))?;
        let url = format!("{base}/repository/{path}");
        let found = if path.starts_with("targets/") {
            fetcher.open(&url, 0).map(|_there| path.contains(&digest.to_string()))
        } else {
            fetcher.small(&url, LARGEST_METADATA).map(|bytes| Digest::of(&bytes) == *digest)
        };
        match found {
            Ok(same) => Ok(same),
            Err(FetchError::NotFound { .. } | FetchError::TooLarge { .. }) => Ok(false),
            Err(error) => Err(ControlError::call(act, error.into())),
        }
    }

    /// Every item of a list, or the first `most`.
    pub(crate) fn list<T: DeserializeOwned>(
        &self,
        act: &str,
        path: &str,
        most: Option<usize>,
    ) -> Result<Vec<T>, ControlError> {
        self.list_after(act, path, None, most)
    }

    /// The same, from a place in the list on.
    pub(crate) fn list_after<T: DeserializeOwned>(
        &self,
        act: &str,
        path: &str,
        mut after: Option<String>,
        most: Option<usize>,
    ) -> Result<Vec<T>, ControlError> {
        let most = most.unwrap_or(usize::MAX);
        let size = u32::try_from(most).unwrap_or(u32::MAX).clamp(1, MOST_PER_PAGE);
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        for _ in 0..MOST_PAGES {
            let mut address = format!("{path}{joint}limit={size}");
            if let Some(after) = &after {
                address = format!("{address}&after={}", encoded(after));
            }
            let page: Page<T> = self.get(act, &address)?;
            items.extend(page.items);
            after = page.next;
            if after.is_none() || items.len() >= most {
                break;
            }
        }
        items.truncate(most);
        Ok(items)
    }

    /// The event stream from `after` on. Not tried again here: the reader knows where it was.
    pub(crate) fn follow(&self, path: &str, after: Option<u64>) -> Result<Answer, CallError> {
        let (fetcher, base) = self.fetcher()?;
        let mut call = Call::get(format!("{base}{path}"))
            .with_bearer(self.context.secret.reveal())
            .with_header("accept", "text/event-stream");
        if let Some(after) = after {
            call = call.with_header("last-event-id", after.to_string());
        }
        let answer = fetcher.stream(call, SILENCE);
        if answer.is_err() {
            self.rotate();
        }
        answer
    }

    fn send(&self, act: &str, request: &Request<'_>) -> Result<Reply, ControlError> {
        self.with_retries(act, |fetcher, base| {
            let mut call = Call::new(request.method, format!("{base}{}", request.path))
                .with_bearer(self.context.secret.reveal())
                .with_header("accept", "application/json, application/problem+json")
                .at_most(LARGEST_ANSWER);
            if let Some(body) = request.body {
                call = call.with_body(Sent::Json(body.to_vec()));
            }
            for (name, value) in &request.headers {
                call = call.with_header(name, value.clone());
            }
            fetcher.call(call)
        })
    }

    fn with_retries(
        &self,
        act: &str,
        send: impl Fn(&Fetcher, &str) -> Result<Reply, CallError>,
    ) -> Result<Reply, ControlError> {
        let mut dice = Dice::new(u64::from(self.posts.get()) ^ self.seed());
        for attempt in 1.. {
            let done = self.fetcher().and_then(|(fetcher, base)| send(fetcher, base));
            let error = match done {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            if attempt >= ATTEMPTS || !may_pass(&error) {
                return Err(ControlError::call(act, error));
            }
            if matches!(&error, CallError::Fetch(FetchError::Unreachable { .. })) {
                self.rotate();
            }
            Stop::never().wait(plan_wait(attempt, error.retry_after(), &mut dice));
        }
        Err(ControlError::Declined { what: format!("could not {act}") })
    }

    /// The client of the chosen address.
    fn fetcher(&self) -> Result<(&Fetcher, &str), CallError> {
        let at = self.chosen.get();
        let (Some(cell), Some(base)) = (self.fetchers.get(at), self.context.addresses.get(at))
        else {
            return Err(CallError::Unsendable {
                url: String::new(),
                what: "the context names no address",
            });
        };
        if cell.get().is_none() {
            let options = options(roots_of(&self.context));
            let made = Fetcher::with(base, &options, Arc::clone(&self.clock))?;
            let _first = cell.set(made);
        }
        match cell.get() {
            Some(fetcher) => Ok((fetcher, base.trim_end_matches('/'))),
            None => Err(CallError::Unsendable { url: base.clone(), what: "no client" }),
        }
    }

    fn rotate(&self) {
        let count = self.context.addresses.len().max(1);
        self.chosen.set(self.chosen.get().saturating_add(1) % count);
    }

    fn seed(&self) -> u64 {
        u64::from_str_radix(self.command.get(..16).unwrap_or("1"), 16).unwrap_or(1)
    }
}

impl<'a> Request<'a> {
    fn of(method: Method, path: &'a str) -> Self {
        Self { method, path, body: None, headers: Vec::new() }
    }

    fn with_body(mut self, body: &'a [u8]) -> Self {
        self.body = Some(body);
        self
    }
}

/// Whom a context believes.
pub(crate) fn roots_of(context: &Context) -> Roots {
    if context.certificates.is_empty() {
        return Roots::System;
    }
    Roots::Only(context.certificates.iter().filter_map(|pem| authority::der(pem)).collect())
}

/// Whether the same call may go well a moment later.
fn may_pass(error: &CallError) -> bool {
    let short = error.retry_after().is_none_or(|asked| asked <= PATIENCE);
    match error {
        CallError::Problem(problem) => problem.class() == ErrorClass::Retry && short,
        CallError::Fetch(
            FetchError::Busy { .. }
            | FetchError::Stalled { .. }
            | FetchError::Cut { .. }
            | FetchError::Unreachable { .. },
        ) => short,
        CallError::Fetch(
            FetchError::BadAddress { .. }
            | FetchError::Roots
            | FetchError::NotFound { .. }
            | FetchError::Redirect { .. }
            | FetchError::Status { .. }
            | FetchError::RangeRefused { .. }
            | FetchError::TooLarge { .. }
            | FetchError::Tls { .. }
            | FetchError::Garbage { .. },
        )
        | CallError::Meaningless { .. }
        | CallError::Unsendable { .. } => false,
    }
}

fn encode<B: Serialize>(act: &str, body: &B) -> Result<Vec<u8>, ControlError> {
    serde_json::to_vec(body).map_err(|source| ControlError::Answer { act: act.to_owned(), source })
}

/// An answer without a body is `null`.
fn parse<T: DeserializeOwned>(act: &str, reply: &Reply) -> Result<T, ControlError> {
    let body: &[u8] = if reply.body.is_empty() { b"null" } else { &reply.body };
    serde_json::from_slice(body)
        .map_err(|source| ControlError::Answer { act: act.to_owned(), source })
}

/// A text as a part of a path or a query (RFC 3986, section 2.3).
pub(crate) fn encoded(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            all.push(char::from(byte));
        } else {
            let _never_fails = write!(all, "%{byte:02X}");
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_cannot_leave_its_place_in_an_address() {
        assert_eq!(encoded("../a?b=c&d#e f/ü"), "..%2Fa%3Fb%3Dc%26d%23e%20f%2F%C3%BC");
        assert_eq!(encoded("agent_01-a.b~"), "agent_01-a.b~");
    }

    #[test]
    fn a_secret_goes_to_no_address_without_tls() {
        let context = Context {
            addresses: vec!["http://192.0.2.1".to_owned()],
            secret: super::super::contexts::Secret::new("s".to_owned()),
            certificates: Vec::new(),
            trusted_root: None,
        };
        assert!(matches!(Api::new(context).err(), Some(ControlError::Insecure { .. })));
    }
}
