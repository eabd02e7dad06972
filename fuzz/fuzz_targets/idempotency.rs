//! An Idempotency-Key: what is taken is what was sent, and can stand in a header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::submission::IdempotencyKey;

fuzz_target!(|text: &str| {
    let Ok(key) = IdempotencyKey::parse(text) else { return };
    let key = key.as_str();
    assert!((1..=256).contains(&key.len()) && key.bytes().all(|octet| (b' '..=b'~').contains(&octet)));
    assert!(text == key || *text == format!("\"{key}\""));
});
