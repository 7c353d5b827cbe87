//! Unary gRPC calls over a Unix socket: a POST on HTTP/2, a message with a length, a status in the trailers.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{SendRequest, handshake};
use http::{HeaderMap, Request, header};
use percent_encoding::percent_decode_str;
use prost::Message;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// A connection to a gRPC server.
#[derive(Debug)]
pub(super) struct Connection {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
}

/// Longer than any call takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

impl Connection {
    /// Connects to a server's socket.
    pub(super) fn open(socket: &Path) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("make an event loop")?;
        let requests = runtime.block_on(async {
            let stream =
                UnixStream::connect(socket).await.with_context(|| format!("connect to {}", socket.display()))?;
            let (requests, connection) = handshake(stream).await.context("greet the server")?;
            // Ends with the connection, whose errors the calls report.
            tokio::spawn(connection);
            anyhow::Ok(requests)
        })?;
        Ok(Self { runtime, requests })
    }

    /// Calls a method by its full name; a status other than OK is an error with the server's message.
    pub(super) fn call<Reply: Message + Default>(&self, method: &str, request: &impl Message) -> Result<Reply> {
        let body = frame(request)?;
        let answer = async { timeout(DEADLINE, self.exchange(method, body)).await.context("no answer in time")? };
        let reply = self.runtime.block_on(answer).with_context(|| method.to_owned())?;
        parse(&reply).with_context(|| method.to_owned())
    }

    async fn exchange(&self, method: &str, body: Bytes) -> Result<Bytes> {
        let request = Request::post(format!("http://localhost/{method}"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(())?;
        let mut requests = self.requests.clone().ready().await?;
        let (response, mut stream) = requests.send_request(request, false)?;
        stream.send_data(body, true)?;
        let (head, mut stream) = response.await?.into_parts();
        let reply = receive(&mut stream).await?;
        // A call that fails at once is answered by headers alone.
        let trailers = stream.trailers().await?;
        verdict(trailers.as_ref().unwrap_or(&head.headers))?;
        Ok(reply)
    }
}

async fn receive(stream: &mut RecvStream) -> Result<Bytes> {
    let mut received = BytesMut::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        received.put(chunk);
    }
    Ok(received.freeze())
}

fn verdict(trailers: &HeaderMap) -> Result<()> {
    let text = |name| trailers.get(name).and_then(|value| value.to_str().ok());
    let status = text("grpc-status").context("the answer has no status")?;
    if status != "0" {
        bail!("{} (status {status})", percent_decode_str(text("grpc-message").unwrap_or_default()).decode_utf8_lossy());
    }
    Ok(())
}

/// An uncompressed message behind its length.
fn frame(message: &impl Message) -> Result<Bytes> {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len())?);
    message.encode(&mut frame)?;
    Ok(frame.freeze())
}

fn parse<Reply: Message + Default>(frame: &[u8]) -> Result<Reply> {
    let (head, message) = frame.split_at_checked(5).context("the answer is too short")?;
    ensure!(head.first() == Some(&0), "the answer is compressed");
    Reply::decode(message).context("the answer cannot be decoded")
}
