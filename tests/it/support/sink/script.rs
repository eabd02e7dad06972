//! What a sink does when, and how often: the words a test scripts it with.
//!
//! Values only; `session` performs them. A later rule wins over an earlier one, so that a test can change its
//! mind while the sink runs.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;

/// The moments of a session at which a sink can be told to do something else than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A connection was accepted; usually answered by the greeting.
    Connect,
    /// EHLO.
    Ehlo,
    /// HELO.
    Helo,
    /// STARTTLS.
    StartTls,
    /// Just before a handshake, of either kind.
    Handshake,
    /// AUTH; the act stands for the whole exchange.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA.
    Data,
    /// So many octets of the text, dots still stuffed, have been read (see [`When::octets`]).
    Text,
    /// The final dot.
    Dot,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// No command came for as long as the sink was told to wait (see `SinkBuilder::idle`).
    Idle,
}

/// When a rule applies: a step, and optionally for whom and on which connection.
#[derive(Debug, Clone)]
pub struct When {
    step: Step,
    subject: Option<String>,
    connection: Option<usize>,
    octets: usize,
}

/// Whenever a session gets to `step`.
pub fn at(step: Step) -> When {
    When { step, subject: None, connection: None, octets: 0 }
}

impl When {
    /// Only if the path of MAIL or RCPT begins so (`"dead@"`), or, later in the transaction, that of any accepted
    /// recipient. Every matching path has its own count of tries.
    pub fn of(mut self, prefix: &str) -> Self {
        self.subject = Some(prefix.to_owned());
        self
    }

    /// Only on the `number`th connection of the sink; the first is 1.
    pub fn connection(mut self, number: usize) -> Self {
        self.connection = Some(number);
        self
    }

    /// For [`Step::Text`]: once so many octets were read.
    pub fn octets(mut self, octets: usize) -> Self {
        self.octets = octets;
        self
    }
}

/// Something to do: deeds in order. Replies come with or without a closing CRLF, as their function says.
#[derive(Debug, Clone)]
pub struct Act(pub(super) Vec<Deed>);

#[derive(Debug, Clone)]
pub(super) enum Deed {
    Say(Vec<u8>),
    Dribble(Vec<u8>, Duration),
    Endless(Vec<u8>),
    Wait(Duration),
    Hold(watch::Sender<Held>),
    Take,
    Close,
    Reset,
    Usual,
}

impl Act {
    /// Does `next` afterwards.
    pub fn then(mut self, next: Act) -> Self {
        self.0.extend(next.0);
        self
    }
}

/// Says this, with CRLF added. A 421 also closes, as RFC 5321 §4.2.2 has it.
pub fn reply(text: &str) -> Act {
    raw(format!("{text}\r\n"))
}

/// Says exactly these octets: bare LFs, Latin-1, codes without text, half a line.
pub fn raw(octets: impl Into<Vec<u8>>) -> Act {
    Act(vec![Deed::Say(octets.into())])
}

/// Says this and CRLF, one octet at a time with a pause before each.
pub fn dribble(text: &str, pause: Duration) -> Act {
    Act(vec![Deed::Dribble(format!("{text}\r\n").into_bytes(), pause)])
}

/// Says this line and CRLF again and again until the client leaves.
pub fn endless(line: &str) -> Act {
    Act(vec![Deed::Endless(format!("{line}\r\n").into_bytes())])
}

/// Does nothing for so long.
pub fn wait(time: Duration) -> Act {
    Act(vec![Deed::Wait(time)])
}

/// What the sink would have done without a script.
pub fn usual() -> Act {
    Act(vec![Deed::Usual])
}

/// For [`Step::Dot`]: counts the mail as accepted, whether or not the client will hear of it.
pub fn take() -> Act {
    Act(vec![Deed::Take])
}

/// Closes the connection properly (FIN), with what was said before still delivered.
pub fn close() -> Act {
    Act(vec![Deed::Close])
}

/// Cuts the connection (RST); what was said before may be lost.
pub fn reset() -> Act {
    Act(vec![Deed::Reset])
}

/// Stops there until the test lets go: `let (act, hold) = hold();`.
pub fn hold() -> (Act, Hold) {
    let (sender, receiver) = watch::channel(Held::NotYet);
    (Act(vec![Deed::Hold(sender.clone())]), Hold { sender, receiver })
}

/// The other end of [`hold`]. Dropping it lets go as well.
#[derive(Debug)]
pub struct Hold {
    sender: watch::Sender<Held>,
    receiver: watch::Receiver<Held>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    NotYet,
    Reached,
    Released,
}

impl Hold {
    /// Returns when a session has got there.
    pub async fn reached(&mut self) {
        let reached = self.receiver.wait_for(|held| *held != Held::NotYet).await;
        reached.expect("this value holds a sender");
    }

    /// Lets every session go on that stopped here, now and later.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.sender.send_replace(Held::Released);
    }
}

/// Stops until the holder lets go.
pub(super) async fn held(gate: &watch::Sender<Held>) {
    gate.send_if_modified(|held| {
        let first = *held == Held::NotYet;
        if first {
            *held = Held::Reached;
        }
        first
    });
    let released = gate.subscribe().wait_for(|held| *held == Held::Released).await.map(|_| ());
    released.expect("this function borrows a sender");
}

/// One act for every time, or a different one for each try; the last is repeated.
#[derive(Debug, Clone)]
pub struct Tries(Vec<Act>);

/// "First two tries 451, then as usual": `tries([reply("451 later"), reply("451 later"), usual()])`.
pub fn tries(acts: impl IntoIterator<Item = Act>) -> Tries {
    Tries(acts.into_iter().collect())
}

impl From<Act> for Tries {
    fn from(act: Act) -> Self {
        Self(vec![act])
    }
}

/// The rules of a sink, and how often each was used.
#[derive(Debug, Default)]
pub(super) struct Script {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    when: When,
    tries: Tries,
    used: HashMap<String, usize>,
}

impl Script {
    pub(super) fn push(&mut self, when: When, tries: Tries) {
        self.rules.push(Rule { when, tries, used: HashMap::new() });
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    /// What is to be done now, if it is not the usual. `subjects` are the paths this step is about.
    pub(super) fn act(&mut self, step: Step, connection: usize, subjects: &[&str]) -> Option<Act> {
        self.rules.iter_mut().rev().find_map(|rule| rule.act(step, connection, subjects))
    }

    /// The octets of text after which something is to be done on this connection, nearest first.
    pub(super) fn text_marks(&self, connection: usize, subjects: &[&str]) -> Vec<usize> {
        let applies = |rule: &&Rule| rule.subject(Step::Text, connection, subjects).is_some();
        let mut marks: Vec<_> = self.rules.iter().filter(applies).map(|rule| rule.when.octets).collect();
        marks.sort_unstable();
        marks.dedup();
        marks
    }

    /// The same as [`Self::act`] for the rule at this mark.
    pub(super) fn act_in_text(&mut self, mark: usize, connection: usize, subjects: &[&str]) -> Option<Act> {
        let rules = self.rules.iter_mut().rev().filter(|rule| rule.when.octets == mark);
        rules.into_iter().find_map(|rule| rule.act(Step::Text, connection, subjects))
    }
}

impl Rule {
    fn act(&mut self, step: Step, connection: usize, subjects: &[&str]) -> Option<Act> {
        let subject = self.subject(step, connection, subjects)?;
        let used = self.used.entry(subject).or_default();
        let act = self.tries.0.get(*used).or(self.tries.0.last()).cloned();
        *used += 1;
        act
    }

    /// Whom the rule is about at this moment, if it applies; empty if it is about anyone.
    fn subject(&self, step: Step, connection: usize, subjects: &[&str]) -> Option<String> {
        if self.when.step != step || self.when.connection.is_some_and(|number| number != connection) {
            return None;
        }
        match &self.when.subject {
            None => Some(String::new()),
            Some(prefix) => {
                subjects.iter().find(|subject| subject.starts_with(prefix)).map(|&subject| subject.to_owned())
            }
        }
    }
}
