//! Subcommands and their arguments.

mod import;
mod moving;

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use ipnet::IpNet;
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use postroad::account::keys::{self, NewKey};
use postroad::account::users::{NewUser, first};
use postroad::account::{Actor, bootstrap, tenants};
use postroad::clock::Clock;
use postroad::config::{Config, LogFormat};
use postroad::doctor;
use postroad::domain::key::{KeyLimits, KeyMode, Scope, Scopes};
use postroad::domain::suppression::Reason;
use postroad::domain::tenant::TenantName;
use postroad::domain::user::{self, Login, Reach};
use postroad::embedded::{self, Attached};
use postroad::seal::Purpose;
use postroad::server::{Role, Server, files, master_key};
use postroad::store::{Database, Use, nodes};
use postroad::submission::SenderPolicy;

/// An e-mail sending service: HTTP in, durable queue in Postgres, SMTP out.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    /// A TOML file with settings; the environment wins over it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service.
    Serve {
        /// What this process does: api, worker, smtp.
        #[arg(long, value_delimiter = ',', default_value = "api,worker,smtp")]
        roles: Vec<Role>,
    },
    /// Bring the schema up to date and exit.
    Migrate,
    /// Tenants.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// People who use the dashboard.
    #[command(subcommand)]
    User(UserCommand),
    /// Send a mail through the API.
    Send(SendArgs),
    /// Bring suppressions, templates, domains and their keys from another provider.
    Import(ImportArgs),
    /// Check everything mail depends on, and say what to do.
    Doctor,
    /// Exit with 0 if the service is ready: for health checks.
    Health {
        /// Where it listens; from the configuration, if not given.
        #[arg(long)]
        url: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum TenantCommand {
    /// Make a tenant.
    Create {
        /// 1 to 63 of a-z, 0-9, '.', '_' and '-'.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key, and print it: it is not shown again.
    Create {
        /// Whose.
        #[arg(long)]
        tenant: String,
        /// What it is for.
        #[arg(long)]
        name: String,
        /// What it may do.
        #[arg(long, value_delimiter = ',', default_value = "send,read")]
        scopes: Vec<Scope>,
        /// What it sends is checked and stored, never sent.
        #[arg(long)]
        test: bool,
        /// An access key id and a secret, for clients that sign their requests as for Amazon SES; one in a line.
        #[arg(long)]
        aws: bool,
        /// Networks whose SMTP sessions need no login: they have this key.
        #[arg(long, value_delimiter = ',', value_name = "NETWORK")]
        smtp_networks: Option<Vec<IpNet>>,
    },
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Enter somebody, and print the link by which she chooses her password.
    Create {
        /// What she signs in with.
        #[arg(long)]
        email: Login,
        /// The tenant she becomes a member of.
        #[arg(long)]
        tenant: String,
        /// What she is there: owner, admin, developer or viewer.
        #[arg(long, default_value = "developer")]
        role: user::Role,
        /// What she is called.
        #[arg(long, default_value = "")]
        name: String,
        /// She also runs the installation: tenants, queue, nodes.
        #[arg(long)]
        operator: bool,
    },
}

#[derive(Debug, clap::Args)]
struct SendArgs {
    /// The author.
    #[arg(long)]
    from: String,
    /// A recipient; repeatable.
    #[arg(long, required = true)]
    to: Vec<String>,
    /// The subject.
    #[arg(long, default_value = "")]
    subject: String,
    /// The text.
    #[arg(long)]
    text: Option<String>,
    /// The HTML.
    #[arg(long)]
    html: Option<String>,
    /// A file to attach; repeatable.
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// Where postroad listens; from the configuration, if not given.
    #[arg(long)]
    url: Option<String>,
    /// The API key; `POSTROAD_API_KEY`, if not given.
    #[arg(long)]
    key: Option<String>,
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// Whose exports they are: sendgrid, mailgun, postmark, ses, sparkpost, brevo, resend, mailjet, mailersend…
    provider: String,
    /// Its exports: lists as CSV or JSON, templates and domains as JSON, keys of domains as JSON or PEM.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Why the addresses are suppressed, where the file does not tell: bounce, complaint, unsubscribe or manual.
    #[arg(long)]
    reason: Option<Reason>,
    /// Where postroad listens; from the configuration, if not given.
    #[arg(long)]
    url: Option<String>,
    /// An API key with the scope manage; `POSTROAD_API_KEY`, if not given.
    #[arg(long)]
    key: Option<String>,
}

impl Cli {
    /// Does it.
    pub async fn run(self) -> Result<ExitCode> {
        let config = Config::from_process(self.config.as_deref())?;
        init_log(&config)?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        match self.command {
            Command::Serve { roles } => serve(config, &roles).await,
            Command::Migrate => migrate(&config).await,
            Command::Tenant(TenantCommand::Create { name }) => create_tenant(&config, &name).await,
            Command::Key(KeyCommand::Create { tenant, name, scopes, test, aws, smtp_networks }) => {
                let mode = if test { KeyMode::Test } else { KeyMode::Live };
                let kind = if aws { KeyKind::Access } else { KeyKind::Shown };
                let scopes = scopes.into_iter().collect();
                create_key(&config, &tenant, WantedKey { name, scopes, mode, kind, smtp_networks }).await
            }
            Command::User(UserCommand::Create { email, tenant, role, name, operator }) => {
                let reach = if operator { Reach::Installation } else { Reach::Tenants };
                create_user(&config, &tenant, role, NewUser { email, name, reach, password: None }).await
            }
            Command::Send(args) => send(&config, args).await,
            Command::Import(args) => moving::move_in(&config, args).await,
            Command::Doctor => diagnose(&config).await,
            Command::Health { url } => health(&config, url).await,
        }
    }
}

fn init_log(config: &Config) -> Result<()> {
    let filter = EnvFilter::try_new(&config.log).context("POSTROAD_LOG")?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
    }
    Ok(())
}

async fn serve(config: Config, roles: &[Role]) -> Result<ExitCode> {
    files::raise_limit();
    let mut signals = Signals::new()?;
    let server = tokio::select! {
        started = Server::start(config.clone(), roles) => started?,
        () = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    announce(&config, &server)?;
    signals.next().await;
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        drained = server.drain() => drained?,
        () = signals.next() => bail!("stopped at once; mail in hand is made due at the next start"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The one line on standard output; and, at the first start, what to do first.
fn announce(config: &Config, server: &Server) -> Result<()> {
    let http = server.http_addr().map_or_else(|| "off".to_owned(), |address| address.to_string());
    let url = base_url(config, server);
    if let Some(key) = server.first_key() {
        let body = r#"{"from": "Me <me@acme.example>", "to": "you@example.net", "subject": "Hello", "text": "My first mail."}"#;
        eprintln!(
            "\npostroad is running: {url}\n\n\
             Your API key (it is not shown again):\n\n  {key}\n\n\
             {first}Send a first mail:\n\n  \
             curl {url}/v1/messages -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n    \
             -d '{body}'\n\n\
             and read its story (the id is in the answer):\n\n  \
             curl {url}/v1/messages/<id> -H 'Authorization: Bearer {key}'\n",
            key = key.reveal(),
            first = prove_first(config, &url, key.reveal()),
        );
    }
    if let Some(path) = server.setup_path() {
        eprintln!(
            "\nNobody can sign in to the dashboard yet. Enter yourself here (the link works once):\n\n  {url}{path}\n"
        );
    }
    let mut out = std::io::stdout().lock();
    let ports = server.ports();
    let told = |port: Option<SocketAddr>| port.map_or_else(|| "off".to_owned(), |port| port.to_string());
    let (submission, submissions, mx) = (told(ports.submission), told(ports.submissions), told(ports.mx));
    let https = ports.https.map(|port| format!(" https={port}")).unwrap_or_default();
    writeln!(out, "ready http={http}{https} submission={submission} submissions={submissions} mx={mx}")?;
    Ok(out.flush()?)
}

/// What stands before a first mail where senders have to be proved.
fn prove_first(config: &Config, url: &str, key: &str) -> String {
    if config.sender_policy == SenderPolicy::Any {
        return String::new();
    }
    let authorization = format!("-H 'Authorization: Bearer {key}'");
    format!(
        "Mail leaves from domains that are proved to be yours. Add one, publish the records that the answer shows, and\n\
         have them looked up:\n\n  \
         curl {url}/v1/domains {authorization} -H 'Content-Type: application/json' -d '{{\"name\": \"acme.example\"}}'\n  \
         curl -X POST {url}/v1/domains/<id>/verify {authorization}\n\n"
    )
}

fn base_url(config: &Config, server: &Server) -> String {
    let listening = || server.http_addr().map(|address| format!("http://{address}"));
    config.public_url.clone().or_else(listening).unwrap_or_default()
}

/// SIGTERM and SIGINT.
struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

async fn migrate(config: &Config) -> Result<ExitCode> {
    let (database, attached) = database(config).await?;
    postroad::store::migrate::migrate(&database).await?;
    close(database, attached).await?;
    println!("the schema is up to date");
    Ok(ExitCode::SUCCESS)
}

async fn create_tenant(config: &Config, name: &str) -> Result<ExitCode> {
    let name = TenantName::parse(name)?;
    let (database, attached) = database(config).await?;
    let now = clock(&database).await?.now();
    let tenant = tenants::create(&database, &Actor::cli(), name, now).await?;
    close(database, attached).await?;
    println!("{}", tenant.id);
    Ok(ExitCode::SUCCESS)
}

/// A key as the command line describes it.
struct WantedKey {
    name: String,
    scopes: Scopes,
    mode: KeyMode,
    kind: KeyKind,
    smtp_networks: Option<Vec<IpNet>>,
}

/// How a key is used.
enum KeyKind {
    /// It is shown.
    Shown,
    /// It signs.
    Access,
}

async fn create_key(config: &Config, tenant: &str, wanted: WantedKey) -> Result<ExitCode> {
    let master = match wanted.kind {
        KeyKind::Access => Some(master_key::existing(config)?),
        KeyKind::Shown => None,
    };
    let (database, attached) = database(config).await?;
    let now = clock(&database).await?.now();
    let mut connection = database.serve().acquire().await?;
    let found = postroad::store::tenants::find_by_name(&mut connection, tenant).await?;
    let tenant = found.with_context(|| format!("there is no tenant {tenant:?}"))?.id;
    if let Some(master) = &master {
        bootstrap::check_master_key(&mut connection, master).await?;
    }
    drop(connection);
    let WantedKey { name, scopes, mode, smtp_networks, .. } = wanted;
    let new = NewKey { tenant, name, scopes, mode, limits: KeyLimits::default(), smtp_networks };
    let told = match master {
        Some(master) => {
            let seal = master.derive(Purpose::Seal);
            let (_, key) = keys::create_access_key(&database, &seal, &Actor::cli(), new, now).await?;
            format!("{}\n{}", key.id, key.secret.reveal())
        }
        None => keys::create(&database, &Actor::cli(), new, now).await?.1.reveal().to_owned(),
    };
    close(database, attached).await?;
    println!("{told}");
    Ok(ExitCode::SUCCESS)
}

async fn create_user(config: &Config, tenant: &str, role: user::Role, new: NewUser) -> Result<ExitCode> {
    let (database, attached) = database(config).await?;
    let now = clock(&database).await?.now();
    let mut connection = database.serve().acquire().await?;
    let found = postroad::store::tenants::find_by_name(&mut connection, tenant).await?;
    let tenant = found.with_context(|| format!("there is no tenant {tenant:?}"))?.id;
    drop(connection);
    let (_, ticket) = first::create_with_link(&database, &Actor::cli(), (tenant, role), new, now).await?;
    close(database, attached).await?;
    let url = config.public_url.clone().unwrap_or_else(|| local_url(config));
    println!("{url}/ui/reset?token={}", ticket.reveal());
    Ok(ExitCode::SUCCESS)
}

/// The configured database, or the private one: the running server's, or started for this command.
async fn database(config: &Config) -> Result<(Database, Option<Attached>)> {
    if let Some(url) = &config.database_url {
        return Ok((Database::new(Database::parse(url.reveal()).context("DATABASE_URL")?), None));
    }
    let attached = embedded::attach(&config.data_dir).await?;
    let database = Database::new(attached.connect_options());
    if matches!(attached, Attached::Own(_)) {
        postroad::store::migrate::migrate(&database).await?;
    }
    Ok((database, Some(attached)))
}

async fn close(database: Database, attached: Option<Attached>) -> Result<()> {
    database.close().await;
    if let Some(attached) = attached {
        attached.close().await?;
    }
    Ok(())
}

async fn clock(database: &Database) -> Result<Clock> {
    let mut link = database.link(Use::Watch);
    let now = nodes::database_time(link.get().await?).await?;
    link.close().await;
    Ok(Clock::started_at(now))
}

async fn send(config: &Config, args: SendArgs) -> Result<ExitCode> {
    let key = args.key.or_else(|| config.api_key.as_ref().map(|key| key.reveal().to_owned()));
    let key = key.context("give --key, or POSTROAD_API_KEY")?;
    let mut attachments = Vec::new();
    for path in &args.attach {
        let content = std::fs::read(path).with_context(|| path.display().to_string())?;
        let name = path.file_name().and_then(|name| name.to_str()).context("the file has no name")?;
        attachments.push(json!({ "filename": name, "content": data_encoding::BASE64.encode(&content) }));
    }
    let fields = [
        ("from", Value::from(args.from)),
        ("to", args.to.into()),
        ("subject", args.subject.into()),
        ("text", args.text.into()),
        ("html", args.html.into()),
        ("attachments", attachments.into()),
    ];
    let body: HashMap<&str, Value> = fields.into_iter().collect();
    let url = args.url.unwrap_or_else(|| local_url(config));
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.post(format!("{url}/v1/messages")).bearer_auth(key).json(&body).send().await?;
    let accepted = answer.status().is_success();
    let answer: Value = answer.json().await.context("the answer is no JSON: is this postroad?")?;
    println!("{answer:#}");
    Ok(if accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn local_url(config: &Config) -> String {
    let mut address = config.http_addr;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{address}")
}

async fn diagnose(config: &Config) -> Result<ExitCode> {
    let findings = doctor::examine(config).await;
    for finding in &findings {
        println!("{finding}");
    }
    let sound = findings.iter().all(|finding| finding.verdict != doctor::Verdict::Bad);
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn health(config: &Config, url: Option<String>) -> Result<ExitCode> {
    let url = url.unwrap_or_else(|| local_url(config));
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    let answer = client.get(format!("{url}/readyz")).send().await.map_err(reqwest::Error::without_url)?;
    let ready = answer.status().is_success();
    println!("{}", answer.text().await?);
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
