//! S5, S6: connections that break.

use super::*;
use crate::support::sink::{Act, Step, at, close, reply, reset, take, tries, usual, wait};

/// Where it breaks, how, and what the attempt is to say.
fn breaks(cut: fn() -> Act) -> [(&'static str, crate::support::sink::When, Act, &'static str); 7] {
    [
        ("connect", at(Step::Connect), cut(), "greeting"),
        ("ehlo", at(Step::Ehlo), cut(), "ehlo"),
        ("mail", at(Step::Mail), cut(), "mail"),
        ("rcpt", at(Step::Rcpt), cut(), "rcpt"),
        ("data", at(Step::Data), cut(), "data"),
        ("text", at(Step::Text).octets(10), cut(), "body"),
        ("dot", at(Step::Dot), take().then(cut()), "body"),
    ]
}

async fn is_tried_again_after_a_break(cut: fn() -> Act, keywords: Vec<&str>) {
    let oracle = Oracle::new();
    let mut app = TestApp::builder();
    let mut sinks = Vec::new();
    for (name, when, act, _) in breaks(cut) {
        let sink = SmtpSink::builder().keywords(keywords.clone()).when(when, act).start().await;
        app = app.relay_for(&format!("{name}.example"), &route(&sink));
        sinks.push(sink);
    }
    let app = app.start().await;

    let mut sent = Vec::new();
    for (name, _, _, step) in breaks(cut) {
        let id = oracle.send(&app.client, mail(&format!("ann@{name}.example"))).await.expect("accepted");
        sent.push((id, name, step));
    }
    for (id, name, step) in sent {
        let message = app.client.until(&id, |message| !attempts(message).is_empty()).await;
        assert_eq!(last_told(&message), format!("deferred network {step} - -"), "{name}");
        let words = words(&attempts(&message)[0]);
        assert_eq!(words.contains("may have taken the mail"), step == "body", "{name}: {words}");
        assert_about(wait_after_last(&message), if step == "body" { 15 } else { 5 });
    }

    sinks.iter().for_each(SmtpSink::be_friendly);
    app.database.make_due().await;
    let taken = || sinks.iter().flat_map(taken_by).collect();
    let verdict = oracle.check(&app.database.url, Terms::default(), taken).await;
    assert_eq!(
        (verdict.ended("delivered"), verdict.most_copies),
        (7, 2),
        "the one after the dot is there twice"
    );
    app.stop().await;
}

// S5
#[tokio::test]
async fn a_connection_that_closes_at_any_step_costs_no_mail() {
    is_tried_again_after_a_break(close, vec!["PIPELINING"]).await;
}

// S5
#[tokio::test]
async fn a_connection_that_is_reset_at_any_step_costs_no_mail() {
    is_tried_again_after_a_break(reset, vec![]).await;
}

// S5
#[tokio::test]
async fn each_break_after_the_dot_may_cost_one_copy_and_no_more() {
    let lost = || take().then(close());
    let scene = Scene::of(SmtpSink::builder().on(Step::Dot, tries([lost(), lost(), lost(), usual()]))).await;
    let id = scene.send("ann@example.net").await;

    for times in 1..=3 {
        let message = scene.tried(&id, times).await;
        assert_eq!(last_told(&message), "deferred network body - -");
        assert!(wait_after_last(&message) > Duration::from_secs(15 * 60 - 1), "{message:#}");
        scene.app.database.make_due().await;
    }

    assert_eq!(attempts(&scene.ended(&id).await).len(), 4);
    assert_eq!(scene.end().await.most_copies, 4);
}

// S5: nobody knows, and there is no time left to ask again.
#[tokio::test]
async fn a_short_lived_mail_of_unknown_fate_expires_rather_than_being_doubled() {
    let scene = Scene::of(SmtpSink::builder().drop_after_dot()).await;
    let mut password = mail("ann@example.net");
    password["ttl_seconds"] = 300.into();
    let id = scene.oracle.send(&scene.app.client, password).await.expect("accepted");

    let message = scene.ended(&id).await;

    assert_eq!(last_told(&message), "expired network body - -");
    let verdict = scene.end().await;
    assert_eq!((verdict.ended("expired"), verdict.most_copies), (1, 1));
}

// S6
#[tokio::test]
async fn whatever_is_answered_to_quit_the_mail_stays_delivered() {
    for goodbye in [close(), reset(), reply("451 4.3.0 not now"), reply("quit what?"), wait(FOREVER)] {
        let brief = |app: Builder| {
            app.deadlines(|deadlines| {
                deadlines.idle = Duration::from_millis(50);
                deadlines.quit = Duration::from_millis(200);
            })
        };
        let scene = Scene::with(SmtpSink::builder().on(Step::Quit, goodbye), brief).await;
        let id = scene.send("ann@example.net").await;

        let message = scene.ended(&id).await;
        scene.sink.wait_until(PATIENCE, |sink| sink.commands().contains(&"QUIT".to_owned())).await;

        assert_eq!(last_told(&message), "delivered - body 250 2.0.0");
        scene.app.database.make_due().await;
        let verdict = scene.end().await;
        assert_eq!((verdict.ended("delivered"), verdict.most_copies), (1, 1));
    }
}
