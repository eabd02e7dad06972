//! A reply of a peer, and what it is taken for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::domain::classify::{classify, classify_notice};
use postroad::domain::outcome::{Hardness, Ruling, Step, Suppress};
use postroad::mail::reply::SmtpReply;

fuzz_target!(|octets: &[u8]| {
    let text = String::from_utf8_lossy(octets);
    let code = 200 + u16::from(octets.first().copied().unwrap_or_default()) * 2;
    let reply = SmtpReply::from_lines(code, text.lines());
    assert!(!reply.text.chars().any(char::is_control), "{:?}", reply.text);
    for step in [Step::Greeting, Step::Mail, Step::Rcpt, Step::Data, Step::Body] {
        match classify(step, &reply) {
            Ruling::Bounce { suppress, hardness, .. } => {
                assert!(code >= 500);
                assert!(suppress != Suppress::Now || (step >= Step::Rcpt && hardness == Hardness::Hard));
            }
            Ruling::Delivered => panic!("a refusal is no delivery"),
            Ruling::Defer { .. } => {}
        }
        assert!(matches!(classify_notice(step, &reply), Ruling::Bounce { .. }));
    }
});
