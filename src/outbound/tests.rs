//! The guard at save and at connect, and what is read of an answer.

use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));

fn client(allowed: &str, lookup: Lookup) -> Outbound {
    let allowed = allowed.split_whitespace().map(|net| net.parse().expect("a network")).collect();
    Outbound::new(Netguard::new(allowed), lookup).expect("a client")
}

/// The name `inside` and everything below it leads to loopback, everything else outside.
fn some_names() -> Lookup {
    Lookup::by(|name| async move {
        let inside = name.trim_end_matches('.').ends_with("inside") || name.starts_with("localhost");
        Ok(vec![if inside { LOOPBACK } else { PUBLIC }])
    })
}

#[tokio::test]
async fn what_leads_inside_is_refused_in_every_spelling() {
    let client = client("", some_names());
    let inside = [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://0x7f.1/",
        "http://0x7f000001/",
        "http://017700000001/",
        "http://2130706433/",
        "http://127.0.0.1./",
        "http://127。0。0。1/",
        "http://１２７.0.0.1/",
        "http://%31%32%37.0.0.1/",
        "http://0/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:7f00:1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[fec0::1]/",
        "http://[fd00:ec2::254]/",
        "http://localhost/",
        "http://LOCALHOST./",
        "https://x.inside/",
        "https://x.inside./",
    ];
    for text in inside {
        assert_eq!(client.check(text).await, Err(BadUrl::Forbidden(Forbidden::Address)), "{text}");
        let url = Url::parse(text).expect("a URL");
        let posted = client.post(&url, &[], Vec::new()).await;
        assert!(matches!(posted, Err(Failure::Forbidden(Forbidden::Address))), "{text}: {posted:?}");
    }
}

#[tokio::test]
async fn what_is_no_plain_http_url_is_refused() {
    let client = client("", some_names());
    let cases = [
        ("hooks.example", BadUrl::Form),
        ("ftp://hooks.example/", BadUrl::Form),
        ("file:///etc/passwd", BadUrl::Form),
        ("gopher://127.0.0.1:25/", BadUrl::Form),
        ("javascript:alert(1)", BadUrl::Form),
        ("http://", BadUrl::Form),
        ("https://user@hooks.example/", BadUrl::Userinfo),
        ("https://user:pass@hooks.example/", BadUrl::Userinfo),
        ("http://hooks.example:25/", BadUrl::Forbidden(Forbidden::Port)),
        ("http://8.8.8.8:22/", BadUrl::Forbidden(Forbidden::Port)),
    ];
    for (text, expected) in cases {
        assert_eq!(client.check(text).await, Err(expected), "{text}");
    }
    for text in ["https://hooks.example/a?b=c", "http://hooks.example", "https://hooks.example:8443/"] {
        assert!(client.check(text).await.is_ok(), "{text}");
    }
}

/// Answers every connection with these octets, and counts them.
async fn server(answer: &'static str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, count)
}

#[tokio::test]
async fn a_name_that_leads_inside_only_when_it_is_connected_to_gains_nothing() {
    let (port, connections) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let asked = Arc::new(AtomicUsize::new(0));
    let lookup = Lookup::by(move |_| {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        async move { Ok(vec![if first { PUBLIC } else { LOOPBACK }]) }
    });
    // Another loopback address is allowed, so that the port is no reason to refuse.
    let client = client("127.9.9.9/32", lookup);
    let saved = client.check("http://rebinding.example/").await;
    let mut url = saved.expect("public when it is saved");
    url.set_port(Some(port)).expect("a port");
    let posted = client.post(&url, &[], Vec::new()).await;
    assert!(matches!(posted, Err(Failure::Forbidden(Forbidden::Address))), "{posted:?}");
    assert_eq!(connections.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_goes_nowhere() {
    let (inner, inner_connections) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:{inner}/\r\ncontent-length: 0\r\n\r\n"
    );
    let (port, connections) = server(Box::leak(answer.into_boxed_str())).await;
    let client = client("127.0.0.0/8", some_names());
    let url = client.check(&format!("http://a.inside:{port}/hook")).await.expect("allowed");
    let answer = client.post(&url, &[("x-one", "1".to_owned())], b"{}".to_vec()).await.expect("answered");
    assert_eq!(answer.status, 307);
    assert_eq!((connections.load(Ordering::Relaxed), inner_connections.load(Ordering::Relaxed)), (1, 0));
}

#[tokio::test]
async fn of_an_endless_answer_only_the_beginning_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nretry-after: 7\r\n\r\n").await;
        while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
    });
    let client = client("127.0.0.1/32", some_names());
    let url = Url::parse(&format!("http://127.0.0.1:{port}/")).expect("a URL");
    let answer = client.post(&url, &[], Vec::new()).await.expect("answered");
    assert_eq!((answer.status, answer.body.len()), (200, ANSWER_LIMIT));
    assert_eq!(answer.retry_after.as_deref(), Some("7"));
}

proptest::proptest! {
    #[test]
    fn what_may_be_saved_leads_to_the_public_web_however_it_is_written(
        text in "(https?|HTTPS|file|gopher)?:?[/\\\\]{0,3}([a-z0-9]{0,4}(:[a-z]{0,3})?@)?(127\\.0?1|localhost|x\\.inside|0x7f|\\[::1\\]|\\[::ffff:a00:1\\]|8\\.8\\.8\\.8|[a-z.]{1,8}|\\PC{1,5})(:[0-9]{1,5})?(/\\PC{0,10})?",
    ) {
        static CLIENT: LazyLock<Outbound> = LazyLock::new(|| client("", some_names()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        if let Ok(url) = runtime.block_on(CLIENT.check(&text)) {
            proptest::prop_assert!(["http", "https"].contains(&url.scheme()));
            proptest::prop_assert!(url.username().is_empty() && url.password().is_none());
            proptest::prop_assert!([80, 443, 8443].contains(&url.port_or_known_default().unwrap_or(0)));
            let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_owned();
            proptest::prop_assert!(!host.ends_with("inside") && !host.starts_with("localhost"), "{}", url);
            if let Ok(literal) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
                proptest::prop_assert!(crate::domain::netguard::is_public(literal), "{}", url);
            }
        }
    }
}
