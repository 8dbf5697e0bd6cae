//! Calls of this server to somebody outside: one request on a connection of its own, bounded in
//! time and in what is read, never redirected.
//!
//! hyper's own client, since a receiver that hangs then holds a few kilobytes until its time is
//! over, and no thread.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::Destination;

/// How long a call may take, from the name's resolution to the last byte.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// How much of an answer is read.
const MOST: usize = 64 * 1024;

/// What is called.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) to: Destination,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Empty, unless the status is 200.
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboundError {
    #[error("{host} can't be resolved")]
    Resolve { host: String, source: std::io::Error },
    #[error("{host} is not on this machine, and http is for this machine alone: use https")]
    NotHere { host: String },
    #[error("can't connect to {authority}")]
    Connect { authority: String, source: std::io::Error },
    #[error("can't agree on TLS with {authority}")]
    Tls { authority: String, source: std::io::Error },
    #[error("TLS can't be set up")]
    TlsSetup { source: rustls::Error },
    #[error("{host:?} can't stand in a certificate")]
    Name { host: String },
    #[error("the call of {authority} broke off")]
    Broken { authority: String, source: hyper::Error },
    #[error("the answer of {authority} has more than {MOST} bytes")]
    TooLong { authority: String },
    #[error("the request can't be written")]
    Request { source: http::Error },
    #[error("{authority} did not answer within {} s", LIMIT.as_secs())]
    Slow { authority: String },
}

/// Makes calls. What the system trusts is read with the first call that needs it.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    tls: OnceCell<Arc<ClientConfig>>,
}

impl Outbound {
    /// Calls, and reads the answer.
    ///
    /// # Errors
    /// [`OutboundError`], after ten seconds at the latest. A redirection is an answer like others.
    pub(crate) async fn call(&self, call: Outgoing) -> Result<Answer, OutboundError> {
        let authority = call.to.authority.clone();
        let done = tokio::time::timeout(LIMIT, self.exchange(call)).await;
        done.unwrap_or(Err(OutboundError::Slow { authority }))
    }

    async fn exchange(&self, call: Outgoing) -> Result<Answer, OutboundError> {
        let to = &call.to;
        let socket = connect(to).await?;
        if !to.is_tls {
            return speak(socket, call).await;
        }
        let name = ServerName::try_from(to.host.clone())
            .map_err(|_source| OutboundError::Name { host: to.host.clone() })?;
        let config = self.tls.get_or_try_init(|| tls(system_roots())).await?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, socket).await;
        let authority = to.authority.clone();
        speak(stream.map_err(|source| OutboundError::Tls { authority, source })?, call).await
    }
}

async fn connect(to: &Destination) -> Result<TcpStream, OutboundError> {
    let host = || to.host.clone();
    let found = tokio::net::lookup_host((to.host.as_str(), to.port)).await;
    let found = found.map_err(|source| OutboundError::Resolve { host: host(), source })?;
    // `localhost` is what the resolver says that it is.
    let allowed: Vec<SocketAddr> =
        found.filter(|address| to.is_tls || address.ip().is_loopback()).collect();
    if allowed.is_empty() {
        return Err(OutboundError::NotHere { host: host() });
    }
    let authority = to.authority.clone();
    TcpStream::connect(allowed.as_slice())
        .await
        .map_err(|source| OutboundError::Connect { authority, source })
}

async fn speak<S>(stream: S, call: Outgoing) -> Result<Answer, OutboundError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let authority = call.to.authority.clone();
    let broken = |source| OutboundError::Broken { authority: authority.clone(), source };
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let (mut exchange, mut connection) = (pin!(ask(sender, call)), pin!(connection));
    let mut is_open = true;
    loop {
        tokio::select! {
            done = &mut exchange => return done,
            // Why it ended is what the exchange hears, once it has read what came before.
            _ended = &mut connection, if is_open => is_open = false,
        }
    }
}

async fn ask(
    mut sender: SendRequest<Full<Bytes>>,
    call: Outgoing,
) -> Result<Answer, OutboundError> {
    let authority = call.to.authority.clone();
    let broken = |source| OutboundError::Broken { authority: authority.clone(), source };
    let mut request = Request::builder()
        .method(call.method)
        .uri(&call.to.path)
        .header(header::HOST, &call.to.authority)
        .header(header::USER_AGENT, concat!("handover/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    for (name, value) in call.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(call.body));
    let request = request.map_err(|source| OutboundError::Request { source })?;
    let (head, mut body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let mut read = BytesMut::new();
    // What else is said is nothing to act on, and may have no end.
    while head.status == StatusCode::OK
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(broken)?;
        let Some(data) = frame.data_ref() else { continue };
        if read.len() + data.len() > MOST {
            return Err(OutboundError::TooLong { authority: call.to.authority });
        }
        read.extend_from_slice(data);
    }
    Ok(Answer { status: head.status, headers: head.headers, body: read.freeze() })
}

/// TLS towards whoever `roots` vouch for.
async fn tls(
    roots: impl Future<Output = RootCertStore>,
) -> Result<Arc<ClientConfig>, OutboundError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| OutboundError::TlsSetup { source })?;
    let mut config = config.with_root_certificates(roots.await).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What the system trusts, or what `SSL_CERT_FILE` names.
async fn system_roots() -> RootCertStore {
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let mut roots = RootCertStore::empty();
    match loaded {
        Ok(loaded) => {
            let (_taken, passed_over) = roots.add_parsable_certificates(loaded.certs);
            if roots.is_empty() {
                tracing::warn!(passed_over, "the system trusts no certificate authority: no https");
            }
        }
        Err(error) => tracing::error!(%error, "the system's certificate authorities not read"),
    }
    roots
}

#[cfg(test)]
mod tests;
