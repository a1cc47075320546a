//! Records of tokens that are more than an account and scopes, by number.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::Token;
use crate::store::memory::sync::{Mutex, OnceLock};

/// Records of a page, which is made when its first one is.
const PAGE: usize = 2048;

type Page = Box<[Mutex<Option<Arc<Token>>>]>;

/// The records. Each is read and written by who has its token's slot.
#[derive(Debug)]
pub(super) struct TokenRecords {
    pages: Box<[OnceLock<Page>]>,
    numbers: Mutex<Numbers>,
}

/// Numbers that were given back, and the first that was never given out.
#[derive(Debug, Default)]
struct Numbers {
    free: Vec<u32>,
    next: u32,
}

impl TokenRecords {
    /// Room for `max` records.
    pub(super) fn new(max: usize) -> Self {
        let pages = max.div_ceil(PAGE).saturating_add(1);
        TokenRecords {
            pages: core::iter::repeat_with(OnceLock::new).take(pages).collect(),
            numbers: Mutex::default(),
        }
    }

    /// Keeps a record; gives its number, or `None` where there is no room.
    pub(super) fn add(&self, record: Token) -> Option<u32> {
        let mut numbers = self.numbers.lock();
        let number = numbers.free.pop().unwrap_or(numbers.next);
        let (page, position) = place_of(number);
        let new = || core::iter::repeat_with(Mutex::default).take(PAGE).collect();
        *self.pages.get(page)?.get_or_init(new).get(position)?.lock() = Some(Arc::new(record));
        numbers.next = numbers.next.max(number.saturating_add(1));
        Some(number)
    }

    pub(super) fn get(&self, number: u32) -> Option<Arc<Token>> {
        self.place(number)?.lock().clone()
    }

    /// Forgets a record, whose number another gets.
    pub(super) fn remove(&self, number: u32) {
        if let Some(record) = self.place(number) {
            *record.lock() = None;
            self.numbers.lock().free.push(number);
        }
    }

    fn place(&self, number: u32) -> Option<&Mutex<Option<Arc<Token>>>> {
        let (page, position) = place_of(number);
        self.pages.get(page)?.get()?.get(position)
    }
}

fn place_of(number: u32) -> (usize, usize) {
    let number = number as usize;
    (number / PAGE, number % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AccountId;

    #[test]
    fn numbers_are_used_again_and_there_is_an_end() {
        let records = TokenRecords::new(PAGE);
        let token = |name: &str| Token::plain(AccountId::new(name).unwrap(), Vec::new());
        let numbers: Vec<u32> = (0..5_000).map_while(|_| records.add(token("a"))).collect();
        assert_eq!(numbers.len(), 2 * PAGE);
        records.remove(7);
        assert_eq!(records.get(7), None);
        assert_eq!(records.add(token("b")), Some(7));
        assert_eq!(records.get(7).unwrap().account.as_str(), "b");
        assert_eq!(records.add(token("c")), None);
        assert_eq!(records.get(100_000), None);
    }
}
