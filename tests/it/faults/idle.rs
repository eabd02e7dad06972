//! H3: thousands of clients that are there and say nothing. The server is a process of its own, so that its memory can
//! be told from the test's.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::submission::{Raw, TEXT, queued};
use crate::support::app::KEY;
use crate::support::client::mail;
use crate::support::database::TestDatabase;
use crate::support::program::{self, Program, Settings};

/// The most sessions that one address may have.
const OF_ONE: usize = 100;
/// Addresses that are busy: ten, or as many as leave room for a few sessions more.
fn addresses() -> usize {
    if std::env::var_os("POSTROAD_TORTURE").is_some() { 99 } else { 10 }
}

/// Octets of memory that the program has.
fn memory(program: &Program) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

async fn connect(source: &str, door: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(source.parse().expect("an address"), 0)).expect("a loopback address");
    socket.connect(door).await.expect("somebody listens")
}

/// Sessions from these addresses that have been greeted.
async fn greeted(door: SocketAddr, net: &str, addresses: usize) -> Vec<TcpStream> {
    let mut sessions = Vec::with_capacity(addresses * OF_ONE);
    for address in 1..=addresses {
        for _ in 0..OF_ONE {
            let mut session = connect(&format!("{net}.{address}"), door).await;
            let mut greeting = [0; 3];
            session.read_exact(&mut greeting).await.expect("a greeting");
            assert_eq!(&greeting, b"220");
            sessions.push(session);
        }
    }
    sessions
}

async fn encrypted(
    door: SocketAddr,
    addresses: usize,
    config: &Arc<ClientConfig>,
) -> Vec<TlsStream<TcpStream>> {
    let mut sessions = Vec::with_capacity(addresses * OF_ONE);
    for address in 1..=addresses {
        for _ in 0..OF_ONE {
            let stream = connect(&format!("127.0.4.{address}"), door).await;
            let name = "localhost".try_into().expect("a name");
            let mut session =
                TlsConnector::from(Arc::clone(config)).connect(name, stream).await.expect("a handshake");
            let mut greeting = [0; 3];
            session.read_exact(&mut greeting).await.expect("a greeting");
            sessions.push(session);
        }
    }
    sessions
}

/// Connections to the API that have been answered once and are kept.
async fn kept_alive(door: SocketAddr, addresses: usize) -> Vec<TcpStream> {
    let mut connections = Vec::with_capacity(addresses * OF_ONE);
    for address in 1..=addresses {
        for _ in 0..OF_ONE {
            let mut connection = connect(&format!("127.0.7.{address}"), door).await;
            connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
            let mut answer = [0; 12];
            connection.read_exact(&mut answer).await.expect("an answer");
            assert_eq!(&answer, b"HTTP/1.1 200");
            connections.push(connection);
        }
    }
    connections
}

// H3
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_connections_to_the_api_are_held_in_bounded_memory_and_others_are_served() {
    postroad::server::files::raise_limit();
    let (database, directory) = (TestDatabase::fresh().await, program::directory());
    let program = Settings::embedded(directory.path()).database(&database.url).start();
    let door = program.door("http");
    drop(kept_alive(door, 1).await);

    let before = memory(&program);
    let idle = kept_alive(door, addresses()).await;
    let each = memory(&program).saturating_sub(before) / idle.len();

    println!("H3, HTTP: {} idle connections, {each} octets each", idle.len());
    assert!(each <= 40 * 1024, "{each} octets for each of {} connections", idle.len());
    let began = std::time::Instant::now();
    let id = program.client.send_mail(mail("ann@example.net")).await;
    program.client.ended(&id).await;
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    drop(idle);
}

// H3
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_sessions_are_held_in_bounded_memory_and_others_are_served() {
    postroad::server::files::raise_limit();
    let database = TestDatabase::fresh().await;
    let directory = program::directory();
    let settings = Settings::embedded(directory.path())
        .database(&database.url)
        .set("POSTROAD_SUBMISSION_ADDR", "127.0.0.1:0")
        .set("POSTROAD_SUBMISSIONS_ADDR", "127.0.0.1:0");
    let program = settings.start();
    let certificate =
        CertificateDer::from_pem_file(directory.path().join("data/tls-certificate.pem")).expect("made");
    let (submission, submissions) = (program.door("submission"), program.door("submissions"));
    // What the first sessions cost is not what each costs. They come from elsewhere: the server may not have seen yet
    // that they are gone.
    drop(greeted(submission, "127.0.6", 1).await);

    let before = memory(&program);
    let idle = greeted(submission, "127.0.3", addresses()).await;
    let each = memory(&program).saturating_sub(before) / idle.len();
    assert!(each <= 20 * 1024, "{each} octets for each of {} sessions", idle.len());

    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    let config = Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());
    let before = memory(&program);
    let private = encrypted(submissions, 3, &config).await;
    let each_private = memory(&program).saturating_sub(before) / private.len();
    assert!(each_private <= 64 * 1024, "{each_private} octets for each of {} sessions", private.len());
    println!(
        "H3: {} idle sessions, {each} octets each; {} over TLS, {each_private}",
        idle.len(),
        private.len()
    );

    // One more of a busy address is turned away, and a newcomer served.
    let mut one_more = Raw::from("127.0.3.1", submission).await;
    assert_eq!(one_more.rest().await, "421 4.7.0 Too many connections, try later\r\n");
    let mut client = Raw::from("127.0.5.1", submissions).await.encrypt(&certificate).await;
    assert!(client.ask("").await.starts_with("220 "));
    client.ask("EHLO client.test\r\n").await;
    assert_eq!(client.log_in(KEY).await, "235 2.7.0 Ok");
    queued(&client.mail("a@acme.example", &["ann@example.net"], TEXT).await);
    drop((idle, private));
}
