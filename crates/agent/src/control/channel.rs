//! The way to the control plane: a port, and the bearer-token channel behind it.

use std::sync::Arc;
use std::time::Duration;

use handover_model::ErrorClass;
use handover_model::wire::{
    ChannelCa, EnrolAnswer, EnrolRequest, PROTOCOL, PROTOCOL_HEADER, SyncAnswer, SyncRequest,
};

use super::identity::{Identity, Secret, roots_of};
use crate::call::{Call, CallError};
use crate::fetch::{FetchError, Fetcher, Limits, Options, Roots};
use crate::real_world::Clock;
use crate::repository::join;

/// The largest answer to a sync.
const LARGEST_ANSWER: u64 = 1024 * 1024;
/// The largest list of certificates.
const LARGEST_CA: u64 = 64 * 1024;
/// How long an idle connection is kept: longer than any usual time between two syncs.
const KEPT: Duration = Duration::from_mins(5);
/// The longest that an answer may take once it began.
const WHOLE: Duration = Duration::from_secs(15);
/// What an answer may take beyond the time that it was asked to wait.
const MARGIN: Duration = Duration::from_secs(20);

/// A way to exchange syncs with the control plane. The bearer-token channel is one; a sealed one
/// may come to stand beside it.
pub trait Channel: Send {
    /// One exchange; it may last as long as the request allows the answer to wait.
    ///
    /// # Errors
    /// [`CallError`].
    fn sync(&mut self, request: &SyncRequest) -> Result<SyncAnswer, CallError>;
}

/// HTTPS with the agent's secret, trusting the channel's own certificate authorities alone.
pub struct BearerChannel {
    urls: Vec<String>,
    at: usize,
    secret: Secret,
    ca: ChannelCa,
    clock: Arc<dyn Clock>,
    connected: Option<Fetcher>,
}

impl BearerChannel {
    /// A channel for `identity`; `None` once it has no secret any more.
    pub fn new(identity: &Identity, ca: &ChannelCa, clock: Arc<dyn Clock>) -> Option<Self> {
        Some(Self {
            urls: identity.urls.clone(),
            at: 0,
            secret: identity.secret.clone()?,
            ca: ca.clone(),
            clock,
            connected: None,
        })
    }

    fn url(&self) -> &str {
        self.urls.get(self.at).map_or("", String::as_str)
    }
}

impl Channel for BearerChannel {
    fn sync(&mut self, request: &SyncRequest) -> Result<SyncAnswer, CallError> {
        let url = self.url().to_owned();
        let fetcher = match self.connected.take() {
            Some(fetcher) => fetcher,
            None => client(&url, roots_of(&self.ca), &self.clock)?,
        };
        let target = join(&url, "agent/v1/sync");
        let body = encode(&target, request)?;
        let call = protocol(Call::post(target, body))
            .with_bearer(self.secret.reveal())
            .at_most(LARGEST_ANSWER)
            .answered_within(request.wait.duration().saturating_add(MARGIN));
        match fetcher.call(call).and_then(|reply| reply.json()) {
            Ok(answer) => {
                self.connected = Some(fetcher);
                Ok(answer)
            }
            Err(error) => {
                // A refusal in words comes from the right server; silence may end elsewhere.
                if !matches!(error, CallError::Problem(_)) {
                    self.at = (self.at + 1) % self.urls.len().max(1);
                }
                Err(error)
            }
        }
    }
}

/// The certificate authorities that the server at `url` claims. Nothing about the connection is
/// believed: what comes counts only as far as its digests are known.
///
/// # Errors
/// [`CallError`].
pub fn fetch_ca(url: &str, clock: &Arc<dyn Clock>) -> Result<ChannelCa, CallError> {
    let fetcher = client(url, Roots::Unchecked, clock)?;
    let call = protocol(Call::get(join(url, "agent/v1/ca"))).at_most(LARGEST_CA);
    fetcher.call(call)?.json()
}

/// Asks to be enrolled, over a connection that only `ca` vouches for.
///
/// # Errors
/// [`CallError`].
pub fn enrol(
    url: &str,
    ca: &ChannelCa,
    request: &EnrolRequest,
    clock: &Arc<dyn Clock>,
) -> Result<EnrolAnswer, CallError> {
    let fetcher = client(url, roots_of(ca), clock)?;
    let target = join(url, "agent/v1/enroll");
    let body = encode(&target, request)?;
    fetcher.call(protocol(Call::post(target, body)).at_most(LARGEST_ANSWER))?.json()
}

fn client(url: &str, roots: Roots, clock: &Arc<dyn Clock>) -> Result<Fetcher, FetchError> {
    let uri = crate::fetch::parse_address(url)?;
    if uri.scheme_str() != Some("https") {
        let what = "a control plane is reached by https:// alone";
        return Err(FetchError::BadAddress { url: url.chars().take(200).collect(), what });
    }
    let options = Options {
        limits: Limits { small: WHOLE, ..Limits::default() },
        roots,
        kept: KEPT,
        buffer: 16 * 1024,
        ..Options::default()
    };
    Fetcher::with(url, &options, Arc::clone(clock))
}

fn protocol(call: Call) -> Call {
    call.with_header(PROTOCOL_HEADER, PROTOCOL.to_string())
}

fn encode<T: serde::Serialize>(url: &str, request: &T) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(request).map_err(|_source| CallError::Unsendable {
        url: url.to_owned(),
        what: "the request has no JSON form",
    })
}

/// Whether trying again later with the same request may help.
pub fn may_pass(error: &CallError) -> bool {
    match error.class() {
        ErrorClass::Retry => true,
        ErrorClass::Conflict | ErrorClass::Permanent | ErrorClass::Bug => false,
    }
}
