//! A message that a client composed: what is accepted has short lines that end in CRLF, and is accepted again as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::mail::MAX_LINE;
use postroad::mail::raw::{Defaults, accept};

fuzz_target!(|octets: &[u8]| {
    let date = postroad::smtp::fuzzing::epoch();
    let defaults = Defaults { date, message_id: "<fuzz@acme.example>" };
    let Ok(accepted) = accept(octets, &defaults) else { return };
    let text = &accepted.bytes;
    assert!(text.ends_with(b"\r\n"));
    for line in text.split(|octet| *octet == b'\n') {
        assert!(line.is_empty() || line.ends_with(b"\r"), "a bare LF");
        assert!(line.len() <= MAX_LINE + 1, "{} octets", line.len());
    }
    let again = accept(text, &defaults).expect("what was accepted is accepted again");
    assert_eq!(again.bytes, *text);
});
