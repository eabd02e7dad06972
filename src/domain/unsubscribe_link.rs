//! The links by which recipients leave a stream: `…/u/{token}`, for List-Unsubscribe (RFC 8058) and for the page
//! behind it.
//!
//! A token is sealed: it tells nothing, and nobody can make one. It holds all that leaving needs, so that a link
//! outlives the history of its mail. The same mail to the same recipient always has the same token.

use data_encoding::BASE64URL_NOPAD;
use uuid::Uuid;

use crate::seal::{MasterKey, Purpose, Subkey};

use super::id::{DeliveryId, Id, TenantId};

/// Makes and reads links.
#[derive(Debug, Clone)]
pub struct UnsubscribeLinks {
    key: Subkey,
    base: String,
}

/// Who leaves what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// Whose mail it was.
    pub tenant: TenantId,
    /// Which delivery brought the link.
    pub delivery: DeliveryId,
    /// The recipient in canonical form.
    pub address: String,
    /// The stream of the mail.
    pub stream: String,
}

/// What seals are bound to.
const OWNER: &str = "unsubscribe";
/// Between address and stream: neither can contain it.
const SEPARATOR: u8 = b'\n';
const ID_LEN: usize = 16;

impl UnsubscribeLinks {
    /// For links below `base`, which has no slash at its end.
    pub fn new(master: &MasterKey, base: &str) -> UnsubscribeLinks {
        let base = base.trim_end_matches('/').to_owned();
        UnsubscribeLinks { key: master.derive(Purpose::UnsubscribeLink), base }
    }

    /// The link for a recipient.
    pub fn link(&self, leaving: &Leaving) -> String {
        format!("{}/u/{}", self.base, self.token(leaving))
    }

    fn token(&self, leaving: &Leaving) -> String {
        let mut clear = Vec::with_capacity(2 * ID_LEN + leaving.address.len() + leaving.stream.len() + 1);
        clear.extend_from_slice(leaving.tenant.uuid().as_bytes());
        clear.extend_from_slice(leaving.delivery.uuid().as_bytes());
        clear.extend_from_slice(leaving.address.as_bytes());
        clear.push(SEPARATOR);
        clear.extend_from_slice(leaving.stream.as_bytes());
        BASE64URL_NOPAD.encode(&self.key.seal_alike(OWNER, &clear))
    }

    /// What a token is for; `None`: it is none of ours.
    pub fn read(&self, token: &str) -> Option<Leaving> {
        let sealed = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let clear = self.key.open(OWNER, &sealed).ok()?;
        let (tenant, rest) = clear.split_at_checked(ID_LEN)?;
        let (delivery, rest) = rest.split_at_checked(ID_LEN)?;
        let (address, stream) = std::str::from_utf8(rest).ok()?.split_once(char::from(SEPARATOR))?;
        Some(Leaving {
            tenant: Id::from_uuid(Uuid::from_slice(tenant).ok()?),
            delivery: Id::from_uuid(Uuid::from_slice(delivery).ok()?),
            address: address.to_owned(),
            stream: stream.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::id::{Lane, MessageId};

    fn leaving() -> Leaving {
        let now = datetime!(2026-11-24 10:00 UTC);
        Leaving {
            tenant: TenantId::new(now),
            delivery: MessageId::in_lane(now, Lane::new(7)).delivery(3),
            address: "ann@example.net".to_owned(),
            stream: "news".to_owned(),
        }
    }

    #[test]
    fn a_link_leads_back_is_always_the_same_and_tells_nothing() {
        let links = UnsubscribeLinks::new(&MasterKey::generate().expect("randomness"), "https://m.example/");
        let leaving = leaving();
        let link = links.link(&leaving);
        let token = link.strip_prefix("https://m.example/u/").expect("a link");
        assert_eq!(links.read(token).as_ref(), Some(&leaving));
        assert_eq!(links.link(&leaving), link);
        let other = Leaving { address: "bob@example.net".to_owned(), ..leaving };
        assert_ne!(links.link(&other), link);
        let octets = BASE64URL_NOPAD.decode(token.as_bytes()).expect("base 64");
        assert!(!octets.windows(3).any(|window| window == b"ann"));
    }

    #[test]
    fn the_longest_address_and_stream_fit_on_a_line() {
        let links = UnsubscribeLinks::new(&MasterKey::generate().expect("randomness"), "https://m.example");
        let long = Leaving { address: "a".repeat(254), stream: "s".repeat(64), ..leaving() };
        // RFC 5322 §2.1.1.
        assert!(links.link(&long).len() < 900);
    }

    #[test]
    fn nobody_else_can_make_one() {
        let links = UnsubscribeLinks::new(&MasterKey::generate().expect("randomness"), "https://m.example");
        let token = links.token(&leaving());
        let foreign = UnsubscribeLinks::new(&MasterKey::generate().expect("randomness"), "https://m.example");
        assert_eq!(foreign.read(&token), None);
        for at in 0..token.len() - 1 {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(links.read(&changed), None, "{at}");
        }
        assert_eq!(links.read(""), None);
        assert_eq!(links.read("%"), None);
    }
}
