//! Accepts connections and answers their requests, until the agent stops.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::spawn_local;
use weft_cni::api::{ApiError, ErrorKind};

use crate::kernel::Kernel;

use super::body::{ReplyBody, read};
use super::route::Route;
use super::{App, attachments, drops, endpoints, error, flows, gc, health, maps, nat, peers, ports, status, trace};

/// How long a client may take to send a request's head, or to ask for something at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted: descriptors ran out, most often.
const BREATH: Duration = Duration::from_millis(100);

/// Serves the API. Ends when the agent stops; connections end by themselves soon after.
pub(crate) async fn serve_socket<K: Kernel>(app: Rc<App<K>>, listener: UnixListener, stopping: watch::Receiver<bool>) {
    let accept = async || listener.accept().await.map(|(stream, _)| stream);
    serve(accept, stopping, move |request| answer(Rc::clone(&app), request)).await;
}

/// Serves health and metrics. Ends like [`serve_socket`].
pub(crate) async fn serve_health<K: Kernel>(app: Rc<App<K>>, listener: TcpListener, stopping: watch::Receiver<bool>) {
    let accept = async || listener.accept().await.map(|(stream, _)| stream);
    serve(accept, stopping, move |request: Request<_>| {
        let response = health::respond(&app, request.method(), request.uri().path());
        async { response }
    })
    .await;
}

/// Accepts connections, each served by a task of its own.
async fn serve<S, H, F>(accept: impl AsyncFn() -> io::Result<S>, mut stopping: watch::Receiver<bool>, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Fn(Request<hyper::body::Incoming>) -> F + Clone + 'static,
    F: Future<Output = Response<ReplyBody>> + 'static,
{
    loop {
        let accepted = tokio::select! {
            accepted = accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match accepted {
            Ok(stream) => drop(spawn_local(connection(stream, stopping.clone(), handle.clone()))),
            Err(error) => {
                log::warn!("a connection cannot be accepted: {error}");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// One connection: request after request, none that begins after the agent stops.
async fn connection<S, H, F>(stream: S, mut stopping: watch::Receiver<bool>, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<hyper::body::Incoming>) -> F,
    F: Future<Output = Response<ReplyBody>>,
{
    let service = service_fn(|request| {
        let response = handle(request);
        async { Ok::<_, Infallible>(response.await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.wait_for(|stopping| *stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        log::debug!("a connection ended early: {error}");
    }
}

/// Answers one request. The work goes on to its end even if the client hangs up.
pub(super) async fn answer<K, B>(app: Rc<App<K>>, request: Request<B>) -> Response<ReplyBody>
where
    K: Kernel,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let (head, body) = request.into_parts();
    let begun = Instant::now();
    let (verb, outcome) = match Route::parse(&head.method, head.uri.path(), head.uri.query()) {
        Ok(route) => {
            let (verb, app) = (route.verb(), Rc::clone(&app));
            let work = spawn_local(async move { perform(&app, route, body).await });
            (verb, work.await.unwrap_or_else(|error| Err(abandoned(&error))))
        }
        Err(error) => ("unknown", Err(error)),
    };
    let (status, body) = outcome.unwrap_or_else(|error| {
        log::debug!("{} {}: {error}", head.method, head.uri);
        (error::status(error.kind), ReplyBody::json(&error).unwrap_or(ReplyBody::Whole(hyper::body::Bytes::new())))
    });
    app.requests.observe(verb, status.as_u16(), begun.elapsed());
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    response
}

type Outcome = Result<(StatusCode, ReplyBody), ApiError>;

async fn perform<K, B>(app: &Rc<App<K>>, route: Route, body: B) -> Outcome
where
    K: Kernel,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let reply = match route {
        Route::Lease => {
            let lease = attachments::lease(app, read(body).await?).await?;
            return Ok((StatusCode::CREATED, ReplyBody::json(&lease)?));
        }
        Route::Check(key) => return empty(attachments::check(app, &key, &read(body).await?).await),
        Route::Remove(key) => return empty(attachments::remove(app, &key).await),
        Route::HandOver(key) => ReplyBody::json(&attachments::hand_over(app, &key, read(body).await?).await?),
        Route::SetBandwidth(key) => ReplyBody::json(&attachments::set_bandwidth(app, &key, read(body).await?).await?),
        Route::Get(key) => ReplyBody::json(&attachments::get(app, &key)?),
        Route::CollectGarbage => ReplyBody::json(&gc::collect(app, &read(body).await?).await),
        Route::Status => ReplyBody::json(&status::status(app)),
        Route::Endpoints => ReplyBody::json(&endpoints::list(app)),
        Route::Ports => ReplyBody::json(&ports::list(app)),
        Route::Peers => ReplyBody::json(&peers::list(app)),
        Route::Maps => ReplyBody::json(&maps::list(app)?),
        Route::Dump(name) => ReplyBody::json(&maps::dump(app, &name)?),
        Route::Drops { follow: false } => ReplyBody::json(&drops::list(app)?),
        Route::Drops { follow: true } => Ok(ReplyBody::Lines(app.drops.follow(), None)),
        Route::Flows(wanted) => ReplyBody::json(&flows::list(app, wanted).await?),
        Route::Nat { limit } => ReplyBody::json(&nat::list(app, limit).await?),
        Route::Trace(filter) => trace::follow(app, filter),
    };
    Ok((StatusCode::OK, reply?))
}

fn empty(done: Result<(), ApiError>) -> Outcome {
    done.map(|()| (StatusCode::NO_CONTENT, ReplyBody::Whole(hyper::body::Bytes::new())))
}

fn abandoned(error: &tokio::task::JoinError) -> ApiError {
    ApiError { kind: ErrorKind::Kernel, message: format!("the request was abandoned: {error}; see the agent's log") }
}
