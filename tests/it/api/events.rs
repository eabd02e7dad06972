//! Events: as a list, and as a stream that can be taken up again without gap or doubling.

use std::collections::HashSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Connection;

use crate::support::app::TestApp;
use crate::support::client::{Client, mail, text};
use crate::support::sse::{EventStream, Sent};

async fn found(client: &Client, query: &str) -> Vec<(String, String)> {
    let events = client.all_pages(&format!("/v1/events?{query}"), 100).await;
    events.iter().map(|event| (text(event, "/type"), text(event, "/recipient"))).collect()
}

fn tagged(to: &str, tag: &str, stream: &str) -> Value {
    let mut body = mail(to);
    body["tags"] = json!([tag]);
    body["stream"] = json!(stream);
    body["metadata"] = json!({ "order": "7" });
    body
}

fn ids(sent: &[Sent]) -> Vec<String> {
    sent.iter().map(|sent| text(&sent.data, "/id")).collect()
}

#[tokio::test]
async fn an_event_tells_what_happened_to_whom_and_of_which_mail() {
    let app = TestApp::start().await;
    let id = app.client.send_mail(tagged("Ann@example.net", "a", "news")).await;
    let message = app.client.ended(&id).await;

    let events = app.client.get(&format!("/v1/messages/{id}/events")).await.list("/data");

    assert_eq!(events.len(), 2);
    let mut delivered = events[0].clone();
    let smtp = delivered["data"]["smtp"].take();
    assert_eq!((smtp["step"].clone(), smtp["code"].clone()), (json!("body"), json!(250)));
    let members = delivered.as_object_mut().expect("an object");
    assert!(members.remove("id").is_some() && members.remove("created_at").is_some());
    let wanted = json!({
        "type": "delivered", "message_id": id, "delivery_id": message["deliveries"][0]["id"],
        "recipient": "Ann@example.net", "stream": "news", "tags": ["a"], "metadata": { "order": "7" },
        "data": { "smtp": null },
    });
    assert_eq!(delivered, wanted);
    assert_eq!((text(&events[1], "/type"), &events[1]["data"]), ("accepted".into(), &json!({})));
    app.stop().await;
}

#[tokio::test]
async fn events_are_filtered_by_everything_that_is_known_of_them() {
    let app = TestApp::start().await;
    let first = app.client.send_mail(tagged("ann@example.net", "a", "news")).await;
    app.client.ended(&first).await;
    let second = app.client.send_mail(tagged("bounced@simulator.postroad.test", "b", "transactional")).await;
    let second_message = app.client.ended(&second).await;
    let (ann, bob) = ("ann@example.net", "bounced@simulator.postroad.test");
    let since = text(&second_message, "/created_at");
    let cases: Vec<(String, Vec<(&str, &str)>)> = vec![
        (String::new(), vec![("bounced", bob), ("accepted", bob), ("delivered", ann), ("accepted", ann)]),
        ("type=accepted".into(), vec![("accepted", bob), ("accepted", ann)]),
        ("type=bounced,delivered".into(), vec![("bounced", bob), ("delivered", ann)]),
        ("type=bounced&type=delivered".into(), vec![("bounced", bob), ("delivered", ann)]),
        ("type=complained".into(), vec![]),
        (format!("message_id={first}"), vec![("delivered", ann), ("accepted", ann)]),
        ("recipient=ANN@Example.net".into(), vec![("delivered", ann), ("accepted", ann)]),
        ("tag=b".into(), vec![("bounced", bob), ("accepted", bob)]),
        ("stream=news".into(), vec![("delivered", ann), ("accepted", ann)]),
        ("tag=a&stream=transactional".into(), vec![]),
        (format!("since={since}&type=accepted"), vec![("accepted", bob)]),
        (format!("until={since}"), vec![("delivered", ann), ("accepted", ann)]),
    ];
    for (query, wanted) in cases {
        let wanted: Vec<_> = wanted.into_iter().map(|(kind, to)| (kind.to_owned(), to.to_owned())).collect();
        assert_eq!(found(&app.client, &query).await, wanted, "{query}");
    }
    let bounced = &app.client.get("/v1/events?type=bounced").await.body["data"][0]["data"];
    assert_eq!((&bounced["class"], &bounced["hard"]), (&json!("invalid_recipient"), &json!(true)));
    app.stop().await;
}

#[tokio::test]
async fn the_stream_tells_each_event_once_as_it_happens() {
    let app = TestApp::start().await;
    let before = app.client.send_mail(mail("early@example.net")).await;
    app.client.ended(&before).await;
    let mut stream = EventStream::open(&app.client, "", None).await;

    let mut sent = HashSet::new();
    for number in 0..10 {
        sent.insert(app.client.send_mail(mail(&format!("r{number}@example.net"))).await);
    }
    let mut told = Vec::new();
    while told.len() < 20 {
        let next = stream.next().await.expect("it goes on");
        // "Now" is a place among transactions: what was committed a moment before may still be told.
        if next.data["message_id"] != before {
            told.push(next);
        }
    }

    let messages: HashSet<String> = told.iter().map(|sent| text(&sent.data, "/message_id")).collect();
    assert_eq!(messages, sent, "nothing missing");
    assert_eq!(ids(&told).into_iter().collect::<HashSet<_>>().len(), 20, "each once");
    for message in &sent {
        let types: Vec<&str> = told
            .iter()
            .filter(|told| told.data["message_id"] == **message)
            .map(|told| told.event.as_str())
            .collect();
        assert_eq!(types, ["accepted", "delivered"], "in order");
    }
    let listed = app.client.all_pages("/v1/events", 100).await;
    for told in &told {
        assert!(listed.contains(&told.data), "as in the list: {:#}", told.data);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_stream_taken_up_at_any_place_goes_on_right_there() {
    let app = TestApp::start().await;
    let mut whole = EventStream::open(&app.client, "", None).await;
    for number in 0..4 {
        app.client.send_mail(mail(&format!("r{number}@example.net"))).await;
    }
    let told = whole.take(8).await;
    for place in 0..7 {
        let mut resumed = EventStream::open(&app.client, "", Some(&told[place].id)).await;
        assert_eq!(ids(&resumed.take(7 - place).await), ids(&told[place + 1..]), "from {place}");
    }
    // From the last on, there is only what is new.
    let mut resumed = EventStream::open(&app.client, "", Some(&told[7].id)).await;
    let new = app.client.send_mail(mail("new@example.net")).await;
    let next = resumed.take(2).await;
    assert!(next.iter().all(|sent| sent.data["message_id"] == new));
    app.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_and_goes_while_mail_flows_misses_nothing_and_sees_nothing_twice() {
    let app = TestApp::start().await;
    let mut stream = EventStream::open(&app.client, "", None).await;
    let sender = {
        let client = app.client.clone();
        tokio::spawn(async move {
            for number in 0..60 {
                client.send_mail(mail(&format!("r{number}@example.net"))).await;
            }
        })
    };
    let mut told: Vec<Sent> = Vec::new();
    while told.len() < 120 {
        let part = (told.len() % 7 + 1).min(120 - told.len());
        told.extend(stream.take(part).await);
        let last = told.last().expect("some").id.clone();
        stream = EventStream::open(&app.client, "", Some(&last)).await;
    }
    sender.await.expect("sent");
    let distinct: HashSet<String> = ids(&told).into_iter().collect();
    assert_eq!(distinct.len(), 120, "nothing twice");
    let listed: HashSet<String> =
        app.client.all_pages("/v1/events", 100).await.iter().map(|event| text(event, "/id")).collect();
    assert_eq!(distinct, listed, "nothing missed");
    app.stop().await;
}

#[tokio::test]
async fn an_event_that_commits_late_is_told_although_later_ones_were_known() {
    let app = TestApp::start().await;
    let id = app.client.send_mail(mail("ann@example.net")).await;
    app.client.ended(&id).await;
    let mut stream = EventStream::open(&app.client, "", None).await;
    let mut slow = app.database.connect().await;
    let mut transaction = slow.begin().await.expect("begun");
    // An older event of the same mail, by the clock, in a transaction that takes its time.
    sqlx::query(
        "INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
         SELECT txid_current(), lane, 'complained', delivery_id, gen_random_uuid(), tenant_id,
                '{\"simulated\": true}' FROM events LIMIT 1",
    )
    .execute(&mut *transaction)
    .await
    .expect("written");
    let next = app.client.send_mail(mail("bob@example.net")).await;
    app.client.ended(&next).await;
    transaction.commit().await.expect("committed");

    let told = stream.take(3).await;

    let mut types: Vec<&str> = told.iter().map(|sent| sent.event.as_str()).collect();
    types.sort_unstable();
    assert_eq!(types, ["accepted", "complained", "delivered"]);
    app.stop().await;
}

#[tokio::test]
async fn a_stream_is_filtered_like_a_list() {
    let app = TestApp::start().await;
    let mut streams = Vec::new();
    for query in
        ["?type=delivered", "?tag=b", "?stream=news", "?recipient=ANN@example.net", "?type=delivered&tag=b"]
    {
        streams.push((query, EventStream::open(&app.client, query, None).await));
    }
    let ann = app.client.send_mail(tagged("ann@example.net", "a", "news")).await;
    app.client.ended(&ann).await;
    let bob = app.client.send_mail(tagged("bob@example.net", "b", "transactional")).await;
    app.client.ended(&bob).await;
    let wanted: [&[(&str, &String)]; 5] = [
        &[("delivered", &ann), ("delivered", &bob)],
        &[("accepted", &bob), ("delivered", &bob)],
        &[("accepted", &ann), ("delivered", &ann)],
        &[("accepted", &ann), ("delivered", &ann)],
        &[("delivered", &bob)],
    ];
    for ((query, mut stream), wanted) in streams.into_iter().zip(wanted) {
        for sent in wanted {
            let told = stream.next().await.expect("it goes on");
            assert_eq!((told.event.as_str(), &text(&told.data, "/message_id")), *sent, "{query}");
        }
    }
    let mut of_message = EventStream::open(&app.client, &format!("?message_id={bob}"), Some(&origin())).await;
    assert!(of_message.take(2).await.iter().all(|told| told.data["message_id"] == bob));
    app.stop().await;
}

/// The place before every event.
fn origin() -> String {
    format!("0.{}", "0".repeat(32))
}

#[tokio::test]
async fn a_place_that_is_none_is_refused() {
    let app = TestApp::start().await;
    for place in ["", "x", "1", "1.", "-1.00000000000000000000000000000000", "evt_06p4grm7u1rpv3d5f7h9j1l3n5"]
    {
        let request = app.client.request(Method::GET, "/v1/events/stream").header("Last-Event-ID", place);
        let answer = app.client.send(request).await;
        let told = (answer.status, answer.code());
        assert_eq!(told, (StatusCode::BAD_REQUEST, "invalid_request".to_owned()), "{place:?}");
    }
    let answer = app.client.get("/v1/events/stream?limit=5").await;
    assert_eq!(answer.violations(), [("?limit".into(), "unknown_parameter".into())]);
    app.stop().await;
}

#[tokio::test]
async fn a_stream_ends_when_the_server_drains() {
    let app = TestApp::start().await;
    let mut stream = EventStream::open(&app.client, "", None).await;
    let end = tokio::spawn(async move { stream.next().await });
    app.stop().await;
    assert_eq!(end.await.expect("no panic"), None);
}
