//! What operators do meanwhile.

use fastrand::Rng;
use tollgate::{
    AccountPatch, Administration, Amount, Command, IpNet, Outcome, Period, Refusal, ReservationId,
    SpendCap, TokenPatch,
};

use crate::catalogue::{ACCOUNTS, NETWORK, POLICIES, SENDERS, TOKENS, pick};
use crate::ending::By;
use crate::fault::Fault;
use crate::model::ending::End;
use crate::totals::OPERATIONS;
use crate::world::{Checked, World, note, same};

#[derive(Clone, Debug)]
enum Operation {
    PutAccount {
        account: usize,
        networks: Option<bool>,
        caps: Option<Vec<SpendCap>>,
        senders: Option<u8>,
    },
    PutToken {
        token: usize,
        networks: Option<bool>,
        caps: Option<Vec<SpendCap>>,
        expires_ms: Option<Option<u64>>,
    },
    Revoke {
        token: usize,
    },
    Rotate {
        old: usize,
        new: usize,
        grace_ms: u64,
    },
    Deposit {
        account: usize,
        amount: u64,
    },
    Refund {
        account: usize,
        number: u64,
        amount: u64,
        reference: u8,
    },
    Resolve {
        run: crate::ending::Run,
        end: End,
    },
    Expire,
    Reload {
        policy: usize,
    },
}

const REFERENCES: [&str; 3] = ["first", "second", "third"];

fn maybe<T>(rng: &mut Rng, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    rng.bool().then(|| make(rng))
}

fn caps(rng: &mut Rng) -> Vec<SpendCap> {
    let cap = |rng: &mut Rng| SpendCap {
        per: pick(rng, &[Period::Day, Period::Month, Period::Lifetime]),
        amount: Amount(rng.u64(0..60)),
        shadow: rng.u8(0..4) == 0,
    };
    (0..rng.u8(0..3)).map(|_| cap(rng)).collect()
}

fn networks(restricted: bool) -> Vec<IpNet> {
    if restricted { vec![NETWORK.parse().unwrap()] } else { Vec::new() }
}

impl World<'_> {
    fn draw(&mut self) -> Option<Operation> {
        let tokens = self.model.tokens.len();
        let run = self.any_run();
        let now_ms = self.now_ms;
        let resolved = run.map(|run| (run, self.end(run.reserved)));
        let rng = &mut self.rng;
        Some(match rng.u8(0..32) {
            0..3 => Operation::PutAccount {
                account: rng.usize(0..ACCOUNTS),
                networks: maybe(rng, |rng| rng.u8(0..6) == 0),
                caps: maybe(rng, caps),
                senders: maybe(rng, |rng| rng.u8(0..4)),
            },
            3..6 => Operation::PutToken {
                token: rng.usize(0..tokens),
                networks: maybe(rng, |rng| rng.u8(0..6) == 0),
                caps: maybe(rng, caps),
                expires_ms: (rng.u8(0..4) == 0)
                    .then(|| maybe(rng, |rng| now_ms + pick(rng, &[0, 300, 20_000]))),
            },
            6 => Operation::Revoke { token: rng.usize(0..tokens) },
            7..10 if tokens < TOKENS => Operation::Rotate {
                old: rng.usize(0..tokens),
                new: tokens,
                grace_ms: pick(rng, &[0, 1, 2_000]),
            },
            7..18 => Operation::Deposit { account: rng.usize(0..ACCOUNTS), amount: rng.u64(0..40) },
            18..23 => {
                let run = run?;
                let (account, number) = (run.account, run.number);
                Operation::Refund {
                    account,
                    number,
                    amount: rng.u64(0..5),
                    reference: rng.u8(0..3),
                }
            }
            23..27 => {
                let (run, end) = resolved?;
                Operation::Resolve { run, end }
            }
            27..30 => Operation::Expire,
            _ => Operation::Reload { policy: rng.usize(0..POLICIES) },
        })
    }

    /// An operator does something, and the network may fail him.
    pub(crate) fn operate(&mut self) -> Checked {
        let Some(operation) = self.draw() else { return Ok(()) };
        note!(self, "  {operation:?}");
        match self.roll() {
            None => self.apply(&operation),
            Some(fault @ (Fault::ReplyLost | Fault::CrashAfter)) => {
                self.hit(fault);
                self.apply(&operation)
            }
            Some(fault @ (Fault::CommandLost | Fault::Unavailable | Fault::CrashBefore)) => {
                self.hit(fault);
                Ok(())
            }
            Some(_) => {
                self.hit(Fault::Doubled);
                self.apply(&operation)?;
                self.apply(&operation)
            }
        }
    }

    fn apply(&mut self, operation: &Operation) -> Checked {
        let now_ms = self.now_ms;
        let catalogue = self.catalogue;
        let place = match operation {
            Operation::PutAccount { account, networks: restricted, caps, senders } => {
                let named = |bits: u8| {
                    let all = SENDERS.iter().enumerate();
                    all.filter(|(bit, _)| bits & (1 << bit) != 0)
                        .map(|(_, one)| (*one).into())
                        .collect()
                };
                let settings = AccountPatch {
                    networks: restricted.map(networks),
                    spend_caps: caps.clone(),
                    senders: senders.map(named),
                };
                // The opening balance of an account that is there counts for nothing.
                let (account, opening_balance) = (*account, Amount(7));
                let put = Administration::PutAccount {
                    account: &catalogue.accounts[account],
                    opening_balance,
                    settings,
                };
                self.administer(&put)?;
                self.touched[account] = true;
                self.model.put_account(account, *restricted, caps.as_deref(), *senders);
                0
            }
            Operation::PutToken { token, networks: restricted, caps, expires_ms } => {
                let put = Administration::PutToken {
                    digest: &catalogue.digests[*token],
                    account: &catalogue.accounts[self.model.tokens[*token].account],
                    settings: TokenPatch {
                        networks: restricted.map(networks),
                        spend_caps: caps.clone(),
                        expires_ms: *expires_ms,
                        ..TokenPatch::default()
                    },
                };
                self.administer(&put)?;
                self.model.put_token(*token, *restricted, caps.as_deref(), *expires_ms);
                1
            }
            Operation::Revoke { token } => {
                let digest = &catalogue.digests[*token];
                self.administer(&Administration::RevokeToken { digest })?;
                self.model.revoke(*token);
                self.history.revoked(*token);
                2
            }
            Operation::Rotate { old, new, grace_ms } => {
                let rotate = Administration::RotateToken {
                    old: &catalogue.digests[*old],
                    new: &catalogue.digests[*new],
                    grace_ms: *grace_ms,
                };
                let given = self.done(&rotate)?;
                let expected = self.model.rotate(*old, *new, *grace_ms, now_ms);
                same("the rotation", given, expected)?;
                3
            }
            Operation::Deposit { account, amount } => {
                let (account, amount) = (*account, *amount);
                let named = &catalogue.accounts[account];
                let deposit = Administration::Deposit { account: named, amount: Amount(amount) };
                self.administer(&deposit)?;
                self.touched[account] = true;
                self.model.deposit(account, amount);
                self.history.deposited(account, amount);
                4
            }
            Operation::Refund { account, number, amount, reference } => {
                self.refund(*account, *number, *amount, *reference)?;
                5
            }
            Operation::Resolve { run, end } => {
                self.tell(*run, *end, By::Operator, now_ms, None)?;
                6
            }
            Operation::Expire => {
                self.sweep()?;
                7
            }
            Operation::Reload { policy } => {
                // Requests that were begun end under the policy that they began with.
                self.policy = *policy;
                8
            }
        };
        debug_assert!(place < OPERATIONS.len());
        self.totals.operations[place] += 1;
        Ok(())
    }

    fn refund(&mut self, account: usize, number: u64, amount: u64, reference: u8) -> Checked {
        let named = self.refs[account].clone();
        let refund = Administration::Refund {
            account: &named,
            reservation: ReservationId(number),
            amount: Amount(amount),
            reference: REFERENCES[usize::from(reference)],
        };
        let given = self.done(&refund)?;
        self.touched[account] = true;
        let expected = self.model.refund(account, number, amount, reference, self.now_ms);
        same("the refund", given, expected)?;
        if given.is_ok() {
            self.history.refunded(account, number, reference, amount);
        }
        Ok(())
    }

    /// A background sweep.
    pub(crate) fn sweep(&mut self) -> Checked {
        let outcome = self.store(&Command::Administer(&Administration::Expire), self.now_ms);
        let Ok(Outcome::Expired(given)) = outcome else {
            return Err(format!("a sweep was answered with {outcome:?}"));
        };
        self.touched = [true; ACCOUNTS];
        let expected = self.model.expire(self.now_ms);
        self.totals.expired += expected;
        same("what a sweep ended", given, expected)
    }

    fn done(&mut self, administration: &Administration<'_>) -> Checked<Result<(), Refusal>> {
        match self.store(&Command::Administer(administration), self.now_ms) {
            Ok(Outcome::Done) => Ok(Ok(())),
            Ok(Outcome::Refused(refusal)) => {
                self.totals.refused(refusal);
                Ok(Err(refusal))
            }
            other => Err(format!("{administration:?} was answered with {other:?}")),
        }
    }
}
