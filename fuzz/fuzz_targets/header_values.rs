//! Header fields of strangers: trace fields, encoded words, control fields, xtext.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::mail::{control, trace, xtext};

fuzz_target!(|octets: &[u8]| {
    for name in ["Received", "Subject", "Auto-Submitted", "X-Loop"] {
        let all = trace::all_decoded(octets, name);
        assert_eq!(all.len(), trace::count(octets, name));
        assert_eq!(trace::value(octets, name).is_some(), !all.is_empty());
    }
    trace::without_results(octets, "mail.acme.example");
    control::fields(octets);
    let text = String::from_utf8_lossy(octets);
    if let Some(decoded) = xtext::decode(&text) {
        assert_eq!(xtext::decode(&xtext::encode(&decoded)), Some(decoded));
    }
});
