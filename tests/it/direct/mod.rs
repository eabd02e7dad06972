//! Mail to the recipients' own servers: what the DNS says is obeyed (RFC 5321 §5, RFC 7505), nothing it fails to
//! say loses a mail, and the way is as safe as the peer's policy wants it. A real DNS server, real sockets.
//!
//! The ids in the comments (D1, T1…) name rows of the fault matrix.

mod dane;
mod dnssec;
mod greylisting;
mod mx;
mod networks;
mod reports;
mod routes;
mod sources;
mod standing;
mod sts;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;

use crate::faults::attempts;
use crate::support::app::{Builder, TestApp};
use crate::support::client::mail;
use crate::support::dns::DnsServer;
use crate::support::oracle::{Oracle, Terms, Verdict, taken_by};
use crate::support::sink::{SinkBuilder, SmtpSink};

/// A postroad that delivers directly, the names it finds, and the servers it may find, all on one port.
struct World {
    app: TestApp,
    dns: DnsServer,
    /// The server at 127.0.0.1.
    sink: SmtpSink,
    oracle: Oracle,
}

/// The port of [`World::sink`], at another loopback address.
fn beside(sink: &SmtpSink, last: u8) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, last), sink.address().port()).into()
}

impl World {
    /// With one friendly server.
    async fn new() -> World {
        World::of(SmtpSink::builder()).await
    }

    /// With this server.
    async fn of(sink: SinkBuilder) -> World {
        World::with(sink, |app| app).await
    }

    /// With a postroad that is set up otherwise.
    async fn with(sink: SinkBuilder, change: impl FnOnce(Builder) -> Builder) -> World {
        let (dns, sink) = (DnsServer::start().await, sink.start().await);
        let app = TestApp::builder()
            .dns(&dns)
            .set("POSTROAD_ROUTE", "direct")
            .set("POSTROAD_DIRECT_PORT", &sink.address().port().to_string())
            .set("POSTROAD_ALLOW_PRIVATE", "true");
        let app = change(app).start().await;
        World { app, dns, sink, oracle: Oracle::new() }
    }

    /// Makes `mx.<domain>` at this address the only server of a domain.
    fn host(&self, domain: &str, ip: &str) {
        let mx = format!("mx.{domain}");
        self.dns.mx(domain, 10, &mx).address_of(&mx, ip);
    }

    /// Sends a plain mail; gives its id.
    async fn send(&self, to: &str) -> String {
        self.oracle.send(&self.app.client, mail(to)).await.expect("accepted")
    }

    /// Sends a plain mail; the message, once it has been tried so often.
    async fn tried(&self, to: &str, times: usize) -> Value {
        let id = self.send(to).await;
        self.tried_again(&id, times).await
    }

    /// The message, once it has been tried so often.
    async fn tried_again(&self, id: &str, times: usize) -> Value {
        self.app.client.until(id, |message| attempts(message).len() >= times).await
    }

    /// Sends a plain mail; the message, once it has ended.
    async fn ended(&self, to: &str) -> Value {
        let id = self.send(to).await;
        self.app.client.ended(&id).await
    }

    /// Everything has ended, and nothing was lost; the end of it.
    async fn end(self, others: &[&SmtpSink]) -> Verdict {
        let taken = || {
            let others = others.iter().flat_map(|sink| taken_by(sink));
            taken_by(&self.sink).into_iter().chain(others).collect()
        };
        let verdict = self.oracle.check(&self.app.database.url, Terms::default(), taken).await;
        self.app.stop().await;
        verdict
    }
}
