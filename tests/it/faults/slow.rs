//! S1: peers that take their time.

use super::*;
use crate::support::sink::{Step, dribble, endless, hold, wait};

/// Every step may take so long.
const SHORT: Duration = Duration::from_millis(400);

fn impatient(app: Builder) -> Builder {
    app.deadlines(|deadlines| {
        for deadline in [
            &mut deadlines.greeting,
            &mut deadlines.command,
            &mut deadlines.mail,
            &mut deadlines.rcpt,
            &mut deadlines.data,
            &mut deadlines.block,
            &mut deadlines.final_dot,
        ] {
            *deadline = SHORT;
        }
    })
}

// S1
#[tokio::test]
async fn silence_at_any_step_ends_with_that_steps_deadline() {
    let cases = [
        (Step::Connect, "greeting"),
        (Step::Ehlo, "ehlo"),
        (Step::Mail, "mail"),
        (Step::Rcpt, "rcpt"),
        (Step::Data, "data"),
        (Step::Dot, "body"),
    ];
    for keywords in [vec!["PIPELINING"], vec![]] {
        let oracle = Oracle::new();
        let mut app = impatient(TestApp::builder());
        let mut sinks = Vec::new();
        for (step, name) in cases {
            let sink = SmtpSink::builder().keywords(keywords.clone()).on(step, wait(FOREVER)).start().await;
            app = app.relay_for(&format!("{name}.example"), &route(&sink));
            sinks.push(sink);
        }
        let app = app.start().await;

        let mut sent = Vec::new();
        for (_, name) in cases {
            let id = oracle.send(&app.client, mail(&format!("ann@{name}.example"))).await.expect("accepted");
            sent.push((name, id));
        }
        for (name, id) in sent {
            let message = app.client.until(&id, |message| !attempts(message).is_empty()).await;
            assert_eq!(last_told(&message), format!("deferred network {name} - -"));
            let words = words(&attempts(&message)[0]);
            assert!(words.starts_with("no reply in time"), "{name}: {words}");
            assert_eq!(words.contains("may have taken"), name == "body", "{name}: {words}");
        }

        // They come to their senses: everything is delivered, once.
        sinks.iter().for_each(SmtpSink::be_friendly);
        app.database.make_due().await;
        let taken = || sinks.iter().flat_map(taken_by).collect();
        let verdict = oracle.check(&app.database.url, Terms::default(), taken).await;
        assert_eq!((verdict.ended("delivered"), verdict.most_copies), (cases.len(), 1));
        app.stop().await;
    }
}

// S1
#[tokio::test]
async fn a_reply_that_drips_does_not_renew_its_deadline() {
    let pause = Duration::from_millis(150);
    let greeting = SmtpSink::builder().greet(dribble("220 sink.test ESMTP drips", pause)).start().await;
    let reply = SmtpSink::builder().on(Step::Mail, dribble("250 2.1.0 drips as well", pause)).start().await;
    let app = impatient(TestApp::builder())
        .relay_for("greeting.example", &route(&greeting))
        .relay_for("mail.example", &route(&reply))
        .start()
        .await;

    for step in ["greeting", "mail"] {
        let id = app.client.send_mail(mail(&format!("ann@{step}.example"))).await;
        let message = app.client.until(&id, |message| !attempts(message).is_empty()).await;
        assert_eq!(last_told(&message), format!("deferred network {step} - -"));
    }
    app.stop().await;
}

// S1: the deadlines are the usual minutes here; it is the size that ends it.
#[tokio::test]
async fn a_reply_without_an_end_is_cut_off_by_its_size() {
    let ehlo = SmtpSink::builder().on(Step::Ehlo, endless("250-and another thing")).start().await;
    let greeting = SmtpSink::builder().greet(endless("220-and another thing")).start().await;
    let app = TestApp::builder()
        .relay_for("ehlo.example", &route(&ehlo))
        .relay_for("greeting.example", &route(&greeting))
        .start()
        .await;

    for step in ["ehlo", "greeting"] {
        let id = app.client.send_mail(mail(&format!("ann@{step}.example"))).await;
        let message = app.client.until(&id, |message| !attempts(message).is_empty()).await;
        assert_eq!(last_told(&message), format!("deferred network {step} - -"));
        assert_eq!(words(&attempts(&message)[0]), "SMTP response too large");
    }
    app.stop().await;
}

// S1
#[tokio::test]
async fn a_peer_that_stops_reading_the_content_is_given_up() {
    let short = |app: Builder| {
        app.deadlines(|deadlines| {
            deadlines.block = Duration::from_millis(5);
            deadlines.final_dot = SHORT;
        })
    };
    let scene = Scene::with(SmtpSink::builder(), short).await;
    let mut stopped = scene.sink.signal_after_data_bytes(1000);
    let line = "a line of a mail that is larger than what the system takes in without being read\r\n";
    let content = format!("From: a@acme.example\r\nSubject: large\r\n\r\n{}", line.repeat(100_000));
    let to = ["ann@example.net"];
    let id = scene.oracle.send_raw(&scene.app.client, &to, content.as_bytes()).await.expect("accepted");

    stopped.reached().await;
    let message = scene.tried(&id, 1).await;

    assert_eq!(last_told(&message), "deferred network body - -");
    stopped.release();
    scene.sink.be_friendly();
    scene.app.database.make_due().await;
    // What it had read of the first copy had no end: that was no mail.
    assert_eq!(scene.end().await.most_copies, 1);
}

// S1: each step keeps its own deadline, and all of them together take too long.
#[tokio::test]
async fn a_whole_attempt_has_a_deadline_too() {
    let slow = |act: &str| wait(Duration::from_millis(400)).then(crate::support::sink::reply(act));
    let sink = SmtpSink::builder()
        .on(Step::Mail, slow("250 2.1.0 at last"))
        .on(Step::Rcpt, slow("250 2.1.5 at last"))
        .on(Step::Data, slow("354 at last"))
        .on(Step::Dot, wait(FOREVER));
    let scene = Scene::with(sink, |app| app.deadlines(|d| d.attempt = Duration::from_millis(1000))).await;

    let id = scene.send("ann@example.net").await;
    let message = scene.tried(&id, 1).await;

    assert_eq!(last_told(&message), "deferred network body - -");
    assert!(words(&attempts(&message)[0]).starts_with("the attempt took too long"), "{message:#}");
    scene.app.stop().await;
}

// S1
#[tokio::test]
async fn a_tarpit_takes_nothing_from_other_destinations() {
    let (held, hold) = hold();
    let tarpit = SmtpSink::builder().greet(held.then(crate::support::sink::usual())).start().await;
    let friendly = SmtpSink::builder().start().await;
    let app = TestApp::builder()
        .set("POSTROAD_ROUTE", &route(&friendly))
        .relay_for("tarpit.example", &route(&tarpit))
        .start()
        .await;
    let oracle = Oracle::new();

    // More than are held in memory for it, and more than it is given connections.
    let stuck = (0..400).map(|number| mail(&format!("stuck{number}@tarpit.example"))).collect();
    assert_eq!(oracle.send_batch(&app.client, stuck).await, 400);
    tarpit.wait_until(PATIENCE, |sink| sink.open_connections() > 0).await;
    for number in 0..40 {
        oracle.send(&app.client, mail(&format!("free{number}@example.net"))).await.expect("accepted");
    }
    friendly.wait_for(40, PATIENCE).await;

    assert!(tarpit.received().is_empty());
    assert!(tarpit.open_connections() <= 16, "as many connections as a relay has by default");
    hold.release();
    let taken = || [taken_by(&tarpit), taken_by(&friendly)].concat();
    let verdict = oracle.check(&app.database.url, Terms::default(), taken).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (440, 1));
    app.stop().await;
}
