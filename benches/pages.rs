//! How fast the dashboard's pages come with millions of messages stored: a line for each page.
//!
//! `cargo bench --bench pages -- --database-url URL [--messages 5000000] [--days 30]` fills an empty database (one of
//! `scripts/scratch-postgres.sh` will do) with messages of the first tenant, spread over so many days, with deliveries,
//! outcomes, attempts that failed, events, and a queue; counts the events as the roll-up does; then signs in as a browser
//! does and asks for each page by HTTP. `--loaded` leaves out the filling: the database has been filled before.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Client, StatusCode};
use sqlx::PgConnection;
use time::OffsetDateTime;

use postroad::config::Config;
use postroad::domain::id::TenantId;
use postroad::reporting::rollup::{self, Memory, Rolled};
use postroad::server::{Role, Server};
use postroad::store::{Database, Use, nodes, partitions};

/// Messages in one statement.
const CHUNK: i64 = 20_000;
/// How often each page is asked for.
const TIMES: usize = 20;
/// What a page may take (issue 6).
const MOST: Duration = Duration::from_millis(100);
/// Of the newest messages so many wait.
const QUEUED: i64 = 20_000;
const EMAIL: &str = "ann@acme.example";
const PASSWORD: &str = "correct horse battery";

/// The pages. `{since}` and `{until}` stand for days in the middle of what is stored.
const PAGES: [(&str, &str); 24] = [
    ("overview, 24 hours", "/ui/"),
    ("overview, 7 days", "/ui/?span=week"),
    ("overview, 30 days", "/ui/?span=month"),
    ("messages", "/ui/messages"),
    ("messages, two days", "/ui/messages?since={since}&until={until}"),
    ("status delivered", "/ui/messages?status=delivered"),
    ("status bounced", "/ui/messages?status=bounced"),
    ("status canceled", "/ui/messages?status=canceled"),
    ("status queued", "/ui/messages?status=queued"),
    ("status sending: none", "/ui/messages?status=sending"),
    ("recipient with one message", "/ui/messages?to=u77777%40domain77.example"),
    ("recipient with 2 % of all", "/ui/messages?to=ops%40acme.example"),
    ("recipient without any", "/ui/messages?to=nobody%40acme.example"),
    ("subject of many", "/ui/messages?subject=invoice"),
    ("subject of few", "/ui/messages?subject=unicorn"),
    ("tag of many", "/ui/messages?tag=tag-7"),
    ("tag of few", "/ui/messages?tag=rare"),
    ("stream of some", "/ui/messages?stream=news"),
    ("stream of none", "/ui/messages?stream=none"),
    ("bounced with a rare tag", "/ui/messages?status=bounced&tag=rare"),
    ("delivered with a rare subject", "/ui/messages?status=delivered&subject=unicorn"),
    ("frequent recipient, rare subject", "/ui/messages?to=ops%40acme.example&subject=unicorn"),
    (
        "frequent recipient, expired, two days",
        "/ui/messages?to=ops%40acme.example&status=expired&since={since}&until={until}",
    ),
    ("statistics by tag", "/ui/stats?group=tag"),
];

#[derive(Debug, Parser)]
struct Options {
    /// An empty database, or with `--loaded` one that was filled.
    #[arg(long)]
    database_url: String,
    /// Messages.
    #[arg(long, default_value_t = 5_000_000)]
    messages: i64,
    /// Over how many days they are spread.
    #[arg(long, default_value_t = 30)]
    days: i64,
    /// It has been filled before.
    #[arg(long)]
    loaded: bool,
    /// Fills, and asks for no page.
    #[arg(long)]
    load_only: bool,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let directory = tempfile::tempdir()?;
    // The pages alone: nothing sends, counts or forgets meanwhile.
    let server = Server::start(config(&options, directory.path())?, &[Role::Api]).await?;
    let database = Database::new(Database::parse(&options.database_url)?);
    if !options.loaded {
        load(&options, &database, server.default_tenant()).await?;
    }
    if !options.load_only {
        let url = format!("http://{}", server.http_addr().context("an address")?);
        ask_all(&options, &url, server.clock().now()).await?;
    }
    server.drain().await
}

fn config(options: &Options, directory: &std::path::Path) -> Result<Config> {
    let directory = directory.display().to_string();
    let settings = [
        ("DATABASE_URL", &*options.database_url),
        ("POSTROAD_DATA_DIR", &*directory),
        ("POSTROAD_MASTER_KEY", "bWFzdGVyIGtleSBvZiBhbGwgdGVzdHMsIDMyIG9jdHM="),
        ("POSTROAD_HTTP_ADDR", "127.0.0.1:0"),
        ("POSTROAD_SUBMISSION_ADDR", "off"),
        ("POSTROAD_SUBMISSIONS_ADDR", "off"),
        ("POSTROAD_MX_ADDR", "off"),
        ("POSTROAD_HOSTNAME", "bench.postroad.test"),
        ("POSTROAD_ADMIN_EMAIL", EMAIL),
        ("POSTROAD_ADMIN_PASSWORD", PASSWORD),
    ];
    let settings: HashMap<String, String> =
        settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Ok(Config::read(settings, None)?)
}

async fn load(options: &Options, database: &Database, tenant: TenantId) -> Result<()> {
    let began = Instant::now();
    let mut link = database.link(Use::Maintain);
    let now = nodes::database_time(link.get().await?).await?;
    for ago in -1..=options.days {
        partitions::ensure_day(link.get().await?, now.date() - time::Duration::days(ago)).await?;
    }
    let start = now - time::Duration::days(options.days);
    let step = time::Duration::days(options.days) / f64::from(u32::try_from(options.messages)?);
    for first in (0..options.messages).step_by(usize::try_from(CHUNK)?) {
        let end = (first + CHUNK).min(options.messages);
        let start = start + step * i32::try_from(first)?;
        let messages = Messages { first, end, start, step, queued: options.messages - QUEUED };
        insert(link.get().await?, tenant, messages).await?;
    }
    println!("pages: {} messages stored in {:.0?}", options.messages, began.elapsed());
    let tables = "messages, deliveries, outcomes, attempts, events, queue";
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("VACUUM (ANALYZE) {tables}")))
        .execute(link.get().await?)
        .await?;
    let (began, mut memory, mut counted) = (Instant::now(), Memory::default(), 0);
    let mut counting = database.link(Use::Claim);
    while let Rolled::Counted(events @ 1..) = rollup::batch(&mut counting, &mut memory, now).await? {
        counted += events;
    }
    sqlx::raw_sql("VACUUM (ANALYZE) stats").execute(link.get().await?).await?;
    println!("pages: {counted} events counted in {:.0?}", began.elapsed());
    Ok(())
}

/// Numbered messages, the first at `start`, each `step` after the one before; from `queued` on they wait.
struct Messages {
    first: i64,
    end: i64,
    start: OffsetDateTime,
    step: time::Duration,
    queued: i64,
}

/// Stores messages with all that comes of them. What is rare is one in a million.
async fn insert(connection: &mut PgConnection, tenant: TenantId, messages: Messages) -> Result<()> {
    sqlx::query(
        r"
        WITH moment AS MATERIALIZED (
            SELECT n, (n % 16)::smallint AS lane, $2::timestamptz + (n - $4) * $3::bigint * interval '1 microsecond' AS at,
                CASE WHEN n % 50 = 0 THEN 'ops@acme.example' ELSE 'u' || n || '@domain' || n % 300 || '.example' END AS recipient,
                CASE WHEN n >= $6 THEN 'queued' WHEN n % 200 = 1 THEN 'canceled' WHEN n % 200 = 3 THEN 'suppressed'
                     WHEN n % 100 = 2 THEN 'expired' WHEN n % 40 = 4 THEN 'bounced' ELSE 'delivered' END AS status
            FROM generate_series($4::bigint, $5::bigint - 1) n
        ),
        -- UUIDv7 as postroad makes them: milliseconds, lane, random bits, ordinal (000: message, 001: delivery).
        named AS MATERIALIZED (
            SELECT m.*, lpad(to_hex((extract(epoch FROM m.at) * 1000)::bigint), 12, '0') || '7'
                        || lpad(to_hex(m.lane::int), 3, '0') || '8' || substr(md5(m.n::text), 1, 12) AS stem
            FROM moment m
        ),
        new_messages AS (
            INSERT INTO messages
                (lane, id, tenant_id, ttl_seconds, size_bytes, priority, sandbox, needs_smtputf8, eight_bit, protected,
                 message_id, sender, subject, stream, tags, metadata, addresses)
            SELECT m.lane, (m.stem || '000')::uuid, $1, 259200, 2048, 1, false, false, false, false,
                   '<' || m.stem || '@acme.example>', 'hello@acme' || m.n % 7 || '.example',
                   CASE WHEN m.n % 1000000 = 99 THEN 'A unicorn for you'
                        ELSE (ARRAY['Your order ', 'Your invoice ', 'Welcome, customer ', 'Reset your password ', 'News no. '])[1 + m.n % 5] || m.n END,
                   CASE WHEN m.n % 10 = 7 THEN 'news' ELSE 'transactional' END,
                   CASE WHEN m.n % 1000000 = 99 THEN ARRAY['rare'] ELSE ARRAY['tag-' || m.n % 200] END,
                   '{}', jsonb_build_object('from', 'hello@acme.example', 'to', jsonb_build_array(m.recipient))
            FROM named m
        ),
        new_deliveries AS (
            INSERT INTO deliveries (lane, id, tenant_id, role, recipient)
            SELECT m.lane, (m.stem || '001')::uuid, $1, 0, m.recipient FROM named m
        ),
        waiting AS (
            INSERT INTO queue (due_at, expires_at, claim_no, attempts, lane, priority, unresolved, delay_notices,
                               cancel_requested, delivery_id, tenant_id, domain)
            SELECT m.at + interval '7 days', m.at + interval '8 days', 1, 1, m.lane, 1, 0, 0, false,
                   (m.stem || '001')::uuid, $1, split_part(m.recipient, '@', 2)
            FROM named m WHERE m.status = 'queued'
        ),
        ended AS (
            INSERT INTO outcomes (lane, ordinal, delivery_id, tenant_id, status, hard, at, class)
            SELECT m.lane, 0, (m.stem || '001')::uuid, $1, m.status::delivery_status, m.status = 'bounced', m.at, NULL
            FROM named m WHERE m.status <> 'queued'
        ),
        tried AS (
            INSERT INTO attempts (lane, delivery_id, claim_no, attempt, incarnation, duration_ms, code, started_at, step,
                                  result, reply)
            SELECT m.lane, (m.stem || '001')::uuid, 1, 1, 1, 80, 451, m.at, 'rcpt', 'deferred', '451 4.3.0 later'
            FROM named m WHERE m.status IN ('queued', 'expired', 'bounced')
        )
        INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
        SELECT (SELECT txid_current()), m.lane, e.type::event_type, (m.stem || '001')::uuid, (m.stem || e.ordinal)::uuid, $1, NULL
        FROM named m,
             LATERAL (VALUES ('accepted', '010'), (m.status, '011'), (CASE WHEN m.n % 4 = 0 THEN 'opened' END, '012')) AS e (type, ordinal)
        WHERE e.type <> 'queued'
        ",
    )
    .bind(tenant.uuid())
    .bind(messages.start)
    .bind(i64::try_from(messages.step.whole_microseconds())?)
    .bind(messages.first)
    .bind(messages.end)
    .bind(messages.queued)
    .execute(connection)
    .await?;
    Ok(())
}

async fn ask_all(options: &Options, url: &str, now: OffsetDateTime) -> Result<()> {
    let http = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    let cookies = sign_in(&http, url).await?;
    let middle = now.date() - time::Duration::days(options.days / 2);
    let next = middle + time::Duration::DAY;
    let mut slow = 0;
    for (name, path) in PAGES {
        let path = path.replace("{since}", &middle.to_string()).replace("{until}", &next.to_string());
        let mut times = Vec::with_capacity(TIMES);
        let mut size = 0;
        for _ in 0..TIMES {
            let began = Instant::now();
            let answer = http.get(format!("{url}{path}")).header(COOKIE, &cookies).send().await?;
            ensure!(answer.status() == StatusCode::OK, "{path}: {}", answer.status());
            size = answer.bytes().await?.len();
            times.push(began.elapsed());
        }
        let first = times[0];
        times.sort_unstable();
        let (median, slowest) = (times[TIMES / 2], times[TIMES - 1]);
        let mark = if median > MOST { " TOO SLOW" } else { "" };
        slow += u32::from(median > MOST);
        println!(
            "pages: {name}: median {median:.1?}, first {first:.1?}, slowest of {TIMES} {slowest:.1?}, {size} octets{mark}"
        );
    }
    println!("pages: {slow} of {} slower than {MOST:?}", PAGES.len());
    Ok(())
}

/// The cookies of a browser that is signed in.
async fn sign_in(http: &Client, url: &str) -> Result<String> {
    let shown = http.get(format!("{url}/login")).send().await?;
    let form = cookies(&shown);
    let text = shown.text().await?;
    let csrf = text.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let fields = [("csrf", csrf.context("a form")?), ("email", EMAIL), ("password", PASSWORD)];
    let answer = http
        .post(format!("{url}/login"))
        .header(COOKIE, form)
        .header("origin", url)
        .form(&fields)
        .send()
        .await?;
    ensure!(answer.status() == StatusCode::SEE_OTHER, "not signed in: {}", answer.status());
    Ok(cookies(&answer))
}

fn cookies(answer: &reqwest::Response) -> String {
    let set = answer.headers().get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
    let pairs = set.filter_map(|cookie| cookie.split(';').next()).filter(|pair| !pair.ends_with('='));
    pairs.collect::<Vec<_>>().join("; ")
}
