//! The rules of conservation. Pure, so that each can be shown to find what it is for.

use std::collections::{BTreeMap, HashMap};

use super::facts::{Attempt, Delivery, Message};
use super::{Copy, Told, Verdict, header_of, test_id_of};

/// What an attempt says that broke after its content was sent.
const UNKNOWN: &str = "the peer may have taken the mail";
/// Mail to this domain is never sent.
const SIMULATOR: &str = "@simulator.postroad.test";

/// Compares what clients were told with what was stored and with what was taken. The error is everything
/// that is wrong, a line each.
pub(super) fn judge(
    told: &BTreeMap<String, Told>,
    stored: Vec<Message>,
    copies: Vec<Copy>,
    crashes: usize,
) -> Result<Verdict, Vec<String>> {
    let mut court = Court { verdict: Verdict::default(), wrong: Vec::new(), crashes };
    let mut by_test_id: HashMap<String, Vec<Message>> = HashMap::new();
    for message in stored {
        by_test_id.entry(message.test_id.clone()).or_default().push(message);
    }
    let mut taken = Taken::of(copies, told);
    for (test_id, told) in told {
        let messages = by_test_id.remove(test_id).unwrap_or_default();
        court.stored(test_id, told, &messages);
        for message in &messages {
            for delivery in &message.deliveries {
                let only = message.deliveries.len() == 1;
                let copies = taken.take(test_id, &delivery.recipient, only);
                court.delivery(message, delivery, &copies);
            }
        }
    }
    court.wrong.extend(taken.left());
    court.wrong.sort();
    if court.wrong.is_empty() { Ok(court.verdict) } else { Err(court.wrong) }
}

struct Court {
    verdict: Verdict,
    wrong: Vec<String>,
    crashes: usize,
}

impl Court {
    /// What was accepted is stored, once; what was refused is not.
    fn stored(&mut self, test_id: &str, told: &Told, messages: &[Message]) {
        let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
        match (told, ids.as_slice()) {
            (Told::Accepted(None), [_]) | (Told::Refused | Told::Nothing, []) => {}
            (Told::Accepted(Some(id)), [stored]) if id == stored => {}
            (Told::Nothing, [_]) => self.verdict.stored_unseen += 1,
            (Told::Accepted(_), []) => self.wrong.push(format!("{test_id}: accepted, and not stored")),
            (told, ids) => self.wrong.push(format!("{test_id}: {told:?}, and stored as {ids:?}")),
        }
    }

    fn delivery(&mut self, message: &Message, delivery: &Delivery, copies: &[Vec<u8>]) {
        let mut wrong = Vec::new();
        match ending(delivery) {
            Ok(status) => {
                *self.verdict.endings.entry(status.to_owned()).or_default() += 1;
                wrong.extend(path(delivery, status));
                wrong.extend(tried(message, delivery, status));
                wrong.extend(self.sent(message, delivery, status, copies));
            }
            Err(why) => wrong.push(why),
        }
        wrong.extend(same(message, copies));
        self.verdict.most_copies = self.verdict.most_copies.max(copies.len());
        let story = || {
            let attempts: Vec<_> =
                delivery.attempts.iter().map(|a| format!("{} {}", a.result, a.reply)).collect();
            format!("events {:?}, attempts {attempts:?}, {} copies", delivery.events, copies.len())
        };
        let who = format!("{} {} to {}", message.test_id, message.id, delivery.recipient);
        self.wrong.extend(wrong.into_iter().map(|why| format!("{who}: {why}; {}", story())));
    }

    /// Delivered means taken; anything else means not taken, unless nobody could know.
    fn sent(
        &self,
        message: &Message,
        delivery: &Delivery,
        status: &str,
        copies: &[Vec<u8>],
    ) -> Option<String> {
        let count = copies.len();
        if message.sandbox || delivery.recipient.ends_with(SIMULATOR) {
            return (count > 0).then(|| "it must never leave, and was sent".to_owned());
        }
        let unknown = delivery.attempts.iter().filter(|attempt| attempt.reply.contains(UNKNOWN)).count();
        let excused = unknown + self.crashes;
        match status {
            "delivered" if count == 0 => Some("delivered, and never taken".to_owned()),
            "delivered" if count > 1 + excused => {
                Some(format!("{count} copies, at most {} expected", 1 + excused))
            }
            "delivered" => None,
            _ if count > excused => Some(format!("{status}, and taken {count} times")),
            _ => None,
        }
    }
}

/// The one way in which it ended.
fn ending(delivery: &Delivery) -> Result<&str, String> {
    let outcomes: Vec<(i16, &str)> =
        delivery.outcomes.iter().map(|(n, status)| (*n, status.as_str())).collect();
    match (delivery.queued, outcomes.as_slice()) {
        // A late bounce follows a delivery, once.
        (false, [(0, status)] | [(0, status @ "delivered"), (1, "bounced")]) => Ok(status),
        (true, []) => Err("it has not ended".to_owned()),
        (queued, outcomes) => Err(format!("its end is told wrongly: queued {queued}, outcomes {outcomes:?}")),
    }
}

/// Accepted, any number of deferrals, one end; afterwards what recipients do, and one late bounce.
fn path(delivery: &Delivery, status: &str) -> Option<String> {
    let mut events = delivery.events.iter().map(String::as_str).peekable();
    let begins = events.next() == Some("accepted");
    while events.next_if_eq(&"deferred").is_some() {}
    let ends = events.next() == Some(status);
    let late = delivery.outcomes.len() == 2;
    let mut bounced = 0;
    let after = events.all(|event| {
        bounced += usize::from(event == "bounced");
        matches!(event, "bounced" | "complained" | "opened" | "clicked" | "unsubscribed")
    });
    let legal = begins && ends && after && bounced == usize::from(late);
    (!legal).then(|| format!("no legal path to {status}"))
}

/// Every deferral and every end has the attempt that it tells of.
fn tried(message: &Message, delivery: &Delivery, status: &str) -> Option<String> {
    let valid: Vec<&Attempt> = delivery.attempts.iter().filter(|attempt| attempt.result != "stale").collect();
    let with = |result: &str| valid.iter().filter(|attempt| attempt.result == result).count();
    let deferrals = delivery.events.iter().filter(|event| *event == "deferred").count();
    // A deferral at which a cancellation took effect is told as the cancellation.
    let most = deferrals + usize::from(status == "canceled");
    if !(deferrals..=most).contains(&with("deferred")) {
        return Some(format!("{deferrals} deferrals told, {} tried", with("deferred")));
    }
    if !valid.is_sorted_by(|a, b| a.number < b.number) {
        return Some("attempts are counted wrongly".to_owned());
    }
    let delivered = usize::from(status == "delivered" && !message.sandbox);
    (with("delivered") != delivered)
        .then(|| format!("{status}, with {} delivering attempts", with("delivered")))
}

/// All copies are the same octets under the stored Message-ID.
fn same(message: &Message, copies: &[Vec<u8>]) -> Option<String> {
    let first = copies.first()?;
    let message_id = header_of(first, "Message-ID").unwrap_or_default();
    if message_id != message.message_id {
        return Some(format!("sent as {message_id}, stored as {}", message.message_id));
    }
    copies.iter().any(|copy| copy != first).then(|| "its copies are not the same octets".to_owned())
}

/// What the receiving side took, by test id and recipient.
struct Taken {
    known: HashMap<(String, Option<String>), Vec<Vec<u8>>>,
    strange: Vec<String>,
}

impl Taken {
    fn of(copies: Vec<Copy>, told: &BTreeMap<String, Told>) -> Taken {
        let mut taken = Taken { known: HashMap::new(), strange: Vec::new() };
        for copy in copies {
            match test_id_of(&copy.content) {
                Some(test_id) if told.contains_key(&test_id) => {
                    taken.known.entry((test_id, copy.recipient)).or_default().push(copy.content);
                }
                // A mail that the test sent by itself is none of the oracle's business.
                None => {}
                Some(test_id) => taken.strange.push(format!("{test_id}: taken, and sent by nobody")),
            }
        }
        taken
    }

    /// The copies of one delivery. Copies without a recipient belong to the only one.
    fn take(&mut self, test_id: &str, recipient: &str, only: bool) -> Vec<Vec<u8>> {
        let mut copies =
            self.known.remove(&(test_id.to_owned(), Some(recipient.to_owned()))).unwrap_or_default();
        if only {
            copies.extend(self.known.remove(&(test_id.to_owned(), None)).unwrap_or_default());
        }
        copies
    }

    /// What no delivery accounts for.
    fn left(self) -> impl Iterator<Item = String> {
        let left = self.known.into_iter().map(|((test_id, recipient), copies)| {
            format!(
                "{test_id}: taken {} times for {recipient:?}, and stored for nobody of that name",
                copies.len()
            )
        });
        left.chain(self.strange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "t1";

    fn copy(to: &str) -> Copy {
        content(to, "X-Test-Id: t1\r\nMessage-ID: <m@x>\r\n\r\ntext\r\n")
    }

    fn content(to: &str, content: &str) -> Copy {
        Copy { recipient: Some(to.to_owned()), content: content.as_bytes().to_vec() }
    }

    fn attempt(number: i32, result: &str, reply: &str) -> Attempt {
        Attempt { number, result: result.to_owned(), reply: reply.to_owned() }
    }

    /// To one recipient, ended as `status` after one attempt.
    fn stored(status: &str) -> Message {
        let delivery = Delivery {
            recipient: "a@b.example".to_owned(),
            queued: false,
            outcomes: vec![(0, status.to_owned())],
            events: vec!["accepted".to_owned(), status.to_owned()],
            attempts: vec![attempt(1, status, "so")],
        };
        Message {
            test_id: ID.to_owned(),
            id: "msg_1".to_owned(),
            message_id: "<m@x>".to_owned(),
            sandbox: false,
            deliveries: vec![delivery],
        }
    }

    fn changed(status: &str, change: impl FnOnce(&mut Delivery)) -> Message {
        let mut message = stored(status);
        change(&mut message.deliveries[0]);
        message
    }

    fn wrong(told: Told, stored: Vec<Message>, copies: Vec<Copy>) -> String {
        let told = BTreeMap::from([(ID.to_owned(), told)]);
        judge(&told, stored, copies, 0).err().unwrap_or_default().join("\n")
    }

    fn accepted() -> Told {
        Told::Accepted(Some("msg_1".to_owned()))
    }

    #[test]
    fn what_is_right_is_not_complained_of() {
        let right = [
            (accepted(), vec![stored("delivered")], vec![copy("a@b.example")]),
            (accepted(), vec![stored("delivered")], vec![Copy { recipient: None, ..copy("") }]),
            (accepted(), vec![stored("bounced")], vec![]),
            (Told::Nothing, vec![stored("delivered")], vec![copy("a@b.example")]),
            (Told::Nothing, vec![], vec![]),
            (Told::Refused, vec![], vec![]),
        ];
        for (told, stored, copies) in right {
            assert_eq!(wrong(told, stored, copies), "");
        }
        let late = changed("delivered", |delivery| {
            delivery.outcomes.push((1, "bounced".to_owned()));
            delivery.events.extend(["opened".to_owned(), "bounced".to_owned()]);
        });
        assert_eq!(wrong(accepted(), vec![late], vec![copy("a@b.example")]), "");
    }

    #[test]
    fn an_unknown_result_or_a_crash_excuses_one_copy_each() {
        let unknown = changed("delivered", |delivery| {
            delivery.attempts.insert(0, attempt(0, "deferred", "closed; the peer may have taken the mail"));
            delivery.events.insert(1, "deferred".to_owned());
        });
        let two = || vec![copy("a@b.example"), copy("a@b.example")];
        assert_eq!(wrong(accepted(), vec![unknown.clone()], two()), "");
        let three = [two(), two()[..1].to_vec()].concat();
        assert!(wrong(accepted(), vec![unknown], three).contains("3 copies, at most 2"));

        let told = BTreeMap::from([(ID.to_owned(), accepted())]);
        assert!(judge(&told, vec![stored("delivered")], two(), 1).is_ok());
        assert!(judge(&told, vec![stored("delivered")], two(), 0).is_err());
    }

    #[test]
    fn everything_that_breaks_conservation_is_found() {
        let to = "a@b.example";
        let cases = [
            (accepted(), vec![], vec![], "accepted, and not stored"),
            (accepted(), vec![stored("delivered"), stored("delivered")], vec![], "stored as"),
            (Told::Accepted(Some("msg_2".to_owned())), vec![stored("bounced")], vec![], "stored as"),
            (Told::Refused, vec![stored("delivered")], vec![copy(to)], "Refused, and stored"),
            (Told::Refused, vec![], vec![copy(to)], "stored for nobody"),
            (Told::Nothing, vec![stored("bounced"), stored("bounced")], vec![], "Nothing, and stored"),
            (accepted(), vec![stored("delivered")], vec![], "delivered, and never taken"),
            (accepted(), vec![stored("delivered")], vec![copy(to), copy(to)], "2 copies, at most 1"),
            (accepted(), vec![stored("bounced")], vec![copy(to)], "bounced, and taken"),
            (accepted(), vec![stored("suppressed")], vec![copy(to)], "suppressed, and taken"),
            (
                accepted(),
                vec![stored("delivered")],
                vec![copy(to), copy("c@d.example")],
                "nobody of that name",
            ),
        ];
        for (told, stored, copies, complaint) in cases {
            let found = wrong(told, stored, copies);
            assert!(found.contains(complaint), "{complaint:?} is not in {found:?}");
        }
    }

    #[test]
    fn ends_and_paths_that_are_told_wrongly_are_found() {
        type Change = fn(&mut Delivery);
        let cases: [(Change, &str); 9] = [
            (|d| d.queued = true, "its end is told wrongly"),
            (|d| d.outcomes.clear(), "its end is told wrongly"),
            (|d| d.outcomes.push((1, "expired".to_owned())), "its end is told wrongly"),
            (|d| (d.queued, d.outcomes) = (true, vec![]), "it has not ended"),
            (|d| d.events.clear(), "no legal path"),
            (|d| d.events.push("delivered".to_owned()), "no legal path"),
            (|d| d.events.insert(1, "deferred".to_owned()), "1 deferrals told, 0 tried"),
            (|d| d.attempts.clear(), "with 0 delivering attempts"),
            (|d| d.attempts.push(attempt(1, "delivered", "twice")), "attempts are counted wrongly"),
        ];
        for (change, complaint) in cases {
            let found = wrong(accepted(), vec![changed("delivered", change)], vec![copy("a@b.example")]);
            assert!(found.contains(complaint), "{complaint:?} is not in {found:?}");
        }
    }

    #[test]
    fn copies_that_differ_are_found() {
        let unknown = || {
            changed("delivered", |delivery| {
                delivery.attempts.insert(0, attempt(0, "deferred", "the peer may have taken the mail"));
                delivery.events.insert(1, "deferred".to_owned());
            })
        };
        let other = content("a@b.example", "X-Test-Id: t1\r\nMessage-ID: <m@x>\r\n\r\nother\r\n");
        let found = wrong(accepted(), vec![unknown()], vec![copy("a@b.example"), other]);
        assert!(found.contains("not the same octets"), "{found}");
        let renamed = content("a@b.example", "X-Test-Id: t1\r\nMessage-ID: <n@x>\r\n\r\ntext\r\n");
        let found = wrong(accepted(), vec![stored("delivered")], vec![renamed]);
        assert!(found.contains("sent as <n@x>"), "{found}");
    }
}
