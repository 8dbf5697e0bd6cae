//! A body that another task fills.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

/// Pieces on their way. An error breaks the connection, so that nobody takes a part for the
/// whole.
struct Piped(mpsc::Receiver<io::Result<Bytes>>);

impl hyper::body::Body for Piped {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = self.get_mut().0.poll_recv(context);
        next.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// The body, and where to put its pieces.
pub(super) fn piped(ahead: usize) -> (mpsc::Sender<io::Result<Bytes>>, Body) {
    let (out, pieces) = mpsc::channel(ahead);
    (out, Body::new(Piped(pieces)))
}
