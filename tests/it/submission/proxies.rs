//! The PROXY protocol before a session: believed from trusted networks, and from nobody else.

use serde_json::json;

use super::*;

/// Logs in over a connection before which this was said.
async fn log_in_after(doors: &Doors, header: &[u8], key: &str) -> String {
    let mut client = Raw::connect(doors.submission()).await;
    client.send(header).await;
    let said = client.ask("").await;
    if said != GREETING {
        return said;
    }
    client.ask("EHLO client.test\r\n").await;
    let mut client = client.starttls(&doors.root).await;
    client.ask("EHLO client.test\r\n").await;
    client.log_in(key).await
}

fn version_2(source: [u8; 4]) -> Vec<u8> {
    let addresses = [&source[..], &[10, 0, 0, 1, 0x13, 0x94, 2, 0x4b]].concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"[..], &addresses].concat()
}

#[tokio::test]
async fn a_trusted_proxy_tells_who_the_client_is() {
    let doors = Doors::of(TestApp::builder().set("POSTROAD_TRUSTED_PROXIES", "127.0.0.1/32")).await;
    let key = json!({ "name": "x", "scopes": ["send"], "allow_ips": ["192.0.2.0/24"] });
    let key = doors.app.key(key).await.secret;
    let good = "235 2.7.0 Ok";
    let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 5012 587\r\n";
    assert_eq!(log_in_after(&doors, line, &key).await, good);
    assert_eq!(log_in_after(&doors, &version_2([192, 0, 2, 8]), &key).await, good);
    // From the proxy itself, or from elsewhere, it is not allowed.
    for header in [&b""[..], b"PROXY UNKNOWN\r\n", b"PROXY TCP4 198.51.100.7 10.0.0.1 5012 587\r\n"] {
        assert!(log_in_after(&doors, header, &key).await.starts_with("535 "), "{header:?}");
    }
    // A header that cannot be read ends the connection.
    for header in
        [&b"PROXY TCP4 192.0.2.7\r\n"[..], b"PROXY it is me\r\n", b"\r\n\r\n\0\r\nQUIT\r\xff\xff\xff\xff\xff"]
    {
        assert_eq!(log_in_after(&doors, header, &key).await, "", "{header:?}");
    }
    doors.close().await;
}

#[tokio::test]
async fn implicit_tls_begins_after_the_header_or_without_it() {
    let doors = Doors::of(TestApp::builder().set("POSTROAD_TRUSTED_PROXIES", "127.0.0.1/32")).await;
    for header in [&b""[..], b"PROXY TCP4 192.0.2.7 10.0.0.1 5012 465\r\n", &version_2([192, 0, 2, 8])] {
        let mut client = Raw::connect(doors.submissions()).await;
        client.send(header).await;
        assert_eq!(client.encrypt(&doors.root).await.ask("").await, GREETING);
    }
    doors.close().await;
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let doors = Doors::open().await;
    let mut client = doors.greeted().await;
    let said = client.ask("PROXY TCP4 192.0.2.7 10.0.0.1 5012 587\r\n").await;
    assert_eq!(said, "500 5.5.2 Command not recognized");
    doors.close().await;
}
