//! H2: clients that take their time with a request, in great number, against the real program.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::*;
use crate::support::oracle::{Oracle, Terms};

/// How a request is drawn out.
#[derive(Debug, Clone, Copy)]
enum Slow {
    /// A header field that never ends.
    Head,
    /// A body that comes octet by octet.
    Body,
    /// An answer that is not read, to a request that is not finished.
    Reader,
}

/// How long the server listens to it.
async fn drawn_out(address: String, slow: Slow) -> Duration {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    let began = Instant::now();
    let begin = match slow {
        Slow::Head => "POST /v1/messages HTTP/1.1\r\nHost: x\r\nX-Drip: ".to_owned(),
        Slow::Body | Slow::Reader => format!(
            "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n",
            crate::support::app::KEY
        ),
    };
    stream.write_all(begin.as_bytes()).await.expect("taken");
    let (mut reader, mut writer) = stream.into_split();
    let ended = async move {
        let mut answer = Vec::new();
        // An error is an end as well.
        let _ = reader.read_to_end(&mut answer).await;
    };
    let drip = async move {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if !matches!(slow, Slow::Reader) && writer.write_all(b"a").await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = ended => {}
        () = drip => {}
    }
    began.elapsed()
}

// H2
#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_requests_that_drip_are_cut_off_and_others_are_served() {
    let scene = Scene::set().await;
    let node = scene.node("a").start();
    let address = node.client.url().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut drips = JoinSet::new();
    let each = rounds(100, 1000);
    for slow in [Slow::Head, Slow::Body, Slow::Reader] {
        for _ in 0..each {
            let address = address.clone();
            drips.spawn(async move { (slow, drawn_out(address, slow).await) });
        }
    }

    // Meanwhile, who sends mail is served as ever.
    let oracle = Oracle::new();
    let mut slowest = Duration::ZERO;
    for number in 0..100 {
        let began = Instant::now();
        oracle.send(&node.client, mail(&format!("u{number}@example.net"))).await.expect("accepted");
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");

    let mut longest = Duration::ZERO;
    while let Some(ended) = drips.join_next().await {
        let (slow, took) = ended.expect("no panic");
        // 10 s for a head; 30 s for a body, and a little for its length; and what thousands who come at once wait to be
        // heard and to be hung up on. Without a limit a head has 75 s, and a body for ever.
        let limit = if matches!(slow, Slow::Head) { 30 } else { 60 };
        assert!(took < Duration::from_secs(limit), "{slow:?} was listened to for {took:?}");
        longest = longest.max(took);
    }
    let verdict = oracle.check(&scene.database.url, Terms::default(), || scene.taken()).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (100, 1));
    println!(
        "H2: {} requests drawn out, the last cut off after {longest:?}; others in {slowest:?} at most",
        3 * each
    );
}
