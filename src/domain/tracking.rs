//! Tokens of opens and clicks: what a pixel and a link lead back by.
//!
//! A token holds all that is needed (the delivery, and for a link its target) under a MAC keyed from the master
//! key, so that following one needs no database, and works as long as the key. Nobody can make one, or change where
//! one leads: there is no open redirect.

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use url::Url;
use uuid::Uuid;

use crate::seal::{MasterKey, Purpose};

use super::id::DeliveryId;

/// Makes and reads tokens.
#[derive(Clone)]
pub struct TrackingTokens(hmac::Key);

/// What a token is for: part of what is signed, so that none serves for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open = 1,
    Click = 2,
}

const ID_LEN: usize = 16;
const MAC_LEN: usize = 12;
/// Longer targets are left alone.
const MAX_TARGET: usize = 1500;
/// Longer tokens are not ours.
const MAX_TOKEN: usize = (ID_LEN + MAC_LEN + MAX_TARGET).div_ceil(3) * 4;

impl TrackingTokens {
    /// Of this installation.
    pub fn new(master: &MasterKey) -> TrackingTokens {
        TrackingTokens(master.derive(Purpose::Tracking).mac())
    }

    /// The token of a delivery's pixel: the same at every call.
    pub fn open(&self, delivery: DeliveryId) -> String {
        self.make(Kind::Open, delivery, "")
    }

    /// The token of a link of a delivery.
    pub fn click(&self, delivery: DeliveryId, target: &Target) -> String {
        self.make(Kind::Click, delivery, target.as_str())
    }

    /// The delivery whose pixel it is; `None`: not a token of ours.
    pub fn opened(&self, token: &str) -> Option<DeliveryId> {
        self.read(Kind::Open, token).filter(|(_, rest)| rest.is_empty()).map(|(delivery, _)| delivery)
    }

    /// The delivery whose link it is, and where it leads; `None`: not a token of ours.
    pub fn clicked(&self, token: &str) -> Option<(DeliveryId, Target)> {
        let (delivery, target) = self.read(Kind::Click, token)?;
        Some((delivery, Target::parse(std::str::from_utf8(&target).ok()?)?))
    }

    fn make(&self, kind: Kind, delivery: DeliveryId, target: &str) -> String {
        let mut token = delivery.uuid().as_bytes().to_vec();
        token.extend_from_slice(target.as_bytes());
        let mac = self.mac(kind, &token);
        token.extend_from_slice(&mac.as_ref()[..MAC_LEN]);
        BASE64URL_NOPAD.encode(&token)
    }

    fn read(&self, kind: Kind, token: &str) -> Option<(DeliveryId, Vec<u8>)> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let mut token = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let signed = token.len().checked_sub(MAC_LEN).filter(|signed| *signed >= ID_LEN)?;
        let mac = token.split_off(signed);
        let expected = self.mac(kind, &token);
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..MAC_LEN], &mac).ok()?;
        let target = token.split_off(ID_LEN);
        Some((DeliveryId::from_uuid(Uuid::from_slice(&token).ok()?), target))
    }

    fn mac(&self, kind: Kind, signed: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[kind as u8]);
        context.update(signed);
        context.sign()
    }
}

/// Where a tracked link leads: an absolute http or https URL with a host, without user and password, in the form that
/// a browser makes of it. It is ASCII, and has no space and no control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(String);

impl Target {
    /// Reads a link's target; `None`: it is to be left alone.
    pub fn parse(href: &str) -> Option<Target> {
        let scheme = href.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase())?;
        let rest = &href[scheme.len() + 1..];
        // Browsers mend `https:/x` and `https:\\x`; what has to be mended is not followed in anybody's name.
        if !matches!(scheme.as_str(), "http" | "https") || !rest.starts_with("//") || href.contains('\\') {
            return None;
        }
        let strange = |c: char| c.is_control() || c.is_whitespace();
        if href.contains(strange) {
            return None;
        }
        let url = Url::parse(href).ok()?;
        let bare = url.username().is_empty() && url.password().is_none() && !rest[2..].starts_with('/');
        let text = String::from(url);
        (bare && text.len() <= MAX_TARGET && text.is_ascii()).then_some(Target(text))
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it looks like a way to unsubscribe: such links must work for machines and without us.
    pub fn is_unsubscribe(&self) -> bool {
        let text = self.0.to_ascii_lowercase();
        ["unsubscribe", "optout", "opt-out", "opt_out"].iter().any(|word| text.contains(word))
    }
}

/// Where the world reaches the pixel and the links: `https://host`, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackingBase(String);

impl TrackingBase {
    /// From a URL of the configuration or a tracking domain's.
    pub fn new(url: &str) -> TrackingBase {
        TrackingBase(url.trim_end_matches('/').to_owned())
    }

    /// The same on another host that leads here too; as it is, if the host cannot stand in a URL.
    pub fn at(&self, host: &str) -> TrackingBase {
        let moved = Url::parse(&self.0).ok().and_then(|mut url| {
            url.set_host(Some(host)).ok()?;
            Some(TrackingBase::new(url.as_str()))
        });
        moved.unwrap_or_else(|| self.clone())
    }

    /// Of a pixel.
    pub fn pixel(&self, token: &str) -> String {
        format!("{}/t/o/{token}.gif", self.0)
    }

    /// Of a link.
    pub fn link(&self, token: &str) -> String {
        format!("{}/t/c/{token}", self.0)
    }

    /// Whether a link leads to us already.
    pub fn owns(&self, target: &Target) -> bool {
        ["/t/", "/u/"].iter().any(|path| {
            target.as_str().strip_prefix(self.0.as_str()).is_some_and(|rest| rest.starts_with(path))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{Lane, MessageId};
    use time::macros::datetime;

    fn delivery() -> DeliveryId {
        MessageId::in_lane(datetime!(2026-11-24 10:00 UTC), Lane::new(7)).delivery(3)
    }

    fn tokens() -> TrackingTokens {
        TrackingTokens::new(&MasterKey::generate().expect("randomness"))
    }

    fn target(text: &str) -> Target {
        Target::parse(text).expect("a target")
    }

    #[test]
    fn tokens_lead_back_and_none_serves_for_another() {
        let (tokens, delivery) = (tokens(), delivery());
        let shop = target("https://shop.example/?a=1&b=2#c");
        let (open, click) = (tokens.open(delivery), tokens.click(delivery, &shop));
        assert_eq!(tokens.opened(&open), Some(delivery));
        assert_eq!(tokens.clicked(&click), Some((delivery, shop)));
        assert_eq!((tokens.opened(&click), tokens.clicked(&open)), (None, None));
        assert_eq!(self::tokens().opened(&open), None, "another key");
        assert_eq!(tokens.open(delivery), open);
    }

    #[test]
    fn no_changed_token_is_taken() {
        let (tokens, delivery) = (tokens(), delivery());
        let click = tokens.click(delivery, &target("https://shop.example/"));
        for token in [tokens.open(delivery), click] {
            for at in 0..token.len() {
                for other in [b'A', b'z', b'_', b'.', b'='] {
                    let mut changed = token.clone().into_bytes();
                    if changed[at] == other {
                        continue;
                    }
                    changed[at] = other;
                    let changed = String::from_utf8(changed).expect("ASCII");
                    assert_eq!(
                        (tokens.opened(&changed), tokens.clicked(&changed)),
                        (None, None),
                        "{changed}"
                    );
                }
                assert_eq!((tokens.opened(&token[..at]), tokens.clicked(&token[..at])), (None, None));
            }
        }
    }

    #[test]
    fn only_plain_web_links_are_followed_for_others() {
        for (href, wanted) in [
            ("https://Shop.Example/a b", None),
            ("https://Shop.Example/ü?q=ü", Some("https://shop.example/%C3%BC?q=%C3%BC")),
            ("HTTP://shop.example", Some("http://shop.example/")),
            ("https://münchen.example/", Some("https://xn--mnchen-3ya.example/")),
            ("https://a:b@shop.example/", None),
            ("https://a@shop.example/", None),
            ("//shop.example/", None),
            ("https:/shop.example/", None),
            ("https:///shop.example/", None),
            ("https:\\\\shop.example/", None),
            ("https://shop.example\\@evil.example/", None),
            ("https://shop.example/\r\nX: y", None),
            ("javascript:alert(1)", None),
            ("mailto:a@b.example", None),
            ("tel:+1", None),
            ("#top", None),
            ("/path", None),
            ("", None),
        ] {
            assert_eq!(Target::parse(href).as_ref().map(Target::as_str), wanted, "{href:?}");
        }
        assert_eq!(Target::parse(&format!("https://a.example/{}", "x".repeat(MAX_TARGET))), None);
        assert!(target("https://a.example/Unsubscribe?x").is_unsubscribe());
        let base = TrackingBase::new("https://m.example/");
        assert!(base.owns(&target("https://m.example/u/abc")) && !base.owns(&target("https://m.example/up")));
        assert_eq!(base.at("track.acme.example").link("x"), "https://track.acme.example/t/c/x");
        let local = TrackingBase::new("http://127.0.0.1:8080");
        assert_eq!(local.at("track.acme.example").pixel("x"), "http://track.acme.example:8080/t/o/x.gif");
        assert_eq!(local.at("no host"), local);
    }

    proptest::proptest! {
        #[test]
        fn no_text_of_a_stranger_is_a_token(
            text in "\\PC{0,60}",
            octets in proptest::collection::vec(proptest::num::u8::ANY, ID_LEN + MAC_LEN),
            target in "(https://a\\.example/)?[a-z]{0,9}",
        ) {
            let tokens = tokens();
            let (id, mac) = octets.split_at(ID_LEN);
            let forged = [BASE64URL_NOPAD.encode(&octets), BASE64URL_NOPAD.encode(&[id, target.as_bytes(), mac].concat())];
            for text in &forged {
                proptest::prop_assert_eq!((tokens.opened(text), tokens.clicked(text)), (None, None));
            }
            proptest::prop_assert_eq!((tokens.opened(&text), tokens.clicked(&text)), (None, None));
        }

        #[test]
        fn a_link_leads_where_it_said_or_is_left_alone(
            href in "(https?|HTTP|ftp|javascript)?:?[/\\\\]{0,3}([a-z@:.#?%=&ü\\[\\] \t\r\n-]|[0-9]|\\PC){0,40}",
        ) {
            if let Some(target) = Target::parse(&href) {
                let shown = target.as_str();
                proptest::prop_assert!(shown.starts_with("https://") || shown.starts_with("http://"));
                proptest::prop_assert!(shown.bytes().all(|c| c.is_ascii_graphic()), "{}", shown);
                proptest::prop_assert_eq!(Target::parse(shown), Some(target.clone()));
                let (tokens, delivery) = (tokens(), delivery());
                let token = tokens.click(delivery, &target);
                proptest::prop_assert_eq!(tokens.clicked(&token), Some((delivery, target)));
            }
        }
    }
}
