//! The parts of tracking: what marks mail, and what takes visits.

use anyhow::{Context, Result};

use crate::delivery::mark::Marker;
use crate::domain::tracking::{TrackingBase, TrackingTokens};
use crate::feedback::visits::{self, Countries};
use crate::http::tracking::Tracking;
use crate::store::Use;

use super::Building;

impl Building {
    /// Marks mail with tokens of this installation.
    pub(super) fn marker(&self) -> Marker {
        Marker {
            tokens: TrackingTokens::new(&self.opened.master),
            base: TrackingBase::new(&self.config.base_url()),
        }
    }

    /// Takes visits, and writes them until the doors are closed.
    pub(super) fn tracking(&mut self) -> Result<Tracking> {
        let countries =
            self.config.geoip.as_deref().map(|path| {
                Countries::open(path).with_context(|| format!("POSTROAD_GEOIP: {}", path.display()))
            });
        let link = self.opened.database.link(Use::Claim);
        let (visits, writer) = visits::queue(link, countries.transpose()?, self.config.tracking_ip);
        self.writers.spawn("visits", writer.run());
        Ok(Tracking { tokens: TrackingTokens::new(&self.opened.master), visits })
    }
}
