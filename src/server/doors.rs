//! The doors: what lets mail in, by HTTP and by SMTP, and what they share.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use crate::account::credentials::Keys;
use crate::account::notices::Announcer;
use crate::account::rates::Rates;
use crate::account::users::letters::Letters;
use crate::account::users::oidc::Oidc;
use crate::delivery::{Delivery, LEASE};
use crate::domain::handoff::Handoff;
use crate::domain::id::TenantId;
use crate::domain::netguard::Netguard;
use crate::domain::relay::DefaultRoute;
use crate::feedback::notices::Teller;
use crate::http::extract::Budget;
use crate::http::serve::{Places, serve};
use crate::http::{self, App, AppParts, ui};
use crate::mail::{EmailAddress, Mailbox};
use crate::outbound::{Lookup, Outbound};
use crate::smtp::submission::BadLogins;
use crate::smtp::{Listener, Settings, Submission, Tls};
use crate::submission::intake::{Intake, Onward};
use crate::submission::{Accept, Limits};
use crate::worker::{announce, follow, forward, notify};

use super::certificate::{Certificate, Issued, Shown};
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
    /// Listens for HTTP, so that what leads there is known by its port from the first mail on. Nobody is answered
    /// before the doors are opened.
    pub(super) async fn listen(&mut self) -> Result<()> {
        if self.roles.contains(&Role::Api) {
            let listener = listen(self.config.http_addr).await?;
            self.config.http_addr = listener.local_addr()?;
            self.http = Some(listener);
        }
        Ok(())
    }

    /// Opens the doors of this process's roles. Whoever submits mail must end before the writers can: nothing here
    /// may keep an [`Accept`] beyond the doors.
    pub(super) async fn open_doors(
        &mut self,
        operator: TenantId,
        worker: Option<&(Arc<Delivery>, Handoff)>,
    ) -> Result<Ports> {
        let front = self.front(worker).await?;
        let mut ports = Ports::default();
        if self.roles.contains(&Role::Api) {
            self.api(&front, worker.map(|(delivery, _)| delivery), operator, &mut ports).await?;
        }
        if self.roles.contains(&Role::Smtp) {
            self.submission(&front, &mut ports).await?;
            let tls = front.certificate.as_ref().map(|shown| shown.smtp.clone());
            ports.mx = self.mx(operator, tls).await?;
        }
        if self.roles.contains(&Role::Worker) {
            self.report_tls(front.accept.clone(), operator);
            let forwarder = self.forwarder(front.accept.clone())?;
            self.tellers.spawn("forward", forward::run(forwarder, self.stop_doors.clone()));
            let teller = Teller {
                accept: front.accept,
                database: self.opened.database.clone(),
                hostname: self.config.hostname.clone(),
            };
            let announcer = Announcer {
                accept: teller.accept.clone(),
                database: teller.database.clone(),
                hostname: teller.hostname.clone(),
            };
            self.tellers.spawn("notify", notify::run(teller, self.stop_doors.clone()));
            self.tellers.spawn("announce", announce::run(announcer, self.stop_doors.clone()));
        }
        Ok(ports)
    }

    async fn front(&mut self, worker: Option<&(Arc<Delivery>, Handoff)>) -> Result<Front> {
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
            quotas: self.quotas.clone(),
            hashed: self.hashed.clone(),
            database: database.clone(),
        };
        let keys = Arc::new(Keys::new(database.clone(), self.known.clone()));
        self.loops.spawn("keys", changes::write_used_keys(Arc::clone(&keys), self.stop_loops.clone()));
        let rates = Arc::new(Rates::new(self.config.key_rate));
        Ok(Front { accept, keys, rates, certificate: self.certificate().await? })
    }

    /// What is shown by the doors with TLS, if there are any.
    async fn certificate(&mut self) -> Result<Option<Shown>> {
        let config = &self.config;
        let smtp = config.submission_addr.or(config.submissions_addr).or(config.mx_addr);
        let shows = (self.roles.contains(&Role::Smtp) && smtp.is_some())
            || (self.roles.contains(&Role::Api) && self.config.https_addr.is_some());
        if !shows {
            return Ok(None);
        }
        let issued = Issued {
            database: self.opened.database.clone(),
            seal: self.seal.clone(),
            clock: self.opened.clock.clone(),
            known: self.known.clone(),
        };
        let directory = self.opened.data_dir.path();
        let (certificate, shown) = Certificate::load(&self.config, directory, issued).await?;
        self.loops.spawn("certificate", certificate.follow(self.stop_loops.clone()));
        Ok(Some(shown))
    }

    /// HTTP.
    async fn api(
        &mut self,
        front: &Front,
        delivery: Option<&Arc<Delivery>>,
        first_tenant: TenantId,
        ports: &mut Ports,
    ) -> Result<()> {
        let (database, clock) = (self.opened.database.clone(), self.opened.clock.clone());
        let listener = self.http.take().context("HTTP listens before the doors are opened")?;
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
            users: self.users.clone().reached_at(&self.site_url(ports.http)),
            oidc: self.oidc(ports.http)?,
            letters: self.letters(&front.accept, first_tenant, ports.http)?,
            site: ui::Site::new(&self.opened.master, &self.site_url(ports.http)),
            installation: self.installation(),
            first_tenant,
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
        let (router, places) = (http::router(app), Places::new(&self.config.trusted_proxies));
        if let Some((address, shown)) = self.config.https_addr.zip(front.certificate.as_ref()) {
            let listener = listen(address).await?;
            ports.https = Some(listener.local_addr()?);
            let (tls, stop) = (Some(shown.https.clone()), self.stop_doors.clone());
            self.doors.spawn("https", serve(listener, tls, router.clone(), places.clone(), stop));
        }
        self.doors.spawn("http", serve(listener, None, router, places, self.stop_doors.clone()));
        Ok(())
    }

    /// What the dashboard tells of the installation.
    fn installation(&self) -> ui::Installation {
        ui::Installation {
            is_captured: self.config.route == DefaultRoute::Capture,
            hostname: self.config.hostname.clone(),
            submission: self.config.submission_addr,
            submissions: self.config.submissions_addr,
        }
    }

    /// Where the world reaches the dashboard.
    fn site_url(&self, http: Option<SocketAddr>) -> String {
        let local = || format!("http://{}", http.unwrap_or(self.config.http_addr));
        self.config.public_url.clone().unwrap_or_else(local)
    }

    /// The OpenID provider by which people sign in. The operator names it, so that it may be at any address.
    fn oidc(&self, http: Option<SocketAddr>) -> Result<Option<Oidc>> {
        let Some(settings) = self.config.oidc.clone() else { return Ok(None) };
        let anywhere = ["0.0.0.0/0", "::/0"].into_iter().filter_map(|net| net.parse().ok()).collect();
        let outbound = Outbound::new(Netguard::new(anywhere), Lookup::system());
        let outbound = outbound.context("no client for the OpenID provider")?;
        Ok(Some(Oidc::new(settings, outbound, &self.site_url(http))))
    }

    /// What writes to people: as `postroad@` this host.
    fn letters(&self, accept: &Accept, tenant: TenantId, http: Option<SocketAddr>) -> Result<Letters> {
        let address = EmailAddress::parse(&format!("postroad@{}", self.config.hostname));
        let from = Mailbox::new(Some("postroad"), address.context("POSTROAD_HOSTNAME")?)?;
        Ok(Letters { accept: accept.clone(), tenant, from, site: self.site_url(http) })
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
                self.seal.clone(),
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
