//! What must hold in every state.

use tollgate::OnOrphan;

use crate::clock::ms;
use crate::protocol::Protocol;
use crate::rows::{Money, ReservationRow, RowState};
use crate::rules::{By, Fate, KeyState, Rules};
use crate::setup::Cap;
use crate::word::Word;
use crate::world::{Account, Grant, Stage, World};

/// Long after all that a setup has: leases, retentions and records.
const IN_THE_END: u8 = 60;

impl Protocol {
    /// The rules for an account of a state.
    pub(crate) fn rules<'a>(&'a self, world: &'a World, account: u8) -> Rules<'a> {
        let account = &world.accounts[usize::from(account)];
        Rules { setup: &self.setup, account, now: world.now }
    }

    /// Whether something holds in each account.
    pub(crate) fn each(&self, world: &World, holds: impl Fn(&Rules<'_>) -> bool) -> bool {
        (0..world.accounts.len()).all(|account| holds(&self.rules(world, account as u8)))
    }

    pub(crate) fn nothing_stays_stuck(&self, world: &World) -> bool {
        let mut world = world.clone();
        self.sweep_accounts(&mut world);
        if !self.each(&world, nothing_is_due) || !self.each(&world, keys_are_right) {
            return false;
        }
        world.now = IN_THE_END;
        self.sweep_accounts(&mut world);
        world.now += self.setup.record_retention;
        self.sweep_accounts(&mut world);
        if !self.each(&world, only_orphans_are_left) {
            return false;
        }
        // What `hold` keeps, an operator can end; then nothing is left but the sums.
        for account in 0..world.accounts.len() {
            for row in world.accounts[account].rows.reservations.clone() {
                let finish = Word::NotDone.finish(row.number, row.amount, 0);
                let of = (account as u8, row.number);
                self.hear(&mut world.accounts, world.now, of, &finish, By::Operator);
            }
        }
        world.now += self.setup.record_retention;
        self.sweep_accounts(&mut world);
        self.each(&world, nothing_is_left)
    }

    fn sweep_accounts(&self, world: &mut World) {
        for account in 0..world.accounts.len() {
            self.sweep(&mut world.accounts, account as u8, world.now);
        }
    }
}

fn nothing_is_due(rules: &Rules<'_>) -> bool {
    let Account { rows, grants, .. } = rules.account;
    let open = |row: &ReservationRow| {
        let grant = &grants[usize::from(row.number) - 1];
        row.state != RowState::Held || !rules.lease_ends_it(grant)
    };
    rows.claims.iter().all(|claim| claim.expires > rules.now)
        && rows.reservations.iter().all(|row| row.due > rules.now && open(row))
}

fn only_orphans_are_left(rules: &Rules<'_>) -> bool {
    let Account { rows, .. } = rules.account;
    let orphan = |row: &ReservationRow| {
        row.state == RowState::Held
            && row.amount > 0
            && rules.setup.on_expiry == tollgate::OnExpiry::Hold
    };
    rows.claims.is_empty() && rows.reservations.iter().all(orphan)
}

fn nothing_is_left(rules: &Rules<'_>) -> bool {
    let Account { rows, .. } = rules.account;
    rows.reservations.is_empty()
        && rows.money.held == 0
        && rows.money.open == 0
        && is_conserved(rules)
}

/// Executions of the same key, the earlier first.
fn pairs_of_a_key<'a>(
    rules: &Rules<'a>,
    of: impl Fn(&Grant) -> bool + Copy,
) -> impl Iterator<Item = (&'a Grant, &'a Grant)> {
    let rules = *rules;
    let grants = &rules.account.grants;
    grants.iter().enumerate().flat_map(move |(place, earlier)| {
        let key = rules.call(earlier).key;
        let same_key =
            move |later: &&Grant| of(later) && key.is_some() && rules.call(later).key == key;
        let later = grants.iter().skip(place + 1).filter(same_key);
        later.filter(move |_| of(earlier)).map(move |later| (earlier, later))
    })
}

pub(crate) fn has_one_execution(rules: &Rules<'_>) -> bool {
    let protected = rules.setup.protected();
    let executed = |grant: &Grant| grant.stage == Stage::Executed;
    pairs_of_a_key(rules, executed).all(|(earlier, later)| later.at >= earlier.at + protected)
}

pub(crate) fn has_one_holder(rules: &Rules<'_>) -> bool {
    let (now, protected) = (rules.now, rules.setup.protected());
    let holds = |grant: &Grant| grant.end.is_none() && now < grant.at + protected;
    pairs_of_a_key(rules, holds).next().is_none()
}

pub(crate) fn keys_are_right(rules: &Rules<'_>) -> bool {
    let rows = &rules.account.rows;
    rules.setup.calls.iter().filter_map(|call| call.key).all(|key| {
        let claim = rows.claim(key).filter(|claim| claim.expires > rules.now);
        let state = rules.key_state(key);
        let Some(claim) = claim else { return state == KeyState::Free };
        let (body, stored) = match state {
            KeyState::Free => return false,
            KeyState::Running { body } => (body, None),
            KeyState::Orphaned { body } => {
                debug_assert_eq!(rules.setup.on_orphan, OnOrphan::Rerun);
                (body, None)
            }
            KeyState::Answered { body, stored } => (body, Some(stored)),
        };
        rules.holder_of(key) == Some(claim.fence)
            && (claim.body, claim.response) == (body, stored)
            && claim.due == claim.expires
    })
}

pub(crate) fn is_conserved(rules: &Rules<'_>) -> bool {
    let Money { balance, held, posted, deposited, refunded, .. } = rules.account.rows.money;
    i32::from(deposited) + i32::from(refunded) == i32::from(balance) + i32::from(posted)
        && held <= balance
}

pub(crate) fn held_is_reserved(rules: &Rules<'_>) -> bool {
    let rows = &rules.account.rows;
    let open = rows.reservations.iter().filter(|row| row.state == RowState::Held && row.amount > 0);
    let (count, sum) = open.fold((0, 0), |(count, sum), row| (count + 1, sum + row.amount));
    (rows.money.open, rows.money.held) == (count, sum)
}

pub(crate) fn none_is_lost(rules: &Rules<'_>) -> bool {
    let Account { rows, grants, .. } = rules.account;
    usize::from(rows.money.sequence) == grants.len()
        && rules.account.numbered().all(|(number, grant)| {
            let (call, setup) = (rules.call(grant), rules.setup);
            if let Some(row) = rows.reservation(number) {
                return row.amount == call.price;
            }
            // It is gone: was it over for as long as it is kept?
            let lease_over = grant.at + setup.lease + setup.record_retention <= rules.now;
            let ended = grant.end.is_some() && !grant.late;
            match call.price {
                0 => ended || grant.at + setup.key_retention <= rules.now,
                _ => ended || (lease_over && rules.lease_ends_it(grant)),
            }
        })
}

pub(crate) fn ledger_is_right(rules: &Rules<'_>) -> bool {
    let Account { rows, grants, deposited } = rules.account;
    let posted: u8 = rules
        .account
        .numbered()
        .map(|(number, grant)| match in_rows(rules, number) {
            Some((RowState::Posted { amount, .. }, _)) => *amount,
            Some(_) => 0,
            None => posted_by_rule(rules, grant),
        })
        .sum();
    let refunded: u8 = grants.iter().flat_map(|grant| grant.refunds).sum();
    (rows.money.posted, rows.money.refunded, rows.money.deposited) == (posted, refunded, *deposited)
        && rows.reservations.iter().all(|row| ended_as_answered(rules, row))
}

fn in_rows<'a>(rules: &Rules<'a>, number: u8) -> Option<(&'a RowState, &'a ReservationRow)> {
    rules.account.rows.reservation(number).map(|row| (&row.state, row))
}

fn posted_by_rule(rules: &Rules<'_>, grant: &Grant) -> u8 {
    match rules.fate(grant) {
        Fate::Posted(units) => units,
        Fate::Held | Fate::Voided => 0,
    }
}

/// Whether a reservation is as what was said about it, or nothing and the end of its lease, leave it.
fn ended_as_answered(rules: &Rules<'_>, row: &ReservationRow) -> bool {
    let grant = rules.account.grant(row.number);
    let said = grant.end.is_some() && !grant.late;
    let fate = rules.fate(grant);
    match &row.state {
        RowState::Held => !said,
        RowState::Voided { by_expiry } => fate == Fate::Voided && *by_expiry != said,
        RowState::Posted { amount, refunds, by_expiry } => {
            let given = |reference: u8| {
                refunds.iter().filter(|(name, _)| *name == reference).map(|(_, units)| *units).sum()
            };
            let refunds_are: [u8; 2] = [given(0), given(1)];
            fate == Fate::Posted(*amount) && *by_expiry != said && refunds_are == grant.refunds
        }
    }
}

pub(crate) fn refunds_are_bounded(rules: &Rules<'_>) -> bool {
    rules.account.grants.iter().all(|grant| {
        let refunded: u8 = grant.refunds.iter().sum();
        refunded <= posted_by_rule(rules, grant)
    })
}

pub(crate) fn caps_hold(rules: &Rules<'_>) -> bool {
    let rows = &rules.account.rows;
    let within = |cap: &Cap, token: Option<u8>, counted: u64| {
        let spent = spent_in_rows(rules, cap, token);
        spent == counted && spent <= u64::from(cap.units)
    };
    let spend = rows.money.spend.spend();
    let now_ms = ms(rules.now);
    let tokens = rules.setup.tokens.iter().zip(0_u8..);
    rules.setup.caps.iter().all(|cap| within(cap, None, spend.within(cap.per, now_ms).0))
        && tokens.clone().all(|(plan, token)| {
            let spend = rows.token_spend.iter().find(|(number, _)| *number == token);
            let Some((_, tally)) = spend else { return true };
            let spend = tally.spend();
            plan.caps.iter().all(|cap| within(cap, Some(token), spend.within(cap.per, now_ms).0))
        })
}

/// Posted and held in a cap's period, as the records are at this moment.
fn spent_in_rows(rules: &Rules<'_>, cap: &Cap, token: Option<u8>) -> u64 {
    let period = cap.per.number(ms(rules.now));
    let counts = |(_, grant): &(u8, &Grant)| {
        cap.per.number(ms(grant.at)) == period
            && token.is_none_or(|token| rules.call(grant).token == token)
    };
    let spent = |(number, grant): (u8, &Grant)| match in_rows(rules, number) {
        Some((RowState::Held, row)) => row.amount,
        Some((RowState::Posted { amount, .. }, _)) => *amount,
        Some((RowState::Voided { .. }, _)) => 0,
        None => posted_by_rule(rules, grant),
    };
    rules.account.numbered().filter(counts).map(|each| u64::from(spent(each))).sum()
}
