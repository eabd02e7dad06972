//! What strangers publish in the DNS and over HTTP: MTA-STS policies, DKIM keys.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::mail::dkim::PublishedKey;
use postroad::mail::mta_sts::{StsPolicy, policy_id};

fuzz_target!(|text: &str| {
    if let Some(policy) = StsPolicy::parse(text) {
        policy.names("mx.example.net");
    }
    policy_id(&[text.to_owned()]);
    PublishedKey::read(text);
});
