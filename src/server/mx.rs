//! The door for mail from the world, bound and ready to serve.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::account::inbound_filters;
use crate::account::inbound_routes::{self, Means};
use crate::clock::Clock;
use crate::config::Config;
use crate::dns;
use crate::domain::id::TenantId;
use crate::domain::identity::senders::Senders;
use crate::domain::return_path::ReturnPaths;
use crate::domain::unsubscribe::Unsubscribes;
use crate::feedback::authenticate::Authenticator;
use crate::feedback::directory::Directory;
use crate::feedback::forward::Forwarder;
use crate::feedback::inbox::Inbox;
use crate::feedback::post::Poster;
use crate::feedback::screen::Screen;
use crate::outbound::rspamd::Rspamd;
use crate::seal::{MasterKey, Subkey};
use crate::smtp::{EarlyTalk, Listener, Mx, Settings, Tls, TlsConfig};
use crate::store::revisions::{Known, Revisions};
use crate::store::{Database, StoreError};
use crate::submission::{Accept, SenderPolicy};
use crate::worker::post;

use super::{Building, Role};

/// Spam software speaks before it is spoken to; so long it must be silent.
const PAUSE: Duration = Duration::from_secs(2);
/// The most sessions from one network, and in all.
const SESSIONS_PER_PEER: usize = 50;
const SESSIONS: usize = 2_000;

/// A bound listener.
pub struct Listening {
    listener: Listener,
    address: SocketAddr,
    settings: Settings,
    mailroom: Mx,
}

impl Listening {
    /// Binds it.
    ///
    /// # Errors
    /// The address is in use, or not ours.
    pub async fn bind(address: SocketAddr, config: &Config, inbox: Inbox, clock: Clock) -> Result<Listening> {
        let listener =
            Listener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let mut settings = Settings::new(config.hostname.clone());
        settings.limits.message = config.max_message_bytes as u64;
        settings.limits.sessions = SESSIONS;
        settings.limits.sessions_per_peer = SESSIONS_PER_PEER;
        // RFC 5321 §4.5.3.1.8: a hundred must do.
        settings.limits.recipients = 100;
        if !address.ip().is_loopback() {
            settings.early_talk = EarlyTalk::Refuse { pause: PAUSE };
        }
        Ok(Listening { listener, address, settings, mailroom: Mx::new(inbox, clock) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, and then until open sessions have ended.
    pub async fn serve(self, stop: CancellationToken) {
        self.listener.serve(Arc::new(self.mailroom), Arc::new(self.settings), stop).await;
    }
}

/// Whom this installation takes mail for; the routes come with [`Building::inbound`].
pub fn directory(config: &Config, master: &MasterKey, senders: &Senders) -> Directory {
    let domain = &config.bounce_domain;
    Directory::new(
        [config.hostname.clone(), domain.clone()],
        ReturnPaths::new(master, domain),
        Unsubscribes::new(master, domain),
        senders.clone(),
    )
}

impl Building {
    /// Tenants' inbound routes, for the door and for those who post mail.
    pub(super) async fn inbound(&mut self) -> Result<()> {
        let routes = Routes {
            database: self.opened.database.clone(),
            seal: self.seal.clone(),
            policy: self.config.sender_policy,
            directory: self.directory.clone(),
        };
        routes.reload().await?;
        self.loops.spawn("inbound routes", routes.follow(self.known.clone(), self.stop_loops.clone()));
        if self.roles.contains(&Role::Worker) {
            let poster = Poster {
                database: self.opened.database.clone(),
                directory: self.directory.clone(),
                outbound: self.outbound.clone(),
                public_url: self.config.base_url(),
            };
            self.loops.spawn("post", post::run(poster, self.opened.clock.clone(), self.stop_loops.clone()));
        }
        Ok(())
    }

    /// What looks at mail before a route takes it.
    fn screen(&self) -> Result<Screen> {
        let rspamd = self.config.rspamd_url.as_ref().map(Rspamd::new).transpose();
        let rspamd = rspamd.context("no HTTP client for rspamd")?;
        Ok(Screen { resolver: self.resolver.clone(), rspamd })
    }

    /// Passes mail on for routes that say so.
    pub(super) fn forwarder(&self, accept: Accept) -> Result<Forwarder> {
        let records = dns::authenticator(&self.config.dns).context("names cannot be looked up")?;
        let hostname = self.config.hostname.clone();
        Ok(Forwarder {
            accept,
            database: self.opened.database.clone(),
            directory: self.directory.clone(),
            senders: self.identities.senders().clone(),
            authenticator: Authenticator { records, name: hostname.clone() },
            hostname,
        })
    }

    /// Mail from the world.
    pub(super) async fn mx(
        &mut self,
        operator: TenantId,
        tls: Option<TlsConfig>,
    ) -> Result<Option<SocketAddr>> {
        let Some(address) = self.config.mx_addr else { return Ok(None) };
        let records = dns::authenticator(&self.config.dns).context("names cannot be looked up")?;
        let name = self.config.hostname.clone();
        let inbox = Inbox {
            database: self.opened.database.clone(),
            directory: self.directory.clone(),
            operator,
            hostname: name.clone(),
            authenticator: Authenticator { records, name },
            screen: self.screen()?,
        };
        let mut door = Listening::bind(address, &self.config, inbox, self.opened.clock.clone()).await?;
        door.settings.tls = tls.map_or(Tls::Off, Tls::StartTls);
        door.settings.proxies = self.config.trusted_proxies.clone();
        let address = door.address();
        self.smtp.spawn("mx", door.serve(self.stop_doors.clone()));
        Ok(Some(address))
    }
}

/// What routes are read with, and who is told.
struct Routes {
    database: Database,
    seal: Subkey,
    policy: SenderPolicy,
    directory: Directory,
}

impl Routes {
    async fn reload(&self) -> Result<(), StoreError> {
        let means = Means { database: &self.database, seal: &self.seal, policy: self.policy };
        let routes = inbound_routes::open_all(means).await?;
        self.directory.replace(routes, inbound_filters::all(&self.database).await?);
        Ok(())
    }

    /// Takes over routes when they change; those of a tenant that is deleted go with it.
    async fn follow(self, mut known: watch::Receiver<Known>, stop: CancellationToken) {
        let of = |revisions: Revisions| (revisions.inbound, revisions.credentials, revisions.domains);
        let mut seen = of(known.borrow().revisions);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = known.changed() => if changed.is_err() { return },
            }
            let now = of(known.borrow_and_update().revisions);
            if now == seen {
                continue;
            }
            match self.reload().await {
                Ok(()) => seen = now,
                Err(error) => {
                    tracing::warn!(error = %error, "could not read the inbound routes that have changed")
                }
            }
        }
    }
}
