//! What must hold whatever the rules of admission are: read from what the store said, without the model.

use std::collections::BTreeMap;

use tollgate::Wallet;

use crate::catalogue::{ACCOUNTS, KEYS, NOWHERE};

/// The latest admission of a key, each of which lets its request run once.
#[derive(Clone, Copy, Debug)]
struct Run {
    number: u64,
    lease_until_ms: u64,
    expires_ms: u64,
    /// It was given up, and its key is free.
    freed: bool,
}

/// An admission that claims a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimed {
    pub(crate) account: usize,
    pub(crate) route: usize,
    pub(crate) key: u8,
    pub(crate) number: u64,
    pub(crate) now_ms: u64,
    pub(crate) lease_ms: u64,
    pub(crate) retention_ms: u64,
    /// The rule of the request's route: it may take over when the lease has ended.
    pub(crate) rerun: bool,
}

#[derive(Clone, Debug, Default)]
struct Paid {
    deposited: u64,
    refunds: BTreeMap<(u64, u8), u64>,
    posted: BTreeMap<u64, u64>,
    last_number: u64,
    executed: Vec<u64>,
}

/// The journal of a simulation.
#[derive(Clone, Debug)]
pub(crate) struct History {
    runs: [[[Option<Run>; KEYS]; NOWHERE]; ACCOUNTS],
    paid: [Paid; ACCOUNTS],
    /// Tokens whose revocation has returned.
    revoked: Vec<usize>,
    latest_ms: u64,
}

impl History {
    pub(crate) fn new(opening: [u64; ACCOUNTS]) -> History {
        let paid = opening.map(|deposited| Paid { deposited, ..Paid::default() });
        History {
            runs: [[[None; KEYS]; NOWHERE]; ACCOUNTS],
            paid,
            revoked: Vec::new(),
            latest_ms: 0,
        }
    }

    pub(crate) fn time(&mut self, now_ms: u64) {
        self.latest_ms = self.latest_ms.max(now_ms);
    }

    /// A key runs again only if its earlier run was given up, is past its retention, or is lost where lost ones
    /// may be repeated.
    pub(crate) fn claimed(&mut self, claimed: &Claimed) -> Result<(), String> {
        let latest_ms = self.latest_ms;
        let run = &mut self.runs[claimed.account][claimed.route][usize::from(claimed.key)];
        if let Some(earlier) = run {
            let may = earlier.freed
                || latest_ms >= earlier.expires_ms
                || (claimed.rerun && latest_ms >= earlier.lease_until_ms);
            if !may {
                return Err(format!("{claimed:?} runs again, after {earlier:?}"));
            }
        }
        *run = Some(Run {
            number: claimed.number,
            lease_until_ms: claimed.now_ms + claimed.lease_ms,
            expires_ms: claimed.now_ms + claimed.retention_ms,
            freed: false,
        });
        Ok(())
    }

    /// Fencing tokens only grow.
    pub(crate) fn numbered(&mut self, account: usize, number: u64) -> Result<(), String> {
        let last = &mut self.paid[account].last_number;
        if number <= *last {
            return Err(format!("number {number} was given out after {last}"));
        }
        *last = number;
        Ok(())
    }

    /// What was admitted once is run once.
    pub(crate) fn executed(&mut self, account: usize, number: u64) -> Result<(), String> {
        let executed = &mut self.paid[account].executed;
        if executed.contains(&number) {
            return Err(format!("number {number} of account {account} is run twice"));
        }
        executed.push(number);
        Ok(())
    }

    pub(crate) fn revoked(&mut self, token: usize) {
        self.revoked.push(token);
    }

    /// No token passes once its revocation has returned.
    pub(crate) fn passed(&self, token: usize) -> Result<(), String> {
        if self.revoked.contains(&token) {
            return Err(format!("token {token} passes after its revocation"));
        }
        Ok(())
    }

    /// An execution was given up without a response.
    pub(crate) fn freed(&mut self, account: usize, number: u64) {
        for run in self.runs[account].as_flattened_mut().iter_mut().flatten() {
            run.freed |= run.number == number;
        }
    }

    pub(crate) fn deposited(&mut self, account: usize, amount: u64) {
        self.paid[account].deposited += amount;
    }

    pub(crate) fn refunded(&mut self, account: usize, number: u64, reference: u8, amount: u64) {
        self.paid[account].refunds.insert((number, reference), amount);
    }

    /// What was posted once stays so.
    pub(crate) fn posted(
        &mut self,
        account: usize,
        number: u64,
        amount: u64,
    ) -> Result<(), String> {
        match self.paid[account].posted.insert(number, amount) {
            Some(earlier) if earlier != amount => {
                Err(format!("reservation {number} posted {earlier}, and then {amount}"))
            }
            _ => Ok(()),
        }
    }

    /// Deposits and refunds are balance and posted; what is held is there; and all of it is what was told.
    pub(crate) fn conserves(&self, account: usize, wallet: &Wallet) -> Result<(), String> {
        let paid = &self.paid[account];
        let (deposited, refunded) = (wallet.deposited.0, wallet.refunded.0);
        let told_refunds: u64 = paid.refunds.values().sum();
        let told_posts: u64 = paid.posted.values().sum();
        let holds = deposited + refunded == wallet.balance.0 + wallet.posted.0
            && wallet.held <= wallet.balance
            && deposited == paid.deposited
            && refunded == told_refunds
            && wallet.posted.0 >= told_posts
            && refunded <= wallet.posted.0;
        if holds {
            return Ok(());
        }
        Err(format!(
            "money is not conserved: {wallet:?}, but {} were deposited, {told_refunds} refunded and \
             {told_posts} posted",
            paid.deposited
        ))
    }
}
