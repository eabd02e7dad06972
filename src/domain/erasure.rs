//! What stands in the place of an address that was erased: keyed, so that nobody without the master key can find out
//! whose it was by trying addresses, and the same at every step, so that what is stored still fits together.

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;

use crate::seal::{MasterKey, Purpose};

use super::id::TenantId;

/// Below it no mail is ever delivered (RFC 2606 §2).
const DOMAIN: &str = "erased.invalid";
/// What a suppression begins with that keeps no address.
pub const HASHED: &str = "hmac:";

/// Makes what stands in the place of addresses.
#[derive(Debug, Clone)]
pub struct Pseudonyms(hmac::Key);

impl Pseudonyms {
    /// Of this installation.
    pub fn new(master: &MasterKey) -> Pseudonyms {
        Pseudonyms(master.derive(Purpose::Erasure).mac())
    }

    /// An address that stands for one, given by its key
    /// ([`EmailAddress::key`](crate::mail::EmailAddress::key)).
    pub fn address(&self, tenant: TenantId, key: &str) -> String {
        format!("erased-{}@{DOMAIN}", HEXLOWER.encode(&self.mac(b"address", tenant, key).as_ref()[..8]))
    }

    /// What the suppression list keeps of one.
    pub fn suppression(&self, tenant: TenantId, key: &str) -> String {
        format!("{HASHED}{}", HEXLOWER.encode(self.mac(b"suppression", tenant, key).as_ref()))
    }

    fn mac(&self, of: &[u8], tenant: TenantId, key: &str) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(of);
        context.update(tenant.uuid().as_bytes());
        context.update(key.as_bytes());
        context.sign()
    }
}

/// Whether this is what stands in the place of an address.
pub fn is_pseudonym(address: &str) -> bool {
    address.strip_prefix("erased-").is_some_and(|rest| rest.ends_with(&format!("@{DOMAIN}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::EmailAddress;
    use time::macros::datetime;

    #[test]
    fn a_pseudonym_is_an_address_alike_for_one_tenant_and_tells_nothing() {
        let pseudonyms = Pseudonyms::new(&MasterKey::generate().expect("randomness"));
        let tenant = |hour| TenantId::new(datetime!(2026-11-29 0:00 UTC) + time::Duration::hours(hour));
        let (one, two) = (tenant(1), tenant(2));
        let ann = pseudonyms.address(one, "ann@example.net");
        assert!(EmailAddress::parse(&ann).is_ok() && is_pseudonym(&ann), "{ann}");
        assert!(!is_pseudonym("ann@example.net"));
        assert_eq!(pseudonyms.address(one, "ann@example.net"), ann);
        assert_ne!(pseudonyms.address(two, "ann@example.net"), ann, "tenants cannot compare notes");
        assert_ne!(pseudonyms.address(one, "bob@example.net"), ann);
        let others = Pseudonyms::new(&MasterKey::generate().expect("randomness"));
        assert_ne!(
            others.suppression(one, "ann@example.net"),
            pseudonyms.suppression(one, "ann@example.net")
        );
        assert!(pseudonyms.suppression(one, "ann@example.net").starts_with(HASHED));
    }
}
