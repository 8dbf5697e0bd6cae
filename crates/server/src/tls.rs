//! TLS: which certificate is shown, and its replacement while connections go on.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::StartError;

/// What ALPN calls HTTP/2.
pub(crate) const H2: &[u8] = b"h2";

/// The certificate that is shown to the next handshake.
#[derive(Debug)]
pub(crate) struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    pub(crate) fn new(certified: CertifiedKey) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(certified))))
    }

    /// From the next handshake on, shows another one.
    pub(crate) fn swap(&self, certified: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// TLS 1.3 and 1.2 by aws-lc-rs, HTTP/2 and HTTP/1.1 by ALPN, resumption by tickets.
pub(crate) fn config(shown: Arc<Shown>) -> Result<Arc<ServerConfig>, StartError> {
    let failed =
        |source: rustls::Error| StartError::Crypto { act: "set up TLS", source: Box::new(source) };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    // A session resumed by a ticket costs the agent and us half of the arithmetic. Two tickets
    // are for browsers; ours use one connection.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(failed)?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
