//! Taking mail back: what waits is canceled, what is in a worker's hands stops as soon as it can.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{Answer, mail, statuses, text};
use crate::support::sink::{SmtpSink, Step, at, hold, reply, usual};

async fn cancel(app: &TestApp, id: &str) -> Answer {
    app.client.send(app.client.request(Method::POST, &format!("/v1/messages/{id}/cancel"))).await
}

fn planned(app: &TestApp) -> Value {
    let later = app.server().clock().now() + time::Duration::hours(1);
    let mut body = mail("ann@example.net");
    let rfc3339 = time::format_description::well_known::Rfc3339;
    body["send_at"] = later.format(&rfc3339).expect("a moment").into();
    body
}

fn requested(answer: &Answer) -> Vec<bool> {
    let deliveries = answer.list("/deliveries");
    deliveries.iter().map(|delivery| delivery["cancel_requested"].as_bool().expect("a flag")).collect()
}

#[tokio::test]
async fn mail_that_waits_is_canceled_and_never_sent() {
    let app = TestApp::start().await;
    let mut body = planned(&app);
    body["cc"] = json!("bob@example.net");
    let id = app.client.send_mail(body).await;

    let answer = cancel(&app, &id).await;

    assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
    assert_eq!(answer.text("/id"), id);
    assert_eq!(
        (statuses(&answer.body), requested(&answer)),
        (vec!["canceled".to_owned(); 2], vec![false; 2])
    );
    let message = app.client.get(&format!("/v1/messages/{id}")).await.body;
    assert_eq!(statuses(&message), ["canceled", "canceled"]);
    assert_eq!(message["deliveries"][0]["attempts"], json!([]));
    assert!(
        message["deliveries"][0]["ended_at"].is_string()
            && message["deliveries"][0]["next_attempt_at"].is_null()
    );
    let mut types = app.client.event_types(&id).await;
    types.sort();
    assert_eq!(types, ["accepted", "accepted", "canceled", "canceled"]);
    assert_eq!(app.database.count("SELECT count(*) FROM queue").await, 0);

    let again = cancel(&app, &id).await;
    assert_eq!((again.status, again.code().as_str()), (StatusCode::CONFLICT, "conflict"));
    assert_eq!(app.client.event_types(&id).await.len(), 4, "told once");
    app.stop().await;
}

#[tokio::test]
async fn mail_that_has_been_delivered_cannot_be_taken_back() {
    let app = TestApp::start().await;
    let id = app.client.send_mail(mail("ann@example.net")).await;
    let before = app.client.ended(&id).await;
    let answer = cancel(&app, &id).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::CONFLICT, "conflict"));
    assert_eq!(app.client.ended(&id).await, before);
    app.stop().await;
}

#[tokio::test]
async fn what_has_ended_stays_and_what_waits_for_its_next_try_is_canceled() {
    let sink = SmtpSink::builder().on_rcpt("grey@", reply("451 4.7.1 later")).start().await;
    let app = TestApp::builder().relay(sink.address().port()).start().await;
    let mut body = mail("ann@example.net");
    body["to"] = json!(["ann@example.net", "grey@example.net"]);
    let id = app.client.send_mail(body).await;
    app.client
        .until(&id, |message| {
            statuses(message) == ["delivered", "queued"] && message["deliveries"][1]["attempt_count"] == 1
        })
        .await;

    let answer = cancel(&app, &id).await;

    assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
    assert_eq!(statuses(&answer.body), ["delivered", "canceled"]);
    sink.be_friendly();
    app.database.make_due().await;
    let next = app.client.send_mail(mail("grey@example.net")).await;
    app.client.ended(&next).await;
    assert_eq!(sink.received().len(), 2, "ann's, and the one after it");
    app.stop().await;
}

#[tokio::test]
async fn mail_in_hand_stops_before_it_is_offered() {
    let (stop, mut held) = hold();
    let sink = SmtpSink::builder().when(at(Step::Connect), stop.then(usual())).start().await;
    let app = TestApp::builder().relay(sink.address().port()).start().await;
    let id = app.client.send_mail(mail("ann@example.net")).await;
    held.reached().await;

    let answer = cancel(&app, &id).await;

    assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
    assert_eq!((statuses(&answer.body), requested(&answer)), (vec!["sending".to_owned()], vec![true]));
    held.release();
    let message = app.client.ended(&id).await;
    assert_eq!(statuses(&message), ["canceled"]);
    let offered = sink.commands().into_iter().filter(|command| command.starts_with("MAIL")).count();
    assert_eq!(offered, 0, "{}", sink.story());
    assert_eq!(app.client.event_types(&id).await, ["accepted", "canceled"]);
    app.stop().await;
}

#[tokio::test]
async fn mail_on_the_wire_ends_as_it_ends_or_at_its_deferral() {
    for (reply_text, wanted) in
        [("250 2.0.0 Ok", "delivered"), ("451 4.3.0 later", "canceled"), ("550 5.7.1 no", "bounced")]
    {
        let (stop, mut held) = hold();
        let sink = SmtpSink::builder().when(at(Step::Dot), stop.then(reply(reply_text))).start().await;
        let app = TestApp::builder().relay(sink.address().port()).start().await;
        let id = app.client.send_mail(mail("ann@example.net")).await;
        held.reached().await;

        let answer = cancel(&app, &id).await;
        assert_eq!((statuses(&answer.body), requested(&answer)), (vec!["sending".to_owned()], vec![true]));
        held.release();

        let message = app.client.ended(&id).await;
        assert_eq!(statuses(&message), [wanted], "{reply_text}");
        assert_eq!(message["deliveries"][0]["attempts"].as_array().map(Vec::len), Some(1), "{reply_text}");
        let types = app.client.event_types(&id).await;
        assert_eq!(types.last().map(String::as_str), Some(wanted), "{types:?}");
        app.stop().await;
    }
}

#[tokio::test]
async fn a_body_that_comes_along_is_not_read() {
    let app = TestApp::start().await;
    let id = app.client.send_mail(planned(&app)).await;
    let request = app.client.request(Method::POST, &format!("/v1/messages/{id}/cancel"));
    let answer = app.client.send(request.header("Content-Type", "text/plain").body("{not json")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(text(&answer.body, "/deliveries/0/status"), "canceled");
    app.stop().await;
}
