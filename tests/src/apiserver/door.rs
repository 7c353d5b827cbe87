//! The thread that listens, and the connections that it serves.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::sched::{CloneFlags, setns};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::serve;
use super::state::Shared;
use crate::traffic::meet::once_free;

/// A listening server; closed with all its connections when dropped.
#[derive(Debug)]
pub(super) struct Door {
    close: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    /// Listens at an address of a network namespace.
    pub(super) fn open(netns: File, address: SocketAddr, shared: Arc<Shared>) -> Result<Self> {
        let (close, closed) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            let listening = listen(&netns, address);
            match listening {
                Ok(listener) => {
                    let _ = tell.send(Ok(()));
                    // Its end takes the connections along.
                    let _ = run(listener, &shared, closed);
                }
                Err(error) => {
                    let _ = tell.send(Err(error));
                }
            }
        });
        told.recv().map_err(|_| anyhow!("the server's thread ended"))??;
        Ok(Self { close: Some(close), thread: Some(thread) })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.close.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn listen(netns: &File, address: SocketAddr) -> Result<TcpListener> {
    setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).context("enter the server's namespace")?;
    let listener = once_free(|| TcpListener::bind(address)).with_context(|| format!("listen at {address}"))?;
    listener.set_nonblocking(true).context("listen without waiting")?;
    Ok(listener)
}

fn run(listener: TcpListener, shared: &Arc<Shared>, closed: oneshot::Receiver<()>) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build().context("make an event loop")?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).context("listen")?;
        let accept = async {
            loop {
                let (stream, _) = listener.accept().await.context("accept")?;
                tokio::spawn(connection(stream, Arc::clone(shared)));
            }
        };
        tokio::select! {
            _ = closed => Ok(()),
            ended = accept => ended,
        }
    })
}

/// Serves a connection to its end, or until the test ends them all.
async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let mut signals = shared.signals.subscribe();
    let born = signals.borrow().connections;
    let serve = async {
        let _ = stream.set_nodelay(true);
        let config = Arc::clone(&shared.state().authority.config);
        let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else { return };
        let service = service_fn(|request| serve::answer(Arc::clone(&shared), request));
        // A client may leave as it likes.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    };
    tokio::select! {
        () = serve => {}
        _ = signals.wait_for(|signals| signals.connections > born) => {}
    }
}
