//! Where the server is and how it is spoken to: the URL, and TLS when that asks for it.
//!
//! Invariant: TLS means a verified certificate. There is no mode that encrypts to whoever
//! answers, and none that falls back to plain text.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use postgres::config::{Host, SslMode};
use postgres::{Client, Config, NoTls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::StoreError;
use crate::store::Options;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long written bytes may stay unacknowledged.
const SILENCE: Duration = Duration::from_secs(20);

/// A server, as its URL says.
pub(crate) struct Target {
    /// How it is called in errors: without its password.
    pub(crate) database: String,
    /// How long to wait for a lock, in milliseconds.
    pub(crate) patience_ms: u128,
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl Target {
    /// Connects.
    pub(crate) fn connect(&self) -> Result<Client, postgres::Error> {
        match &self.tls {
            Some(tls) => self.config.connect(tls.clone()),
            None => self.config.connect(NoTls),
        }
    }
}

/// Reads a URL. `sslmode` is `disable`, `require`, `verify-ca` or `verify-full`; the last three
/// mean the same here: TLS, and a certificate that the system's authorities, or those in the file
/// `sslrootcert`, vouch for. Without it, a socket of this machine is spoken to plainly and
/// anything else over TLS.
pub(crate) fn target(url: &str, database: &str, options: &Options) -> Result<Target, StoreError> {
    let (url, mode, roots) = split(url);
    let foreign = |why| StoreError::Foreign { database: database.to_owned(), why };
    let mut config: Config =
        url.parse().map_err(|_source| foreign("its URL can't be read as one of PostgreSQL"))?;
    let is_secure = match mode.as_deref() {
        Some("disable") => false,
        Some("require" | "verify-ca" | "verify-full") => true,
        Some(_) => {
            return Err(foreign("its `sslmode` is none of `disable`, `require`, `verify-full`"));
        }
        None => !config.get_hosts().iter().all(is_of_this_machine),
    };
    config.ssl_mode(if is_secure { SslMode::Require } else { SslMode::Disable });
    config.connect_timeout(CONNECT).tcp_user_timeout(SILENCE).application_name("handover");
    let tls = is_secure.then(|| tls(roots.as_deref(), database)).transpose()?;
    let patience_ms = options.busy.as_millis();
    Ok(Target { database: database.to_owned(), patience_ms, config, tls })
}

/// The URL without what the driver does not know, `sslmode`, and `sslrootcert`.
fn split(url: &str) -> (String, Option<String>, Option<String>) {
    let (mut mode, mut roots) = (None, None);
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None, None) };
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value.to_owned()),
            Some(("sslrootcert", value)) => roots = Some(value.to_owned()),
            Some(_) | None => kept.push(pair),
        }
    }
    let query = kept.join("&");
    (if query.is_empty() { base.to_owned() } else { format!("{base}?{query}") }, mode, roots)
}

fn is_of_this_machine(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
    }
}

fn tls(roots_file: Option<&str>, database: &str) -> Result<MakeRustlsConnect, StoreError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = roots_file {
        let failed = || StoreError::Foreign {
            database: database.to_owned(),
            why: "the file `sslrootcert` of its URL holds no certificate that can be read",
        };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|_source| failed())?;
        for certificate in certificates {
            let certificate = certificate.map_err(|_source| failed())?;
            roots.add(certificate).map_err(|_source| failed())?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| StoreError::Unreachable {
            database: database.to_owned(),
            source: Arc::new(source),
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_secure(url: &str) -> Option<bool> {
        let options =
            Options::new("0.1.0".parse().unwrap(), handover_model::Timestamp::from_micros(0));
        target(url, "it", &options).ok().map(|target| target.tls.is_some())
    }

    #[test]
    fn tls_is_the_rule_beyond_this_machine() {
        assert_eq!(is_secure("postgres://ann@db.example.com/d"), Some(true));
        assert_eq!(is_secure("postgres://ann@127.0.0.1/d"), Some(false));
        assert_eq!(is_secure("postgres://ann@localhost/d?sslmode=require"), Some(true));
        assert_eq!(is_secure("postgres://ann@db.example.com/d?sslmode=disable"), Some(false));
        assert_eq!(is_secure("postgres:///d?host=/run/postgresql"), Some(false));
    }

    #[test]
    fn a_mode_that_may_fall_back_to_plain_text_is_refused() {
        assert_eq!(is_secure("postgres://ann@db.example.com/d?sslmode=prefer"), None);
        assert_eq!(is_secure("postgres://ann@db.example.com/d?sslmode=verify_full"), None);
    }
}
