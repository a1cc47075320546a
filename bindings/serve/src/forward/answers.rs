//! Answers that wait for nginx to fetch them: its `auth_request` carries no body and no other status than 401 and 403.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use tollgate::Answer;

/// How long an answer waits. nginx fetches it at once.
const WAITS_MS: u64 = 10_000;

/// What an answer costs beside its body and headers.
const OVERHEAD_BYTES: usize = 256;

/// Answers by names that nobody can guess. Each is given once.
pub(crate) struct Answers {
    max_bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    waiting: HashMap<Box<str>, Answer>,
    order: VecDeque<(u64, Box<str>, usize)>,
    bytes: usize,
}

/// Why an answer was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error("the system gives no entropy: {0}")]
    Entropy(getrandom::Error),
    #[error("too many answers wait; give more memory to them, or let nginx use X-Accel-Redirect")]
    Full,
}

impl Answers {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Answers { max_bytes, inner: Mutex::default() }
    }

    /// Keeps an answer, and gives its name.
    ///
    /// # Errors
    /// [`KeepError`].
    pub(crate) fn keep(&self, answer: Answer, now_ms: u64) -> Result<String, KeepError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(KeepError::Entropy)?;
        let id = format!("{:032x}", u128::from_be_bytes(random));
        let headers: usize =
            answer.headers.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
        let size = answer.body.len().saturating_add(headers).saturating_add(OVERHEAD_BYTES);
        let mut inner = self.inner.lock();
        inner.forget_until(now_ms.saturating_sub(WAITS_MS));
        if inner.bytes.saturating_add(size) > self.max_bytes {
            return Err(KeepError::Full);
        }
        inner.bytes = inner.bytes.saturating_add(size);
        inner.order.push_back((now_ms, id.as_str().into(), size));
        inner.waiting.insert(id.as_str().into(), answer);
        Ok(id)
    }

    /// Gives an answer, once.
    pub(crate) fn take(&self, id: &str, now_ms: u64) -> Option<Answer> {
        let mut inner = self.inner.lock();
        inner.forget_until(now_ms.saturating_sub(WAITS_MS));
        let answer = inner.waiting.remove(id)?;
        if let Some(place) = inner.order.iter().rposition(|(_, name, _)| &**name == id)
            && let Some((_, _, size)) = inner.order.remove(place)
        {
            inner.bytes = inner.bytes.saturating_sub(size);
        }
        Some(answer)
    }
}

impl Inner {
    fn forget_until(&mut self, before_ms: u64) {
        while let Some((kept_ms, id, size)) = self.order.front() {
            if *kept_ms >= before_ms {
                return;
            }
            self.waiting.remove(id);
            self.bytes = self.bytes.saturating_sub(*size);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: usize) -> Answer {
        Answer { status: 429, headers: Vec::new(), body: vec![b'x'; bytes] }
    }

    #[test]
    fn an_answer_is_given_once_and_not_for_ever() {
        let answers = Answers::new(10_000);
        let first = answers.keep(answer(5), 1_000_000).unwrap();
        let second = answers.keep(answer(6), 1_000_000).unwrap();
        assert_eq!(answers.take(&first, 1_000_001).unwrap().body.len(), 5);
        assert!(answers.take(&first, 1_000_001).is_none());
        assert!(answers.take("", 1_000_001).is_none());
        assert!(answers.take(&second, 1_000_000 + WAITS_MS + 1).is_none());
        assert_eq!(answers.inner.lock().bytes, 0);
    }

    #[test]
    fn memory_is_bounded_and_comes_back() {
        let answers = Answers::new(1_000);
        let first = answers.keep(answer(700), 1_000_000).unwrap();
        assert!(matches!(answers.keep(answer(700), 1_000_000), Err(KeepError::Full)));
        answers.take(&first, 1_000_000).unwrap();
        answers.keep(answer(700), 1_000_000).unwrap();
        answers.keep(answer(700), 2_000_000).unwrap();
    }
}
