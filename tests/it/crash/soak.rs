//! Everything at once, for as long as one likes: mixed load through two nodes on one durable Postgres, with random faults
//! of the matrix; then the oracle. Only `make soak` runs it (SOAK_SECONDS, SOAK_SEED).
//!
//! Node `a` lives through all of it, so that its memory tells whether anything grows. Time passes faster for what waits:
//! a retry that is due in five minutes is due within seconds.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mail_parser::MessageParser;
use nix::sys::signal::Signal;
use regex::Regex;
use reqwest::redirect;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::load::Load;
use super::*;
use crate::support::oracle::{Oracle, TEST_ID, Terms, Told};
use crate::support::program::Program;
use crate::support::sink::{Act, Step, at, close, reply, take, usual, wait};
use crate::webhooks::receiver::{Receiver, Reply, ok};

const PUBLIC: &str = "https://links.acme.example";

/// Chance that can be repeated: xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What all clients share.
#[derive(Clone)]
struct Clients {
    oracle: Oracle,
    /// The node that is killed now and then.
    target: watch::Receiver<Target>,
    stop: CancellationToken,
    counts: Arc<Counts>,
}

#[derive(Clone)]
struct Target {
    client: Client,
    submission: std::net::SocketAddr,
}

#[derive(Default)]
struct Counts {
    batch: AtomicUsize,
    smtp: AtomicUsize,
    hits: AtomicUsize,
}

/// Everything that runs.
struct Scenery {
    cluster: Cluster,
    sink: SmtpSink,
    hooks: Receiver,
    a: Program,
    b: Program,
    settings_b: Settings,
    faults: BTreeMap<&'static str, usize>,
    /// Deaths of processes, ours or the database's.
    crashes: usize,
}

fn node(directory: &std::path::Path, cluster: &Cluster, sink: &SmtpSink, name: &str) -> Settings {
    Settings::embedded(directory)
        .database(&cluster.url())
        .node(name)
        .relay(sink.address().port())
        .set("POSTROAD_SUBMISSION_ADDR", "127.0.0.1:0")
        .set("POSTROAD_PUBLIC_URL", PUBLIC)
        .set("POSTROAD_WEBHOOK_ALLOW", "127.0.0.0/8")
        .set("POSTROAD_LOG", "warn")
}

fn target(node: &Program) -> Target {
    Target { client: node.client.clone(), submission: node.door("submission") }
}

/// Ten mails in a call, some of them marked.
async fn batches(clients: Clients) {
    while !clients.stop.is_cancelled() {
        let client = clients.target.borrow().client.clone();
        let mails = (0..10).map(|number| marked(&format!("batch{number}@example.net"))).collect();
        let accepted = clients.oracle.send_batch(&client, mails).await;
        clients.counts.batch.fetch_add(accepted, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(1000)).await;
    }
}

fn marked(to: &str) -> Value {
    let mut body = mail(to);
    body["html"] = "<p>A <a href=\"https://shop.example/?order=7\">link</a>.</p>".into();
    body["tracking"] = json!({ "opens": true, "clicks": true });
    body
}

/// A mail a session, from a network that needs no login.
async fn submissions(clients: Clients) {
    while !clients.stop.is_cancelled() {
        let address = clients.target.borrow().submission;
        let test_id = clients.oracle.new_id();
        let told = match tokio::time::timeout(Duration::from_secs(30), submit(address, &test_id)).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) | Err(_) => Told::Nothing,
        };
        clients.counts.smtp.fetch_add(usize::from(matches!(told, Told::Accepted(_))), Ordering::Relaxed);
        clients.oracle.note(&test_id, told);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn submit(address: std::net::SocketAddr, test_id: &str) -> std::io::Result<Told> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    answer(&mut stream).await?;
    for line in ["EHLO soak.test", "MAIL FROM:<app@acme.example>", "RCPT TO:<smtp@example.net>", "DATA"] {
        stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        if !matches!(answer(&mut stream).await?.as_bytes().first(), Some(b'2' | b'3')) {
            return Ok(Told::Refused);
        }
    }
    let text = format!(
        "From: <app@acme.example>\r\nTo: <smtp@example.net>\r\nSubject: Soak\r\n{TEST_ID}: {test_id}\r\n\r\nText.\r\n.\r\n"
    );
    stream.write_all(text.as_bytes()).await?;
    let said = answer(&mut stream).await?;
    // An error means that it has been taken, or not, all the same.
    let _ = stream.write_all(b"QUIT\r\n").await;
    match said.as_bytes().first() {
        Some(b'2') => Ok(Told::Accepted(None)),
        Some(b'5') => Ok(Told::Refused),
        // After a 4yz nobody knows: a commit may have been under way.
        _ => Ok(Told::Nothing),
    }
}

/// The last line of a reply.
async fn answer(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(line);
        }
    }
}

/// Visits links of mails that have arrived.
async fn visits(clients: Clients, links: Vec<String>) {
    let visitor = reqwest::Client::builder().no_proxy().redirect(redirect::Policy::none());
    let visitor = visitor.timeout(Duration::from_secs(5)).build().expect("a client");
    for link in links.iter().cycle() {
        if clients.stop.is_cancelled() {
            return;
        }
        let url = link.replace(PUBLIC, clients.target.borrow().client.url());
        // A node that is away has no visitors.
        if let Ok(answer) = visitor.get(url).send().await {
            clients.counts.hits.fetch_add(usize::from(answer.status().as_u16() < 400), Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Links of ours in what a sink took.
fn links_in(sink: &SmtpSink) -> Vec<String> {
    let ours = Regex::new(&format!("{}[^\"]+", regex::escape(PUBLIC))).expect("a pattern");
    let mut links = Vec::new();
    for copy in taken_by(sink) {
        let html = MessageParser::default()
            .parse(&copy.content)
            .and_then(|mail| Some(mail.body_html(0)?.into_owned()));
        let html = html.unwrap_or_default();
        links.extend(ours.find_iter(&html).map(|found| found.as_str().replace("&amp;", "&")));
    }
    links.retain(|link| !link.contains("unsubscribe"));
    links
}

/// What waits for its next try has it soon.
async fn hurry(url: String, stop: CancellationToken) {
    let statement = "UPDATE queue SET due_at = clock_timestamp()
            WHERE leased_by IS NULL AND due_at > clock_timestamp();
        UPDATE webhook_calls SET due_at = clock_timestamp() WHERE due_at > clock_timestamp() + interval '4 s'";
    while !stop.is_cancelled() {
        tokio::time::sleep(Duration::from_secs(3)).await;
        if let Ok(mut connection) = PgConnection::connect(&url).await {
            // The database is away now and then.
            let _ = sqlx::raw_sql(statement).execute(&mut connection).await;
        }
    }
}

impl Scenery {
    /// One fault, and its end.
    async fn suffer(&mut self, chance: &mut Chance, loads: &[Load; 2], moved: &watch::Sender<Target>) {
        let a_while = Duration::from_millis(500 + chance.below(4000));
        let kind = match chance.below(10) {
            0 | 1 => {
                self.restart_b(loads, moved, Program::kill);
                self.crashes += 1;
                "node killed"
            }
            2 => {
                self.restart_b(loads, moved, |node| assert_eq!(node.terminate().code(), Some(0)));
                "node drained"
            }
            3 => {
                self.cluster.stop(Signal::SIGQUIT);
                tokio::time::sleep(a_while).await;
                self.cluster.start_again().await;
                self.crashes += 1;
                "database stopped"
            }
            4 => {
                let mut database = self.cluster.connect().await;
                terminate(&mut database, "true").await;
                self.crashes += 1;
                "connections cut"
            }
            5 => self.peer(a_while, at(Step::Rcpt), reply("451 4.3.0 later")).await,
            6 => self.peer(a_while, at(Step::Connect), reply("421 4.3.2 too busy")).await,
            7 => self.peer(a_while, at(Step::Dot), wait(Duration::from_secs(1)).then(usual())).await,
            8 => self.peer(a_while, at(Step::Dot), take().then(close())).await,
            _ => {
                self.hooks.behave(
                    |_, count| if count % 3 == 0 { Reply::Never } else { Reply::Status(503, Vec::new()) },
                );
                tokio::time::sleep(a_while).await;
                self.hooks.behave(|_, _| ok());
                "webhooks down"
            }
        };
        *self.faults.entry(kind).or_default() += 1;
    }

    /// The same node starts again on what it left.
    fn restart_b(&mut self, loads: &[Load; 2], moved: &watch::Sender<Target>, end: fn(&mut Program)) {
        tokio::task::block_in_place(|| {
            end(&mut self.b);
            self.b = self.settings_b.start();
        });
        loads[1].moved(&self.b.client);
        moved.send_replace(target(&self.b));
    }

    async fn peer(&mut self, time: Duration, when: crate::support::sink::When, act: Act) -> &'static str {
        self.sink.set(when, act);
        tokio::time::sleep(time).await;
        self.sink.be_friendly();
        "peer failing"
    }
}

/// How many mails tell a latency.
const PROBES: usize = 15;

/// What is measured at the start and after each part.
#[derive(Debug, Clone)]
struct Figures {
    /// Of the node that lives through all of it.
    memory_mib: u64,
    queue_kib: i64,
    /// The part of it that its indexes have.
    queue_indexes_kib: i64,
    /// Rows that vacuum has not taken away yet.
    queue_dead: i64,
    database_mib: i64,
    /// The median of a few mails.
    accept_to_delivered: Duration,
    /// The same of mail that waits in the table until it is claimed: from its time to its attempt.
    due_to_attempt: Duration,
    claims: Claims,
}

/// The claims of the node that lives through all of it, and the time they took in all.
#[derive(Debug, Clone, Copy)]
struct Claims {
    count: f64,
    seconds: f64,
}

impl Claims {
    async fn so_far(client: &Client) -> Claims {
        let text = String::from_utf8(client.download("/metrics").await).expect("text");
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("it is told");
            line.trim().parse::<f64>().expect("a number")
        };
        Claims { count: of("postroad_claim_seconds_count"), seconds: of("postroad_claim_seconds_sum") }
    }

    /// The mean of those since `before`.
    fn mean_since(self, before: Claims) -> Duration {
        Duration::from_secs_f64((self.seconds - before.seconds) / (self.count - before.count).max(1.0))
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} MiB of memory, queue {} KiB ({} of indexes) with {} dead rows, database {} MiB, {:.0?} from accepted to delivered, \
             {:.0?} from due in the table to the attempt",
            self.memory_mib,
            self.queue_kib,
            self.queue_indexes_kib,
            self.queue_dead,
            self.database_mib,
            self.accept_to_delivered,
            self.due_to_attempt
        )
    }
}

async fn figures(scenery: &Scenery) -> Figures {
    let mut database = scenery.cluster.connect().await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", scenery.a.pid())).expect("it runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells");
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    let mut waits = Vec::new();
    let mut waits_in_table = Vec::new();
    for _ in 0..PROBES {
        let began = Instant::now();
        let id = scenery.a.client.send_mail(mail("probe@example.net")).await;
        scenery.a.client.ended(&id).await;
        waits.push(began.elapsed());
        waits_in_table.push(wait_in_table(&scenery.a.client, &mut database).await);
    }
    waits.sort();
    waits_in_table.sort();
    Figures {
        memory_mib: kib / 1024,
        queue_kib: number(&mut database, "SELECT pg_total_relation_size('queue') / 1024").await,
        queue_indexes_kib: number(&mut database, "SELECT pg_indexes_size('queue') / 1024").await,
        queue_dead: number(
            &mut database,
            "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'queue'",
        )
        .await,
        database_mib: number(&mut database, "SELECT pg_database_size(current_database()) / 1048576").await,
        accept_to_delivered: waits[PROBES / 2],
        due_to_attempt: waits_in_table[PROBES / 2],
        claims: Claims::so_far(&scenery.a.client).await,
    }
}

/// How long one mail waits for its attempt, once it is due. Zero: something hurried it.
async fn wait_in_table(client: &Client, database: &mut PgConnection) -> Duration {
    let now: OffsetDateTime =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(database).await.expect("its time");
    let due = now + Duration::from_millis(600);
    let mut scheduled = mail("probe@example.net");
    scheduled["send_at"] = due.format(&Rfc3339).expect("a year of four digits").into();
    let id = client.send_mail(scheduled).await;
    let message = client.ended(&id).await;
    let started = message["deliveries"][0]["attempts"][0]["started_at"].as_str().expect("it was tried");
    let started = OffsetDateTime::parse(started, &Rfc3339).expect("a time");
    Duration::try_from(started - due).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_at_once_loses_nothing() {
    let (seconds, seed) = (setting("SOAK_SECONDS", 60), setting("SOAK_SEED", 20_261_129));
    let directory = tempfile::tempdir().expect("a directory");
    let (cluster, sink) = (Cluster::start(&[]).await, SmtpSink::builder().start().await);
    let hooks = Receiver::start().await;
    let a = node(directory.path(), &cluster, &sink, "a").start();
    let settings_b = node(directory.path(), &cluster, &sink, "b");
    let b = settings_b.start();
    let key = json!({ "name": "printers", "scopes": ["send"], "smtp_networks": ["127.0.0.0/8"] });
    assert_eq!(a.client.post("/v1/keys", key).await.status, 201);
    let hook = json!({ "url": hooks.url("/soak"), "types": ["delivered"] });
    assert_eq!(a.client.post("/v1/webhooks", hook).await.status, 201);
    let mut scenery = Scenery { cluster, sink, hooks, a, b, settings_b, faults: BTreeMap::new(), crashes: 0 };

    let stop = CancellationToken::new();
    let (moved, at) = watch::channel(target(&scenery.b));
    let clients = Clients { oracle: Oracle::new(), target: at, stop: stop.clone(), counts: Arc::default() };
    let pace = Duration::from_millis(100);
    let loads = [Load::start(&scenery.a.client, 2, pace), Load::start(&scenery.b.client, 2, pace)];
    let mut running = JoinSet::new();
    running.spawn(batches(clients.clone()));
    running.spawn(submissions(clients.clone()));
    let hurrying = tokio::spawn(hurry(scenery.cluster.url(), CancellationToken::new()));
    eventually("marked mail arrives", PATIENCE, async || links_in(&scenery.sink).len() >= 8).await;
    running.spawn(visits(clients.clone(), links_in(&scenery.sink)));
    loads[0].accepts(200).await;
    let before = figures(&scenery).await;

    println!("Soak: at the start {before}");
    let (mut chance, began) = (Chance(seed), Instant::now());
    // A short run is over before there is anything to see.
    let parts = if seconds < 600 { 1 } else { 4 };
    let mut after = before.clone();
    for part in 1..=parts {
        while began.elapsed() < Duration::from_secs(seconds) * part / parts {
            scenery.suffer(&mut chance, &loads, &moved).await;
            tokio::time::sleep(Duration::from_millis(500 + chance.below(4000))).await;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        let since = after.claims;
        after = figures(&scenery).await;
        let claims = after.claims.mean_since(since);
        println!("Soak: after {} s {after}, a claim takes {claims:.1?}", began.elapsed().as_secs());
    }

    stop.cancel();
    while let Some(ended) = running.join_next().await {
        ended.expect("a client does not panic");
    }
    let terms = Terms { budget: Duration::from_secs(300), crashes: scenery.crashes };
    let mut oracles = vec![clients.oracle.clone()];
    let mut json = 0;
    for load in loads {
        let (oracle, seen) = load.stop().await;
        seen.refusals_are_polite();
        json += seen.accepted;
        oracles.push(oracle);
    }
    // Mail of one oracle is none of the others' business, but they read one sink.
    let all = Oracle::together(&oracles);
    let verdict = all.check(&scenery.cluster.url(), terms, || taken_by(&scenery.sink)).await;
    let (delivered, most_copies) = (verdict.ended("delivered"), verdict.most_copies);
    let told = posted(&scenery, delivered).await;
    hurrying.abort();

    let mut database = scenery.cluster.connect().await;
    let visits =
        number(&mut database, "SELECT count(*) FROM events WHERE type IN ('opened', 'clicked')").await;
    let queued = number(&mut database, "SELECT count(*) FROM queue").await;
    let doubled = all.doubled(&taken_by(&scenery.sink));
    let counts = &clients.counts;
    println!(
        "Soak: {seconds} s, seed {seed}: accepted {json} by JSON, {} in batches, {} by SMTP; delivered {delivered}; \
         queued {queued}; duplicates {} (most copies of one: {most_copies}); lost 0",
        counts.batch.load(Ordering::Relaxed),
        counts.smtp.load(Ordering::Relaxed),
        doubled,
    );
    println!(
        "Soak: faults {:?}; {told} deliveries told to webhooks; {} visits answered, {visits} events of them",
        scenery.faults,
        counts.hits.load(Ordering::Relaxed)
    );
    assert_eq!(queued, 0);
    // What a debug build keeps of connections, statements and caches; not what it keeps of each mail.
    assert!(after.memory_mib < before.memory_mib + 64, "{before}; {after}");
}

/// How many deliveries webhooks were told of, once they were told of all.
async fn posted(scenery: &Scenery, delivered: usize) -> usize {
    let mut told = HashSet::new();
    eventually("webhooks are told of every delivery", Duration::from_secs(180), async || {
        let received = scenery.hooks.received();
        told = received.iter().map(|request| request.json()["data"]["delivery_id"].to_string()).collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        told.len() >= delivered
    })
    .await;
    told.len()
}
