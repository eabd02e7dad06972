//! The listener: who is let in, what is promised, how everyone leaves.

use postroad::smtp::{ForwardPath, ReversePath};
use postroad::smtp::{Hello, Limits, MailParams, Mailroom, ReceivedEnvelope, Reply, SessionInfo, Verdict};
use tokio::sync::{Notify, oneshot};

use super::*;

fn settings() -> Settings {
    Settings::new("mx.test")
}

/// Greeted, introduced, and told to send the text.
async fn in_data(receiver: &Receiver) -> Client {
    let mut client = Client::of(receiver).await;
    client.open_data().await;
    client
}

#[tokio::test]
async fn a_captured_mail_is_what_the_client_sent() {
    let mut receiver = Receiver::start(settings()).await;
    let mut client = in_data(&receiver).await;
    assert_eq!(client.ask("Subject: x\r\n\r\n..\r\n.\r\n").await, "250 2.0.0 Ok: captured");
    let mail = receiver.next_mail().await;
    assert_eq!(mail.return_path.as_str(), "a@client.test");
    assert_eq!(mail.recipients.iter().map(ForwardPath::as_str).collect::<Vec<_>>(), ["b@mx.test"]);
    assert_eq!(&mail.bytes[..], b"Subject: x\r\n\r\n.\r\n");
    assert_eq!((mail.helo.as_str(), mail.tls), ("client.test", None));
}

#[tokio::test]
async fn a_mail_that_could_not_be_kept_is_not_promised() {
    let mut receiver = Receiver::start(settings()).await;
    let mut client = in_data(&receiver).await;
    client.ask(".\r\n").await;
    receiver.next_mail().await;
    for command in ["MAIL FROM:<unlucky@client.test>\r\n", "RCPT TO:<b@mx.test>\r\n", "DATA\r\n"] {
        client.ask(command).await;
    }
    assert_eq!(client.ask(".\r\n").await, "451 4.3.0 The mail could not be kept, try again");
    assert_eq!(client.ask("QUIT\r\n").await, "221 2.0.0 Bye");
    assert!(receiver.kept.try_recv().is_err());
}

/// Says when a mail is there, and waits to be told what to say about it.
struct Slow {
    arrived: Notify,
    answer: tokio::sync::Mutex<Option<oneshot::Receiver<Reply>>>,
}

impl Mailroom for Slow {
    async fn mail(&self, _: &SessionInfo, _: &ReversePath, _: &MailParams) -> Verdict {
        Verdict::Accept
    }

    async fn rcpt(&self, _: &SessionInfo, _: &ReversePath, _: &ForwardPath) -> Verdict {
        Verdict::Accept
    }

    async fn data(&self, session: &SessionInfo, _: ReceivedEnvelope, _: bytes::Bytes) -> Reply {
        assert_eq!(session.hello, Hello::Helo("client.test".into()));
        self.arrived.notify_one();
        let answer = self.answer.lock().await.take().expect("one mail");
        answer.await.expect("the test answers")
    }
}

#[tokio::test]
async fn nothing_is_promised_before_the_mailroom_has_the_mail() {
    let (sender, answer) = oneshot::channel();
    let room = Arc::new(Slow { arrived: Notify::new(), answer: tokio::sync::Mutex::new(Some(answer)) });
    let listener = Listener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let serving = tokio::spawn(listener.serve(room.clone(), Arc::new(settings()), CancellationToken::new()));
    let stream = TcpStream::connect(address).await.expect("a listening receiver");
    let mut client = Client { stream: BufReader::new(stream) };
    client.open_data().await;
    client.stream.write_all(b".\r\nNOOP\r\n").await.expect("an open connection");
    room.arrived.notified().await;
    let early = tokio::time::timeout(Duration::from_millis(50), client.ask("")).await;
    assert!(early.is_err(), "{early:?}");
    sender.send(Reply::new(250, 0, 0, "Ok: now")).expect("the mailroom waits");
    assert_eq!(client.ask("").await, "250 2.0.0 Ok: now");
    serving.abort();
}

#[tokio::test]
async fn a_peer_beyond_its_share_is_turned_away_and_others_are_not() {
    let limits = Limits { sessions_per_peer: 2, sessions: 3, ..Limits::default() };
    let receiver = Receiver::start(Settings { limits, ..settings() }).await;
    let greeting = "220 mx.test ESMTP postroad";
    let refusal = "421 4.7.0 Too many connections, try later\r\n";
    let mut first = Client::of(&receiver).await;
    let mut second = Client::of(&receiver).await;
    assert_eq!((first.ask("").await, second.ask("").await), (greeting.into(), greeting.into()));
    assert_eq!(Client::of(&receiver).await.rest().await, refusal);
    let mut other = Client::from("127.0.0.2", &receiver).await;
    assert_eq!(other.ask("").await, greeting);
    assert_eq!(Client::from("127.0.0.3", &receiver).await.rest().await, refusal);

    assert_eq!(first.ask("QUIT\r\n").await, "221 2.0.0 Bye");
    let room_again = async { while Client::of(&receiver).await.ask("").await != greeting {} };
    tokio::time::timeout(PATIENCE, room_again).await.expect("who leaves makes room");
}

#[tokio::test]
async fn half_a_mail_and_a_reset_leave_nothing_and_hurt_no_one() {
    let mut receiver = Receiver::start(settings()).await;
    let mut client = in_data(&receiver).await;
    client.stream.write_all(b"Subject: half\r\n\r\nhalf").await.expect("an open connection");
    client.stream.get_ref().set_zero_linger().expect("an open socket");
    drop(client);
    let mut client = in_data(&receiver).await;
    client.ask("Subject: whole\r\n.\r\n").await;
    assert_eq!(&receiver.next_mail().await.bytes[..], b"Subject: whole\r\n");
    assert!(receiver.kept.try_recv().is_err());
}

#[tokio::test]
async fn a_drain_lets_mail_finish_then_ends() {
    let mut receiver = Receiver::start(settings()).await;
    let mut idle = Client::of(&receiver).await;
    assert_eq!(idle.ask("HELO client.test\r\n").await, "220 mx.test ESMTP postroad");
    let mut sending = in_data(&receiver).await;
    receiver.drain.cancel();
    assert_eq!(idle.rest().await, "250 mx.test\r\n421 4.3.2 Shutting down, try again\r\n");
    assert!(!receiver.serving.is_finished());
    assert_eq!(sending.ask("last words\r\n.\r\n").await, "250 2.0.0 Ok: captured");
    assert_eq!(sending.rest().await, "421 4.3.2 Shutting down, try again\r\n");
    assert_eq!(&receiver.next_mail().await.bytes[..], b"last words\r\n");
    let served = tokio::time::timeout(PATIENCE, &mut receiver.serving).await.expect("an end");
    served.expect("no panic");
    assert!(TcpStream::connect(receiver.address).await.is_err());
}

#[tokio::test]
async fn sessions_end_with_their_listener() {
    let receiver = Receiver::start(settings()).await;
    let mut client = in_data(&receiver).await;
    receiver.serving.abort();
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn the_relay_matrix_reaches_the_mailroom_undistorted() {
    let mut receiver = Receiver::start(settings()).await;
    let mut client = Client::of(&receiver).await;
    client.ask("").await;
    client.ask("HELO client.test\r\n").await;
    client.ask("MAIL FROM:<>\r\n").await;
    let accepted = ["a%b@us.test", "\"a@b\"@us.test", "b!a@us.test", "a@[127.0.0.1]", "postmaster"];
    for path in accepted {
        assert_eq!(client.ask(&format!("RCPT TO:<{path}>\r\n")).await, "250 2.1.5 Ok", "{path}");
    }
    // RFC 5321 appendix C: the route is ignored, the mailbox is not.
    assert_eq!(client.ask("RCPT TO:<@us.test:a@b.test>\r\n").await, "250 2.1.5 Ok");
    for path in ["a@b@us.test", "<a@us.test>", "a@", "@us.test", "a@us.test@", "a b@us.test", ""] {
        let said = client.ask(&format!("RCPT TO:<{path}>\r\n")).await;
        assert_eq!(said, "501 5.1.3 Syntax: RCPT TO:<local@domain>", "{path}");
    }
    client.ask("DATA\r\n").await;
    client.ask(".\r\n").await;
    let mail = receiver.next_mail().await;
    let recipients: Vec<_> = mail.recipients.iter().map(ForwardPath::as_str).collect();
    assert_eq!(recipients, [&accepted[..], &["a@b.test"]].concat());
    let ForwardPath::Mailbox(quoted) = &mail.recipients[1] else { panic!("a mailbox") };
    assert_eq!((quoted.local_part(), quoted.domain()), ("\"a@b\"", "us.test"));
}
