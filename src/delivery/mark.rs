//! Marks mail so that opens and clicks lead back to its delivery: the links of its HTML, and of its text if that is
//! asked for, lead through us, and a pixel stands at its end. Pure: the same delivery is marked alike at every try.
//!
//! Not for mail that is signed or encrypted, nor for links that must lead where they say: to unsubscribe, to
//! write, to call, or those that the sender has opted out. Invariant: nothing else of the mail changes.

use crate::domain::handling::{Tracking, WatchedLinks};
use crate::domain::handoff::Outgoing;
use crate::domain::id::DeliveryId;
use crate::domain::identity::senders::SenderDomain;
use crate::domain::tracking::{Target, TrackingBase, TrackingTokens};
use crate::mail::html_part::{self, Kind};
use crate::mail::text_links::mark_text;
use crate::mail::{links, trace};

/// Marks mail.
#[derive(Clone)]
pub struct Marker {
    /// Makes the tokens.
    pub tokens: TrackingTokens,
    /// Where they lead back to.
    pub base: TrackingBase,
}

impl Marker {
    /// The content for one delivery; `None`: as it is. Links lead over the sender's own host, if it has one.
    pub fn mark(
        &self,
        message: &Outgoing,
        sender: Option<&SenderDomain>,
        delivery: DeliveryId,
        content: &[u8],
    ) -> Option<Vec<u8>> {
        let wanted = message.handling.tracking;
        if wanted == Tracking::default() || message.protected {
            return None;
        }
        let host = sender.and_then(|sender| sender.tracking_host.as_deref());
        let base = host.map_or_else(|| self.base.clone(), |host| self.base.at(host));
        let leave = trace::value(content, "List-Unsubscribe").unwrap_or_default();
        let link = |href: &str| {
            let target = Target::parse(href).filter(|_| wanted.clicks)?;
            let is_ours = self.base.owns(&target) || base.owns(&target);
            let is_exempt = target.is_unsubscribe() || is_ours || leave.contains(href);
            (!is_exempt).then(|| base.link(&self.tokens.click(delivery, &target)))
        };
        let pixel = wanted.opens.then(|| {
            let url = base.pixel(&self.tokens.open(delivery));
            format!("<img src=\"{url}\" width=\"1\" height=\"1\" alt=\"\" style=\"display:block;border:0\">")
        });
        // The pixel stands once, in the first HTML part.
        let mut pixel = pixel;
        let marked = html_part::change(content, Kind::Html, |html| {
            let marked = links::mark(html, link, pixel.as_deref())?;
            pixel = None;
            Some(marked)
        });
        if !wanted.clicks || message.handling.watched_links == WatchedLinks::Html {
            return marked;
        }
        let so_far = marked.as_deref().unwrap_or(content);
        html_part::change(so_far, Kind::Plain, |text| mark_text(text, link)).or(marked)
    }
}
