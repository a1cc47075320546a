//! Sessions of operators, in memory: gone with the server, and bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tollgate::{AccountId, TokenDigest, TokenText};

/// Sessions at once; one more ends the one that has been idle longest.
const MAX_SESSIONS: usize = 64;

/// A session ends after so long without a request.
pub(super) const IDLE_MS: u64 = 30 * 60_000;

/// A session ends after so long in any case.
pub(super) const LIFETIME_MS: u64 = 12 * 3_600_000;

/// Forms that were sent, of each session, that are remembered.
const MAX_SENT: usize = 256;

/// How long a new key waits to be looked at.
const MADE_WAITS_MS: u64 = 5 * 60_000;

/// All sessions, by the digest of their ids: a copy of the memory is of no use to log in.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<TokenDigest, Session>>);

struct Session {
    csrf: Arc<str>,
    began_ms: u64,
    seen_ms: u64,
    sent: VecDeque<Box<str>>,
    notice: Option<String>,
    made: Option<(Made, u64)>,
}

impl Session {
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.seen_ms) >= IDLE_MS
            || now_ms.saturating_sub(self.began_ms) >= LIFETIME_MS
    }
}

/// A key that was made and not yet shown.
pub(super) struct Made {
    pub account: AccountId,
    pub text: TokenText,
    /// Until when the key that it replaces still works.
    pub replaces_until_ms: Option<u64>,
}

/// Who is logged in, as an extension of each request.
#[derive(Clone)]
pub(super) struct Visitor {
    key: TokenDigest,
    pub csrf: Arc<str>,
}

impl Visitor {
    /// Whether a form was made for this session.
    pub(super) fn sent(&self, csrf: &str) -> bool {
        bool::from(self.csrf.as_bytes().ct_eq(csrf.as_bytes()))
    }
}

impl Sessions {
    /// Begins one, and gives its id. `None` without entropy.
    pub(super) fn begin(&self, now_ms: u64) -> Option<String> {
        let (id, csrf) = (random()?, random()?);
        let session = Session {
            csrf: csrf.into(),
            began_ms: now_ms,
            seen_ms: now_ms,
            sent: VecDeque::new(),
            notice: None,
            made: None,
        };
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| !session.is_over(now_ms));
        if sessions.len() >= MAX_SESSIONS {
            let idle = sessions.iter().min_by_key(|(_, session)| session.seen_ms);
            if let Some(key) = idle.map(|(key, _)| *key) {
                sessions.remove(&key);
            }
        }
        sessions.insert(key(&id), session);
        Some(id)
    }

    /// Who has this id, if it is a session's that is not over.
    pub(super) fn enter(&self, id: &str, now_ms: u64) -> Option<Visitor> {
        let key = key(id);
        let mut sessions = self.0.lock();
        let session = sessions.get_mut(&key)?;
        if session.is_over(now_ms) {
            sessions.remove(&key);
            return None;
        }
        session.seen_ms = session.seen_ms.max(now_ms);
        Some(Visitor { key, csrf: Arc::clone(&session.csrf) })
    }

    pub(super) fn end(&self, visitor: &Visitor) {
        self.0.lock().remove(&visitor.key);
    }

    /// Whether a form with this number is sent for the first time. A form that is sent twice acts once.
    pub(super) fn is_first(&self, visitor: &Visitor, form: &str) -> bool {
        let mut sessions = self.0.lock();
        let Some(session) = sessions.get_mut(&visitor.key) else { return false };
        if form.is_empty() || session.sent.iter().any(|sent| **sent == *form) {
            return false;
        }
        if session.sent.len() >= MAX_SENT {
            session.sent.pop_front();
        }
        session.sent.push_back(form.into());
        true
    }

    /// Leaves a sentence for the next page.
    pub(super) fn leave_notice(&self, visitor: &Visitor, notice: String) {
        if let Some(session) = self.0.lock().get_mut(&visitor.key) {
            session.notice = Some(notice);
        }
    }

    pub(super) fn take_notice(&self, visitor: &Visitor) -> Option<String> {
        self.0.lock().get_mut(&visitor.key)?.notice.take()
    }

    /// Leaves a new key for the page that shows it.
    pub(super) fn leave_made(&self, visitor: &Visitor, made: Made, now_ms: u64) {
        if let Some(session) = self.0.lock().get_mut(&visitor.key) {
            session.made = Some((made, now_ms));
        }
    }

    /// The new key, once.
    pub(super) fn take_made(
        &self,
        visitor: &Visitor,
        account: &AccountId,
        now_ms: u64,
    ) -> Option<Made> {
        let mut sessions = self.0.lock();
        let made = &mut sessions.get_mut(&visitor.key)?.made;
        let (made, _) = made
            .take_if(|(made, _)| made.account == *account)
            .filter(|(_, made_ms)| now_ms.saturating_sub(*made_ms) < MADE_WAITS_MS)?;
        Some(made)
    }
}

fn key(id: &str) -> TokenDigest {
    tollgate::digest(id.as_bytes(), None)
}

/// 256 bits that nobody can guess, as text.
pub(super) fn random() -> Option<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_idle_and_when_old() {
        let sessions = Sessions::default();
        let id = sessions.begin(1_000).unwrap();
        assert!(sessions.enter(&id, 1_000 + IDLE_MS - 1).is_some());
        assert!(sessions.enter(&id, 1_000 + 2 * IDLE_MS - 2).is_some());
        assert!(sessions.enter(&id, 1_000 + 3 * IDLE_MS).is_none());
        let id = sessions.begin(0).unwrap();
        for now_ms in (0..LIFETIME_MS).step_by(60_000) {
            assert!(sessions.enter(&id, now_ms).is_some(), "{now_ms}");
        }
        assert!(sessions.enter(&id, LIFETIME_MS).is_none());
    }

    #[test]
    fn a_clock_that_goes_back_ends_nothing() {
        let sessions = Sessions::default();
        let id = sessions.begin(10_000_000).unwrap();
        assert!(sessions.enter(&id, 0).is_some());
    }

    #[test]
    fn sessions_are_bounded_and_the_idlest_goes() {
        let sessions = Sessions::default();
        let ids: Vec<String> =
            (0..MAX_SESSIONS as u64).map(|now_ms| sessions.begin(now_ms).unwrap()).collect();
        assert!(sessions.enter(&ids[0], 1_000).is_some());
        let newest = sessions.begin(1_001).unwrap();
        assert!(sessions.enter(&ids[1], 1_002).is_none());
        for id in [&ids[0], &ids[2], &newest] {
            assert!(sessions.enter(id, 1_002).is_some());
        }
        assert_eq!(sessions.0.lock().len(), MAX_SESSIONS);
    }

    #[test]
    fn ids_are_kept_hashed_and_differ() {
        let sessions = Sessions::default();
        let (one, other) = (sessions.begin(0).unwrap(), sessions.begin(0).unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 43);
        let kept = sessions.0.lock();
        assert!(kept.keys().all(|key| key.to_string() != one));
        assert!(kept.contains_key(&key(&one)));
    }

    #[test]
    fn a_form_acts_once_and_what_is_remembered_is_bounded() {
        let sessions = Sessions::default();
        let id = sessions.begin(0).unwrap();
        let visitor = sessions.enter(&id, 0).unwrap();
        assert!(sessions.is_first(&visitor, "a"));
        assert!(!sessions.is_first(&visitor, "a") && !sessions.is_first(&visitor, ""));
        for number in 0..MAX_SENT * 2 {
            assert!(sessions.is_first(&visitor, &number.to_string()));
        }
        assert_eq!(sessions.0.lock()[&visitor.key].sent.len(), MAX_SENT);
    }

    #[test]
    fn a_made_key_is_for_its_account_once_and_not_for_ever() {
        let sessions = Sessions::default();
        let id = sessions.begin(0).unwrap();
        let visitor = sessions.enter(&id, 0).unwrap();
        let (acme, other) = (AccountId::new("acme").unwrap(), AccountId::new("other").unwrap());
        let made = || Made {
            account: acme.clone(),
            text: TokenText::generate(&[1; 32]),
            replaces_until_ms: None,
        };
        sessions.leave_made(&visitor, made(), 0);
        assert!(sessions.take_made(&visitor, &other, 1).is_none());
        assert!(sessions.take_made(&visitor, &acme, 1).is_some());
        assert!(sessions.take_made(&visitor, &acme, 1).is_none());
        sessions.leave_made(&visitor, made(), 0);
        assert!(sessions.take_made(&visitor, &acme, MADE_WAITS_MS).is_none());
    }
}
