//! Peers that want to see whether we come back (S8).

use std::time::Duration;

use super::World;
use crate::faults::{assert_about, attempts, last_told, wait_after_last};
use crate::support::client::{statuses, text};
use crate::support::sink::{SmtpSink, reply, tries, usual};

// S8
#[tokio::test]
async fn a_greylisted_mail_comes_again_within_ten_minutes_from_the_same_address() {
    let later = reply("451 4.7.1 Greylisting in action, please come back later");
    let world = World::of(SmtpSink::builder().on_rcpt("ann@", tries([later, usual()]))).await;
    world.host("example.net", "127.0.0.1");

    let id = world.send("ann@example.net").await;
    let message = world.tried_again(&id, 1).await;
    assert_eq!(last_told(&message), "deferred greylisted rcpt 451 4.7.1");
    assert_about(wait_after_last(&message), 5);
    assert!(wait_after_last(&message) < Duration::from_secs(600));
    world.app.database.make_due().await;

    let message = world.app.client.ended(&id).await;
    assert_eq!(statuses(&message), ["delivered"]);
    assert_eq!(attempts(&message).len(), 2);
    // What a greylister keys on: our address, the return path, the recipient.
    let addresses = world.sink.client_addresses();
    assert!(addresses.windows(2).all(|two| two[0] == two[1]), "{addresses:?}");
    let senders: Vec<String> = world
        .sink
        .commands()
        .into_iter()
        .filter(|line| line.starts_with("MAIL FROM:"))
        .map(|line| line.split_ascii_whitespace().nth(1).unwrap_or_default().to_owned())
        .collect();
    assert_eq!(senders.len(), 2);
    assert_eq!(senders[0], senders[1], "the same return path");
    assert_eq!(text(&attempts(&message)[0], "/smtp/ip"), text(&attempts(&message)[1], "/smtp/ip"));
    world.end(&[]).await;
}
