//! The private listener behind the capture route: joins the SMTP door to the operation that keeps mail.

use std::sync::Arc;

use anyhow::{Context, Result};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;
use crate::feedback::capture::{Incoming, Keeper};
use crate::smtp::{Capture, CapturedMail, Keep, KeepError, Listener, Settings};

/// A bound listener.
pub struct Listening {
    listener: Listener,
    port: u16,
    settings: Settings,
    capture: Capture,
}

struct Sink {
    keeper: Keeper,
    clock: Clock,
}

impl Keep for Sink {
    fn keep(&self, mail: CapturedMail) -> BoxFuture<'_, Result<(), KeepError>> {
        async move {
            let incoming = Incoming {
                return_path: mail.return_path.as_str(),
                recipients: mail.recipients.iter().map(|path| path.as_str().to_owned()).collect(),
                tls: mail.tls.is_some(),
                raw: &mail.bytes,
            };
            self.keeper.keep(incoming, self.clock.now()).await.map_err(|error| KeepError(Box::new(error)))
        }
        .boxed()
    }
}

impl Listening {
    /// Binds to a free port on loopback: nobody else is to reach it.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn bind(config: &Config, keeper: Keeper, clock: Clock) -> Result<Listening> {
        let listener = Listener::bind(("127.0.0.1", 0)).await.context("no port for the capture route")?;
        let port = listener.local_addr()?.port();
        let mut settings = Settings::new(config.hostname.clone());
        // Headers may grow a mail by a little between accept and here.
        settings.limits.message = config.max_message_bytes as u64 + (1 << 20);
        settings.limits.sessions_per_peer = settings.limits.sessions;
        Ok(Listening { listener, port, settings, capture: Capture::new(Arc::new(Sink { keeper, clock })) })
    }

    /// The port it is bound to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Serves until `stop`, and then until open sessions have ended.
    pub async fn serve(self, stop: CancellationToken) {
        self.listener.serve(Arc::new(self.capture), Arc::new(self.settings), stop).await;
    }
}
