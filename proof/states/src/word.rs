//! What is said about how an execution ended.

use std::sync::Arc;

use tollgate::{Amount, Finish, StoredResponse};

/// An outcome that a host or an operator reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// It was carried out and costs all that was reserved; here is the answer.
    SettleAll,
    /// The same for a part of the price.
    SettlePart,
    /// The same for more than was reserved, which is always refused.
    SettleTooMuch,
    /// It was carried out, for all that was reserved; the answer is not known.
    SettleBare,
    /// It was carried out and costs nothing; here is the answer.
    VoidAnswered,
    /// It was not carried out.
    NotDone,
    /// Nobody knows.
    Unknown,
}

impl Word {
    const ALL: [Word; 7] = [
        Word::SettleAll,
        Word::SettlePart,
        Word::SettleTooMuch,
        Word::SettleBare,
        Word::VoidAnswered,
        Word::NotDone,
        Word::Unknown,
    ];

    /// The outcome as a command has it, for the reservation of this number.
    pub(crate) fn finish(self, number: u8, price: u8, part: u8) -> Finish {
        let response = self.stored(number).filter(|stored| *stored != Stored::Unrecorded);
        let response = response.map(Stored::response);
        let settle = |amount: Option<u8>, response| Finish::Settle {
            amount: amount.map(|amount| Amount(u64::from(amount))),
            response,
        };
        match self {
            Word::SettleAll | Word::SettleBare => settle(None, response),
            Word::SettlePart => settle(Some(part), response),
            Word::SettleTooMuch => settle(Some(price + 1), response),
            Word::VoidAnswered | Word::NotDone => Finish::Void { response },
            Word::Unknown => Finish::Unknown,
        }
    }

    /// What it posts, if it ends a reservation.
    pub(crate) fn posts(self, price: u8, part: u8) -> u8 {
        match self {
            Word::SettleAll | Word::SettleBare => price,
            Word::SettlePart => part,
            _ => 0,
        }
    }

    /// Whether it ends a reservation that is held.
    pub(crate) fn ends(self) -> bool {
        !matches!(self, Word::Unknown | Word::SettleTooMuch)
    }

    /// What replays answer after it; `None`: the key is free again.
    pub(crate) fn stored(self, number: u8) -> Option<Stored> {
        match self {
            Word::SettleBare => Some(Stored::Unrecorded),
            Word::NotDone | Word::Unknown => None,
            word => Some(Stored::Of { number, word }),
        }
    }
}

/// A stored response, which says whose and which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stored {
    /// What stands for an answer that nobody recorded.
    Unrecorded,
    /// The answer that came with this word on the execution of this number.
    Of {
        /// The reservation's number.
        number: u8,
        /// The word.
        word: Word,
    },
}

impl Stored {
    /// As records keep it.
    pub(crate) fn response(self) -> Arc<StoredResponse> {
        let body: Option<Box<[u8]>> = match self {
            Stored::Unrecorded => None,
            Stored::Of { number, word } => Some(Box::new([number, word as u8])),
        };
        Arc::new(StoredResponse { status: 200, headers: Box::default(), body })
    }

    /// What a response says.
    pub(crate) fn of(response: &StoredResponse) -> Stored {
        assert!(response.status == 200 && response.headers.is_empty(), "{response:?}");
        match response.body.as_deref() {
            None => Stored::Unrecorded,
            Some([number, word]) => {
                Stored::Of { number: *number, word: Word::ALL[usize::from(*word)] }
            }
            Some(other) => panic!("a response that nobody gave: {other:?}"),
        }
    }
}
