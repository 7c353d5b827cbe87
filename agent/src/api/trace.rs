//! `GET /v1/trace`: the packets that match, at every hook, while the client listens.

use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::oneshot;
use tokio::task::spawn_local;
use weft_abi::{Addr, TraceFilter};
use weft_cni::api::{ApiError, ErrorKind};

use crate::flow::protocol;
use crate::kernel::Kernel;
use crate::text;

use super::App;
use super::body::ReplyBody;
use super::error::invalid;
use super::query::Query;

/// Which packets.
pub(super) fn parse(query: Option<&str>) -> Result<TraceFilter, ApiError> {
    let query = Query::parse(query, &["address", "port", "protocol"])?;
    let addresses = query.all("address", "an address", |value| value.parse::<IpAddr>().ok())?;
    let mut addrs = [Addr::default(); 2];
    if addresses.len() > addrs.len() {
        return Err(invalid("parameter address comes more than twice: a packet has one at each end".to_owned()));
    }
    for (addr, address) in addrs.iter_mut().zip(addresses) {
        *addr = address.into();
    }
    let port: Option<u16> = query.parsed("port", "a port")?;
    let protocol = query.one("protocol", "tcp, udp, icmp, icmpv6, sctp or a number", protocol::number)?;
    Ok(TraceFilter { enabled: 1, addrs, port: port.unwrap_or(0).to_be(), protocol: protocol.unwrap_or(0), pad: 0 })
}

pub(super) fn follow<K: Kernel>(app: &Rc<App<K>>, filter: TraceFilter) -> Result<ReplyBody, ApiError> {
    let busy = "another client traces already: end that first, there is one filter for the whole node";
    let lines = app.tracer.follow().ok_or_else(|| ApiError { kind: ErrorKind::Busy, message: busy.to_owned() })?;
    app.endpoints.kernel().trace(Some(filter)).inspect_err(|_| app.tracer.close())?;
    let (heard, gone) = oneshot::channel();
    let app = Rc::clone(app);
    spawn_local(async move {
        // Nothing is ever sent: the sender goes with the client.
        let _ = gone.await;
        app.tracer.close();
        if let Err(error) = app.endpoints.kernel().trace(None) {
            log::warn!("the programs still tell of packets that nobody traces: {}", text::chain(&error));
        }
    });
    Ok(ReplyBody::Lines(lines, Some(heard)))
}
