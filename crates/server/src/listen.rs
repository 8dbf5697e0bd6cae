//! The one port: TLS, HTTP/1.1 and HTTP/2 by ALPN, limits on connections and on their patience.

mod pulse;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::tls::H2;
use crate::{AppState, gateway};
use pulse::{Pulse, Pulses, Watched};

/// The most that the head of a request may have, in bytes.
const LARGEST_HEAD: usize = 16 * 1024;
/// The most headers.
const MOST_HEADERS: usize = 64;
/// Requests at once on one HTTP/2 connection.
const MOST_STREAMS: u32 = 256;

/// Takes connections until the server stops.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    state: AppState,
) {
    let front = Arc::new(Front {
        acceptor: TlsAcceptor::from(tls),
        router,
        pulses: Pulses::new(state.config.limits.head, state.config.limits.idle),
        state,
    });
    let places = Arc::new(Semaphore::new(front.state.config.limits.connections));
    let sweeping = Arc::clone(&front);
    front.state.tasks.spawn(async move {
        let sweep = sweeping.pulses.sweep();
        tokio::select! { () = sweep => {}, () = sweeping.state.stop.cancelled() => {} }
    });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = front.state.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _peer)) => {
                // A connection too many is closed at once: its client comes again, and those who
                // are served stay so.
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let front = Arc::clone(&front);
                let tasks = front.state.tasks.clone();
                tasks.spawn(async move { front.connection(stream, place).await });
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Out of files or memory: looking again at once would only burn the processor.
async fn pause_after(error: &io::Error) {
    tracing::warn!(error = %error, "connection not taken");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

struct Front {
    acceptor: TlsAcceptor,
    router: Router,
    pulses: Pulses,
    state: AppState,
}

impl Front {
    async fn connection(self: Arc<Self>, stream: TcpStream, place: OwnedSemaphorePermit) {
        let limit = self.state.config.limits.head;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = %error, "connection gone");
            return;
        }
        let handshake = tokio::time::timeout(limit, self.acceptor.accept(stream));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "handshake failed");
                return;
            }
            Err(_elapsed) => return,
        };
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
        let pulse = self.pulses.add(is_h2);
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&pulse)));
        let front = Arc::clone(&self);
        let beat = Arc::clone(&pulse);
        let service = service_fn(move |request| {
            let (front, beat) = (Arc::clone(&front), Arc::clone(&beat));
            async move { Ok::<_, std::convert::Infallible>(front.answer(request, &beat).await) }
        });
        let stop = self.state.stop.clone();
        if is_h2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(MOST_STREAMS)
                .max_header_list_size(u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX))
                .keep_alive_interval(Duration::from_mins(1))
                .keep_alive_timeout(Duration::from_secs(20));
            let mut connection = std::pin::pin!(builder.serve_connection(io, service));
            tokio::select! {
                done = connection.as_mut() => note(done),
                () = pulse.ended() => {}
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    note(connection.await);
                }
            }
        } else {
            let mut builder = http1::Builder::new();
            builder
                .max_buf_size(LARGEST_HEAD)
                .max_headers(MOST_HEADERS)
                .header_read_timeout(None)
                .pipeline_flush(true);
            let mut connection = std::pin::pin!(builder.serve_connection(io, service));
            tokio::select! {
                done = connection.as_mut() => note(done),
                () = pulse.ended() => {}
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    note(connection.await);
                }
            }
        }
        drop(place);
    }

    async fn answer(&self, request: Request<Incoming>, pulse: &Pulse) -> Response<Body> {
        let _serving = pulse.begin();
        if request.uri().path() == gateway::SYNC && request.method() == http::Method::POST {
            return gateway::sync(&self.state, request.map(Body::new)).await;
        }
        let served = self.router.clone().oneshot(request.map(Body::new));
        match served.await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

fn note(done: hyper::Result<()>) {
    if let Err(error) = done {
        tracing::debug!(error = %crate::problem::Chain(&error), "connection ended");
    }
}
