//! Receivers that misbehave, on loopback.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Answers one call on `stream` with these bytes.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: Vec<u8>) {
    let mut read = [0; 4096];
    let _head = stream.read(&mut read).await;
    let _sent = stream.write_all(&bytes).await;
    let _sent = stream.shutdown().await;
}

async fn call_of(answered: &[u8]) -> Result<Answer, OutboundError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, answered.to_vec()).await;
    };
    let outbound = Outbound::default();
    let called = outbound.call(get(&format!("http://127.0.0.1:{port}/x?y")));
    tokio::join!(serve, called).1
}

fn get(url: &str) -> Outgoing {
    let to = url.parse().unwrap();
    Outgoing { method: Method::GET, to, headers: Vec::new(), body: Bytes::new() }
}

#[tokio::test]
async fn an_answer_is_read_whole_and_a_redirection_is_not_followed() {
    let whole = call_of(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
    assert_eq!((whole.status, &whole.body[..]), (StatusCode::OK, &b"{}"[..]));
    let other = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(call_of(other).await.unwrap().status, StatusCode::FOUND);
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_off() {
    let mut long = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    long.resize(MOST + 1000, b'x');
    assert!(matches!(call_of(&long).await, Err(OutboundError::TooLong { .. })));
    let mut long = b"HTTP/1.1 500 No\r\n\r\n".to_vec();
    long.resize(MOST + 1000, b'x');
    assert_eq!(call_of(&long).await.unwrap().status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_receiver_that_hangs_up_or_talks_nonsense_is_an_error() {
    assert!(matches!(call_of(b"").await, Err(OutboundError::Broken { .. })));
    assert!(matches!(call_of(b"220 mail\r\n\r\n").await, Err(OutboundError::Broken { .. })));
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}";
    assert!(matches!(call_of(half).await, Err(OutboundError::Broken { .. })));
}

#[tokio::test]
async fn a_receiver_that_hangs_is_left_after_ten_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let outbound = Outbound::default();
    let mut called = pin!(outbound.call(get(&format!("http://127.0.0.1:{port}/"))));
    let taken = tokio::select! {
        taken = listener.accept() => taken.unwrap(),
        done = &mut called => panic!("{done:?}"),
    };
    // From here on nothing but the clock moves.
    tokio::time::pause();
    assert!(matches!(called.await, Err(OutboundError::Slow { .. })));
    drop(taken);
}

#[tokio::test]
async fn https_is_spoken_with_whom_the_roots_vouch_for_alone() {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
    let private = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.clone(), private)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let serve = async || {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(stream) = acceptor.accept(stream).await {
            answer(stream, b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()).await;
        }
    };

    let mut roots = RootCertStore::empty();
    roots.add(chain[0].clone()).unwrap();
    let config = tls(async { roots }).await.unwrap();
    let trusting = Outbound { tls: OnceCell::new_with(Some(config)) };
    let (_served, answered) = tokio::join!(serve(), trusting.call(get(&url)));
    assert_eq!(answered.unwrap().status, StatusCode::NO_CONTENT);

    let stranger = Outbound::default();
    let (_served, answered) = tokio::join!(serve(), stranger.call(get(&url)));
    assert!(matches!(answered, Err(OutboundError::Tls { .. })));
}
