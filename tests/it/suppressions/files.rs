//! Import and export: round trips, other services' files, odd CSV, and bounded memory.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::{KEY, TestApp};
use crate::support::client::{Answer, Client, PATIENCE};

async fn import(client: &Client, query: &str, text: impl Into<String>) -> Answer {
    let request = client.request(Method::POST, &format!("/v1/suppressions/import{query}"));
    client.send(request.header("content-type", "text/csv").body(text.into())).await
}

#[tokio::test]
async fn a_hundred_thousand_rows_go_out_as_they_came_in() {
    let app = TestApp::start().await;
    let (from, to) = (app.account("from").await, app.account("to").await);
    let mut file = "email,stream,reason,created_at\r\n".to_owned();
    for n in 0..100_000 {
        let reason = ["bounce", "complaint", "unsubscribe", "manual"][n % 4];
        let stream = if n % 3 == 0 { "news" } else { "" };
        writeln!(
            file,
            "user{n:06}@example.net,{stream},{reason},2025-01-01T00:00:{:02}.{:03}Z\r",
            n / 1000 % 60,
            n % 1000
        )
        .expect("a String takes everything");
    }
    let answer = import(&from.client, "", file.clone()).await;
    assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
    let counts = json!({ "format": "postroad", "read": 100_000, "added": 100_000, "already": 0, "invalid": 0, "errors": [] });
    assert_eq!(answer.body, counts);

    let exported = String::from_utf8(from.client.download("/v1/suppressions/export").await).expect("UTF-8");
    let answer = import(&to.client, "", exported.clone()).await;
    assert_eq!(answer.body, counts);
    let lines = |text: &str| {
        let mut lines: Vec<String> =
            text.lines().skip(1).map(|line| line.trim_end_matches([',', '\r']).to_owned()).collect();
        lines.sort();
        lines
    };
    assert!(lines(&file) == lines(&exported), "the same rows");
    let again = import(&to.client, "", exported).await;
    assert_eq!((&again.body["added"], &again.body["already"]), (&json!(0), &json!(100_000)));
    app.stop().await;
}

#[tokio::test]
async fn odd_quoting_and_bad_lines_are_told_apart() {
    let app = TestApp::start().await;
    let file = concat!("\u{feff}\"Email\" ;ignored,REASON,\"stream\"\r\n", "ann@example.net,bounce,\r\n",);
    let answer = import(&app.client, "", file).await;
    assert_eq!(
        answer.violations(),
        [(String::new(), "unknown_columns".to_owned())],
        "no column is just email"
    );

    let file = concat!(
        "\u{feff}\"Reason\",\" E-Mail \",\"note\"\n",
        "bounce,ann@example.net,\"two\nlines, and a \"\"quote\"\"\"\n",
        "\n",
        " complaint ,  \"bob@example.net\"  \n",
        ",carl@example.net,x,y,z\r\n",
        "bounce,\"\"\"odd local\"\"@example.net\",\r\n",
        "bounce,not an address\n",
        "because,dora@example.net\n",
        ",ann@EXAMPLE.net",
    );
    let answer = import(&app.client, "?reason=unsubscribe&stream=news", file).await;
    assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
    let told: Vec<(u64, String)> = answer
        .list("/errors")
        .iter()
        .map(|error| {
            (error["line"].as_u64().expect("a number"), crate::support::client::text(error, "/code"))
        })
        .collect();
    assert_eq!(
        told,
        [
            (5, "invalid_address".to_owned()),
            (8, "invalid_address".to_owned()),
            (9, "invalid_reason".to_owned())
        ]
    );
    assert_eq!((&answer.body["added"], &answer.body["already"]), (&json!(3), &json!(1)), "{:#}", answer.body);
    let mut rows: Vec<(String, String, String)> = app
        .client
        .all_pages("/v1/suppressions?stream=news", 100)
        .await
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().expect("a text").to_owned();
            (text("email"), text("reason"), text("stream"))
        })
        .collect();
    rows.sort();
    let row = |email: &str, reason: &str| (email.to_owned(), reason.to_owned(), "news".to_owned());
    assert_eq!(
        rows,
        [
            row("\"odd local\"@example.net", "bounce"),
            row("ann@example.net", "bounce"),
            row("carl@example.net", "unsubscribe")
        ]
    );
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_list_is_refused() {
    let app = TestApp::start().await;
    let open_quote = format!("email\n\"{}", "x".repeat(1 << 20));
    for (file, code) in [("name,age\nAnn,7\n".to_owned(), "unknown_columns"), (open_quote, "line_too_long")] {
        let answer = import(&app.client, "", file).await;
        assert_eq!(answer.violations(), [(String::new(), code.to_owned())]);
    }
    let answer = import(&app.client, "?reason=dislike&x=1", "").await;
    assert_eq!(answer.violations().len(), 2, "{:#}", answer.body);
    let request = app.client.request(Method::POST, "/v1/suppressions/import").json(&json!([]));
    assert_eq!(app.client.send(request).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(import(&app.client, "", "").await.body["format"], "empty");
    app.stop().await;
}

// Memory is bounded by never reading ahead: while the database takes nothing, an endless file is not read on.
#[tokio::test]
async fn a_file_is_read_no_faster_than_it_is_stored() {
    let app = TestApp::start().await;
    let mut blocker = app.database.connect().await;
    sqlx::query("BEGIN").execute(&mut blocker).await.expect("begun");
    sqlx::query("LOCK TABLE suppressions IN EXCLUSIVE MODE").execute(&mut blocker).await.expect("locked");

    let address = app.client.url().trim_start_matches("http://").to_owned();
    let stream = TcpStream::connect(&address).await.expect("connected");
    let mut request = format!(
        "POST /v1/suppressions/import HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {KEY}\r\n\
         content-type: text/csv\r\ncontent-length: {FILE}\r\n\r\nemail\n"
    )
    .into_bytes();
    let head = request.len() - "email\n".len();
    request.extend(b"ann@example.net\n".repeat(FILE / 16 + 1));
    request.truncate(head + FILE);
    let (mut answers, mut requests) = stream.into_split();
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let sender = tokio::spawn(async move {
        for piece in request.chunks(16 * 1024) {
            requests.write_all(piece).await.expect("it is read to the end");
            counted.fetch_add(piece.len(), Ordering::Relaxed);
        }
        requests
    });
    let mut looking = app.database.connect().await;
    let mut waiting = async || {
        let query = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%suppressions%'";
        sqlx::query_scalar::<_, i64>(query).fetch_one(&mut looking).await.expect("a count") > 0
    };
    let began = Instant::now();
    while !waiting().await {
        assert!(began.elapsed() < PATIENCE, "it is never stored");
    }
    let mut most = 0;
    loop {
        let seen = sent.load(Ordering::Relaxed);
        if !waiting().await {
            break;
        }
        most = seen;
    }
    assert!(most < FILE / 2, "{most} octets were taken while nothing could be stored");
    let mut answer = vec![0; 12];
    answers.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 503");
    drop(sender.await.expect("sent"));
    app.stop().await;
}

/// Larger than all buffers of two sockets.
const FILE: usize = 60 << 20;

// What a spreadsheet would take for a formula leaves as a text, and comes back as it was.
#[tokio::test]
async fn no_cell_of_an_export_is_a_formula_and_each_is_read_back() {
    let app = TestApp::start().await;
    let (acme, other) = (app.account("acme").await.client, app.account("other").await.client);
    let addresses =
        ["=1+1@example.net", "+44@example.net", "-2@example.net", "'=a@example.net", "ann@example.net"];
    for email in addresses {
        let answer = acme.post("/v1/suppressions", json!({ "email": email })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{email}: {:#}", answer.body);
    }
    let file = acme.download("/v1/suppressions/export").await;
    let mut reader = csv::Reader::from_reader(file.as_slice());
    for record in reader.records() {
        let record = record.expect("a record");
        assert!(record.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])), "{record:?}");
    }
    let done = import(&other, "", String::from_utf8(file).expect("UTF-8")).await;
    assert_eq!((&done.body["added"], &done.body["invalid"]), (&json!(5), &json!(0)), "{:#}", done.body);
    let listed = other.all_pages("/v1/suppressions", 100).await;
    let mut found: Vec<&str> = listed.iter().filter_map(|one| one["email"].as_str()).collect();
    found.sort_unstable();
    let mut wanted = addresses;
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    app.stop().await;
}
