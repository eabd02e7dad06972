//! The doors: what lets mail in, by HTTP and by SMTP, and what they share.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use crate::account::credentials::Keys;
use crate::account::rates::Rates;
use crate::delivery::{Delivery, LEASE};
use crate::domain::handoff::Handoff;
use crate::domain::id::TenantId;
use crate::feedback::notices::Teller;
use crate::http::extract::Budget;
use crate::http::{self, App, AppParts};
use crate::smtp::submission::BadLogins;
use crate::smtp::{Listener, Settings, Submission, Tls};
use crate::submission::intake::{Intake, Onward};
use crate::submission::{Accept, Limits};
use crate::worker::{follow, notify};

use super::certificate::{Certificate, Shown};
use super::{Building, Role, changes, observe, streams};

/// Octets of request bodies in memory.
const BODY_BYTES: usize = 256 << 20;

/// Where a process listens; `None`: it does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    /// The API.
    pub http: Option<SocketAddr>,
    /// The API over TLS.
    pub https: Option<SocketAddr>,
    /// Submission with STARTTLS.
    pub submission: Option<SocketAddr>,
    /// Submission over TLS from the first octet.
    pub submissions: Option<SocketAddr>,
    /// Mail from the world.
    pub mx: Option<SocketAddr>,
}

/// What the doors share.
struct Front {
    accept: Accept,
    keys: Arc<Keys>,
    rates: Arc<Rates>,
    certificate: Option<Shown>,
}

impl Building {
    /// Opens the doors of this process's roles. Whoever submits mail must end before the writers can: nothing here
    /// may keep an [`Accept`] beyond the doors.
    pub(super) async fn open_doors(
        &mut self,
        operator: TenantId,
        worker: Option<&(Arc<Delivery>, Handoff)>,
    ) -> Result<Ports> {
        let front = self.front(worker)?;
        let mut ports = Ports::default();
        if self.roles.contains(&Role::Api) {
            self.api(&front, worker.map(|(delivery, _)| delivery), &mut ports).await?;
        }
        if self.roles.contains(&Role::Smtp) {
            self.submission(&front, &mut ports).await?;
            let tls = front.certificate.as_ref().map(|shown| shown.smtp.clone());
            ports.mx = self.mx(operator, tls).await?;
        }
        if self.roles.contains(&Role::Worker) {
            self.report_tls(front.accept.clone(), operator);
            let teller = Teller {
                accept: front.accept,
                database: self.opened.database.clone(),
                hostname: self.config.hostname.clone(),
            };
            self.tellers.spawn("notify", notify::run(teller, self.stop_doors.clone()));
        }
        Ok(ports)
    }

    fn front(&mut self, worker: Option<&(Arc<Delivery>, Handoff)>) -> Result<Front> {
        let (database, clock) = (&self.opened.database, &self.opened.clock);
        let onward = match worker {
            Some((_, handoff)) => Onward::InMemory { handoff: handoff.clone(), lease: LEASE },
            None => Onward::Notify,
        };
        let (intake, writers) =
            Intake::new(database, clock.clone(), self.lanes.clone(), onward, self.config.accept_writers);
        for writer in writers {
            self.writers.spawn("accept", writer.run());
        }
        let accept = Accept {
            clock: clock.clone(),
            limits: Limits {
                max_message_bytes: self.config.max_message_bytes,
                sender_policy: self.config.sender_policy,
                senders: self.identities.senders().clone(),
                streams: self.streams.clone(),
            },
            lanes: self.lanes.clone(),
            intake,
            database: database.clone(),
        };
        let keys = Arc::new(Keys::new(database.clone(), self.known.clone()));
        self.loops.spawn("keys", changes::write_used_keys(Arc::clone(&keys), self.stop_loops.clone()));
        let rates = Arc::new(Rates::new(self.config.key_rate));
        Ok(Front { accept, keys, rates, certificate: self.certificate()? })
    }

    /// What is shown by the doors with TLS, if there are any.
    fn certificate(&mut self) -> Result<Option<Shown>> {
        let config = &self.config;
        let smtp = config.submission_addr.or(config.submissions_addr).or(config.mx_addr);
        let shows = (self.roles.contains(&Role::Smtp) && smtp.is_some())
            || (self.roles.contains(&Role::Api) && self.config.https_addr.is_some());
        if !shows {
            return Ok(None);
        }
        let (certificate, shown) = Certificate::load(&self.config, self.opened.data_dir.path())?;
        self.loops.spawn("certificate", certificate.follow(self.stop_loops.clone()));
        Ok(Some(shown))
    }

    /// HTTP.
    async fn api(
        &mut self,
        front: &Front,
        delivery: Option<&Arc<Delivery>>,
        ports: &mut Ports,
    ) -> Result<()> {
        let (database, clock) = (self.opened.database.clone(), self.opened.clock.clone());
        let listener = listen(self.config.http_addr).await?;
        ports.http = Some(listener.local_addr()?);
        self.loops.spawn("follow", follow::run(self.live.clone(), database.clone(), self.stop_loops.clone()));
        let metrics = observe::recorder()?;
        self.loops
            .spawn("metrics", observe::upkeep(metrics.clone(), delivery.cloned(), self.stop_loops.clone()));
        let tracking = self.tracking()?;
        let app = App(Arc::new(AppParts {
            accept: front.accept.clone(),
            database,
            clock,
            keys: Arc::clone(&front.keys),
            limits: Arc::clone(&front.rates),
            budget: Budget::new(BODY_BYTES),
            seal: self.seal.clone(),
            unsubscribes: streams::links(&self.config, &self.opened.master),
            outbound: self.outbound.clone(),
            resolver: self.resolver.clone(),
            domains: self.domains.clone(),
            live: self.live.clone(),
            metrics,
            roles: self.shown.clone(),
            trusted_proxies: self.config.trusted_proxies.clone(),
            stopping: self.stop_doors.clone(),
            tracking,
            depth_counted: std::sync::Mutex::default(),
        }));
        let router = http::router(app);
        if let Some((address, shown)) = self.config.https_addr.zip(front.certificate.as_ref()) {
            let listener = listen(address).await?;
            ports.https = Some(listener.local_addr()?);
            let (tls, stop) = (Some(shown.https.clone()), self.stop_doors.clone());
            self.doors.spawn("https", http::serve::serve(listener, tls, router.clone(), stop));
        }
        self.doors.spawn("http", http::serve::serve(listener, None, router, self.stop_doors.clone()));
        Ok(())
    }

    /// Mail from our own users by SMTP.
    async fn submission(&mut self, front: &Front, ports: &mut Ports) -> Result<()> {
        let Some(shown) = &front.certificate else { return Ok(()) };
        let bad_logins = BadLogins::default();
        let doors = [
            (self.config.submission_addr, Tls::StartTls(shown.smtp.clone()), &mut ports.submission),
            (self.config.submissions_addr, Tls::Implicit(shown.smtp.clone()), &mut ports.submissions),
        ];
        for (address, tls, port) in doors {
            let Some(address) = address else { continue };
            let listener =
                Listener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
            *port = Some(listener.local_addr()?);
            let mut settings = Settings::submission(self.config.hostname.clone());
            settings.tls = tls;
            settings.limits.message = self.config.max_message_bytes as u64;
            settings.proxies = self.config.trusted_proxies.clone();
            let mailroom = Submission::new(
                front.accept.clone(),
                Arc::clone(&front.keys),
                Arc::clone(&front.rates),
                bad_logins.clone(),
                self.config.hostname.clone(),
            );
            let serving = listener.serve(Arc::new(mailroom), Arc::new(settings), self.stop_doors.clone());
            self.smtp.spawn("submission", serving);
        }
        Ok(())
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
