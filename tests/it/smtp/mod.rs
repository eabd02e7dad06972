//! The SMTP doors, over real sockets.

mod receiver;
mod strangers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use postroad::smtp::{Capture, CapturedMail, Keep, KeepError, Listener, Settings};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(10);

/// A capture listener that runs until the test is over.
struct Receiver {
    address: SocketAddr,
    kept: mpsc::UnboundedReceiver<CapturedMail>,
    drain: CancellationToken,
    serving: JoinHandle<()>,
}

/// Passes mail on to the test, except what comes from `unlucky@`.
struct Pass(mpsc::UnboundedSender<CapturedMail>);

impl Keep for Pass {
    fn keep(&self, mail: CapturedMail) -> BoxFuture<'_, Result<(), KeepError>> {
        Box::pin(async move {
            if mail.return_path.as_str().starts_with("unlucky@") {
                return Err(KeepError("the disk is full".into()));
            }
            self.0.send(mail).map_err(|gone| KeepError(gone.to_string().into()))
        })
    }
}

impl Receiver {
    async fn start(settings: Settings) -> Self {
        let (sender, kept) = mpsc::unbounded_channel();
        let listener = Listener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let drain = CancellationToken::new();
        let capture = Arc::new(Capture::new(Arc::new(Pass(sender))));
        let serving = tokio::spawn(listener.serve(capture, Arc::new(settings), drain.clone()));
        Self { address, kept, drain, serving }
    }

    async fn next_mail(&mut self) -> CapturedMail {
        let mail = tokio::time::timeout(PATIENCE, self.kept.recv()).await.expect("a mail in time");
        mail.expect("the receiver holds the sender")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A client that says exactly what the test says.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    async fn of(receiver: &Receiver) -> Self {
        Self::from("127.0.0.1", receiver).await
    }

    async fn from(address: &str, receiver: &Receiver) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(address.parse().expect("an address"), 0)).expect("a loopback address");
        let stream = socket.connect(receiver.address).await.expect("a listening receiver");
        Self { stream: BufReader::new(stream) }
    }

    /// Sends, and returns the last line of one reply; empty if the receiver closed instead.
    async fn ask(&mut self, lines: &str) -> String {
        self.stream.write_all(lines.as_bytes()).await.expect("an open connection");
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.expect("an open connection");
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Reads the greeting and opens a transaction, up to where the text is expected.
    async fn open_data(&mut self) {
        self.ask("").await;
        for command in ["HELO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<b@mx.test>"] {
            assert!(self.ask(&format!("{command}\r\n")).await.starts_with("250 "), "{command}");
        }
        assert_eq!(self.ask("DATA\r\n").await, "354 End data with <CR><LF>.<CR><LF>");
    }

    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).await.expect("a proper close");
        rest
    }
}
