//! What the pure parts of the hot path cost: a plain timing loop, nanoseconds a call.
//!
//! `cargo bench --bench micro [-- NAME]` prints a line for each part whose name holds NAME. The shortest of many short
//! rounds counts: whatever else the machine does can only lengthen a round. No gate: the throughput bench is the
//! judge, and this tells where a change of its figures may come from.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use time::macros::datetime;

use postroad::delivery::classify::classify;
use postroad::domain::id::{DeliveryId, Lane, MessageId};
use postroad::domain::outcome::Step;
use postroad::domain::return_path::ReturnPaths;
use postroad::domain::tracking::{Target, TrackingTokens};
use postroad::mail::compose::{Draft, compose};
use postroad::mail::reply::SmtpReply;
use postroad::mail::{EmailAddress, Mailbox};
use postroad::seal::MasterKey;

/// How long one round lasts, more or less, and how many there are.
const ROUND: Duration = Duration::from_millis(10);
const ROUNDS: u32 = 40;

fn main() -> Result<()> {
    // What `cargo bench` adds begins with dashes.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let bench = |name: &str, part: &mut dyn FnMut()| {
        if name.contains(&wanted) {
            println!("{name:<32} {:>10.0} ns", nanoseconds(part));
        }
    };

    let text = "your parcel has left our warehouse and will arrive within three days\n".repeat(24);
    let html = format!("<p>{}</p>", text.replace('\n', "</p>\n<p>"));
    let (from, to) =
        (Mailbox::parse("Acme Shop <orders@acme.example>")?, [Mailbox::parse("ann@example.net")?]);
    let plain = Draft {
        from: &from,
        reply_to: &[],
        to: &to,
        cc: &[],
        subject: "Your order 4711 is on its way",
        text: Some(&text),
        html: None,
        amp: None,
        attachments: &[],
        headers: &[],
        message_id: "<4711@acme.example>",
        date: datetime!(2026-11-24 10:00 UTC),
        boundary_seed: 7,
    };
    let both = Draft { html: Some(&html), ..plain };
    bench("compose_text_2k", &mut || {
        let _ = black_box(compose(black_box(&plain)));
    });
    bench("compose_text_and_html_4k", &mut || {
        let _ = black_box(compose(black_box(&both)));
    });

    let address = "ann.example+orders@customers.example";
    bench("parse_address", &mut || {
        let _ = black_box(EmailAddress::parse(black_box(address)));
    });
    bench("parse_mailbox", &mut || {
        drop(black_box(Mailbox::parse(black_box("Ann Example <ann@example.net>"))))
    });

    let message = MessageId::in_lane(datetime!(2026-11-24 10:00 UTC), Lane::new(3));
    let delivery: DeliveryId = message.delivery(1);
    bench("make_message_id", &mut || {
        black_box(MessageId::in_lane(black_box(datetime!(2026-11-24 10:00 UTC)), Lane::new(3)));
    });
    bench("show_id", &mut || {
        black_box(black_box(delivery).to_string());
    });
    let paths = ReturnPaths::new(&MasterKey::generate()?, "bounce.acme.example");
    let path = EmailAddress::parse(&paths.of(delivery))?;
    bench("return_path_make", &mut || {
        black_box(paths.of(black_box(delivery)));
    });
    bench("return_path_read", &mut || {
        black_box(paths.delivery(black_box(&path)));
    });

    let tokens = TrackingTokens::new(&MasterKey::generate()?);
    let target = Target::parse("https://shop.acme.example/orders/4711?from=mail").context("a target")?;
    let (open, click) = (tokens.open(delivery), tokens.click(delivery, &target));
    bench("tracking_open_read", &mut || {
        black_box(tokens.opened(black_box(&open)));
    });
    bench("tracking_click_read", &mut || {
        drop(black_box(tokens.clicked(black_box(&click))));
    });

    let known =
        SmtpReply::from_lines(550, ["5.1.1 <ann@example.net>: user unknown in relay recipient table"]);
    let vague = SmtpReply::from_lines(554, ["the message was refused for reasons of policy"]);
    bench("classify_with_status", &mut || {
        black_box(classify(Step::Rcpt, black_box(&known)));
    });
    bench("classify_by_words", &mut || {
        black_box(classify(Step::Body, black_box(&vague)));
    });
    bench("read_reply", &mut || {
        drop(black_box(SmtpReply::from_lines(250, black_box(["2.0.0 Ok: queued as 4F2A"]))))
    });
    Ok(())
}

/// Of one call, in the best round.
fn nanoseconds(part: &mut dyn FnMut()) -> f64 {
    let mut calls = 1u32;
    while round(part, calls) < ROUND {
        calls = calls.saturating_mul(2);
    }
    let best = (0..ROUNDS).map(|_| round(part, calls)).min().unwrap_or_default();
    best.as_nanos() as f64 / f64::from(calls)
}

fn round(part: &mut dyn FnMut(), calls: u32) -> Duration {
    let began = Instant::now();
    for _ in 0..calls {
        part();
    }
    began.elapsed()
}
