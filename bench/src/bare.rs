//! The peer: TLS and HTTP/1.1 by the same libraries as the server, and an answer that is always
//! the same. Whatever the server costs beyond this is what it does.

use std::convert::Infallible;
use std::io::{self, BufRead as _, Write as _};
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What the bare server says when it listens.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listening {
    /// Its address.
    pub(crate) address: std::net::SocketAddr,
    /// The certificate to trust, PEM.
    pub(crate) root: String,
}

/// Serves what one line on standard input says as the answer, until it is ended.
pub(crate) fn main() -> anyhow::Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let answer = Bytes::from(serde_json::from_str::<String>(&line)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(answer))
}

async fn serve(answer: Bytes) -> anyhow::Result<()> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let listening = Listening { address: listener.local_addr()?, root: made.cert.pem() };
    let mut out = io::stdout();
    serde_json::to_writer(&mut out, &listening)?;
    out.write_all(b"\n")?;
    out.flush()?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(anyhow::Error::msg)
        .context("the key just made can't be read")?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _peer) = accepted?;
                connections.spawn(connection(acceptor.clone(), stream, answer.clone()));
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// A connection that breaks concerns nobody but its client.
async fn connection(acceptor: TlsAcceptor, stream: TcpStream, answer: Bytes) {
    let nodelay = stream.set_nodelay(true);
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer.clone();
        async move {
            // A body that breaks off ends the connection anyway.
            let _body = request.into_body().collect().await;
            let mut response = Response::new(Full::new(answer));
            let json = header::HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            Ok::<_, Infallible>(response)
        }
    });
    let served =
        http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service);
    let _ended = (nodelay, served.await);
}
