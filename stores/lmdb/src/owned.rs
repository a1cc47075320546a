//! Commands that own what they speak of, for another thread to perform.

use std::net::IpAddr;

use tollgate::{
    AccountId, AccountPatch, AccountRef, Administration, Admit, Amount, ChargeRule, Command,
    Denial, Finish, Idempotency, Limit, Mode, ReservationId, Settle, Token, TokenDigest,
    TokenPatch,
};

/// A command, owned. The variants are those that change something.
pub(crate) enum Owned {
    Admit(Box<OwnedAdmit>),
    Settle { account: AccountRef, reservation: ReservationId, finish: Finish },
    PutAccount { account: AccountId, opening_balance: Amount, settings: AccountPatch },
    PutToken { digest: TokenDigest, account: AccountId, settings: TokenPatch },
    RevokeToken { digest: TokenDigest },
    RotateToken { old: TokenDigest, new: TokenDigest, grace_ms: u64 },
    Deposit { account: AccountId, amount: Amount },
    Refund { account: AccountRef, reservation: ReservationId, amount: Amount, reference: Box<str> },
    Resolve { account: AccountId, reservation: ReservationId, finish: Finish },
}

pub(crate) struct OwnedAdmit {
    mode: Mode,
    token: TokenDigest,
    token_record: Option<Token>,
    account: AccountRef,
    revision: Option<u64>,
    source: Option<IpAddr>,
    limits: Vec<Limit>,
    refused_elsewhere: Option<Denial>,
    idempotency: Idempotency,
    sender: Option<Box<str>>,
    invalid: bool,
    charge: Option<Amount>,
    charge_rule: ChargeRule,
    detail: bool,
}

impl Owned {
    /// `None`: a command that this version does not know, or one that changes nothing.
    pub(crate) fn of(command: &Command<'_>) -> Option<Owned> {
        match command {
            Command::Admit(admit) => Some(Owned::Admit(Box::new(OwnedAdmit::of(admit)))),
            Command::Settle(Settle { account, reservation, finish }) => Some(Owned::Settle {
                account: (*account).clone(),
                reservation: *reservation,
                finish: (*finish).clone(),
            }),
            Command::Administer(administration) => Owned::administration(administration),
            _ => None,
        }
    }

    fn administration(administration: &Administration<'_>) -> Option<Owned> {
        Some(match administration.clone() {
            Administration::PutAccount { account, opening_balance, settings } => {
                Owned::PutAccount { account: account.clone(), opening_balance, settings }
            }
            Administration::PutToken { digest, account, settings } => {
                Owned::PutToken { digest: *digest, account: account.clone(), settings }
            }
            Administration::RevokeToken { digest } => Owned::RevokeToken { digest: *digest },
            Administration::RotateToken { old, new, grace_ms } => {
                Owned::RotateToken { old: *old, new: *new, grace_ms }
            }
            Administration::Deposit { account, amount } => {
                Owned::Deposit { account: account.clone(), amount }
            }
            Administration::Refund { account, reservation, amount, reference } => Owned::Refund {
                account: account.clone(),
                reservation,
                amount,
                reference: reference.into(),
            },
            Administration::Resolve { account, reservation, finish } => {
                Owned::Resolve { account: account.clone(), reservation, finish }
            }
            _ => return None,
        })
    }

    /// Lends the command.
    pub(crate) fn lend<T>(&self, then: impl FnOnce(&Command<'_>) -> T) -> T {
        let administration = match self {
            Owned::Admit(admit) => return then(&Command::Admit(admit.lend())),
            Owned::Settle { account, reservation, finish } => {
                let reservation = *reservation;
                return then(&Command::Settle(Settle { account, reservation, finish }));
            }
            Owned::PutAccount { account, opening_balance, settings } => {
                let (opening_balance, settings) = (*opening_balance, settings.clone());
                Administration::PutAccount { account, opening_balance, settings }
            }
            Owned::PutToken { digest, account, settings } => {
                Administration::PutToken { digest, account, settings: settings.clone() }
            }
            Owned::RevokeToken { digest } => Administration::RevokeToken { digest },
            Owned::RotateToken { old, new, grace_ms } => {
                Administration::RotateToken { old, new, grace_ms: *grace_ms }
            }
            Owned::Deposit { account, amount } => {
                Administration::Deposit { account, amount: *amount }
            }
            Owned::Refund { account, reservation, amount, reference } => {
                let (reservation, amount) = (*reservation, *amount);
                Administration::Refund { account, reservation, amount, reference }
            }
            Owned::Resolve { account, reservation, finish } => Administration::Resolve {
                account,
                reservation: *reservation,
                finish: finish.clone(),
            },
        };
        then(&Command::Administer(&administration))
    }
}

impl OwnedAdmit {
    fn of(admit: &Admit<'_>) -> Self {
        OwnedAdmit {
            mode: admit.mode,
            token: *admit.token,
            token_record: admit.token_record.cloned(),
            account: admit.account.clone(),
            revision: admit.revision,
            source: admit.source,
            limits: admit.limits.to_vec(),
            refused_elsewhere: admit.refused_elsewhere.cloned(),
            idempotency: *admit.idempotency,
            sender: admit.sender.map(Box::from),
            invalid: admit.invalid,
            charge: admit.charge,
            charge_rule: *admit.charge_rule,
            detail: admit.detail,
        }
    }

    fn lend(&self) -> Admit<'_> {
        Admit {
            mode: self.mode,
            token: &self.token,
            token_record: self.token_record.as_ref(),
            account: &self.account,
            revision: self.revision,
            source: self.source,
            limits: &self.limits,
            refused_elsewhere: self.refused_elsewhere.as_ref(),
            idempotency: &self.idempotency,
            sender: self.sender.as_deref(),
            invalid: self.invalid,
            charge: self.charge,
            charge_rule: &self.charge_rule,
            detail: self.detail,
        }
    }
}
