//! What an account is, for one caller at a time: an obvious one, written from the documentation and not from the
//! code of the stores.
//!
//! It knows two times, early and late, between which leases end and nothing else does.

use tollgate::Refusal;

use crate::call::{Answer, Credential, Ending, Key, Op, Verdict};
use crate::check::Sequential;
use crate::names::{Limit, OPENING, QUOTA, limits_of};
use crate::story::{KEYS, TOKENS};

/// What look-ups that admit nothing promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LookUps {
    /// They tell what is so.
    Fresh,
    /// They may tell what was so, as a store with a cache does: only an admission under what they told must be
    /// decided by what is so.
    MayBeStale,
}

/// An account with its tokens and the cells of its limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    look_ups: LookUps,
    balance: u64,
    held: u64,
    posted: u64,
    deposited: u64,
    refunded: u64,
    networks: bool,
    /// Whether its settings or tokens were changed since the history began.
    changed: bool,
    tokens: [Token; TOKENS as usize],
    /// By number, from 1.
    reservations: Vec<Reservation>,
    claims: [Option<Claim>; KEYS as usize],
    fixed: u64,
    sliding: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Token {
    state: State,
    /// What was taken from its limits.
    carried: u64,
    own: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum State {
    #[default]
    Absent,
    Plain,
    /// It took the place of another.
    Successor,
    /// Another took its place.
    Expired,
    Revoked,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reservation {
    amount: u64,
    key: Option<u8>,
    /// Whether its lease ends before what comes late.
    ends: bool,
    ending: Ending,
    state: Outcome,
    refunds: Vec<(u8, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Held,
    Posted(u64),
    Voided,
    /// Its lease ended: voided, or posted.
    Ended(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Claim {
    body: u8,
    fence: u64,
    response: Option<u16>,
}

/// The status of the response that stands for one that was not given.
const UNRECORDED: u16 = 200;

impl Account {
    /// As a history begins.
    #[must_use]
    pub fn opened(look_ups: LookUps) -> Self {
        let mut tokens: [Token; TOKENS as usize] = Default::default();
        for token in &mut tokens[..usize::from(TOKENS - 1)] {
            token.state = State::Plain;
        }
        Account {
            look_ups,
            balance: OPENING,
            held: 0,
            posted: 0,
            deposited: OPENING,
            refunded: 0,
            networks: false,
            changed: false,
            tokens,
            reservations: Vec::new(),
            claims: [None; KEYS as usize],
            fixed: 0,
            sliding: 0,
        }
    }

    fn token(&mut self, token: u8) -> &mut Token {
        &mut self.tokens[usize::from(token)]
    }

    fn taken(&mut self, token: u8, limit: Limit) -> &mut u64 {
        match limit {
            Limit::Carried => &mut self.token(token).carried,
            Limit::Token => &mut self.token(token).own,
            Limit::Fixed => &mut self.fixed,
            Limit::Sliding => &mut self.sliding,
        }
    }

    /// Takes a unit of each limit or of none. What is left of the tightest then, where there is one.
    fn take(&mut self, token: u8, route: u8) -> Result<Option<u64>, Verdict> {
        let limits = limits_of(route);
        if limits.iter().any(|limit| *self.taken(token, *limit) >= QUOTA) {
            return Err(Verdict::RateLimited);
        }
        let left = limits.iter().map(|limit| {
            let taken = self.taken(token, *limit);
            *taken += 1;
            QUOTA - *taken
        });
        Ok(left.min())
    }

    fn looked_up(
        &mut self,
        token: u8,
        told: Option<Credential>,
        plain: Option<u8>,
        admission: Option<&Verdict>,
    ) -> bool {
        let (networks, look_ups) = (self.networks, self.look_ups);
        let known = self.token(token);
        let Some(told) = told else { return known.state == State::Absent };
        let is = known.state;
        if is == State::Absent || told.revoked && is != State::Revoked {
            return false;
        }
        if let Some(verdict) = admission {
            // It is decided, so it is decided by what is so.
            let Some(route) = plain else { return false };
            return is == State::Plain
                && !networks
                && !told.networks
                && self.plainly(token, route) == *verdict;
        }
        if look_ups == LookUps::MayBeStale {
            return true;
        }
        // Whether there are networks may be told of a moment later, but then under an earlier revision.
        told.revoked == (is == State::Revoked) && told.expired == (is == State::Expired)
    }

    /// The admission of a request that only limits hold back.
    fn plainly(&mut self, token: u8, route: u8) -> Verdict {
        match self.take(token, route) {
            Ok(left) => Verdict::Admitted { reservation: None, left },
            Err(verdict) => verdict,
        }
    }

    /// The host asks only for tokens that are live, and accounts without networks, as far as their credentials
    /// say: what is decided under one is so. A revision that is no longer in force may be of this change or that,
    /// also of another token; but some change there was.
    fn admit(&mut self, asked: &Asked, told: &Verdict) -> bool {
        if *told == Verdict::CredentialChanged {
            return self.changed;
        }
        let live = matches!(self.token(asked.token).state, State::Plain | State::Successor);
        live && !self.networks && self.decide(asked) == *told
    }

    fn decide(&mut self, asked: &Asked) -> Verdict {
        if asked.key.is_some() || asked.charge.is_some() {
            self.end_leases(asked.late);
        }
        let left = match self.take(asked.token, asked.route) {
            Ok(left) => left,
            Err(verdict) => return verdict,
        };
        if let Some(key) = asked.key
            && let Some(claim) = self.claims[usize::from(key.number)]
        {
            return match claim.response {
                _ if claim.body != key.body => Verdict::KeyReused { left },
                Some(status) => Verdict::Replay { status, left },
                None => Verdict::InFlight { left },
            };
        }
        let amount = asked.charge.unwrap_or(0);
        let available = self.balance - self.held;
        if amount > available {
            return Verdict::InsufficientBalance { available, left };
        }
        if asked.key.is_none() && asked.charge.is_none() {
            return Verdict::Admitted { reservation: None, left };
        }
        self.held += amount;
        self.reservations.push(Reservation {
            amount,
            key: asked.key.map(|key| key.number),
            ends: !asked.late && amount > 0,
            ending: asked.ending,
            state: Outcome::Held,
            refunds: Vec::new(),
        });
        let fence = self.reservations.len() as u64;
        if let Some(Key { number, body }) = asked.key {
            self.claims[usize::from(number)] = Some(Claim { body, fence, response: None });
        }
        Verdict::Admitted { reservation: Some(fence), left }
    }

    /// What is held under leases that have ended, if it is late.
    fn end_leases(&mut self, late: bool) {
        for reservation in &mut self.reservations {
            let due = late && reservation.ends && reservation.state == Outcome::Held;
            let posted = match reservation.ending {
                _ if !due => continue,
                Ending::Hold => continue,
                Ending::Void => 0,
                Ending::Settle => reservation.amount,
            };
            reservation.state = Outcome::Ended(posted);
            self.held -= reservation.amount;
            self.balance -= posted;
            self.posted += posted;
        }
    }

    /// `posted` is nothing for a void; `None`: all.
    fn finish(&mut self, id: u64, settle: Option<(Option<u64>, Option<u16>)>) -> Answer {
        let Some(reservation) = self.reservation(id).cloned() else {
            return Answer::Refused(Refusal::UnknownReservation);
        };
        let claim = reservation.key.and_then(|key| self.claims[usize::from(key)]);
        let own = claim.filter(|claim| claim.fence == id);
        let stored = own.and_then(|claim| claim.response);
        let amount = settle.map_or(0, |(amount, _)| amount.unwrap_or(reservation.amount));
        match reservation.state {
            Outcome::Ended(_) => Answer::Refused(Refusal::LeaseEnded),
            Outcome::Posted(posted) => {
                let response = settle.and_then(|(_, response)| response);
                // A response is compared with the one that is kept for replays; without a key none is.
                let same = response.is_none() || reservation.key.is_none() || response == stored;
                match settle {
                    Some(_) if amount == posted && same => Answer::Settled(Some(posted)),
                    _ => Answer::Refused(Refusal::AlreadyFinished),
                }
            }
            Outcome::Voided if settle.is_none() => Answer::Settled(Some(0)),
            Outcome::Voided => Answer::Refused(Refusal::AlreadyFinished),
            Outcome::Held if reservation.key.is_some() && own.is_none() => {
                Answer::Refused(Refusal::StaleFence)
            }
            Outcome::Held if amount > reservation.amount => {
                Answer::Refused(Refusal::MoreThanReserved)
            }
            Outcome::Held => {
                self.held -= reservation.amount;
                self.balance -= amount;
                self.posted += amount;
                let state =
                    if settle.is_some() { Outcome::Posted(amount) } else { Outcome::Voided };
                self.reservation(id).unwrap().state = state;
                if let Some(key) = reservation.key {
                    let response = settle.map(|(_, response)| response.unwrap_or(UNRECORDED));
                    // Without an answer to replay the key is free again.
                    let answered = |claim| Claim { response, ..claim };
                    self.claims[usize::from(key)] = response.and(own).map(answered);
                }
                Answer::Settled(Some(amount))
            }
        }
    }

    fn refund(&mut self, id: u64, amount: u64, reference: u8) -> Answer {
        let Some(reservation) = self.reservation(id) else {
            return Answer::Refused(Refusal::UnknownReservation);
        };
        let posted = match reservation.state {
            Outcome::Posted(posted) => posted,
            Outcome::Ended(posted) if reservation.ending == Ending::Settle => posted,
            _ => return Answer::Refused(Refusal::NotPosted),
        };
        if let Some((_, earlier)) = reservation.refunds.iter().find(|(name, _)| *name == reference)
        {
            return match *earlier == amount {
                true => Answer::Done,
                false => Answer::Refused(Refusal::ReferenceReused),
            };
        }
        let before: u64 = reservation.refunds.iter().map(|(_, amount)| amount).sum();
        if before + amount > posted {
            return Answer::Refused(Refusal::MoreThanPosted);
        }
        reservation.refunds.push((reference, amount));
        self.balance += amount;
        self.refunded += amount;
        Answer::Done
    }

    fn reservation(&mut self, id: u64) -> Option<&mut Reservation> {
        self.reservations.get_mut(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    fn revoke(&mut self, token: u8) -> Answer {
        if self.token(token).state == State::Absent {
            return Answer::Refused(Refusal::UnknownToken);
        }
        self.token(token).state = State::Revoked;
        self.changed = true;
        Answer::Done
    }

    fn rotate(&mut self, old: u8, new: u8) -> Answer {
        match self.token(old).state {
            State::Absent => return Answer::Refused(Refusal::UnknownToken),
            State::Revoked | State::Expired => return Answer::Refused(Refusal::TokenRevoked),
            State::Plain | State::Successor => {}
        }
        if self.token(new).state != State::Absent {
            return Answer::Refused(Refusal::TokenExists);
        }
        self.token(old).state = State::Expired;
        self.token(new).state = State::Successor;
        self.changed = true;
        Answer::Done
    }

    fn put_account(&mut self, networks: bool) -> Answer {
        self.networks = networks;
        self.changed = true;
        Answer::Done
    }

    fn money(&self) -> Answer {
        let Account { balance, held, posted, deposited, refunded, .. } = *self;
        Answer::Money { balance, held, posted, deposited, refunded }
    }
}

/// [`Op::Admit`].
struct Asked {
    token: u8,
    route: u8,
    key: Option<Key>,
    charge: Option<u64>,
    ending: Ending,
    late: bool,
}

impl Sequential for Account {
    type Op = Op;
    type Answer = Answer;

    fn accepts(&mut self, op: &Op, answer: &Answer) -> bool {
        if let Op::Settle { late, .. } | Op::Void { late, .. } | Op::Refund { late, .. } = op {
            self.end_leases(*late);
        }
        let expected = match (op, answer) {
            (Op::Get { token, route }, Answer::LookedUp { credential, admission }) => {
                return self.looked_up(*token, *credential, Some(*route), admission.as_ref());
            }
            (Op::LookUp { token }, Answer::LookedUp { credential, admission }) => {
                return self.looked_up(*token, *credential, None, admission.as_ref());
            }
            (
                &Op::Admit { token, route, key, charge, ending, late, .. },
                Answer::Admission(verdict),
            ) => {
                let asked = Asked { token, route, key, charge, ending, late };
                return self.admit(&asked, verdict);
            }
            // How many it ended is not looked at: it goes through all accounts of the store.
            (Op::Expire { late }, Answer::Expired(_)) => {
                self.end_leases(*late);
                return true;
            }
            (Op::Get { .. } | Op::LookUp { .. } | Op::Admit { .. } | Op::Expire { .. }, _) => {
                return false;
            }
            (Op::Settle { reservation, amount, response, .. }, _) => {
                self.finish(*reservation, Some((*amount, *response)))
            }
            (Op::Void { reservation, .. }, _) => self.finish(*reservation, None),
            (Op::Deposit { amount }, _) => {
                self.balance += amount;
                self.deposited += amount;
                Answer::Done
            }
            (Op::Refund { reservation, amount, reference, .. }, _) => {
                self.refund(*reservation, *amount, *reference)
            }
            (Op::Revoke { token }, _) => self.revoke(*token),
            (Op::Rotate { old, new }, _) => self.rotate(*old, *new),
            (Op::PutAccount { networks }, _) => self.put_account(*networks),
            (Op::Inspect, _) => self.money(),
        };
        expected == *answer
    }
}
