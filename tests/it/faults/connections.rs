//! Connections that are kept, lost, refused and missed; sites that are down; and that none of it is counted
//! against a mail.

use super::*;
use crate::support::client::statuses;
use crate::support::sink::{Step, at, close, reply, reset};

const DEAD: &str = "smtp://127.0.0.1:1?tls=none";

async fn send_many(scene: &Scene, count: usize) -> Vec<String> {
    let mut sent = Vec::new();
    for number in 0..count {
        sent.push(scene.send(&format!("u{number}@example.net")).await);
    }
    sent
}

#[tokio::test]
async fn a_connection_carries_a_hundred_mails_and_then_makes_way() {
    let scene = Scene::narrow(SmtpSink::builder()).await;

    send_many(&scene, 150).await;

    let verdict = scene.verdict().await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (150, 1));
    assert_eq!(scene.sink.connections(), 2);
    // One at a time, but for the moment in which the sink has yet to notice that the first has ended.
    assert!(scene.sink.most_open_connections() <= 2);
    scene.end().await;
}

// S4, S6: a refusal leaves the connection usable, for the next mail only.
#[tokio::test]
async fn mail_after_a_refused_one_is_delivered_on_the_same_connection() {
    for step in [Step::Mail, Step::Rcpt, Step::Data, Step::Dot] {
        let scene = Scene::narrow(SmtpSink::builder()).await;
        scene.send("first@example.net").await;
        scene.sink.wait_for(1, PATIENCE).await;
        scene.sink.set(at(step), reply("554 5.6.0 not this one"));
        let refused = scene.send("second@example.net").await;
        assert_eq!(statuses(&scene.ended(&refused).await), ["bounced"], "{step:?}");
        scene.sink.be_friendly();
        scene.send("third@example.net").await;

        let verdict = scene.verdict().await;
        assert_eq!((verdict.ended("delivered"), verdict.ended("bounced"), verdict.most_copies), (2, 1, 1));
        assert_eq!(scene.sink.connections(), 1, "{step:?}: {}", scene.sink.story());
        scene.end().await;
    }
}

// S5: a peer that has closed an idle connection: nothing was said on it, so nothing is lost by trying another.
#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_no_attempt() {
    for goodbye in [close(), reset(), reply("421 4.4.2 idle for too long").then(close())] {
        let idle = SmtpSink::builder().idle(Duration::from_millis(100)).on(Step::Idle, goodbye);
        let scene = Scene::narrow(idle).await;
        for number in 0..3 {
            let id = scene.send(&format!("u{number}@example.net")).await;
            let message = scene.ended(&id).await;
            assert_eq!(last_told(&message), "delivered - body 250 2.0.0", "{}", scene.sink.story());
            assert_eq!(attempts(&message).len(), 1, "{}", scene.sink.story());
            scene.sink.wait_until(PATIENCE, |sink| sink.open_connections() == 0).await;
        }
        let verdict = scene.end().await;
        assert_eq!((verdict.ended("delivered"), verdict.most_copies), (3, 1));
    }
}

// S2: amid a session: what was accepted stays accepted, what was not is tried again.
#[tokio::test]
async fn a_peer_that_closes_after_each_mail_loses_and_doubles_none() {
    let goodbye = || reply("250 2.0.0 Ok").then(close());
    let scene =
        Scene::narrow(SmtpSink::builder().on(Step::Dot, crate::support::sink::take().then(goodbye()))).await;

    send_many(&scene, 20).await;

    let verdict = scene.end().await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (20, 1));
}

// S2, S12: mail behind a dead relay waits, and the waiting is not counted as attempts.
#[tokio::test]
async fn a_relay_that_is_down_costs_nothing_but_time() {
    let down = SmtpSink::builder().start().await;
    let address = down.address();
    drop(down);
    let url = format!("smtp://{address}?tls=none");
    let app = TestApp::builder().set("POSTROAD_ROUTE", &url).start().await;
    let oracle = Oracle::new();
    for number in 0..40 {
        oracle.send(&app.client, mail(&format!("u{number}@example.net"))).await.expect("accepted");
    }
    // All are back in the table; of most nothing was tried, since the site is paused after the first failure.
    let back = "SELECT count(*) FROM queue WHERE leased_by IS NULL AND due_at > clock_timestamp()";
    let began = std::time::Instant::now();
    while app.database.count(back).await < 40 {
        assert!(began.elapsed() < PATIENCE, "what is not tried is given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let tried = app.database.count("SELECT count(*) FROM attempts").await;
    assert!((1..=8).contains(&tried), "{tried} attempts on a dead site");
    assert!(app.database.count("SELECT count(*) FROM queue WHERE attempts = 0").await >= 32);

    let up = SmtpSink::builder().start_at(address).await;
    // Until the pause is over mail is handed back again: make it due until it goes.
    let oracle_app = async {
        while app.database.count("SELECT count(*) FROM queue").await > 0 {
            app.database.make_due().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(2 * PATIENCE, oracle_app).await.expect("it is delivered once the relay is back");
    let verdict = oracle.check(&app.database.url, Terms::default(), || taken_by(&up)).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (40, 1));
    app.stop().await;
}

// S12: one destination is dead, with a heap of mail for it; the others do not notice, and it is left in peace.
#[tokio::test]
async fn a_dead_destination_slows_no_other() {
    let bulk = if std::env::var_os("POSTROAD_TORTURE").is_some() { 50_000 } else { 2_000 };
    let sink = SmtpSink::builder().start().await;
    let hanging = SmtpSink::builder().greet(crate::support::sink::wait(FOREVER)).start().await;
    let app = TestApp::builder()
        .relay_for("dead.example", DEAD)
        .relay_for("hanging.example", &route(&hanging))
        .set("POSTROAD_ROUTE", &route(&sink))
        .start()
        .await;
    let oracle = Oracle::new();
    for chunk in 0..bulk / 1000 {
        let domain = ["dead.example", "hanging.example"][chunk % 2];
        let mails = (0..1000).map(|n| mail(&format!("u{n}@{domain}"))).collect();
        assert_eq!(Oracle::new().send_batch(&app.client, mails).await, 1000);
    }

    // While all that waits, mail for others goes out as it comes.
    let began = std::time::Instant::now();
    for number in 0..100 {
        oracle.send(&app.client, mail(&format!("u{number}@example.net"))).await.expect("accepted");
    }
    sink.wait_for(100, PATIENCE).await;
    let took = began.elapsed();

    assert!(took < Duration::from_secs(15), "a hundred mails took {took:?}");
    assert!(hanging.connections() <= 20, "{} connections to a host that hangs", hanging.connections());
    let tried = app.database.count("SELECT count(*) FROM attempts WHERE step = 'connect'").await;
    assert!(tried <= 60, "{tried} attempts on a dead host in {took:?}");
    // The others' results may be on their way; the dead ones' mail all still waits.
    let began = std::time::Instant::now();
    while app.database.count("SELECT count(*) FROM queue").await > bulk as i64 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(app.database.count("SELECT count(*) FROM queue").await, bulk as i64);
    println!("S12: {bulk} mails wait for dead hosts, {tried} attempts on them; 100 others took {took:?}");
    app.stop().await;
}
