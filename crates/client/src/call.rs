//! Calls of an API: a method, headers and a bounded JSON body there, a bounded answer back, and
//! refusals by their problem details (RFC 9457).
//!
//! Invariant: a header that carries a secret reaches no error and no log.

mod problem;

use std::fs::File;
use std::time::Duration;

use handover_model::ErrorClass;
use serde::de::DeserializeOwned;
use ureq::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ureq::http::{Request, Response};
use ureq::{AsSendBody, Body};

use crate::fetch::{Answer, FetchError, Fetcher, parse_address};

pub use problem::Problem;

/// The most bytes that a body in memory may have, there.
pub const MOST_SENT: usize = 1024 * 1024;
/// The most bytes that an answer may have unless a call allows more.
pub const MOST_READ: u64 = 1024 * 1024;

/// The methods that an API is called with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Looks.
    Get,
    /// Adds, or asks for something.
    Post,
    /// Replaces.
    Put,
    /// Changes a part.
    Patch,
    /// Removes; never with a body.
    Delete,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// What is sent.
#[derive(Debug)]
pub enum Sent {
    /// Nothing.
    Nothing,
    /// JSON of at most [`MOST_SENT`] bytes.
    Json(Vec<u8>),
    /// A file, streamed.
    File(File),
}

/// One call.
#[derive(Debug)]
pub struct Call {
    method: Method,
    url: String,
    headers: Vec<(&'static str, String, Secrecy)>,
    sent: Sent,
    most: u64,
    answer: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Open,
    Secret,
}

/// A call that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The exchange failed, or the server refused without saying why.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The server refused and said why.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// The server answers with something else than the protocol has.
    #[error("{url}: the answer makes no sense: {what}")]
    Meaningless {
        /// The address.
        url: String,
        /// The parser's complaint.
        what: String,
    },
    /// The call can't be made.
    #[error("{url}: {what}")]
    Unsendable {
        /// The address.
        url: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl CallError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Fetch(error) => error.class(),
            Self::Problem(problem) => problem.class(),
            Self::Meaningless { .. } => ErrorClass::Retry,
            Self::Unsendable { .. } => ErrorClass::Permanent,
        }
    }

    /// A name for programs, stable over releases: the server's own where it gave one.
    pub fn code(&self) -> &str {
        match self {
            Self::Fetch(error) => error.code(),
            Self::Problem(problem) => &problem.code,
            Self::Meaningless { .. } => "call.meaningless",
            Self::Unsendable { .. } => "call.unsendable",
        }
    }

    /// How long the server asked us to stay away.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Fetch(error) => error.retry_after(),
            Self::Problem(problem) => problem.after,
            Self::Meaningless { .. } | Self::Unsendable { .. } => None,
        }
    }
}

/// A success.
#[derive(Debug)]
pub struct Reply {
    /// 200 to 299.
    pub status: u16,
    /// The body, whole.
    pub body: Vec<u8>,
    url: String,
    headers: HeaderMap,
}

impl Reply {
    /// A header that is text, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`CallError::Meaningless`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body).map_err(|source| CallError::Meaningless {
            url: self.url.clone(),
            what: source.to_string(),
        })
    }
}

impl Call {
    /// A call without a body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: Vec::new(),
            sent: Sent::Nothing,
            most: MOST_READ,
            answer: None,
        }
    }

    /// `GET url`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::Get, url)
    }

    /// `POST url` with a JSON body.
    pub fn post(url: impl Into<String>, json: Vec<u8>) -> Self {
        Self::new(Method::Post, url).with_body(Sent::Json(json))
    }

    /// With a body.
    #[must_use]
    pub fn with_body(mut self, sent: Sent) -> Self {
        self.sent = sent;
        self
    }

    /// With a header that may be seen.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into(), Secrecy::Open));
        self
    }

    /// With `Authorization: Bearer`.
    #[must_use]
    pub fn with_bearer(mut self, secret: &str) -> Self {
        self.headers.push(("authorization", format!("Bearer {secret}"), Secrecy::Secret));
        self
    }

    /// With an answer of at most `most` bytes.
    #[must_use]
    pub fn at_most(mut self, most: u64) -> Self {
        self.most = most;
        self
    }

    /// With an answer that may take this long to begin: a long poll.
    #[must_use]
    pub fn answered_within(mut self, answer: Duration) -> Self {
        self.answer = Some(answer);
        self
    }

    fn head(&self) -> Result<Request<()>, CallError> {
        let unsendable = |what| CallError::Unsendable { url: self.url.clone(), what };
        let mut request = Request::builder()
            .method(self.method.name())
            .uri(parse_address(&self.url)?)
            .body(())
            .map_err(|_source| unsendable("the request does not fit together"))?;
        for (name, value, secrecy) in &self.headers {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_source| unsendable("a header's value has characters that none may"))?;
            value.set_sensitive(*secrecy == Secrecy::Secret);
            request.headers_mut().append(HeaderName::from_static(name), value);
        }
        Ok(request)
    }
}

impl Fetcher {
    /// Makes a call and reads the whole answer.
    ///
    /// # Errors
    /// Any [`CallError`].
    pub fn call(&self, call: Call) -> Result<Reply, CallError> {
        let until = call.answer.unwrap_or(self.limits.answer).saturating_add(self.limits.small);
        let until = self.clock.now().mono.saturating_add(until);
        let (url, most) = (call.url.clone(), call.most);
        let (head, answer) = self.send(call, self.limits.stall, Some(self.limits.small))?;
        let body = self.drain(answer, &url, most, until)?;
        Ok(Reply { status: head.status.as_u16(), body, url, headers: head.headers })
    }

    /// Makes a call whose answer is read as it comes: an event stream. The answer may be silent
    /// for `silence` before it counts as stalled.
    ///
    /// # Errors
    /// Any [`CallError`].
    pub fn stream(&self, call: Call, silence: Duration) -> Result<Answer, CallError> {
        let (_, mut answer) = self.send(call, silence, None)?;
        answer.allow(silence, 1, self.clock.now().mono);
        Ok(answer)
    }

    fn send(
        &self,
        mut call: Call,
        silence: Duration,
        whole: Option<Duration>,
    ) -> Result<(ureq::http::response::Parts, Answer), CallError> {
        let mut request = call.head()?;
        let waits = call.answer.unwrap_or(self.limits.answer);
        let response = match std::mem::replace(&mut call.sent, Sent::Nothing) {
            Sent::Nothing => self.run(request, waits, silence, whole),
            Sent::Json(bytes) if bytes.len() > MOST_SENT => {
                let what = "the request is larger than any server takes";
                return Err(CallError::Unsendable { url: call.url, what });
            }
            Sent::Json(bytes) => {
                let json = HeaderValue::from_static("application/json");
                request.headers_mut().insert(CONTENT_TYPE, json);
                self.run(request.map(|()| bytes), waits, silence, whole)
            }
            Sent::File(file) => self.run(request.map(|()| file), waits, silence, whole),
        };
        let (head, body) =
            response.map_err(|source| FetchError::from_ureq(&call.url, source))?.into_parts();
        self.compare_clocks(&head.headers);
        let status = head.status.as_u16();
        let answer = self.answer(&call.url, 0, body);
        if (200..=299).contains(&status) {
            return Ok((head, answer));
        }
        Err(self.complaint(&call.url, &head, answer))
    }

    fn run<S: AsSendBody>(
        &self,
        request: Request<S>,
        answer: Duration,
        silence: Duration,
        whole: Option<Duration>,
    ) -> Result<Response<Body>, ureq::Error> {
        let request = self
            .agent
            .configure_request(request)
            .timeout_recv_response(Some(answer))
            .timeout_recv_body(whole)
            // Each read waits while the head is awaited too.
            .timeout_per_read(Some(answer.max(silence)))
            .build();
        self.agent.run(request)
    }

    /// The server's refusal in its own words, or what the status alone says.
    fn complaint(
        &self,
        url: &str,
        head: &ureq::http::response::Parts,
        answer: Answer,
    ) -> CallError {
        let status = head.status.as_u16();
        let until = self.clock.now().mono.saturating_add(self.limits.small);
        let said = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if said.is_some_and(|said| said.starts_with("application/problem+json"))
            && let Ok(body) = self.drain(answer, url, problem::LONGEST, until)
            && let Some(problem) = Problem::parse(status, &body, self.retry_after(&head.headers))
        {
            return problem.into();
        }
        self.refusal(url, status, &head.headers).into()
    }
}

#[cfg(test)]
mod tests;
