//! The text of a mail after DATA, in pieces as the wire cuts it: the first octet says how long they are.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    if let Some((piece, wire)) = octets.split_first() {
        postroad::smtp::fuzzing::text(wire, usize::from(*piece));
    }
});
