//! A line of an SMTP session.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| postroad::smtp::fuzzing::command(octets));
