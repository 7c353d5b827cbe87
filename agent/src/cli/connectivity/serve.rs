//! `weft connectivity serve`: one port, TCP and UDP.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::error::CliError;
use crate::connectivity::Witness;

use super::error::ConnectivityError;
use super::http::{self, Head};
use super::{ServeArgs, exchange, large, rate, steady, who};

/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest time for which anybody is flooded.
const FLOOD_MAX: u64 = 600;

/// What the server says of itself.
#[derive(Debug)]
struct Server {
    pod: String,
    node: String,
    /// How often it has been told to finish; what began under another number ends.
    finished: AtomicU64,
}

pub(super) fn run(args: &ServeArgs) -> Result<(), CliError> {
    let server = Arc::new(Server { pod: args.pod.clone(), node: args.node.clone(), finished: AtomicU64::new(0) });
    for address in addresses(&args.address) {
        let address = SocketAddr::new(address, args.port);
        let listener = TcpListener::bind(address).map_err(ConnectivityError::io("listen at TCP", address))?;
        let socket = UdpSocket::bind(address).map_err(ConnectivityError::io("listen at UDP", address))?;
        let (accepting, answering) = (Arc::clone(&server), Arc::clone(&server));
        thread::spawn(move || accept(&listener, &accepting));
        thread::spawn(move || datagrams(&socket, &answering));
    }
    // The first process of a container has no default action for signals.
    let wait = || -> io::Result<()> {
        runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            signal(SignalKind::terminate())?.recv().await;
            Ok(())
        })
    };
    Ok(wait().map_err(ConnectivityError::io("wait for", "signals"))?)
}

/// Datagrams are answered from the address that they were sent to: one socket an address.
fn addresses(given: &[IpAddr]) -> Vec<IpAddr> {
    if !given.is_empty() {
        return given.to_vec();
    }
    let both = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    vec![if both { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }]
}

fn accept(listener: &TcpListener, server: &Arc<Server>) {
    for stream in listener.incoming().flatten() {
        let server = Arc::clone(server);
        // A client that hangs up early is its own affair.
        thread::spawn(move || serve(stream, &server));
    }
}

fn datagrams(socket: &UdpSocket, server: &Server) {
    let mut room = vec![0; exchange::LARGEST];
    loop {
        // An error here is one that a datagram of ours caused.
        let Ok((length, client)) = socket.recv_from(&mut room) else { continue };
        let question = room.get(..length).unwrap_or_default();
        if question == who::WORD {
            let _ = socket.send_to(server.sees(client).as_bytes(), client);
        } else if question.starts_with(large::WORD) {
            let _ = socket.send_to(question, client);
        }
    }
}

fn serve(mut stream: TcpStream, server: &Server) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let client = stream.peer_addr()?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let head = Head::read(&mut reader)?;
    let path = head.first.split(' ').nth(1).unwrap_or_default();
    let number = |prefix: &str| path.strip_prefix(prefix).and_then(|number| number.parse::<u64>().ok());
    match path {
        "/" | "/who" => http::reply(&mut stream, &server.sees(client)),
        "/finish" => {
            server.finished.fetch_add(1, Ordering::Relaxed);
            http::reply(&mut stream, "")
        }
        "/take" => match large::take(&mut reader, head.length)? {
            None => http::reply(&mut stream, &head.length.to_string()),
            Some(wrong) => http::reply(&mut stream, &format!("byte {wrong} is wrong")),
        },
        "/count" => {
            let kilobits = rate::count(&mut reader)?;
            http::reply(&mut stream, &serde_json::to_string(&kilobits)?)
        }
        "/echo" => echo(&mut reader, &mut stream, server),
        _ => match (number("/give/"), number("/flood/")) {
            (Some(bytes), _) => {
                http::head(&mut stream, bytes)?;
                large::give(&mut stream, bytes)
            }
            (_, Some(seconds)) => {
                http::head(&mut stream, u64::MAX)?;
                rate::flood(&mut stream, Duration::from_secs(seconds.min(FLOOD_MAX)))
            }
            _ => write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        },
    }
}

/// Each line comes back; once the server has been told to finish, with the mark of the end behind.
fn echo(reader: &mut impl BufRead, stream: &mut TcpStream, server: &Server) -> io::Result<()> {
    let began = server.finished.load(Ordering::Relaxed);
    http::head(stream, u64::MAX)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        let end = if server.finished.load(Ordering::Relaxed) == began { "" } else { steady::END };
        stream.write_all(format!("{}{end}\n", line.trim_end()).as_bytes())?;
        line.clear();
    }
    Ok(())
}

impl Server {
    fn sees(&self, client: SocketAddr) -> String {
        let client = client.ip().to_canonical();
        let witness = Witness { pod: self.pod.clone(), node: self.node.clone(), client, times: 1 };
        // Text and numbers: there is nothing that could not be written as JSON.
        serde_json::to_string(&witness).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Instant;

    use crate::connectivity::{Echo, Finish, Rate, Stream, Transfer, Transport, Way, Who};

    use super::*;

    /// A server of this process, at a port of its own.
    fn start() -> String {
        let server = Arc::new(Server { pod: "a".into(), node: "n".into(), finished: AtomicU64::new(0) });
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let listener = TcpListener::bind(address).unwrap();
        let answering = Arc::clone(&server);
        thread::spawn(move || datagrams(&socket, &answering));
        thread::spawn(move || accept(&listener, &server));
        address.to_string()
    }

    #[test]
    fn servers_say_who_they_are_and_whom_they_see() {
        let to = start();
        for over in [Transport::Tcp, Transport::Udp] {
            let seen = who::ask(&Who { to: to.clone(), over, times: 3, patience_ms: 0 }, Instant::now()).unwrap();
            let client = Ipv4Addr::LOCALHOST.into();
            assert_eq!(seen.by, [Witness { pod: "a".into(), node: "n".into(), client, times: 3 }], "{over:?}");
            assert_eq!(seen.tries, 1);
        }
    }

    #[test]
    fn nobody_there_is_an_error_in_time() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().to_string();
        let asked = Instant::now();
        let who = Who { to: free, over: Transport::Tcp, times: 1, patience_ms: 100 };
        assert!(who::ask(&who, asked).is_err());
        assert!(asked.elapsed() >= Duration::from_millis(100), "it was patient");
        assert!(asked.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn bytes_come_back_whole() {
        let to = start();
        let sizes = vec![100, 1472, 8000];
        assert_eq!(large::echo(&Echo { to: to.clone(), sizes: sizes.clone() }).unwrap(), sizes);
        large::transfer(&Transfer { to, bytes: 1 << 20 }).unwrap();
    }

    #[test]
    fn streams_end_when_the_server_is_told() {
        let to = start();
        let stream = Stream { to: to.clone(), seconds: 30 };
        let talking = thread::spawn(move || steady::talk(&stream));
        thread::sleep(Duration::from_secs(1));
        steady::finish(&Finish { to }).unwrap();
        let told = talking.join().unwrap().unwrap();
        assert!(told.messages > 5 && told.datagrams > 5, "{told:?}");
        assert_eq!(told.lost, 0);
    }

    #[test]
    fn a_stream_that_nobody_ends_is_an_error() {
        assert!(matches!(
            steady::talk(&Stream { to: start(), seconds: 0 }),
            Err(ConnectivityError::Endless { seconds: 0, .. })
        ));
    }

    #[test]
    fn both_ways_are_measured() {
        let to = start();
        for way in [Way::Out, Way::In] {
            // The receiver's clock starts later, and only its whole seconds count.
            let kilobits = rate::measure(&Rate { to: to.clone(), way, seconds: 2 }).unwrap();
            assert!(kilobits.first().is_some_and(|first| *first > 1000), "{way:?}: {kilobits:?}");
        }
    }
}
