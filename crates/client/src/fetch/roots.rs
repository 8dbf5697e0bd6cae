//! Whom a client believes to be the server, and what it says of itself.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::{FetchError, Limits};

/// Whose word a TLS server's name rests on.
#[derive(Clone, Default)]
pub enum Roots {
    /// The system's certificate store, `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    #[default]
    System,
    /// Exactly these CA certificates (DER), and no system store.
    Only(Vec<Vec<u8>>),
    /// Nobody's: only for a file whose digest is known beforehand, and never for a request that
    /// carries a secret.
    Unchecked,
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System => f.write_str("System"),
            Self::Only(certificates) => write!(f, "Only({} certificates)", certificates.len()),
            Self::Unchecked => f.write_str("Unchecked"),
        }
    }
}

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long and how slow an exchange may be.
    pub limits: Limits,
    /// Whom it believes.
    pub roots: Roots,
    /// What it calls itself: `program/version`.
    pub program: &'static str,
    /// How long an idle connection is kept for the next request.
    pub kept: Duration,
    /// Bytes of the buffer that a connection reads into.
    pub buffer: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            roots: Roots::System,
            program: concat!("handover-agent/", env!("CARGO_PKG_VERSION")),
            kept: Duration::from_secs(15),
            buffer: 64 * 1024,
        }
    }
}

/// The DER of the one certificate in a PEM text; `None` where that is not what it holds.
pub fn certificate_of_pem(pem: &str) -> Option<Vec<u8>> {
    let mut found = CertificateDer::pem_slice_iter(pem.as_bytes());
    let certificate = found.next()?.ok()?;
    found.next().is_none().then(|| certificate.as_ref().to_vec())
}

/// The certificate store is read only when it is needed: it is the largest thing in memory.
pub(super) fn tls(secure: bool, roots: &Roots) -> Result<TlsConfig, FetchError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    let own = |certificates: Vec<Certificate<'static>>| RootCerts::from(certificates);
    if !secure {
        return Ok(builder.root_certs(own(Vec::new())).build());
    }
    let certificates = match roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            if found.certs.is_empty() {
                return Err(FetchError::Roots);
            }
            found.certs.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect()
        }
        Roots::Only(ders) => ders.iter().map(|der| Certificate::from_der(der).to_owned()).collect(),
        Roots::Unchecked => {
            return Ok(builder.root_certs(own(Vec::new())).disable_verification(true).build());
        }
    };
    Ok(builder.root_certs(own(certificates)).build())
}
