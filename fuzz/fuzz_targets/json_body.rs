//! The body of a send: one reading of JSON, then a mail or reasons that say where.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::http::api::messages::decode::submission;
use postroad::http::fuzzing::json;
use time::OffsetDateTime;

fuzz_target!(|octets: &[u8]| {
    let Ok(value) = json(octets) else { return };
    assert_eq!(serde_json::from_slice::<serde_json::Value>(octets).ok().as_ref(), Some(&value));
    if let Err(rejected) = submission(value, OffsetDateTime::UNIX_EPOCH) {
        assert!(!rejected.violations.is_empty());
        for violation in rejected.violations {
            assert!(!violation.code.is_empty() && !violation.message.is_empty());
            assert!(
                violation.pointer.is_empty() || violation.pointer.starts_with('/'),
                "{}",
                violation.pointer
            );
        }
    }
});
