//! The door for mail from the world, bound and ready to serve.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;
use crate::domain::id::TenantId;
use crate::domain::return_path::ReturnPaths;
use crate::domain::unsubscribe::Unsubscribes;
use crate::feedback::directory::Directory;
use crate::feedback::inbox::Inbox;
use crate::smtp::{EarlyTalk, Listener, Mx, Settings, Tls, TlsConfig};

use super::Building;

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

impl Building {
    /// Mail from the world.
    pub(super) async fn mx(
        &mut self,
        operator: TenantId,
        tls: Option<TlsConfig>,
    ) -> Result<Option<SocketAddr>> {
        let Some(address) = self.config.mx_addr else { return Ok(None) };
        let (database, master) = (self.opened.database.clone(), &self.opened.master);
        let domain = &self.config.bounce_domain;
        let directory = Directory::new(
            [self.config.hostname.clone(), domain.clone()],
            ReturnPaths::new(master, domain),
            Unsubscribes::new(master, domain),
        );
        let inbox = Inbox { database, directory, operator, hostname: self.config.hostname.clone() };
        let mut door = Listening::bind(address, &self.config, inbox, self.opened.clock.clone()).await?;
        door.settings.tls = tls.map_or(Tls::Off, Tls::StartTls);
        door.settings.proxies = self.config.trusted_proxies.clone();
        let address = door.address();
        self.smtp.spawn("mx", door.serve(self.stop_doors.clone()));
        Ok(Some(address))
    }
}
