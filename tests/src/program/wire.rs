//! A hook on a real device, for packets that no test run takes: in page fragments, too short, very long.
#![expect(unsafe_code, reason = "no crate in use opens a packet socket that takes a virtio header")]

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aya::programs::TcAttachType;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use weft_abi::{Counter, Pod, Reason};
use weft_cni::mac::Mac;

use super::{Hook, Programs, classifier};
use crate::exec;
use crate::netns::Netns;

/// A veth pair with a hook at one end and a socket for whole frames at the other.
#[derive(Debug)]
pub struct Wire {
    /// The loaded programs.
    pub programs: Programs,
    /// Index of the device with the hook.
    pub ifindex: u32,
    socket: Socket,
    _node: Netns,
    _pod: Netns,
}

/// How a frame is handed to the kernel: `struct virtio_net_hdr` without its checksum part.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// Bytes of a frame of more than a page that are to be linear in memory; at least the Ethernet header is.
    pub linear: u16,
    /// `VIRTIO_NET_HDR_GSO_*`, 0 for a packet that is sent as it is.
    pub gso_type: u8,
    /// Payload of each segment in bytes.
    pub gso_size: u16,
}

/// More than a page: the kernel keeps a smaller frame in one piece.
const MTU: u16 = 9000;
const NODE_END: &str = "weft-bpf-node";
const POD_END: &str = "weft-bpf-pod";

impl Wire {
    /// Makes the pair in two new namespaces and attaches `from_pod`; the pod end has the pod's MAC.
    pub fn lay(name: &str, pod: &Pod) -> Result<Self> {
        let (node, peer) = (Netns::create(&format!("{name}-node"))?, Netns::create(&format!("{name}-pod"))?);
        let peer_name = peer.name();
        exec::ip_batch(
            &node,
            &[
                &format!(
                    "link add {NODE_END} address {} type veth peer name {POD_END} address {} netns {peer_name}",
                    Mac(pod.host_mac),
                    Mac(pod.pod_mac)
                ),
                &format!("link set {NODE_END} mtu {MTU} addrgenmode none up"),
            ],
        )?;
        exec::ip_batch(&peer, &[&format!("link set {POD_END} mtu {MTU} addrgenmode none up")])?;
        let mut programs = Programs::load()?;
        let ifindex = node.enter(|| -> Result<u32> {
            classifier(&mut programs.ebpf, Hook::FromPod)?.attach(NODE_END, TcAttachType::Ingress)?;
            Ok(if_nametoindex(NODE_END)?)
        })??;
        let socket = peer.enter(|| open(POD_END))??;
        Ok(Self { programs, ifindex, socket, _node: node, _pod: peer })
    }

    /// Sends a frame from the pod's end; the verdict that was counted on it and its bytes.
    pub fn send(&mut self, frame: &[u8], shape: Shape) -> Result<(Reason, Counter)> {
        let before = self.programs.counts()?;
        let Shape { linear, gso_type, gso_size } = shape;
        let [[a, b], [c, d]] = [linear.to_le_bytes(), gso_size.to_le_bytes()];
        let with_header = [&[0, gso_type, a, b, c, d, 0, 0, 0, 0], frame].concat();
        (&self.socket).write_all(&with_header).with_context(|| format!("send {} bytes as {shape:?}", frame.len()))?;
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            match self.programs.counts()?.since(&before)[..] {
                [(reason, _, count)] => return Ok((reason, count)),
                [] if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
                ref counted => bail!("a frame of {} bytes was counted as {counted:?}", frame.len()),
            }
        }
    }
}

/// A packet socket on a device (packet(7)) that takes a virtio header before each frame and receives none.
fn open(device: &str) -> Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))).context("open a packet socket")?;
    let on: libc::c_int = 1;
    let index = i32::try_from(if_nametoindex(device)?)?;
    // SAFETY: an int of its own size; the storage is zeroed and larger than a sockaddr_ll.
    let address = unsafe {
        let size = libc::socklen_t::try_from(size_of_val(&on))?;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
        if libc::setsockopt(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, (&raw const on).cast(), size) != 0 {
            return Err(std::io::Error::last_os_error()).context("ask for virtio headers");
        }
        SockAddr::try_init(|storage, len| {
            let link = storage.cast::<libc::sockaddr_ll>();
            (*link).sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default();
            (*link).sll_ifindex = index;
            *len = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
            Ok(())
        })?
    };
    socket.bind(&address.1).with_context(|| format!("bind to {device}"))?;
    Ok(socket)
}
