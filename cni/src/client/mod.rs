//! The way to the agent: HTTP/1.1 over its unix socket, blocking, each request with a deadline.

mod connection;
#[cfg(test)]
pub(crate) mod fake_agent;
mod http;
mod lines;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::{ApiError, ErrorKind};

use connection::Connection;
use http::Response;
pub use lines::Lines;

/// A client of one agent. Requests that follow each other share a connection.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    idle: Option<Connection>,
}

/// A request got no answer, or a bad one.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("the agent is not running: nobody listens on {}; start weft-agent and try again", socket.display())]
    Away {
        /// The agent's socket.
        socket: PathBuf,
        /// Why it could not be reached.
        source: io::Error,
    },
    /// The connection could not be made for another reason: permissions, most often.
    #[error("connecting to the agent's socket {} failed", socket.display())]
    Connect {
        /// The agent's socket.
        socket: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The connection broke before the answer was complete; the request may have been carried out.
    #[error("the agent went away during the request {request}; try again")]
    Broken {
        /// Method and path.
        request: String,
        /// What failed.
        source: io::Error,
    },
    /// No answer came in time; the request may still be carried out.
    #[error("the agent did not answer {request} in time; try again")]
    Timeout {
        /// Method and path.
        request: String,
    },
    /// The answer is not what this version of weft understands.
    #[error("the agent's answer to {request} is not understood")]
    Protocol {
        /// Method and path.
        request: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request could not be written as JSON.
    #[error("the request {request} could not be encoded")]
    Encode {
        /// Method and path.
        request: String,
        /// What failed.
        source: serde_json::Error,
    },
    /// The agent refused.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl ClientError {
    /// Whether the agent is away: it could not be reached, or was lost on the way.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Broken { .. } | Self::Timeout { .. })
    }

    /// The kind of the agent's refusal.
    pub fn kind(&self) -> Option<ErrorKind> {
        if let Self::Api(error) = self { Some(error.kind) } else { None }
    }
}

impl Client {
    /// A client of the agent that listens on `socket`. Connects with the first request.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), idle: None }
    }

    /// The agent's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET path`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn get<T: DeserializeOwned>(&mut self, path: &str, deadline: Instant) -> Result<T, ClientError> {
        self.exchange("GET", path, &[], deadline)
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
        deadline: Instant,
    ) -> Result<T, ClientError> {
        self.exchange("POST", path, &encode("POST", path, body)?, deadline)
    }

    /// `PUT path` with a JSON body.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn put<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
        deadline: Instant,
    ) -> Result<T, ClientError> {
        self.exchange("PUT", path, &encode("PUT", path, body)?, deadline)
    }

    /// `DELETE path`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn delete<T: DeserializeOwned>(&mut self, path: &str, deadline: Instant) -> Result<T, ClientError> {
        self.exchange("DELETE", path, &[], deadline)
    }

    /// `GET path`, whose answer comes line by line for as long as the agent has any. `within` bounds the time
    /// until the answer begins, not the answer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn follow(&self, path: &str, within: Duration) -> Result<Lines, ClientError> {
        let request = format!("GET {path}");
        let connection = Connection::open(&self.socket, Instant::now() + within)?;
        let response = send(connection, "GET", path, &[]).map_err(|error| broken(&request, error))?;
        if response.status >= 400 {
            return Err(refusal(&request, response));
        }
        let body = response.into_stream().map_err(|error| broken(&request, error))?;
        Ok(Lines::new(body))
    }

    fn exchange<T: DeserializeOwned>(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
        deadline: Instant,
    ) -> Result<T, ClientError> {
        let request = format!("{method} {path}");
        let mut response = self.round_trip(&request, method, path, body, deadline)?;
        if response.status >= 400 {
            return Err(refusal(&request, response));
        }
        let answer = response.read_body().map_err(|error| broken(&request, error))?;
        self.idle = response.into_idle();
        // An answer without a body is read as `()`.
        let answer = if answer.is_empty() { b"null" } else { answer.as_slice() };
        serde_json::from_slice(answer).map_err(|error| ClientError::Protocol { request, source: error.into() })
    }

    fn round_trip(
        &mut self,
        request: &str,
        method: &str,
        path: &str,
        body: &[u8],
        deadline: Instant,
    ) -> Result<Response, ClientError> {
        // The agent may close a connection that idles. Every method but POST may be sent again.
        if let Some(mut idle) = self.idle.take().filter(|_| method != "POST") {
            idle.set_deadline(deadline);
            match send(idle, method, path, body) {
                Err(error) if is_lost(&error) => {}
                other => return other.map_err(|error| broken(request, error)),
            }
        }
        let connection = Connection::open(&self.socket, deadline)?;
        send(connection, method, path, body).map_err(|error| broken(request, error))
    }
}

fn send(mut connection: Connection, method: &str, path: &str, body: &[u8]) -> io::Result<Response> {
    connection.write_all(&http::request(method, path, body))?;
    Response::read(connection)
}

fn encode(method: &str, path: &str, body: &impl Serialize) -> Result<Vec<u8>, ClientError> {
    let failed = |source| ClientError::Encode { request: format!("{method} {path}"), source };
    serde_json::to_vec(body).map_err(failed)
}

fn refusal(request: &str, mut response: Response) -> ClientError {
    let body = match response.read_body() {
        Ok(body) => body,
        Err(error) => return broken(request, error),
    };
    if let Ok(error) = serde_json::from_slice::<ApiError>(&body) {
        return ClientError::Api(error);
    }
    let source = format!("status {}: {}", response.status, String::from_utf8_lossy(&body)).into();
    ClientError::Protocol { request: request.to_owned(), source }
}

fn broken(request: &str, error: io::Error) -> ClientError {
    let request = request.to_owned();
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Timeout { request },
        io::ErrorKind::InvalidData => ClientError::Protocol { request, source: error.into() },
        _ => ClientError::Broken { request, source: error },
    }
}

fn is_lost(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

#[cfg(test)]
mod tests;
