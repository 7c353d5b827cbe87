//! TLS to the API server, and one request.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

use crate::connectivity::Api;

use super::error::ConnectivityError;
use super::http::{Head, PATIENCE};
use super::target;

/// The status of its version page; nobody says who asks, so any status is an answer.
pub(super) fn ask(question: &Api) -> Result<u16, ConnectivityError> {
    let server = target::find(&question.to)?;
    let config = config(&question.authority)?;
    let name = ServerName::try_from(question.name.clone());
    let name = name.map_err(|_| ConnectivityError::Name { name: question.name.clone() })?;
    let tls = |source| ConnectivityError::Tls { with: server.to_string(), source };
    let client = ClientConnection::new(Arc::new(config), name).map_err(tls)?;
    let stream = connect(server).map_err(ConnectivityError::io("connect to", server))?;
    let mut stream = StreamOwned::new(client, stream);
    write!(stream, "GET /version HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", question.name)
        .map_err(ConnectivityError::io("ask", server))?;
    let head = Head::read(&mut BufReader::new(stream)).map_err(ConnectivityError::io("read the answer of", server))?;
    let status = head.first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let with = server.to_string();
    status.ok_or(ConnectivityError::Answer { with, got: head.first, wanted: "an HTTP status" })
}

fn connect(server: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn config(authority: &str) -> Result<ClientConfig, ConnectivityError> {
    let wrong = |source| ConnectivityError::Certificate { file: authority.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).map_err(|error| wrong(error.into()))? {
        let certificate = certificate.map_err(|error| wrong(error.into()))?;
        roots.add(certificate).map_err(|error| wrong(error.into()))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| wrong(error.into()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
