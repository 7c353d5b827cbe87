//! What can go wrong between a client and a server.

use std::{fmt, io};

use weft_cni::client::ClientError;

/// A question could not be answered, or a server could not be.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ConnectivityError {
    #[error("{text:?} is no question: a JSON object with one key, like {{\"who\": {{\"to\": \"10.244.0.2:8080\"}}}}")]
    Question { text: String, source: serde_json::Error },
    #[error("{text:?} is not ADDRESS:PORT or NAME:PORT")]
    Target { text: String },
    #[error("cannot {act} {with}")]
    Io { act: &'static str, with: String, source: io::Error },
    #[error("{with} answered {got:?}, not {wanted}")]
    Answer { with: String, got: String, wanted: &'static str },
    #[error("{with} answered what is not understood: use the same version on both sides")]
    Decode { with: String, source: serde_json::Error },
    #[error("the connection to {with} broke after {messages} messages")]
    Broke { with: String, messages: u64, source: io::Error },
    #[error("nobody told {with} to finish within {seconds} s")]
    Endless { with: String, seconds: u32 },
    #[error("byte {at} of what {with} sent is wrong")]
    Altered { with: String, at: u64 },
    #[error("the name server {server} has no address for {name}: {why}")]
    NoName { server: String, name: String, why: &'static str },
    #[error("{file} names no name server")]
    NoServer { file: &'static str },
    #[error("{name:?} is no DNS name")]
    Name { name: String },
    #[error("cannot use the certificate in {file}")]
    Certificate { file: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("no TLS with {with}")]
    Tls { with: String, source: rustls::Error },
    #[error("the agent does not answer")]
    Agent(#[from] ClientError),
    #[error("{bytes} bytes of answers, and {room} fit: ask less at once")]
    TooLong { bytes: usize, room: usize },
}

impl ConnectivityError {
    pub(super) fn io(act: &'static str, with: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { act, with: with.to_string(), source }
    }
}
