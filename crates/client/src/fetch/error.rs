//! Why a fetch failed, each way by a name and code of its own.

use std::time::Duration;

use handover_model::ErrorClass;

/// A fetch that failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address can't be asked.
    #[error("{url:?} is not an address to fetch from: {what}")]
    BadAddress {
        /// What was offered, cut to 200 characters.
        url: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// TLS is asked for and no certificate store was found.
    #[error(
        "this host has no certificate store: install ca-certificates, or point SSL_CERT_FILE at one"
    )]
    Roots,
    /// The server has no such file.
    #[error("{url} does not exist")]
    NotFound {
        /// The address.
        url: String,
    },
    /// The server answers with an error that passes.
    #[error("{url}: the server is busy or broken (HTTP {status})")]
    Busy {
        /// The address.
        url: String,
        /// The status code.
        status: u16,
        /// What it asks for with `Retry-After`.
        after: Option<Duration>,
    },
    /// The server redirects.
    #[error(
        "{url}: the server redirects (HTTP {status}), which is refused: put the final address \
         into the policy"
    )]
    Redirect {
        /// The address.
        url: String,
        /// The status code.
        status: u16,
    },
    /// The server answers with a status that makes no sense here.
    #[error("{url}: unexpected answer (HTTP {status})")]
    Status {
        /// The address.
        url: String,
        /// The status code.
        status: u16,
    },
    /// The server has nothing at the offset asked for, or answers for another one.
    #[error("{url}: the server does not continue where the download stopped")]
    RangeRefused {
        /// The address.
        url: String,
    },
    /// More bytes than allowed.
    #[error("{url}: the file is larger than the {most} bytes that it may have")]
    TooLarge {
        /// The address.
        url: String,
        /// The bound.
        most: u64,
    },
    /// Too little arrived in too long a time.
    #[error("{url}: the server stalled")]
    Stalled {
        /// The address.
        url: String,
    },
    /// The connection ended too early.
    #[error("{url}: the connection was cut before the end")]
    Cut {
        /// The address.
        url: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No connection.
    #[error("{url}: the server can't be reached")]
    Unreachable {
        /// The address.
        url: String,
        /// What the client said.
        source: Box<ureq::Error>,
    },
    /// The TLS handshake failed.
    #[error("{url}: no secure connection")]
    Tls {
        /// The address.
        url: String,
        /// What the client said.
        source: Box<ureq::Error>,
    },
    /// What came is not HTTP.
    #[error("{url}: the answer is not HTTP")]
    Garbage {
        /// The address.
        url: String,
        /// What the client said.
        source: Box<ureq::Error>,
    },
}

impl FetchError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::BadAddress { .. } => ErrorClass::Permanent,
            Self::RangeRefused { .. } => ErrorClass::Conflict,
            Self::Roots
            | Self::NotFound { .. }
            | Self::Busy { .. }
            | Self::Redirect { .. }
            | Self::Status { .. }
            | Self::TooLarge { .. }
            | Self::Stalled { .. }
            | Self::Cut { .. }
            | Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::Garbage { .. } => ErrorClass::Retry,
        }
    }

    /// A name for programs, stable over releases.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadAddress { .. } => "fetch.address",
            Self::Roots => "fetch.no-certificate-store",
            Self::NotFound { .. } => "fetch.not-found",
            Self::Busy { .. } => "fetch.busy",
            Self::Redirect { .. } => "fetch.redirect",
            Self::Status { .. } => "fetch.status",
            Self::RangeRefused { .. } => "fetch.range",
            Self::TooLarge { .. } => "fetch.too-large",
            Self::Stalled { .. } => "fetch.stalled",
            Self::Cut { .. } => "fetch.cut",
            Self::Unreachable { .. } => "fetch.unreachable",
            Self::Tls { .. } => "fetch.tls",
            Self::Garbage { .. } => "fetch.garbage",
        }
    }

    /// How long the server asked us to stay away.
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Busy { after, .. } = self { *after } else { None }
    }

    pub(crate) fn from_ureq(url: &str, source: ureq::Error) -> Self {
        use ureq::Error;
        let url = url.to_owned();
        #[expect(clippy::wildcard_enum_match_arm, reason = "the client's list is not closed")]
        match source {
            Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve)
            | Error::HostNotFound
            | Error::ConnectionFailed
            | Error::ConnectProxyFailed(_) => Self::Unreachable { url, source: Box::new(source) },
            Error::Timeout(_) => Self::Stalled { url },
            Error::Io(inner) if is_early_end(&inner) => Self::Cut { url, source: inner },
            Error::Io(_) => Self::Unreachable { url, source: Box::new(source) },
            Error::Rustls(_) | Error::Tls(_) | Error::TlsRequired => {
                Self::Tls { url, source: Box::new(source) }
            }
            other => Self::Garbage { url, source: Box::new(other) },
        }
    }

    pub(super) fn from_body(url: &str, source: std::io::Error) -> Self {
        match source.downcast::<ureq::Error>() {
            Ok(inner) => Self::from_ureq(url, inner),
            Err(plain) => Self::Cut { url: url.to_owned(), source: plain },
        }
    }
}

fn is_early_end(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::UnexpectedEof | Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe
    )
}
