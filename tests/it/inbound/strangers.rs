//! Notices that nobody here wrote: Postfix takes our mail, cannot deliver it, and sends it back.

use std::time::{Duration, Instant};

use super::*;
use crate::support::client::PATIENCE;
use crate::support::peer::Server;
use crate::support::sink::{SmtpSink, reply};

#[tokio::test]
async fn what_postfix_sends_back_becomes_a_bounce_of_the_right_class() {
    let sink = SmtpSink::builder()
        .on_rcpt("nobody@", reply("550 5.1.1 <nobody@example.net>: User unknown"))
        .on_rcpt("full@", reply("550 5.2.2 <full@example.net>: mailbox over quota"))
        .on_rcpt(
            "blocked@",
            reply("554 5.7.1 Service unavailable; Client host blocked using zen.spamhaus.org"),
        )
        .on_rcpt("away@", reply("451 4.4.1 <away@example.net>: no answer from its host"))
        .start()
        .await;
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let postfix = Server::postfix_returning(&sink, OURS, free.port()).await;
    let app = builder()
        .set("POSTROAD_MX_ADDR", &free.to_string())
        .set("POSTROAD_ROUTE", &postfix.route())
        .start()
        .await;

    let cases = [
        ("nobody@example.net", "invalid_recipient", true, "5.1.1"),
        ("full@example.net", "mailbox_full", false, "5.2.2"),
        ("blocked@example.net", "reputation_block", false, "5.7.1"),
        ("away@example.net", "network", false, "4.4.1"),
    ];
    for (recipient, class, hard, enhanced) in cases {
        let id = app.client.send_mail(mail(recipient)).await;
        let began = Instant::now();
        while status(&app, &id).await != "bounced" {
            assert!(began.elapsed() < PATIENCE, "no notice came: {}", sink.story());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let bounced = events(&app, &id, "bounced").await;
        let data = &bounced[0]["data"];
        assert_eq!(
            (&data["class"], &data["hard"], &data["late"]),
            (&class.into(), &hard.into(), &true.into())
        );
        assert_eq!(data["smtp"]["enhanced"], enhanced, "{data:#}");
        assert_eq!(data["smtp"]["step"], "rcpt", "{data:#}");
        assert_eq!(app.client.event_types(&id).await, ["accepted", "delivered", "bounced"]);
    }
    assert_eq!(suppressed(&app).await, ["nobody@example.net  bounce"]);
    app.stop().await;
}
