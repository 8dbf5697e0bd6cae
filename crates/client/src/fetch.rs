//! Bounded HTTP: exchanges whose time, size and destination are all limited. Files here, calls of
//! an API in [`crate::call`].
//!
//! Invariant: nothing that a server does (silence, drips, garbage, endless bodies or headers,
//! redirects) holds a caller for longer than [`Limits`] say or makes it keep more than it asked
//! for. What the bytes are is not decided here: signatures and digests say.
//!
//! **Redirects are refused**, all of them. A repository is a static file server whose address
//! stands in the policy; following a redirect would let whoever answers there send an agent's
//! requests to any address that the host can reach, its own loopback included.

mod error;
mod pace;
mod roots;

use std::cell::Cell;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use handover_model::{Millis, Timestamp};
use ureq::http::header::{DATE, HeaderMap, RETRY_AFTER};
use ureq::{Agent, Body, BodyReader};

use crate::real_world::Clock;

pub use error::FetchError;
pub use pace::Pace;
pub use roots::{Options, Roots, certificate_of_pem};

/// How long and how slow an exchange may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until a name is looked up; and again until a connection stands, TLS included.
    pub connect: Duration,
    /// Until the whole head of the answer is there.
    pub answer: Duration,
    /// The longest silence inside a body, and the stretch over which `least` is counted.
    pub stall: Duration,
    /// The fewest bytes that must arrive in each stretch of `stall`.
    pub least: u64,
    /// The longest that a metadata file may take in all.
    pub small: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(20),
            stall: Duration::from_secs(15),
            least: 1024,
            small: Duration::from_mins(1),
        }
    }
}

/// A client of one server.
pub struct Fetcher {
    pub(crate) agent: Agent,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    /// How far the server's clock was from ours at the last answer.
    apart: Cell<Option<Duration>>,
}

/// How far the clocks may be apart before ours is doubted. Servers are wrong too, and no
/// expiry date is chosen by the minute.
const CLOCK_DOUBT: Duration = Duration::from_hours(2);

/// An answer whose body is still to be read.
pub struct Answer {
    url: String,
    /// The offset at which the body begins: the one asked for, or 0 when the server ignores
    /// ranges.
    pub offset: u64,
    /// How many bytes are announced, if the server says.
    pub announced: Option<u64>,
    body: BodyReader<'static>,
    pace: Pace,
    clock: Arc<dyn Clock>,
}

impl Fetcher {
    /// A client within `limits`. TLS trusts the system's certificate store (and `SSL_CERT_FILE`,
    /// `SSL_CERT_DIR`); a proxy is taken from the environment, but never for loopback addresses.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub fn new(base: &str, limits: Limits, clock: Arc<dyn Clock>) -> Result<Self, FetchError> {
        Self::with(base, &Options { limits, ..Options::default() }, clock)
    }

    /// A client that behaves as `options` say.
    ///
    /// # Errors
    /// [`FetchError::BadAddress`] when `base`, the address that will be asked, is not an
    /// `http://` or `https://` one; [`FetchError::Roots`] when it needs TLS, shall believe the
    /// system's certificate store, and there is none.
    pub fn with(base: &str, options: &Options, clock: Arc<dyn Clock>) -> Result<Self, FetchError> {
        let uri = parse_address(base)?;
        let secure = uri.scheme_str() == Some("https");
        let limits = options.limits;
        let mut config = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(options.program)
            .accept_encoding("identity")
            .max_response_header_size(32 * 1024)
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .timeout_recv_response(Some(limits.answer))
            .timeout_per_read(Some(limits.stall))
            .timeout_per_write(Some(limits.stall))
            .max_idle_connections(2)
            .max_idle_age(options.kept)
            .input_buffer_size(options.buffer)
            .tls_config(roots::tls(secure, &options.roots)?);
        if uri.host().is_some_and(is_loopback) {
            config = config.proxy(None);
        }
        Ok(Self { agent: config.build().into(), limits, clock, apart: Cell::new(None) })
    }

    /// The whole of a small file of at most `most` bytes.
    ///
    /// # Errors
    /// Any [`FetchError`]; [`FetchError::NotFound`] for 403, 404 and 410, since static stores
    /// answer with any of them for a file that they do not have.
    pub fn small(&self, url: &str, most: u64) -> Result<Vec<u8>, FetchError> {
        let until = self.clock.now().mono.saturating_add(self.limits.small);
        let answer = self.open(url, 0)?;
        self.drain(answer, url, most, until)
    }

    /// The rest of an answer, of at most `most` bytes, which must be there by `until` (monotonic).
    pub(crate) fn drain(
        &self,
        mut answer: Answer,
        url: &str,
        most: u64,
        until: Duration,
    ) -> Result<Vec<u8>, FetchError> {
        let too_large = || FetchError::TooLarge { url: url.to_owned(), most };
        if answer.announced.is_some_and(|announced| announced > most) {
            return Err(too_large());
        }
        let (mut bytes, mut piece) = (Vec::new(), vec![0; 16 * 1024]);
        loop {
            let count = answer.read(&mut piece)?;
            if count == 0 {
                return Ok(bytes);
            }
            bytes.extend_from_slice(&piece[..count]);
            if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most {
                return Err(too_large());
            }
            if self.clock.now().mono > until {
                return Err(FetchError::Stalled { url: url.to_owned() });
            }
        }
    }

    /// Begins to fetch `url` from byte `offset` on.
    ///
    /// # Errors
    /// Any [`FetchError`]; [`FetchError::RangeRefused`] when the server has nothing there.
    pub fn open(&self, url: &str, offset: u64) -> Result<Answer, FetchError> {
        parse_address(url)?;
        let mut request = self.agent.get(url);
        if offset > 0 {
            request = request.header("range", format!("bytes={offset}-"));
        }
        let response = request.call().map_err(|source| FetchError::from_ureq(url, source))?;
        let (head, body) = response.into_parts();
        self.compare_clocks(&head.headers);
        let status = head.status.as_u16();
        let offset = match status {
            200 => 0,
            206 if offset > 0 => offset_of(url, &head.headers, offset)?,
            _ => return Err(self.refusal(url, status, &head.headers)),
        };
        Ok(self.answer(url, offset, body))
    }

    /// What a status that is no success means.
    pub(crate) fn refusal(&self, url: &str, status: u16, headers: &HeaderMap) -> FetchError {
        let url = url.to_owned();
        match status {
            300..=399 => FetchError::Redirect { url, status },
            403 | 404 | 410 => FetchError::NotFound { url },
            416 => FetchError::RangeRefused { url },
            408 | 425 | 429 | 500..=599 => {
                FetchError::Busy { url, status, after: self.retry_after(headers) }
            }
            _ => FetchError::Status { url, status },
        }
    }

    pub(crate) fn answer(&self, url: &str, offset: u64, body: Body) -> Answer {
        Answer {
            url: url.to_owned(),
            offset,
            announced: body.content_length(),
            body: body.into_reader(),
            pace: Pace::new(self.limits.stall, self.limits.least, self.clock.now().mono),
            clock: Arc::clone(&self.clock),
        }
    }

    /// How far this host's clock is from the server's, where that is hours. Only a hint: the
    /// server's word is not signed, and all that it can do is to hold updates back, which the
    /// server can do anyway.
    pub fn clock_off(&self) -> Option<Millis> {
        self.apart.get().filter(|apart| *apart > CLOCK_DOUBT).map(Millis::of)
    }

    pub(crate) fn compare_clocks(&self, headers: &HeaderMap) {
        let text = headers.get(DATE).and_then(|value| value.to_str().ok());
        let Some(date) = text.and_then(|text| jiff::fmt::rfc2822::parse(text.trim()).ok()) else {
            return;
        };
        let (theirs, ours) = (Timestamp::from(date.timestamp()), self.clock.now().wall);
        self.apart.set(Some(theirs.since(ours).max(ours.since(theirs))));
    }

    /// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
    pub(crate) fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Some(Timestamp::from(at).since(self.clock.now().wall))
    }
}

impl Answer {
    /// Reads the next bytes; 0 at the end.
    ///
    /// # Errors
    /// [`FetchError::Stalled`] when too little arrives, [`FetchError::Cut`] when the connection
    /// ends before the announced end, and others.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize, FetchError> {
        let count =
            self.body.read(into).map_err(|source| FetchError::from_body(&self.url, source))?;
        let bytes = u64::try_from(count).unwrap_or(u64::MAX);
        if count > 0 && !self.pace.saw(bytes, self.clock.now().mono) {
            return Err(FetchError::Stalled { url: self.url.clone() });
        }
        Ok(count)
    }

    /// Sets another least pace: `least` bytes in each `stretch` from `now` on.
    pub(crate) fn allow(&mut self, stretch: Duration, least: u64, now: Duration) {
        self.pace = Pace::new(stretch, least, now);
    }

    /// Time that the caller spent waiting by its own will, which is not the server's slowness.
    pub fn excuse(&mut self, waited: Duration) {
        self.pace.excuse(waited);
    }
}

/// Where a partial answer begins (RFC 9110, section 14.4); it must be where it was asked to.
fn offset_of(url: &str, headers: &HeaderMap, asked: u64) -> Result<u64, FetchError> {
    let begins = headers
        .get("content-range")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("bytes "))
        .and_then(|text| text.split('-').next())
        .and_then(|text| text.trim().parse::<u64>().ok());
    if begins == Some(asked) {
        Ok(asked)
    } else {
        Err(FetchError::RangeRefused { url: url.to_owned() })
    }
}

/// Checks that an address is one that this client asks.
///
/// # Errors
/// [`FetchError::BadAddress`].
pub fn parse_address(url: &str) -> Result<ureq::http::Uri, FetchError> {
    let bad = |what| FetchError::BadAddress { url: url.chars().take(200).collect(), what };
    let uri: ureq::http::Uri = url.parse().map_err(|_source| bad("it does not parse"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(bad("it must begin with http:// or https://"));
    }
    let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
    if authority.host().is_empty() {
        return Err(bad("it names no host"));
    }
    if authority.as_str().contains('@') {
        return Err(bad("a user name or password in an address ends in logs: leave it out"));
    }
    Ok(uri)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
pub(crate) mod hostile;
#[cfg(test)]
mod tests;
