//! The load: many connections that each post one prebuilt request after the other.
//!
//! It runs in threads of its own, each with a single-threaded runtime, so that it costs little and its cost can be
//! told from what is measured. A request is built once for each connection; only the digits that make each mail
//! another one (recipient, subject, Idempotency-Key) are changed in place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustls::ClientConfig;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::http::Connection;
use super::options::Options;
use super::request::{Template, submission};
use super::smtp::{Entry, Session};

/// What is to be sent.
#[derive(Debug, Clone)]
pub struct Plan {
    /// By which door.
    pub target: Target,
    /// One key for each tenant.
    pub keys: Vec<String>,
    /// Mails.
    pub messages: u64,
    /// The first mail's number: no number is used twice on one service.
    pub first: u64,
    /// Connections.
    pub concurrency: usize,
    /// Threads.
    pub threads: usize,
    /// What each request looks like.
    pub shape: Shape,
}

/// A door, and what its clients trust.
#[derive(Debug, Clone)]
pub enum Target {
    /// The API.
    Http(SocketAddr),
    /// Submission over TLS.
    Smtp(SocketAddr, Entry, Arc<ClientConfig>),
}

/// What each request looks like.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Octets of a mail, composed, more or less.
    pub size: usize,
    /// The kinds of its parts.
    pub parts: Parts,
    /// Mails in a request.
    pub batch: usize,
    /// Whether requests may be repeated.
    pub keyed: Keyed,
    /// RFC 3339; `None`: now.
    pub send_at: Option<String>,
}

/// The parts of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// Text.
    Text,
    /// Text and HTML.
    TextAndHtml,
}

/// Whether requests carry an Idempotency-Key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyed {
    /// Each its own.
    Yes,
    /// None does.
    No,
}

impl Shape {
    /// As the options have it.
    pub fn of(options: &Options, send_at: Option<String>) -> Shape {
        Shape {
            size: options.size,
            parts: if options.html { Parts::TextAndHtml } else { Parts::Text },
            batch: options.batch,
            keyed: if options.idempotency { Keyed::Yes } else { Keyed::No },
            send_at,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Loaded {
    /// When the first request was written.
    pub began: Instant,
    /// When the last 202 was read.
    pub ended: Instant,
    /// Of each request that was answered with 202: microseconds from its first octet to the answer's last. Sorted.
    pub latencies: Vec<u32>,
    /// Other answers, by status; each was tried again.
    pub refused: BTreeMap<u16, u64>,
}

/// A load that is being made.
pub struct Load {
    parts: Vec<oneshot::Receiver<Result<Loaded>>>,
}

/// How long a request that was refused with 429 or 503 waits before it is sent again.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);
/// One mail that does not get through in this time ends the run.
const PATIENCE: Duration = Duration::from_secs(120);

impl Load {
    /// Opens the connections and begins.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn start(plan: Plan) -> Result<Load> {
        let threads = plan.threads.min(plan.concurrency);
        let shared = Arc::new(Shared {
            next: AtomicU64::new(plan.first),
            end: plan.first + plan.messages,
            gate: Barrier::new(threads),
            began: Mutex::new(None),
            plan,
        });
        let mut parts = Vec::new();
        for index in 0..threads {
            let (done, part) = oneshot::channel();
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("load-{index}")).spawn(move || {
                // An error means that nobody waits: the bench is ending.
                let _ = done.send(run_thread(&shared, index, threads));
            })?;
            parts.push(part);
        }
        Ok(Load { parts })
    }

    /// Waits until every mail is accepted.
    ///
    /// # Errors
    /// An answer that is neither a 202 nor a "later".
    pub async fn finish(self) -> Result<Loaded> {
        let mut whole: Option<Loaded> = None;
        for part in self.parts {
            let part = part.await.context("a thread of the load has died")??;
            whole = Some(match whole {
                None => part,
                Some(whole) => whole.join(part),
            });
        }
        let mut whole = whole.context("no load was made")?;
        whole.latencies.sort_unstable();
        Ok(whole)
    }
}

impl Loaded {
    fn join(mut self, other: Loaded) -> Loaded {
        self.began = self.began.min(other.began);
        self.ended = self.ended.max(other.ended);
        self.latencies.extend(other.latencies);
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
        self
    }
}

struct Shared {
    plan: Plan,
    next: AtomicU64,
    end: u64,
    /// Nobody begins before all connections are open.
    gate: Barrier,
    began: Mutex<Option<Instant>>,
}

fn run_thread(shared: &Arc<Shared>, index: usize, threads: usize) -> Result<Loaded> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut senders = Vec::new();
        let mut failed = None;
        for number in (index..shared.plan.concurrency).step_by(threads) {
            match Sender::open(Arc::clone(shared), number).await {
                Ok(sender) => senders.push(sender),
                Err(error) => failed = Some(error),
            }
        }
        shared.gate.wait();
        if let Some(error) = failed {
            return Err(error);
        }
        let began =
            *shared.began.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        let mut running: JoinSet<Result<Loaded>> =
            senders.into_iter().map(|sender| sender.run(began)).collect();
        let mut whole = Loaded { began, ended: began, latencies: Vec::new(), refused: BTreeMap::new() };
        while let Some(part) = running.join_next().await {
            whole = whole.join(part??);
        }
        Ok(whole)
    })
}

/// One connection.
struct Sender {
    shared: Arc<Shared>,
    way: Way,
}

/// How a connection sends mail.
enum Way {
    Http(Connection, Template),
    /// The envelope and the text, each with its own numbers.
    Smtp(Session, Template, Template),
}

/// What was answered.
enum Answer {
    Taken,
    Later(u16),
}

impl Way {
    async fn open(plan: &Plan, number: usize) -> Result<Way> {
        let key = &plan.keys[number % plan.keys.len()];
        Ok(match &plan.target {
            Target::Http(address) => {
                let request = Template::new(&plan.shape, key, number as u64);
                Way::Http(Connection::open(*address).await?, request)
            }
            Target::Smtp(address, entry, trust) => {
                let session = Session::open(*address, *entry, Arc::clone(trust), key).await?;
                let (envelope, text) = submission(&plan.shape, number as u64);
                Way::Smtp(session, Template::fill(&envelope), Template::fill(&text))
            }
        })
    }

    fn renumber(&mut self, first: u64) {
        match self {
            Way::Http(_, request) => request.renumber(first),
            Way::Smtp(_, envelope, text) => {
                envelope.renumber(first);
                text.renumber(first);
            }
        }
    }

    async fn send(&mut self, batch: usize) -> Result<Answer> {
        match self {
            Way::Http(connection, request) => {
                let response = connection.call(&request.bytes).await?;
                match response.status {
                    202 if batch > 1 && memchr::memmem::find(response.body, b"\"error\"").is_some() => {
                        bail!("a mail of a batch was refused: {}", response.text())
                    }
                    202 => Ok(Answer::Taken),
                    later @ (429 | 503) => Ok(Answer::Later(later)),
                    status => bail!("{status}: {}", response.text()),
                }
            }
            Way::Smtp(session, envelope, text) => match session.submit(&envelope.bytes, &text.bytes).await? {
                (250, _) => Ok(Answer::Taken),
                (later @ 400..500, _) => Ok(Answer::Later(later)),
                (_, said) => bail!("{said}"),
            },
        }
    }
}

impl Sender {
    async fn open(shared: Arc<Shared>, number: usize) -> Result<Sender> {
        let way = Way::open(&shared.plan, number).await?;
        Ok(Sender { way, shared })
    }

    async fn run(mut self, began: Instant) -> Result<Loaded> {
        let mut loaded = Loaded { began, ended: began, latencies: Vec::new(), refused: BTreeMap::new() };
        let batch = self.shared.plan.shape.batch as u64;
        loop {
            let first = self.shared.next.fetch_add(batch, Ordering::Relaxed);
            if first >= self.shared.end {
                return Ok(loaded);
            }
            self.way.renumber(first);
            self.send(&mut loaded).await?;
        }
    }

    /// Sends the request until it is accepted.
    async fn send(&mut self, loaded: &mut Loaded) -> Result<()> {
        let first_try = Instant::now();
        loop {
            let sent = Instant::now();
            match self.way.send(self.shared.plan.shape.batch).await? {
                Answer::Taken => {
                    loaded.ended = Instant::now();
                    let took = loaded.ended.duration_since(sent).as_micros();
                    loaded.latencies.push(u32::try_from(took).unwrap_or(u32::MAX));
                    return Ok(());
                }
                Answer::Later(code) => {
                    ensure!(first_try.elapsed() < PATIENCE, "{code} for {PATIENCE:?}");
                    *loaded.refused.entry(code).or_default() += 1;
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
            }
        }
    }
}

/// One connection that sends one mail when it is told to.
pub struct Single {
    connection: Connection,
    request: Template,
}

impl Single {
    /// Connects.
    ///
    /// # Errors
    /// What the system says.
    pub async fn open(target: SocketAddr, key: &str, shape: &Shape) -> Result<Single> {
        Ok(Single { connection: Connection::open(target).await?, request: Template::new(shape, key, 0) })
    }

    /// Sends the mail of this number; returns when it is accepted.
    ///
    /// # Errors
    /// It is not.
    pub async fn send(&mut self, number: u64) -> Result<()> {
        self.request.renumber(number);
        let response = self.connection.call(&self.request.bytes).await?;
        ensure!(response.status == 202, "{}: {}", response.status, response.text());
        Ok(())
    }
}
