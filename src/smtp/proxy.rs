//! What a proxy says before the session begins: whose connection it passes on (the PROXY protocol, versions 1 and
//! 2, by HAProxy).
//!
//! Read only from networks that are trusted. Such a network may hold clients of its own as well: a proxy writes its
//! header at once, while an SMTP client waits for the greeting, or begins a handshake. Invariant: nothing beyond
//! the header is consumed, and a header that is begun is either whole or ends the connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a header is waited for. A proxy sends it with the first segment.
const BEGIN: Duration = Duration::from_millis(300);
/// How long the rest of it may take.
const END: Duration = Duration::from_secs(5);
/// The longest line of version 1, CRLF included (§2.1).
const MAX_LINE: usize = 107;
/// How version 2 begins (§2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What version 2 may append to the addresses.
const MAX_TAIL: usize = 4096;

/// Whose connection it is: what the header says, or the socket's own peer if there is none.
///
/// # Errors
/// A header that cannot be read, or the connection broke.
pub(super) async fn client(stream: &mut TcpStream, peer: SocketAddr) -> io::Result<SocketAddr> {
    let mut first = [0];
    match timeout(BEGIN, stream.peek(&mut first)).await {
        // No command of SMTP that can come first begins so, and no TLS record.
        Ok(Ok(1)) if first[0] == b'P' || first[0] == SIGNATURE[0] => {}
        Ok(Ok(_)) | Err(_) => return Ok(peer),
        Ok(Err(error)) => return Err(error),
    }
    let header = async { if first[0] == b'P' { read_line(stream).await } else { read_block(stream).await } };
    let told = timeout(END, header).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(told.unwrap_or(peer))
}

/// Octet by octet, since what follows the line belongs to the session.
async fn read_line(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut line = Vec::with_capacity(MAX_LINE);
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_LINE {
            return Err(bad());
        }
        line.push(stream.read_u8().await?);
    }
    line_of(&line).ok_or_else(bad)
}

async fn read_block(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if head[..12] != SIGNATURE || length > MAX_TAIL {
        return Err(bad());
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    block_of(head[12], head[13], &rest).ok_or_else(bad)
}

/// Version 1: `PROXY TCP4 source destination port port`. `Some(None)`: the proxy does not know.
pub(super) fn line_of(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.split(' ');
    if words.next()? != "PROXY" {
        return None;
    }
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (source, destination): (IpAddr, IpAddr) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (port, _): (u16, u16) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    (fits && words.next().is_none()).then_some(Some(SocketAddr::new(source, port)))
}

/// Version 2: command, family, addresses. `Some(None)`: the connection is the proxy's own, or of no IP family.
pub(super) fn block_of(command: u8, family: u8, rest: &[u8]) -> Option<Option<SocketAddr>> {
    let port = |at: usize| Some(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]));
    match (command, family) {
        (0x20, _) => Some(None),
        (0x21, 0x11) => {
            let source: [u8; 4] = rest.get(..4)?.try_into().ok()?;
            Some(Some(SocketAddr::new(Ipv4Addr::from(source).into(), port(8).filter(|_| rest.len() >= 12)?)))
        }
        (0x21, 0x21) => {
            let source: [u8; 16] = rest.get(..16)?.try_into().ok()?;
            Some(Some(SocketAddr::new(Ipv6Addr::from(source).into(), port(32).filter(|_| rest.len() >= 36)?)))
        }
        (0x21, _) => Some(None),
        _ => None,
    }
}

fn bad() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "that is no PROXY header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_version_1_are_read_strictly() {
        let said = |line: &str| line_of(line.as_bytes()).map(|told| told.map(|peer| peer.to_string()));
        let known = |peer: &str| Some(Some(peer.to_owned()));
        assert_eq!(said("PROXY TCP4 192.0.2.7 10.0.0.1 5012 587\r\n"), known("192.0.2.7:5012"));
        assert_eq!(said("PROXY TCP6 2001:db8::7 ::1 5012 587\r\n"), known("[2001:db8::7]:5012"));
        assert_eq!(said("PROXY UNKNOWN\r\n"), Some(None));
        assert_eq!(said("PROXY UNKNOWN ffff:f...f 1 2 3\r\n"), Some(None));
        for bad in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 5012 587\n",
            "PROXY TCP4 2001:db8::7 10.0.0.1 5012 587\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 5012\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 5012 587 x\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 70000 587\r\n",
            "PROXY  TCP4 192.0.2.7 10.0.0.1 5012 587\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 5012 587\r\n",
            "POST / HTTP/1.1\r\n",
        ] {
            assert_eq!(said(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn blocks_of_version_2_are_read_by_family() {
        let v4 = [[192, 0, 2, 7], [10, 0, 0, 1], [0x13, 0x94, 2, 0x4b]].concat();
        let peer = SocketAddr::from(([192, 0, 2, 7], 5012));
        assert_eq!(block_of(0x21, 0x11, &v4), Some(Some(peer)));
        assert_eq!(
            block_of(0x21, 0x11, &[v4.clone(), vec![3, 0, 1, 0]].concat()),
            Some(Some(peer)),
            "TLVs follow"
        );
        assert_eq!(block_of(0x21, 0x11, &v4[..11]), None);
        assert_eq!(block_of(0x21, 0x21, &v4), None);
        assert_eq!(block_of(0x20, 0x00, &[]), Some(None), "the proxy asks for itself");
        assert_eq!(block_of(0x21, 0x31, &[0; 216]), Some(None), "a Unix socket");
        assert_eq!(block_of(0x11, 0x11, &v4), None);
    }
}
