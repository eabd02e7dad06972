//! Sending and reading.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::client::{mail, statuses, text};

#[tokio::test]
async fn a_mail_is_delivered_and_tells_its_story() {
    let app = TestApp::start().await;

    let id = app.client.send_mail(mail("ann@example.net")).await;
    let message = app.client.ended(&id).await;

    assert_eq!(statuses(&message), ["delivered"]);
    let attempt = message.pointer("/deliveries/0/attempts/0").expect("an attempt");
    assert_eq!(attempt["smtp"]["code"], json!(250));
    assert_eq!(text(attempt, "/smtp/step"), "body");
    assert_eq!(app.client.event_types(&id).await, ["accepted", "delivered"]);
    app.stop().await;
}
