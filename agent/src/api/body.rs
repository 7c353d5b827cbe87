//! Bodies of requests and replies.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use weft_cni::api::{ApiError, ErrorKind};

use super::error::invalid;

/// The largest body that a request may have, in bytes.
const LIMIT: usize = 1024 * 1024;
/// How long a client may take to send it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The body of a reply: known whole, or made as things happen.
#[derive(Debug)]
pub(super) enum ReplyBody {
    Whole(Bytes),
    /// The end of a stream is heard by whoever waits for the sender to go.
    Lines(mpsc::Receiver<Bytes>, Option<oneshot::Sender<Infallible>>),
}

impl ReplyBody {
    pub(super) fn json(value: &impl Serialize) -> Result<Self, ApiError> {
        let mut json = serde_json::to_vec(value).map_err(|error| ApiError {
            kind: ErrorKind::Io,
            message: format!("the reply cannot be written as JSON: {error}"),
        })?;
        // For those who look at it with curl.
        json.push(b'\n');
        Ok(Self::Whole(json.into()))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Lines(lines, heard) => lines.poll_recv(context).map(|line| {
                if line.is_none() {
                    heard.take();
                }
                line.map(|line| Ok(Frame::data(line)))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Lines(..) => SizeHint::default(),
        }
    }
}

/// Reads a request's body as JSON.
pub(super) async fn read<T, B>(body: B) -> Result<T, ApiError>
where
    T: DeserializeOwned,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let whole = tokio::time::timeout(PATIENCE, Limited::new(body, LIMIT).collect())
        .await
        .map_err(|_| invalid(format!("the body did not come within {} s: send it at once", PATIENCE.as_secs())))?;
    let bytes = whole
        .map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => invalid(format!("the body is larger than {LIMIT} bytes: send less")),
            None => invalid(format!("the body did not come whole: {error}")),
        })?
        .to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| invalid(format!("the body is not what this request takes: {error}")))
}
