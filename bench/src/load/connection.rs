//! One TLS connection that carries one HTTP/1.1 exchange after the other.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use anyhow::Context;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Target;

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    address: SocketAddr,
    config: Arc<ClientConfig>,
}

/// An open connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    answer: Vec<u8>,
    filled: usize,
}

/// An answer; its bytes are in the connection until the next exchange.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Range<usize>,
}

impl Connector {
    /// Connections to a server, each with a full handshake.
    pub(crate) fn new(target: &Target) -> anyhow::Result<Self> {
        Self::with(target, Resumption::disabled())
    }

    fn with(target: &Target, resumption: Resumption) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for pem in &target.roots {
            roots.add(CertificateDer::from_pem_slice(pem.as_bytes())?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = resumption;
        Ok(Self { address: target.address, config: Arc::new(config) })
    }

    /// The same, resuming sessions by tickets.
    pub(crate) fn resuming(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(8);
        Self { address: self.address, config: Arc::new(config) }
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(self.address).await.context("can't connect")?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(name, stream).await.context("the handshake failed")?;
        Ok(Connection { stream, answer: vec![0; 4096], filled: 0 })
    }
}

impl Connection {
    /// Sends a request and reads its answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.filled = 0;
        loop {
            if let Some(answer) = self.parse()? {
                return Ok(answer);
            }
            if self.filled == self.answer.len() {
                self.answer.resize(self.filled * 2, 0);
            }
            let free = self.answer.get_mut(self.filled..).unwrap_or_default();
            let read = self.stream.read(free).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.filled += read;
        }
    }

    /// The bytes of an answer's body.
    pub(crate) fn body(&self, answer: &Answer) -> &[u8] {
        self.answer.get(answer.body.clone()).unwrap_or_default()
    }

    /// Whether the handshake was a resumed one.
    pub(crate) fn is_resumed(&self) -> bool {
        self.stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// The answer, once it is there whole. Ours always say how long they are.
    fn parse(&self) -> io::Result<Option<Answer>> {
        let bad = || io::Error::other("this is no answer of HTTP/1.1 with a length");
        let filled = self.answer.get(..self.filled).unwrap_or_default();
        let Some(end) = find(filled, b"\r\n\r\n") else { return Ok(None) };
        let head = filled.get(..end + 2).unwrap_or_default();
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<usize>().ok();
        let status = head.get(9..12).and_then(number).ok_or_else(bad)?;
        let name = b"content-length: ";
        let at = find(head, name).ok_or_else(bad)? + name.len();
        let rest = head.get(at..).unwrap_or_default();
        let length = find(rest, b"\r\n").and_then(|end| rest.get(..end)).and_then(number);
        let body = end + 4..end + 4 + length.ok_or_else(bad)?;
        let status = u16::try_from(status).unwrap_or(0);
        Ok((filled.len() >= body.end).then_some(Answer { status, body }))
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
