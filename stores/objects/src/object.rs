//! The object's half: a map, and the messages that are performed on it.

use std::fmt;

use tollgate::transition::{Records as _, admit as decide_admission, perform};
use tollgate::{
    AccountId, AccountPatch, AccountRef, Administration, Admit, Amount, Command, MAX_NOW_MS, Mode,
    Outcome, Refusal, Settle, StoreError, TokenDigest, TokenPatch,
};
use tollgate_kv::fault::Fault;
use tollgate_kv::run::{Transactions, execute};
use tollgate_kv::view::{View, Writing};
use tollgate_kv::{KvMap, KvOpenError, KvOptions, KvStore};

use crate::answer::Answer;
use crate::message::{AdmitMessage, Message};
use crate::over::{Commits, Over};
use crate::wire::{Envelope, decode, encode, undecodable};
use crate::{counters, register, token};

/// One of the objects that hold the state: what it holds follows from the messages that it is sent, and
/// these from its [`name`](crate::name).
///
/// It performs one message at a time. A message is one transaction of its map, or it first ends what is
/// due to make room.
pub struct Object<M> {
    store: KvStore<M>,
}

impl<M> fmt::Debug for Object<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").finish_non_exhaustive()
    }
}

impl<M: KvMap> Object<M> {
    /// Opens the object that is in a map. An empty map becomes an object that holds nothing.
    ///
    /// `options` are bounds of this one object: all objects of a store should be given the same.
    ///
    /// # Errors
    /// [`KvOpenError`] says why it cannot be opened, and what to do.
    pub fn open(map: M, options: &KvOptions) -> Result<Self, KvOpenError> {
        Ok(Object { store: KvStore::open(map, options)? })
    }

    /// The map.
    pub fn map(&self) -> &M {
        self.store.map()
    }

    /// Performs a message, and gives the bytes of its answer; where it cannot be performed, what keeps it
    /// from that is an answer too.
    ///
    /// It is performed at the time that the caller gave to [`start`](crate::ObjectsStore::start). `now_ms` is
    /// the object's own clock, which tells it how long something has been under way.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the message is not one of this [`VERSION`](crate::VERSION). Nothing
    /// is changed then.
    pub fn perform(&self, message: &[u8], now_ms: u64) -> Result<Vec<u8>, StoreError> {
        let envelope: Envelope<Message<'_>> = decode(message)?;
        if !envelope.message.is_sound() {
            return Err(undecodable());
        }
        let at = Clocks { now_ms: envelope.now_ms, own_ms: now_ms };
        let answer = self.answer(&envelope.message, at);
        encode(&answer.unwrap_or_else(|error| Answer::Failed(error.into())))
    }

    /// Ends what is due: leases, claims past their retention, cells that are whole again. Gives how many
    /// leases and claims ended.
    ///
    /// # Errors
    /// [`StoreError`]; what was ended before stays so.
    pub fn expire(&self, now_ms: u64) -> Result<u64, StoreError> {
        let now_ms = now_ms.min(MAX_NOW_MS);
        match execute(&self.store, &Command::Administer(&Administration::Expire), now_ms)? {
            Outcome::Expired(ended) => Ok(ended),
            _ => Err(StoreError::WrongOutcome),
        }
    }

    /// When [`expire`](Self::expire) should be called next, in Unix milliseconds, but not before `now_ms`;
    /// `None`: there is nothing to wait for. It may then find that what was due was put off. After a message
    /// it may have become earlier.
    ///
    /// Right after an `expire` it is later than that one's time, unless that one failed: wait a while then.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn next_due_ms(&self, now_ms: u64) -> Result<Option<u64>, StoreError> {
        Ok(self.store.next_due_ms()?.map(|due_ms| due_ms.max(now_ms)))
    }

    /// Whether it holds nothing, so that its map may be cleared: one for a source address whose limits are
    /// whole again, say. It is to be opened anew after that.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        self.store.is_empty()
    }

    /// Checks every record, and what records say of each other. Gives how many there are.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] says what is damaged first.
    pub fn verify(&self) -> Result<u64, StoreError> {
        self.store.verify()
    }

    fn answer(&self, message: &Message<'_>, at: Clocks) -> Result<Answer, StoreError> {
        let now_ms = at.now_ms;
        if now_ms > MAX_NOW_MS {
            return Ok(Answer::Refused(Refusal::ClockOutOfRange));
        }
        match message {
            Message::Owner { digest } => self.look(now_ms, |view| token::owner(view, digest)),
            Message::Claim { digest, account } => self.change(now_ms, &mut |writing, options| {
                token::claim(writing, options, digest, account, now_ms)
            }),
            Message::Register { account } => self.change(now_ms, &mut |writing, options| {
                register::note(&mut View::write(writing, options, now_ms), account, now_ms)
            }),
            Message::Confirm { account } => self.change(now_ms, &mut |writing, options| {
                register::confirm(&mut View::write(writing, options, now_ms), account, now_ms)
            }),
            Message::Names { after, at_most } => {
                self.look(now_ms, |view| register::names(view, after.as_ref(), *at_most))
            }
            Message::Read { counters } => {
                let cells = self.store.look(now_ms, |view| counters::read(view, counters))?;
                Ok(Answer::Cells { cells, at_ms: at.own_ms })
            }
            Message::Take { counters } => self.change(now_ms, &mut |writing, options| {
                let mut view = View::write(writing, options, now_ms);
                let cells = counters::take(&mut view, counters, now_ms)?;
                Ok(Answer::Cells { cells, at_ms: at.own_ms })
            }),
            Message::GiveBack { taken, at_ms } => {
                let late = counters::is_late(*at_ms, at.own_ms);
                self.change(now_ms, &mut |writing, options| {
                    let mut view = View::write(writing, options, now_ms);
                    counters::give_back(&mut view, taken, late, now_ms)?;
                    Ok(Answer::Done)
                })
            }
            Message::LookUp { account, digest, plain: None } => {
                self.look(now_ms, |view| token::look_up(view, account, digest, None, now_ms))
            }
            Message::LookUp { account, digest, plain } => {
                self.change(now_ms, &mut |writing, options| {
                    let mut view = View::write(writing, options, now_ms);
                    token::look_up(&mut view, account, digest, plain.as_ref(), now_ms)
                })
            }
            Message::Admit(admit) => self.admit(admit, now_ms),
            Message::PutToken { account, digest, settings, claimed } => {
                let settings: TokenPatch = (**settings).clone();
                self.put_token(
                    &Administration::PutToken { digest, account, settings },
                    *claimed,
                    digest,
                    now_ms,
                )
            }
            Message::RotateToken { old, new, grace_ms, claimed } => {
                let rotation = Administration::RotateToken { old, new, grace_ms: *grace_ms };
                self.put_token(&rotation, *claimed, new, now_ms)
            }
            _ => self.pass_on(message, now_ms),
        }
    }

    /// Messages that are a command.
    fn pass_on(&self, message: &Message<'_>, now_ms: u64) -> Result<Answer, StoreError> {
        let by_name;
        let administration = match message {
            Message::Settle { account, reservation, finish } => {
                let account = &AccountRef::Id(account.clone());
                let settle = Settle { account, reservation: *reservation, finish };
                return Ok(execute(&self.store, &Command::Settle(settle), now_ms).into());
            }
            Message::PutAccount { account, opening_balance, settings } => {
                let settings: AccountPatch = (**settings).clone();
                let opening_balance = *opening_balance;
                Administration::PutAccount { account, opening_balance, settings }
            }
            Message::RevokeToken { digest } => Administration::RevokeToken { digest },
            Message::Deposit { account, amount } => {
                Administration::Deposit { account, amount: *amount }
            }
            Message::Refund { account, reservation, amount, reference } => {
                by_name = AccountRef::Id(account.clone());
                let (reservation, amount) = (*reservation, *amount);
                Administration::Refund { account: &by_name, reservation, amount, reference }
            }
            Message::Resolve { account, reservation, finish } => Administration::Resolve {
                account,
                reservation: *reservation,
                finish: (**finish).clone(),
            },
            Message::Inspect { account } => Administration::Inspect { account },
            Message::ListTokens { account } => Administration::ListTokens { account },
            Message::ListReservations { account } => Administration::ListReservations { account },
            Message::NameAccount { account } => {
                by_name = AccountRef::Id(account.clone());
                Administration::NameAccount { account: &by_name }
            }
            Message::Expire => Administration::Expire,
            _ => return Err(undecodable()),
        };
        Ok(execute(&self.store, &Command::Administer(&administration), now_ms).into())
    }

    fn admit(&self, message: &AdmitMessage<'_>, now_ms: u64) -> Result<Answer, StoreError> {
        let account = AccountRef::Id(message.account.clone());
        let admit = Admit {
            mode: message.mode,
            token: &message.token,
            token_record: message.token_record.as_deref(),
            account: &account,
            revision: message.revision,
            source: message.source,
            limits: &message.limits,
            refused_elsewhere: message.refused_elsewhere.as_deref(),
            idempotency: &message.idempotency,
            sender: message.sender.as_deref(),
            invalid: message.invalid,
            charge: message.charge,
            charge_rule: &message.charge_rule,
            detail: message.detail,
        };
        let elsewhere = &*message.elsewhere;
        if elsewhere.is_empty() {
            return Ok(execute(&self.store, &Command::Admit(admit), now_ms).into());
        }
        let decide = |records: &mut View<'_, '_>| {
            // It is counted and kept under the store's own reference, as by `execute`.
            let found = records.find_account(&message.account)?;
            let admit = Admit { account: found.as_ref().unwrap_or(&account), ..admit };
            let mut over = Over { records, elsewhere, commits: Commits::Own };
            Ok(Answer::Admission(decide_admission(&mut over, &admit, now_ms)?))
        };
        match admit.mode {
            Mode::Apply => self.change(now_ms, &mut |writing, options| {
                decide(&mut View::write(writing, options, now_ms))
            }),
            Mode::Peek | Mode::Observe => self.look(now_ms, decide),
        }
    }

    /// Puts tokens, of which `fresh` may be new to the account. The directory must know it first, but only
    /// if nothing else is against it.
    fn put_token(
        &self,
        administration: &Administration<'_>,
        claimed: bool,
        fresh: &TokenDigest,
        now_ms: u64,
    ) -> Result<Answer, StoreError> {
        let command = Command::Administer(administration);
        if !claimed {
            let first = self.look(now_ms, |view| {
                let known = token::is_known(view, fresh)?;
                let mut over = Over { records: view, elsewhere: &[], commits: Commits::Nothing };
                let outcome = perform(&mut over, &command, now_ms)?;
                Ok(if known { Answer::from(Ok(outcome)) } else { token::claim_first(outcome) })
            })?;
            if !matches!(first, Answer::Done) {
                return Ok(first);
            }
        }
        Ok(execute(&self.store, &command, now_ms).into())
    }

    fn look(
        &self,
        now_ms: u64,
        work: impl FnMut(&mut View<'_, '_>) -> Result<Answer, Fault>,
    ) -> Result<Answer, StoreError> {
        self.store.look(now_ms, work)
    }

    /// One transaction that changes. Where there is no room, what is due makes some.
    fn change(&self, now_ms: u64, work: Work<'_>) -> Result<Answer, StoreError> {
        match self.attempt(work) {
            Err(full @ StoreError::Full { .. }) => match self.expire(now_ms) {
                Ok(_) => self.attempt(work),
                Err(_) => Err(full),
            },
            done => done,
        }
    }

    fn attempt(&self, work: Work<'_>) -> Result<Answer, StoreError> {
        let mut answer = None;
        self.store.step(&mut |writing| {
            answer = Some(work(writing, self.store.options())?);
            Ok(Outcome::Done)
        })?;
        answer.ok_or(StoreError::WrongOutcome)
    }
}

type Work<'w> = &'w mut dyn FnMut(&mut Writing<'_>, &KvOptions) -> Result<Answer, Fault>;

/// The caller's clock and the object's own.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    now_ms: u64,
    own_ms: u64,
}

/// Makes an account with nothing in it, as a place for what belongs to its name.
pub(crate) fn put_empty(
    view: &mut View<'_, '_>,
    account: &AccountId,
    settings: AccountPatch,
    now_ms: u64,
) -> Result<(), Fault> {
    let opening_balance = Amount::ZERO;
    let put = Administration::PutAccount { account, opening_balance, settings };
    perform(view, &Command::Administer(&put), now_ms)?;
    Ok(())
}
