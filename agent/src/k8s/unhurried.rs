//! The body of a watch, read in batches where much comes.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Frame};
use tokio::time::{Sleep, sleep};

/// A body that is left alone for a while once all that came was read. The heartbeats of a large cluster come one by
/// one, and to wake up for each costs more than to read it. News after a silence is read at once.
pub(super) struct Unhurried<B> {
    body: B,
    /// How long it is left alone; zero: never.
    every: Duration,
    /// Something was read since the last pause.
    fed: bool,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<B> Unhurried<B> {
    pub(super) fn new(body: B, every: Duration) -> Self {
        Self { body, every, fed: false, pause: None }
    }
}

impl<B: Body + Unpin> Body for Unhurried<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            self.fed = true;
        } else if !self.every.is_zero() && mem::take(&mut self.fed) {
            // Looked at when the next frame wakes the reader: a silent server costs no timer.
            self.pause = Some(Box::pin(sleep(self.every)));
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
    use futures::poll;
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::Bytes;
    use tokio::time::{Instant, advance};

    use super::*;

    type Part = Result<Frame<Bytes>, Infallible>;
    type Watch = Unhurried<StreamBody<UnboundedReceiver<Part>>>;

    fn fed_by_hand(every: Duration) -> (UnboundedSender<Part>, Watch) {
        let (feed, frames) = unbounded();
        (feed, Unhurried::new(StreamBody::new(frames), every))
    }

    fn send(feed: &UnboundedSender<Part>, text: &'static str) {
        feed.unbounded_send(Ok(Frame::data(Bytes::from(text)))).unwrap();
    }

    async fn read(body: &mut Watch) -> Bytes {
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_soon_after_waits_and_comes_together() {
        let every = Duration::from_millis(50);
        let (feed, mut body) = fed_by_hand(every);
        let started = Instant::now();
        send(&feed, "first");
        assert_eq!(read(&mut body).await, "first");
        assert!(poll!(body.frame()).is_pending());
        assert!(started.elapsed().is_zero());

        send(&feed, "soon");
        send(&feed, "with it");
        assert_eq!(read(&mut body).await, "soon");
        assert!(started.elapsed() >= every && started.elapsed() < 2 * every, "{:?}", started.elapsed());
        let now = Instant::now();
        assert_eq!(read(&mut body).await, "with it");
        assert!(poll!(body.frame()).is_pending());
        assert!(now.elapsed().is_zero());

        advance(every).await;
        send(&feed, "after a silence");
        let now = Instant::now();
        assert_eq!(read(&mut body).await, "after a silence");
        assert!(now.elapsed().is_zero());
        drop(feed);
        advance(every).await;
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_does_not_wait() {
        let (feed, mut body) = fed_by_hand(Duration::ZERO);
        let started = Instant::now();
        for text in ["a", "b"] {
            assert!(poll!(body.frame()).is_pending());
            send(&feed, text);
            assert_eq!(read(&mut body).await, text);
        }
        assert!(started.elapsed().is_zero());
    }
}
