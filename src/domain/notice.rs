//! Notices to submitters (RFC 3461): which results are told to whom. Not how a notice is written (`mail/report`).
//!
//! Invariant: mail with a null sender, and mail that did not come by SMTP, is never answered by a notice.

use std::str::FromStr;

use super::handling::{Handling, Notify, Particulars};

/// What a notice tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// The mail will not be delivered.
    Failed,
    /// It takes longer, and is still tried.
    Delayed,
    /// A peer took it, and nobody will tell more.
    Relayed,
}

impl NoticeKind {
    /// As the database has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            NoticeKind::Failed => "failed",
            NoticeKind::Delayed => "delayed",
            NoticeKind::Relayed => "relayed",
        }
    }
}

impl FromStr for NoticeKind {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<NoticeKind, UnknownWord> {
        let all = [NoticeKind::Failed, NoticeKind::Delayed, NoticeKind::Relayed];
        all.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownWord)
    }
}

/// A tenant's choice: which notices its submitters get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DsnPolicy {
    /// What NOTIFY asks for; without NOTIFY, failures (RFC 3461 §4.1 leaves that to us).
    #[default]
    Asked,
    /// The same, and without NOTIFY delays as well.
    Always,
    /// None: the tenant reads events.
    Never,
}

impl DsnPolicy {
    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            DsnPolicy::Asked => "asked",
            DsnPolicy::Always => "always",
            DsnPolicy::Never => "never",
        }
    }

    /// Whether a notice is sent to somebody who said `notify`.
    pub fn wants(self, notify: Option<Notify>, kind: NoticeKind) -> bool {
        let asked = match (self, notify) {
            (DsnPolicy::Never, _) => return false,
            (_, Some(notify)) => notify,
            (DsnPolicy::Asked, None) => Notify { failure: true, ..Notify::NEVER },
            (DsnPolicy::Always, None) => Notify { failure: true, delay: true, ..Notify::NEVER },
        };
        match kind {
            NoticeKind::Failed => asked.failure,
            NoticeKind::Delayed => asked.delay,
            NoticeKind::Relayed => asked.success,
        }
    }
}

impl FromStr for DsnPolicy {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<DsnPolicy, UnknownWord> {
        let all = [DsnPolicy::Asked, DsnPolicy::Always, DsnPolicy::Never];
        all.into_iter().find(|policy| policy.as_str() == text).ok_or(UnknownWord)
    }
}

/// Not one of the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("asked, always or never is needed")]
pub struct UnknownWord;

/// What is to be told of a result, if any tenant's choice could want it: the choice is looked at when the notice is
/// written.
pub fn candidate(handling: &Handling, own: &Particulars, kind: NoticeKind) -> Option<NoticeKind> {
    let has_sender = handling.envelope.as_ref().is_some_and(|envelope| envelope.sender.is_some());
    (has_sender && DsnPolicy::Always.wants(own.notify, kind)).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::super::handling::SubmittedEnvelope;
    use super::*;

    #[test]
    fn what_was_asked_for_is_told_and_nothing_else() {
        use NoticeKind::*;
        let all = Notify { success: true, failure: true, delay: true };
        let cases = [
            (DsnPolicy::Asked, None, &[Failed][..]),
            (DsnPolicy::Asked, Some(Notify::NEVER), &[]),
            (DsnPolicy::Asked, Some(Notify { success: true, ..Notify::NEVER }), &[Relayed]),
            (DsnPolicy::Asked, Some(all), &[Failed, Delayed, Relayed]),
            (DsnPolicy::Always, None, &[Failed, Delayed]),
            (DsnPolicy::Always, Some(Notify::NEVER), &[]),
            (DsnPolicy::Never, Some(all), &[]),
        ];
        for (policy, notify, told) in cases {
            let kinds = [Failed, Delayed, Relayed].into_iter().filter(|kind| policy.wants(notify, *kind));
            assert_eq!(kinds.collect::<Vec<_>>(), told, "{policy:?} {notify:?}");
        }
    }

    #[test]
    fn who_has_no_return_path_is_told_nothing() {
        let own = Particulars::default();
        let with = |envelope| Handling { envelope, ..Handling::default() };
        let sender = SubmittedEnvelope { sender: Some("a@acme.example".to_owned()), ..Default::default() };
        assert_eq!(candidate(&with(Some(sender)), &own, NoticeKind::Failed), Some(NoticeKind::Failed));
        assert_eq!(candidate(&with(Some(SubmittedEnvelope::default())), &own, NoticeKind::Failed), None);
        assert_eq!(candidate(&with(None), &own, NoticeKind::Failed), None);
    }

    #[test]
    fn words_read_back() {
        for policy in [DsnPolicy::Asked, DsnPolicy::Always, DsnPolicy::Never] {
            assert_eq!(policy.as_str().parse(), Ok(policy));
        }
        for kind in [NoticeKind::Failed, NoticeKind::Delayed, NoticeKind::Relayed] {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!("sometimes".parse::<DsnPolicy>(), Err(UnknownWord));
    }
}
