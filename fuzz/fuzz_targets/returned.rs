//! A mail that comes back: notices of every shape, complaints (ARF), receipts, automatic answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::mail::returned::{self, Envelope, Returned};

fuzz_target!(|octets: &[u8]| {
    for envelope in [Envelope::Null, Envelope::Named] {
        if let Returned::Notice(notices) = returned::read(octets, envelope) {
            assert!(!notices.is_empty());
            assert!(notices.iter().all(|notice| !notice.reply.text.chars().any(char::is_control)));
        }
        returned::read_at_feedback_address(octets, envelope);
        returned::kind(octets, envelope);
    }
});
