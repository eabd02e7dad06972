//! The addresses that simulate: every outcome can be tried out, whatever the route, and no mail leaves.

use super::*;
use crate::support::client::statuses;

async fn simulated(scene: &Scene, name: &str) -> (Value, Vec<String>) {
    let id = scene.app.client.send_mail(mail(&format!("{name}@simulator.postroad.test"))).await;
    let message = scene.ended(&id).await;
    let events = scene.app.client.event_types(&id).await;
    (message, events)
}

#[tokio::test]
async fn each_simulates_its_outcome_and_no_mail_leaves() {
    let scene = Scene::of(SmtpSink::builder()).await;
    let cases = [
        ("delivered", "delivered", vec!["accepted", "delivered"]),
        ("delivered+label", "delivered", vec!["accepted", "delivered"]),
        ("bounced", "bounced", vec!["accepted", "bounced"]),
        ("deferred", "delivered", vec!["accepted", "deferred", "deferred", "delivered"]),
        ("suppressed", "suppressed", vec!["accepted", "suppressed"]),
    ];
    for (name, status, wanted) in cases {
        let (message, events) = simulated(&scene, name).await;
        assert_eq!(
            (statuses(&message), events),
            (vec![status.to_owned()], wanted.into_iter().map(str::to_owned).collect()),
            "{name}"
        );
    }
    let (bounced, _) = simulated(&scene, "Bounced+Some.Label").await;
    assert_eq!(last_told(&bounced), "bounced invalid_recipient rcpt 550 5.1.1");

    assert_eq!(
        scene.app.database.count("SELECT count(*) FROM suppressions").await,
        0,
        "nor are they suppressed"
    );
    assert_eq!(scene.sink.connections(), 0);
    scene.app.stop().await;
}

#[tokio::test]
async fn a_simulated_deferral_is_retried_after_one_second_and_two() {
    let scene = Scene::of(SmtpSink::builder()).await;

    let (message, _) = simulated(&scene, "deferred").await;

    let told: Vec<String> = attempts(&message).iter().map(told).collect();
    assert_eq!(told[..2].iter().filter(|told| told.ends_with("rcpt 451 4.7.1")).count(), 2, "{told:?}");
    let began: Vec<OffsetDateTime> =
        attempts(&message).iter().map(|attempt| moment(attempt, "/started_at")).collect();
    let waits: Vec<f64> = began.windows(2).map(|pair| (pair[1] - pair[0]).as_seconds_f64()).collect();
    assert!(waits[0] >= 0.9 && waits[1] >= 1.8, "{waits:?}");
    scene.app.stop().await;
}

#[tokio::test]
async fn a_simulated_complaint_follows_the_delivery() {
    let scene = Scene::of(SmtpSink::builder()).await;
    let id = scene.app.client.send_mail(mail("complained@simulator.postroad.test")).await;
    scene.ended(&id).await;

    let began = std::time::Instant::now();
    loop {
        let events = scene.app.client.event_types(&id).await;
        if events == ["accepted", "delivered", "complained"] {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{events:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    scene.app.stop().await;
}
