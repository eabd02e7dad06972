//! A token in a visitor's URL, and a link in a mail: no token but ours is read, and a link leads where it said.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::domain::id::DeliveryId;
use postroad::domain::tracking::{Target, TrackingTokens};
use postroad::seal::MasterKey;

fuzz_target!(|text: &str| {
    let master = MasterKey::parse("bWFzdGVyIGtleSBvZiBhbGwgdGVzdHMsIDMyIG9jdHM=").expect("a key");
    let tokens = TrackingTokens::new(&master);
    assert_eq!((tokens.opened(text), tokens.clicked(text)), (None, None));
    if let Some(target) = Target::parse(text) {
        let shown = target.as_str();
        assert!(shown.starts_with("https://") || shown.starts_with("http://"));
        assert!(shown.bytes().all(|octet| octet.is_ascii_graphic()), "{shown}");
        assert_eq!(Target::parse(shown).as_ref(), Some(&target));
        let delivery =
            DeliveryId::from_uuid(uuid::Uuid::from_u128(0x0193_6000_0000_7003_a000_0000_0000_0001));
        assert_eq!(tokens.clicked(&tokens.click(delivery, &target)), Some((delivery, target)));
    }
});
