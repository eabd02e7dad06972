//! Addresses, lists of them, rewritten senders: what is read is written so that it reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::domain::inbound::Pattern;
use postroad::mail::{EmailAddress, Mailbox, parse_list};

fuzz_target!(|text: &str| {
    if let Ok(address) = EmailAddress::parse(text) {
        assert_eq!(EmailAddress::parse(address.as_str()).as_ref(), Ok(&address));
    }
    if let Ok(mailbox) = Mailbox::parse(text) {
        assert_eq!(Mailbox::parse(&mailbox.to_string()), Ok(mailbox));
    }
    let _ = parse_list(text);
    if let Ok(pattern) = Pattern::parse(text) {
        assert_eq!(Pattern::parse(&pattern.to_string()), Ok(pattern));
    }
    postroad::smtp::fuzzing::rewritten(text);
});
