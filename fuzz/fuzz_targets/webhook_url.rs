//! The URL of a webhook: whatever passes leads by HTTP to the public web.
#![no_main]

use std::net::IpAddr;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postroad::domain::netguard::{Netguard, is_public};
use postroad::outbound::{Lookup, Outbound};
use tokio::runtime::{Builder, Runtime};

/// Names lead inside, but for those at `example`.
static OUTBOUND: LazyLock<(Runtime, Outbound)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let lookup = Lookup::by(async |name: String| {
        let address =
            if name.trim_end_matches('.').ends_with("example") { [8, 8, 8, 8] } else { [10, 0, 0, 1] };
        Ok(vec![IpAddr::from(address)])
    });
    let outbound = {
        let _inside = runtime.enter();
        Outbound::new(Netguard::new(Vec::new()), lookup).expect("a client")
    };
    (runtime, outbound)
});

fuzz_target!(|text: &str| {
    let (runtime, outbound) = &*OUTBOUND;
    let Ok(url) = runtime.block_on(outbound.check(text)) else { return };
    assert!(["http", "https"].contains(&url.scheme()), "{url}");
    assert!(url.username().is_empty() && url.password().is_none(), "{url}");
    let host = url.host_str().expect("a host");
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(literal) => assert!(is_public(literal), "{url}"),
        Err(_) => assert!(host.trim_end_matches('.').ends_with("example"), "{url}"),
    }
});
