//! Which connections waste their place: those whose request never gets complete, and those that
//! have nothing to say. One sweep a second looks at all of them, so that a request costs no timer.

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// One connection's signs of life. Times are in sweeps.
#[derive(Debug)]
pub(super) struct Pulse {
    tick: Arc<AtomicU32>,
    /// When something was last read or written.
    stirred: AtomicU32,
    /// When the head began that is not complete yet; 0: no head is under way.
    head: AtomicU32,
    /// Requests that are being answered.
    serving: AtomicU32,
    /// HTTP/2 sends frames of its own, which are no head.
    is_h2: bool,
    end: Notify,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Pulses {
    tick: Arc<AtomicU32>,
    head: u32,
    idle: u32,
    all: Mutex<Vec<Arc<Pulse>>>,
}

impl Pulses {
    pub(super) fn new(head: Duration, idle: Duration) -> Self {
        let sweeps = |length: Duration| u32::try_from(length.as_secs()).unwrap_or(u32::MAX).max(1);
        Self {
            tick: Arc::new(AtomicU32::new(1)),
            head: sweeps(head),
            idle: sweeps(idle),
            all: Mutex::default(),
        }
    }

    pub(super) fn add(&self, is_h2: bool) -> Arc<Pulse> {
        let now = self.tick.load(Ordering::Relaxed);
        let pulse = Arc::new(Pulse {
            tick: Arc::clone(&self.tick),
            stirred: AtomicU32::new(now),
            // A connection that was made and says nothing is as bad as half a head.
            head: AtomicU32::new(if is_h2 { 0 } else { now }),
            serving: AtomicU32::new(0),
            is_h2,
            end: Notify::new(),
        });
        self.lock().push(Arc::clone(&pulse));
        pulse
    }

    /// Ends what wastes its place, once a second, for ever.
    pub(super) async fn sweep(&self) {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            let now = self.tick.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            self.lock().retain(|pulse| {
                if pulse.is_wasted(now, self.head, self.idle) {
                    pulse.end.notify_one();
                }
                // The connection's task holds the others.
                Arc::strong_count(pulse) > 1
            });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Pulse>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// A request is complete and being answered, until the guard is dropped.
    pub(super) fn begin(&self) -> Serving<'_> {
        self.serving.fetch_add(1, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
        Serving(self)
    }

    /// Waits for the sweep to end this connection.
    pub(super) async fn ended(&self) {
        self.end.notified().await;
    }

    fn is_wasted(&self, now: u32, head: u32, idle: u32) -> bool {
        if self.serving.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let began = self.head.load(Ordering::Relaxed);
        let stirred = self.stirred.load(Ordering::Relaxed);
        (began != 0 && now.saturating_sub(began) > head) || now.saturating_sub(stirred) > idle
    }

    fn was_read(&self) {
        let now = self.tick.load(Ordering::Relaxed);
        self.stirred.store(now, Ordering::Relaxed);
        let is_head = !self.is_h2
            && self.serving.load(Ordering::Relaxed) == 0
            && self.head.load(Ordering::Relaxed) == 0;
        if is_head {
            self.head.store(now, Ordering::Relaxed);
        }
    }

    fn was_written(&self) {
        self.stirred.store(self.tick.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Serving<'p>(&'p Pulse);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.serving.fetch_sub(1, Ordering::Relaxed);
        self.0.was_written();
    }
}

/// A stream that tells its pulse what it does.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    pulse: Arc<Pulse>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pulse.was_read();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if matches!(polled, Poll::Ready(Ok(1..))) {
            self.pulse.was_written();
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if matches!(polled, Poll::Ready(Ok(1..))) {
            self.pulse.was_written();
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulses() -> Pulses {
        Pulses::new(Duration::from_secs(10), Duration::from_mins(10))
    }

    #[test]
    fn half_a_head_is_waste_after_its_time_however_often_it_drips() {
        let pulses = pulses();
        let pulse = pulses.add(false);
        for tick in 1..=12 {
            pulses.tick.store(tick, Ordering::Relaxed);
            pulse.was_read();
        }
        assert!(pulse.is_wasted(12, pulses.head, pulses.idle));
        drop(pulse.begin());
        assert!(!pulse.is_wasted(12, pulses.head, pulses.idle), "the head became complete");
    }

    #[test]
    fn a_kept_connection_may_be_silent_for_long_but_not_for_ever() {
        let pulses = pulses();
        let pulse = pulses.add(false);
        drop(pulse.begin());
        assert!(!pulse.is_wasted(500, pulses.head, pulses.idle));
        assert!(pulse.is_wasted(700, pulses.head, pulses.idle));
        let _serving = pulse.begin();
        assert!(!pulse.is_wasted(5000, pulses.head, pulses.idle), "a long poll is no silence");
    }
}
