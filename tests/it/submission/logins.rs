//! Who may log in, what the others learn, and what guessing gets (security 5.10).

use std::time::Instant;

use serde_json::json;

use super::*;

const REFUSED: &str = "535 5.7.8 Authentication failed: the password is an API key that may send";

#[tokio::test]
async fn every_key_that_may_not_send_from_here_hears_the_same() {
    let doors = Doors::open().await;
    let scopes = |scopes: &[&str]| json!({ "name": "x", "scopes": scopes });
    let reader = doors.app.key(scopes(&["read"])).await.secret;
    let elsewhere = json!({ "name": "x", "scopes": ["send"], "allow_ips": ["192.0.2.0/24"] });
    let elsewhere = doors.app.key(elsewhere).await.secret;
    let revoked = doors.app.key(scopes(&["send"])).await;
    doors.app.client.delete(&format!("/v1/keys/{}", revoked.id)).await;
    let account = doors.app.account("suspended").await;
    let suspended = account.client.make_key(scopes(&["send"])).await.secret;
    doors.app.client.patch(&format!("/v1/tenants/{}", account.tenant), json!({ "suspended": true })).await;

    let shown = [
        ("unknown", "no-key-at-all".to_owned()),
        ("reader", reader),
        ("elsewhere", elsewhere),
        ("revoked", revoked.secret),
        ("suspended", suspended),
    ];
    for (index, (what, secret)) in (1u8..).zip(shown) {
        // From addresses of their own: the third refusal of one is delayed.
        let client = Raw::from(&format!("127.0.1.{index}"), doors.submission()).await;
        let mut client = encrypted(client, &doors).await;
        let began = Instant::now();
        assert_eq!(client.log_in(&secret).await, REFUSED, "{what}");
        assert!(began.elapsed().as_millis() >= 200, "{what}: {:?}", began.elapsed());
    }
    doors.close().await;
}

async fn encrypted(mut client: Raw, doors: &Doors) -> Raw {
    assert_eq!(client.ask("").await, GREETING);
    client.ask("EHLO client.test\r\n").await;
    let mut client = client.starttls(&doors.root).await;
    client.ask("EHLO client.test\r\n").await;
    client
}

/// Tries until nobody listens: how often a guess was looked at.
async fn guess(doors: &Doors, source: &str, tries: usize) -> usize {
    let mut sessions = Vec::new();
    for _ in 0..tries {
        let client = Raw::from(source, doors.submission()).await;
        sessions.push(encrypted(client, doors).await);
    }
    let guesses = sessions
        .iter_mut()
        .enumerate()
        .map(|(n, client)| async move { client.log_in(&format!("guess-{n}")).await });
    let said = futures_util::future::join_all(guesses).await;
    said.iter().filter(|said| *said == REFUSED).count()
}

#[tokio::test]
async fn guessing_from_many_addresses_is_slow_and_short() {
    let doors = Doors::open().await;
    let sources: Vec<String> = (1..=20).map(|n| format!("127.0.2.{n}")).collect();
    let began = Instant::now();
    let looked_at: usize =
        futures_util::future::join_all(sources.iter().map(|source| guess(&doors, source, 15)))
            .await
            .iter()
            .sum();
    assert!(looked_at < 20 * 10, "{looked_at} of 300 guesses were looked at");
    assert!(began.elapsed().as_secs() >= 3, "answers are delayed: {:?}", began.elapsed());
    // From there on they are not even greeted, and others are.
    let mut client = Raw::from("127.0.2.7", doors.submission()).await;
    assert_eq!(client.rest().await, "421 4.7.0 Too many bad logins, try later\r\n");
    doors.logged_in().await;
    doors.close().await;
}

// Security 5.10: a key that was revoked may be tried by a whole fleet, from each address once.
#[tokio::test]
async fn a_key_that_is_tried_from_everywhere_is_not_looked_at_any_more() {
    let doors = Doors::open().await;
    let one = |n: u8| {
        let doors = &doors;
        async move {
            let client = Raw::from(&format!("127.0.7.{n}"), doors.submission()).await;
            encrypted(client, doors).await.log_in("a-key-of-a-whole-fleet").await
        }
    };
    for said in futures_util::future::join_all((1..=50).map(one)).await {
        assert_eq!(said, REFUSED);
    }
    assert_eq!(one(51).await, "421 4.7.0 Too many bad logins, try later");
    let another = Raw::from("127.0.7.51", doors.submission()).await;
    assert_eq!(encrypted(another, &doors).await.log_in(KEY).await, "235 2.7.0 Ok");
    doors.close().await;
}

// Security 5.10: thousands of tries from many addresses; a sample, or ten thousand from a hundred.
#[tokio::test]
async fn whoever_goes_on_guessing_is_not_even_greeted() {
    const TRIES: usize = 100;
    let doors = Doors::open().await;
    let addresses = if std::env::var_os("POSTROAD_TORTURE").is_some() { 100 } else { 8 };
    let one = |n: usize| {
        let doors = &doors;
        async move {
            let source = format!("127.0.6.{n}");
            let looked_at = guess(doors, &source, 15).await;
            for _ in 15..TRIES {
                let mut client = Raw::from(&source, doors.submission()).await;
                assert_eq!(client.rest().await, "421 4.7.0 Too many bad logins, try later\r\n");
            }
            looked_at
        }
    };
    let looked_at = futures_util::future::join_all((1..=addresses).map(one)).await;
    let most = looked_at.iter().max().copied().unwrap_or_default();
    assert!(most <= 10, "{most} of {TRIES} guesses from one address were looked at");
    doors.logged_in().await;
    doors.close().await;
}

// Many people may stand behind one address.
#[tokio::test]
async fn a_key_that_was_good_at_an_address_stays_good_though_a_neighbour_guesses() {
    let doors = Doors::open().await;
    let log_in = async |secret: &str| {
        let client = Raw::from("127.0.7.1", doors.submission()).await;
        encrypted(client, &doors).await.log_in(secret).await
    };
    assert_eq!(log_in(KEY).await, "235 2.7.0 Ok");
    guess(&doors, "127.0.7.1", 12).await;
    assert_eq!(log_in("guess-13").await, "421 4.7.0 Too many bad logins, try later");
    assert_eq!(log_in(KEY).await, "235 2.7.0 Ok");
    doors.close().await;
}

#[tokio::test]
async fn a_key_revoked_in_the_middle_of_a_session_sends_no_more() {
    let doors = Doors::open().await;
    let key = doors.app.key(json!({ "name": "x", "scopes": ["send"] })).await;
    let mut client = doors.logged_in_with(&key.secret).await;
    queued(&client.mail("a@acme.example", &["ann@example.net"], TEXT).await);
    doors.app.client.delete(&format!("/v1/keys/{}", key.id)).await;
    let began = Instant::now();
    loop {
        let said = client.mail("a@acme.example", &["ann@example.net"], TEXT).await;
        if said == "530 5.7.0 this key is not known, has expired or was revoked" {
            break;
        }
        queued(&said);
        assert!(began.elapsed().as_secs() < 5, "{said}");
    }
    assert!(began.elapsed().as_millis() < 2000, "{:?}", began.elapsed());
    doors.close().await;
}

#[tokio::test]
async fn a_key_with_a_rate_is_told_to_wait() {
    let doors = Doors::open().await;
    let key = json!({ "name": "x", "scopes": ["send"], "rate_per_second": 1 });
    let key = doors.app.key(key).await;
    let mut client = doors.logged_in_with(&key.secret).await;
    let mut said = Vec::new();
    for _ in 0..3 {
        said.push(client.ask("MAIL FROM:<a@acme.example>\r\n").await);
        client.ask("RSET\r\n").await;
    }
    assert_eq!(said[0], "250 2.1.0 Ok");
    assert!(
        said.contains(&"451 4.7.0 This key may be used 1 times a second, try again in 1 s".to_owned()),
        "{said:?}"
    );
    doors.close().await;
}
