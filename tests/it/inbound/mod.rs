//! Mail that comes in from the world: bounces, complaints, unsubscribes, and tenants' inbound routes.

mod authentication;
mod bounces;
mod complaints;
mod dmarc;
mod door;
mod filters;
mod forwarding;
mod kills;
mod notices;
mod receipts;
mod reputation;
mod routes;
mod strangers;

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::app::{Builder, TestApp};
use crate::support::client::{mail, text};

/// The domain of this installation's own addresses.
const OURS: &str = "bounce.postroad.test";

/// A postroad that takes mail from the world on a free port.
fn builder() -> Builder {
    TestApp::builder().set("POSTROAD_MX_ADDR", "127.0.0.1:0").set("POSTROAD_BOUNCE_DOMAIN", OURS)
}

/// Where its door is.
fn door(app: &TestApp) -> SocketAddr {
    app.server().mx_addr().expect("the door is open")
}

/// A mail that was delivered: its id and the return path that it bore.
struct Sent {
    id: String,
    recipient: String,
    return_path: String,
}

/// Sends a mail into the capture route.
async fn delivered(app: &TestApp, recipient: &str) -> Sent {
    let id = app.client.send_mail(mail(recipient)).await;
    app.client.ended(&id).await;
    let arrived = app.client.arrived(&id).await;
    Sent { id, recipient: recipient.to_owned(), return_path: arrived[0].return_path.clone() }
}

/// A client of the door, which says exactly what the test says.
struct Peer {
    stream: BufReader<TcpStream>,
}

impl Peer {
    /// Greeted and introduced.
    async fn of(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect(address).await.expect("the door listens");
        let mut peer = Peer { stream: BufReader::new(stream) };
        assert!(peer.ask("").await.starts_with("220 "));
        assert!(peer.ask("EHLO mx.example.net\r\n").await.starts_with("250 "));
        peer
    }

    /// Sends, and gives the last line of the reply.
    async fn ask(&mut self, lines: &str) -> String {
        self.stream.write_all(lines.as_bytes()).await.expect("an open connection");
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.expect("an open connection");
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    /// What is said until the door closes.
    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).await.expect("a proper close");
        rest
    }

    /// One mail; gives the reply to its text, or to the first command that is refused.
    async fn send(&mut self, from: &str, to: &[&str], content: &str) -> String {
        let mut commands = vec![format!("MAIL FROM:<{from}>\r\n")];
        commands.extend(to.iter().map(|to| format!("RCPT TO:<{to}>\r\n")));
        for command in commands {
            let said = self.ask(&command).await;
            if !said.starts_with("250 ") {
                self.ask("RSET\r\n").await;
                return said;
            }
        }
        assert!(self.ask("DATA\r\n").await.starts_with("354 "));
        let stuffed = content.replace("\r\n", "\n").replace('\n', "\r\n").replace("\r\n.", "\r\n..");
        self.ask(&format!("{stuffed}\r\n.\r\n")).await
    }
}

/// One mail over a connection of its own.
async fn post(address: SocketAddr, from: &str, to: &str, content: &str) -> String {
    Peer::of(address).await.send(from, &[to], content).await
}

/// A notice that a recipient does not exist, as Postfix writes it.
fn notice(recipient: &str, status: &str, reply: &str) -> String {
    format!(
        "From: MAILER-DAEMON@peer.example\nTo: you\nSubject: Undelivered Mail Returned to Sender\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\n\n--b\nContent-Type: text/plain\n\n\
         It could not be delivered (in reply to RCPT TO command)\n\n--b\nContent-Type: message/delivery-status\n\n\
         Reporting-MTA: dns; peer.example\n\nFinal-Recipient: rfc822; {recipient}\nAction: failed\nStatus: {status}\n\
         Remote-MTA: dns; mx.example.net\nDiagnostic-Code: smtp; {reply}\n\n--b--\n"
    )
}

/// The events of a message of one type.
async fn events(app: &TestApp, message: &str, kind: &str) -> Vec<Value> {
    let answer = app.client.get(&format!("/v1/messages/{message}/events?limit=100")).await;
    answer.list("/data").into_iter().filter(|event| event["type"] == kind).collect()
}

/// Address, stream and reason of all suppressions, in order.
async fn suppressed(app: &TestApp) -> Vec<String> {
    app.database
        .texts("SELECT address || ' ' || stream || ' ' || reason FROM suppressions ORDER BY address, stream")
        .await
}

/// The status of a message's only delivery.
async fn status(app: &TestApp, message: &str) -> String {
    text(&app.client.get(&format!("/v1/messages/{message}")).await.body, "/deliveries/0/status")
}
