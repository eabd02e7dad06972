//! A scripted SMTP server: the other side of every delivery test.
//!
//! It shares no code with `postroad::smtp`, so that what the client is held to is not our own idea of SMTP.
//! Unscripted it is a friendly server that takes everything; a script makes it as rude as real ones are. It
//! remembers everything that was said.
//!
//! ```ignore
//! let sink = SmtpSink::builder()
//!     .on_rcpt("dead@", reply("550 5.1.1 no such user"))
//!     .on_rcpt("grey@", tries([reply("451 4.7.1 later"), usual()]))
//!     .when(at(Step::Dot).connection(2), take().then(reset()))
//!     .start().await;
//! let mails = sink.wait_for(1, Duration::from_secs(5)).await;
//! sink.set(at(Step::Mail), reply("421 4.3.2 going down"));
//! ```

mod auth;
mod log;
mod script;
mod session;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use log::Log;
pub use log::{Credentials, Line, Mail, Sent, What};
use script::Script;
pub use script::{
    Act, Hold, Step, Tries, When, at, close, dribble, endless, hold, raw, reply, reset, take, tries, usual,
    wait,
};
pub use tls::{Identity, expired, self_signed};

/// A running sink on a loopback port. Dropping it closes the port and cuts every connection.
pub struct SmtpSink {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// What all sessions of a sink share.
struct Shared {
    plan: Mutex<Plan>,
    log: Mutex<Log>,
    changed: watch::Sender<()>,
}

/// What a sink is and does.
struct Plan {
    keywords: Vec<String>,
    starttls: Option<Arc<ServerConfig>>,
    implicit_tls: Option<Arc<ServerConfig>>,
    accounts: Option<Accounts>,
    idle: Option<Duration>,
    script: Script,
}

/// The one account of a sink that wants AUTH.
#[derive(Clone)]
struct Accounts {
    mechanisms: HashSet<String>,
    user: String,
    secret: String,
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("no session panics with the plan")
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no session panics with the log")
    }

    /// Changes the log and wakes those who wait for a change.
    fn write<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        let result = change(&mut self.log());
        self.changed.send_replace(());
        result
    }
}

impl SmtpSink {
    /// A sink that takes everything and offers PIPELINING, SIZE, 8BITMIME, SMTPUTF8 and enhanced status codes.
    pub fn builder() -> SinkBuilder {
        let keywords = ["PIPELINING", "SIZE 26214400", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"];
        SinkBuilder {
            plan: Plan {
                keywords: keywords.map(str::to_owned).into(),
                starttls: None,
                implicit_tls: None,
                accounts: None,
                idle: None,
                script: Script::default(),
            },
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a rule that wins over all earlier ones.
    pub fn set(&self, when: When, acts: impl Into<Tries>) {
        self.shared.plan().script.push(when, acts.into());
    }

    /// Forgets all rules.
    pub fn be_friendly(&self) {
        self.shared.plan().script.clear();
    }

    /// Offers these to the next EHLO.
    pub fn set_keywords<'a>(&self, keywords: impl IntoIterator<Item = &'a str>) {
        self.shared.plan().keywords = keywords.into_iter().map(str::to_owned).collect();
    }

    /// Stops reading once so many octets of a text have come, until the returned value is released or dropped.
    pub fn signal_after_data_bytes(&self, octets: usize) -> Hold {
        let (act, hold) = hold();
        self.set(at(Step::Text).octets(octets), act);
        hold
    }

    /// The mails it took, in order of their final dots.
    pub fn received(&self) -> Vec<Mail> {
        self.shared.log().mails.iter().filter(|mail| mail.accepted).cloned().collect()
    }

    /// Those and the ones it refused or dropped at the final dot.
    pub fn every_mail(&self) -> Vec<Mail> {
        self.shared.log().mails.clone()
    }

    /// Waits until it has taken `count` mails; fails the test with the whole story if that takes too long.
    pub async fn wait_for(&self, count: usize, patience: Duration) -> Vec<Mail> {
        self.wait_until(patience, |sink| sink.received().len() >= count).await;
        self.received()
    }

    /// Waits until something holds true of the sink; fails the test if that takes too long.
    pub async fn wait_until(&self, patience: Duration, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let wait = async {
            while !holds(self) {
                changed.changed().await.expect("the sink holds the sender");
            }
        };
        if tokio::time::timeout(patience, wait).await.is_err() {
            panic!("waited {patience:?} in vain; what happened:\n{}", self.story());
        }
    }

    /// How many connections there were so far.
    pub fn connections(&self) -> usize {
        self.shared.log().connections
    }

    /// Where each of them came from.
    pub fn client_addresses(&self) -> Vec<IpAddr> {
        self.shared.log().clients.clone()
    }

    /// How many are open now.
    pub fn open_connections(&self) -> usize {
        self.shared.log().open
    }

    /// How many were open at the same time, at most.
    pub fn most_open_connections(&self) -> usize {
        self.shared.log().most_open
    }

    /// Everything that happened, in order.
    pub fn transcript(&self) -> Vec<Line> {
        self.shared.log().lines.clone()
    }

    /// The commands of all clients, in order, without line ends.
    pub fn commands(&self) -> Vec<String> {
        let command = |line: Line| match line.what {
            What::Client(text, _) => Some(text),
            _ => None,
        };
        self.transcript().into_iter().filter_map(command).collect()
    }

    /// The transcript as a text to read.
    pub fn story(&self) -> String {
        self.shared.log().story()
    }

    /// What clients said in AUTH, right or wrong.
    pub fn credentials(&self) -> Vec<Credentials> {
        self.shared.log().credentials.clone()
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A sink that is not running yet.
pub struct SinkBuilder {
    plan: Plan,
}

impl SinkBuilder {
    /// Offers exactly these in EHLO, besides STARTTLS and AUTH, which are offered when they can be had.
    pub fn keywords<'a>(mut self, keywords: impl IntoIterator<Item = &'a str>) -> Self {
        self.plan.keywords = keywords.into_iter().map(str::to_owned).collect();
        self
    }

    /// Knows HELO only, as hosts did before 1993.
    pub fn helo_only(self) -> Self {
        self.on(Step::Ehlo, reply("502 5.5.1 command not implemented"))
    }

    /// Offers STARTTLS.
    pub fn starttls(mut self, identity: &Identity) -> Self {
        self.plan.starttls = Some(identity.server.clone());
        self
    }

    /// Speaks TLS from the first octet.
    pub fn implicit_tls(mut self, identity: &Identity) -> Self {
        self.plan.implicit_tls = Some(identity.server.clone());
        self
    }

    /// Offers these mechanisms (PLAIN, LOGIN, XOAUTH2), knows one user, and takes mail from no one else.
    pub fn auth<'a>(
        mut self,
        mechanisms: impl IntoIterator<Item = &'a str>,
        user: &str,
        secret: &str,
    ) -> Self {
        let mechanisms = mechanisms.into_iter().map(str::to_owned).collect();
        self.plan.accounts = Some(Accounts { mechanisms, user: user.to_owned(), secret: secret.to_owned() });
        self
    }

    /// Gets to [`Step::Idle`] when no command has come for so long; unscripted it says 421 and closes.
    pub fn idle(mut self, time: Duration) -> Self {
        self.plan.idle = Some(time);
        self
    }

    /// Does this instead of greeting at once.
    pub fn greet(self, acts: impl Into<Tries>) -> Self {
        self.on(Step::Connect, acts)
    }

    /// Does this at every such step.
    pub fn on(self, step: Step, acts: impl Into<Tries>) -> Self {
        self.when(at(step), acts)
    }

    /// Does this for senders that begin with `prefix`.
    pub fn on_mail(self, prefix: &str, acts: impl Into<Tries>) -> Self {
        self.when(at(Step::Mail).of(prefix), acts)
    }

    /// Does this for recipients that begin with `prefix`; each such recipient has its own tries.
    pub fn on_rcpt(self, prefix: &str, acts: impl Into<Tries>) -> Self {
        self.when(at(Step::Rcpt).of(prefix), acts)
    }

    /// Takes every mail and closes without saying so: the outcome the client can not know.
    pub fn drop_after_dot(self) -> Self {
        self.on(Step::Dot, take().then(close()))
    }

    /// Adds a rule that wins over all earlier ones.
    pub fn when(mut self, when: When, acts: impl Into<Tries>) -> Self {
        self.plan.script.push(when, acts.into());
        self
    }

    /// Listens on a free port of 127.0.0.1.
    pub async fn start(self) -> SmtpSink {
        self.start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Listens there: on another loopback address, or on the port of a sink that was dropped.
    pub async fn start_at(self, address: SocketAddr) -> SmtpSink {
        let listener = TcpListener::bind(address).await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            plan: Mutex::new(self.plan),
            log: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        let server = tokio::spawn(serve(listener, shared.clone()));
        SmtpSink { address, shared, server }
    }
}

/// Runs until aborted; the sessions end with it.
async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("enough file descriptors");
                sessions.spawn(session::run(stream, shared.clone()));
            }
            Some(ended) = sessions.join_next() => ended.expect("a session does not panic"),
        }
    }
}
