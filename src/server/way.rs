//! Where mail goes: the installation's own route, and what is needed to find the recipients' servers.

use std::sync::Arc;

use anyhow::{Context, Result};
use rustls_pki_types::CertificateDer;

use crate::delivery::direct::Direct;
use crate::delivery::domains::Domains;
use crate::delivery::mta_sts::Policies;
use crate::delivery::resolve::Finder;
use crate::delivery::site::Reach;
use crate::delivery::tls_results::TlsResults;
use crate::domain::handling::Transport;
use crate::domain::relay::{Auth, DEFAULT_CONNECTIONS, DefaultRoute, Endpoint, Hop, TlsMode};
use crate::domain::return_path::ReturnPaths;
use crate::feedback::capture::Keeper;

use super::{Building, capture};

impl Building {
    /// What mail needs that goes to the recipients' own servers.
    pub(super) fn direct(
        &self,
        reach: Reach,
        roots: &[CertificateDer<'static>],
        tls_results: &Arc<TlsResults>,
    ) -> Result<Direct> {
        let policies = Policies::new(
            self.resolver.clone(),
            self.opened.database.clone(),
            reach,
            roots,
            self.config.mta_sts_port,
        )
        .map(|policies| policies.counting(Arc::clone(tls_results)));
        let finder = Finder {
            policies: policies.context("no client for MTA-STS policies")?,
            resolver: self.resolver.clone(),
            port: self.config.direct_port,
            reach,
            ourselves: self.config.hostname.to_ascii_lowercase(),
        };
        Ok(Direct { finder, domains: Domains::default() })
    }

    /// Where mail goes unless a tenant says otherwise.
    pub(super) async fn hop(&mut self, return_paths: &ReturnPaths) -> Result<Hop> {
        match &self.config.route {
            DefaultRoute::Relay(endpoint) => Ok(Hop::Relay(endpoint.clone())),
            DefaultRoute::Direct => Ok(Hop::Direct(Transport::AsOffered)),
            DefaultRoute::Capture => {
                let keeper = Keeper::new(self.opened.database.clone(), Arc::new(return_paths.clone()));
                let listener =
                    capture::Listening::bind(&self.config, keeper, self.opened.clock.clone()).await?;
                let port = listener.port();
                self.capture.spawn("capture", listener.serve(self.stop_capture.clone()));
                Ok(Hop::Kept(Endpoint {
                    host: "127.0.0.1".to_owned(),
                    port,
                    tls: TlsMode::None,
                    auth: Auth::None,
                    max_connections: DEFAULT_CONNECTIONS,
                }))
            }
        }
    }
}
