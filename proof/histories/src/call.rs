//! Commands and answers as data: small enough to be checked, kept and sent to another process.

use std::fmt;

use serde::{Deserialize, Serialize};
use tollgate::Refusal;

/// When everything happens, in Unix milliseconds, but for what comes late.
pub const NOW_MS: u64 = 1_700_000_000_000;
/// When what is late happens: every lease that was made at [`NOW_MS`] has ended, and nothing else.
pub const LATE_MS: u64 = NOW_MS + 120_000;

/// A command to one account. Tokens, routes and keys are small numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the commands")]
pub enum Op {
    /// A look-up that admits a plain token at once.
    Get { token: u8, route: u8 },
    /// A look-up that admits nothing.
    LookUp { token: u8 },
    /// An admission under a credential of this revision, of a token that was live and of an account without
    /// networks as far as the credential said.
    Admit {
        token: u8,
        revision: u64,
        route: u8,
        key: Option<Key>,
        charge: Option<u64>,
        ending: Ending,
        late: bool,
    },
    /// The host settles; `amount` is all of it when absent.
    Settle { reservation: u64, amount: Option<u64>, response: Option<u16>, late: bool },
    /// The host voids, without a response.
    Void { reservation: u64, late: bool },
    /// Money is paid in.
    Deposit { amount: u64 },
    /// Money is given back.
    Refund { reservation: u64, amount: u64, reference: u8, late: bool },
    /// A token is revoked.
    Revoke { token: u8 },
    /// A token takes the place of another, which ends at once.
    Rotate { old: u8, new: u8 },
    /// The account gets a network from which no request here comes, or loses it.
    PutAccount { networks: bool },
    /// A sweep.
    Expire { late: bool },
    /// The account's money is shown.
    Inspect,
}

/// An idempotency key, and the request that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Key {
    pub number: u8,
    pub body: u8,
}

/// What the end of a lease does to what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Ending {
    Void,
    Settle,
    Hold,
}

/// What a store answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Answer {
    /// To a look-up: the credential, and the admission that came with it.
    LookedUp {
        credential: Option<Credential>,
        admission: Option<Verdict>,
    },
    Admission(Verdict),
    /// What was posted.
    Settled(Option<u64>),
    Done,
    /// How many leases and claims a sweep ended.
    Expired(u64),
    Money {
        balance: u64,
        held: u64,
        posted: u64,
        deposited: u64,
        refunded: u64,
    },
    Refused(Refusal),
    /// The store failed. No history with it is in order: nothing here reaches a bound.
    Failed(String),
}

/// What a look-up says of a token that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Credential {
    pub revision: u64,
    pub revoked: bool,
    /// At [`NOW_MS`].
    pub expired: bool,
    /// Whether the account has networks.
    pub networks: bool,
}

/// What came of an admission. `left` is what is left of the tightest limit after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Verdict {
    Admitted {
        reservation: Option<u64>,
        left: Option<u64>,
    },
    /// The stored response's status.
    Replay {
        status: u16,
        left: Option<u64>,
    },
    RateLimited,
    InFlight {
        left: Option<u64>,
    },
    KeyReused {
        left: Option<u64>,
    },
    InsufficientBalance {
        available: u64,
        left: Option<u64>,
    },
    CredentialChanged,
    /// Any other, in words.
    Other(String),
}

/// A command that was performed: by whom, when, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The thread, counted over all processes.
    pub thread: u8,
    /// The account.
    pub account: u8,
    /// A stamp from before the command was given to the store.
    pub invoked: u64,
    /// A stamp from after the store answered.
    pub returned: u64,
    /// The command.
    pub op: Op,
    /// The answer.
    pub answer: Answer,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late = |late: &bool| if *late { " late" } else { "" };
        match self {
            Op::Get { token, route } => write!(f, "get, token {token}, route {route}"),
            Op::LookUp { token } => write!(f, "look up token {token}"),
            Op::Admit { token, revision, route, key, charge, ending, late: is_late } => {
                write!(f, "admit token {token} of revision {revision} on route {route}")?;
                if let Some(Key { number, body }) = key {
                    write!(f, ", key {number} for request {body}")?;
                }
                if let Some(charge) = charge {
                    write!(f, ", price {charge} (lease ends: {ending:?})")?;
                }
                f.write_str(late(is_late))
            }
            Op::Settle { reservation, amount, response, late: is_late } => {
                write!(f, "settle {reservation}")?;
                if let Some(amount) = amount {
                    write!(f, " for {amount}")?;
                }
                if let Some(status) = response {
                    write!(f, " with response {status}")?;
                }
                f.write_str(late(is_late))
            }
            Op::Void { reservation, late: is_late } => {
                write!(f, "void {reservation}{}", late(is_late))
            }
            Op::Deposit { amount } => write!(f, "deposit {amount}"),
            Op::Refund { reservation, amount, reference, late: is_late } => {
                write!(f, "refund {amount} of {reservation} as {reference}{}", late(is_late))
            }
            Op::Revoke { token } => write!(f, "revoke token {token}"),
            Op::Rotate { old, new } => write!(f, "rotate token {old} to {new}"),
            Op::PutAccount { networks: true } => f.write_str("put account with networks"),
            Op::PutAccount { networks: false } => f.write_str("put account without networks"),
            Op::Expire { late: is_late } => write!(f, "expire{}", late(is_late)),
            Op::Inspect => f.write_str("inspect"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::LookedUp { credential: None, .. } => f.write_str("unknown"),
            Answer::LookedUp { credential: Some(credential), admission } => {
                match admission {
                    Some(verdict) => write!(f, "{verdict}")?,
                    None => write!(f, "revision {}", credential.revision)?,
                }
                for (is, what) in [
                    (credential.revoked, ", revoked"),
                    (credential.expired, ", expired"),
                    (credential.networks, ", networks"),
                ] {
                    f.write_str(if is { what } else { "" })?;
                }
                Ok(())
            }
            Answer::Admission(verdict) => write!(f, "{verdict}"),
            Answer::Settled(Some(posted)) => write!(f, "posted {posted}"),
            Answer::Settled(None) => f.write_str("not yet known"),
            Answer::Done => f.write_str("done"),
            Answer::Expired(ended) => write!(f, "{ended} ended"),
            Answer::Money { balance, held, posted, deposited, refunded } => write!(
                f,
                "balance {balance}, held {held}, posted {posted}, deposited {deposited}, refunded {refunded}"
            ),
            Answer::Refused(refusal) => write!(f, "refused: {refusal:?}"),
            Answer::Failed(error) => write!(f, "the store failed: {error}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = match self {
            Verdict::Admitted { reservation, left } => {
                f.write_str("admitted")?;
                if let Some(reservation) = reservation {
                    write!(f, " as {reservation}")?;
                }
                left
            }
            Verdict::Replay { status, left } => {
                write!(f, "replay of {status}")?;
                left
            }
            Verdict::InFlight { left } => {
                f.write_str("in flight")?;
                left
            }
            Verdict::KeyReused { left } => {
                f.write_str("key of another request")?;
                left
            }
            Verdict::InsufficientBalance { available, left } => {
                write!(f, "only {available} available")?;
                left
            }
            Verdict::RateLimited => return f.write_str("rate limited"),
            Verdict::CredentialChanged => return f.write_str("credential changed"),
            Verdict::Other(words) => return f.write_str(words),
        };
        left.map_or(Ok(()), |left| write!(f, ", {left} left"))
    }
}
