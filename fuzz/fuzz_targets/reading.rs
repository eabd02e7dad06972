//! A mail as a tenant's program gets it; and its form for a peer that takes seven bits only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::mail::{reading, to_seven_bit};

fuzz_target!(|octets: &[u8]| {
    reading::read(octets);
    if let Ok(narrow) = to_seven_bit(octets) {
        assert!(narrow.is_ascii());
    }
});
