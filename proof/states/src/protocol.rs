//! The protocol as stateright explores it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use arrayvec::ArrayVec;
use stateright::{Model, Property};
use tollgate::Engine;

use crate::event::{EVENTS, Event};
use crate::flaw::Flaw;
use crate::invariants as holds;
use crate::names::{CallHeaders, Names, policy};
use crate::rows::Rows;
use crate::rule::{Rule, names};
use crate::rules::By;
use crate::setup::Setup;
use crate::step::Step;
use crate::word::Word;
use crate::world::{Account, Stage, World};

/// A setup, ready to be explored.
#[derive(Debug)]
pub struct Protocol {
    pub(crate) setup: Setup,
    pub(crate) flaw: Option<Flaw>,
    pub(crate) engine: Engine,
    pub(crate) names: Names,
    pub(crate) headers: Vec<CallHeaders>,
    /// Events that were seen: they need not be looked for again.
    seen: [AtomicBool; EVENTS],
}

impl Protocol {
    /// The protocol of a setup, with a bug if one is planted.
    #[must_use]
    pub fn new(setup: Setup, flaw: Option<Flaw>) -> Protocol {
        let engine = Engine::new(policy(&setup));
        let names = Names::new(&setup, &engine);
        let headers = setup.calls.iter().map(CallHeaders::of).collect();
        let seen = std::array::from_fn(|_| AtomicBool::new(false));
        Protocol { setup, flaw, engine, names, headers, seen }
    }

    fn step(&self, world: &World, action: Action) -> Option<Step> {
        Some(match action {
            Action::Tick => {
                let mut step = Step::new(world.clone());
                step.world.now += 1;
                step
            }
            Action::Sweep => self.sweep_all(world),
            Action::Deposit { account } => self.deposit(world, account),
            Action::Arrive { call } => return self.arrive(world, call),
            Action::Host { of, executes: true } => self.host(world, of, Stage::Executed),
            Action::Host { of, executes: false } => self.host(world, of, Stage::Gone),
            Action::Say { of, word, by } => self.say(world, of, word, by),
            Action::Refund { of, reference, units } => self.refund(world, of, reference, units),
        })
    }

    /// Whether an event can come next, for the first state in which it can.
    fn sees(&self, world: &World, event: Event) -> bool {
        let seen = &self.seen[event as usize];
        if seen.load(Ordering::Relaxed) {
            return false;
        }
        let mut actions = Vec::new();
        self.actions(world, &mut actions);
        let steps = actions.into_iter().filter_map(|action| self.step(world, action));
        let found = steps.into_iter().any(|step| step.event == Some(event));
        found && !seen.swap(true, Ordering::Relaxed)
    }

    fn offer_words(&self, world: &World, of: (u8, u8), stage: Stage, actions: &mut Vec<Action>) {
        let price =
            self.rules(world, of.0).call(world.accounts[usize::from(of.0)].grant(of.1)).price;
        let mut say = |by, words: &[Word]| {
            let part_fits = |word: &&Word| **word != Word::SettlePart || self.setup.part < price;
            actions.extend(words.iter().filter(part_fits).map(|&word| Action::Say {
                of,
                word,
                by,
            }));
        };
        match stage {
            // The host asks nobody, or lost sight of its upstream.
            Stage::Admitted => say(By::Host, &[Word::Unknown]),
            Stage::Gone => say(By::Host, &[Word::NotDone]),
            Stage::Executed => say(
                By::Host,
                &[Word::SettleAll, Word::SettlePart, Word::SettleTooMuch, Word::VoidAnswered],
            ),
        }
        if self.setup.operator {
            // An operator knows what became of it, and speaks when that is certain.
            match stage {
                Stage::Admitted => {}
                Stage::Gone => say(By::Operator, &[Word::NotDone, Word::SettleBare]),
                Stage::Executed => say(By::Operator, &[Word::SettleBare, Word::VoidAnswered]),
            }
        }
    }
}

/// What may happen next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Time passes.
    Tick,
    /// Somebody sweeps.
    Sweep,
    /// A unit is paid in.
    Deposit {
        /// To this account.
        account: u8,
    },
    /// A call arrives, for the first time or again.
    Arrive {
        /// Its number.
        call: u8,
    },
    /// A host goes on.
    Host {
        /// Account and number of what it has in hand.
        of: (u8, u8),
        /// It executes; or it never will.
        executes: bool,
    },
    /// A word arrives, for the first time or again.
    Say {
        /// Account and number of what it is about.
        of: (u8, u8),
        /// The word.
        word: Word,
        /// Who speaks.
        by: By,
    },
    /// A refund is asked for.
    Refund {
        /// Account and number of what was posted.
        of: (u8, u8),
        /// The refund's name, by number.
        reference: u8,
        /// How much.
        units: u8,
    },
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Tick => write!(f, "a tick passes"),
            Action::Sweep => write!(f, "a sweep"),
            Action::Deposit { account } => write!(f, "account {account}: a unit is paid in"),
            Action::Arrive { call } => write!(f, "call {call} arrives"),
            Action::Host { of: (account, number), executes } => {
                let does = if *executes { "executes" } else { "is gone" };
                write!(f, "account {account}: the host of {number} {does}")
            }
            Action::Say { of: (account, number), word, by } => {
                write!(f, "account {account}: of {number} the {by:?} says {word:?}")
            }
            Action::Refund { of: (account, number), reference, units } => {
                write!(f, "account {account}: refund {reference} of {number}, {units} units")
            }
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let accounts = self.setup.accounts.iter().map(|&balance| {
            let mut rows = Rows::default();
            (rows.money.balance, rows.money.deposited) = (balance, balance);
            Account { rows, deposited: balance, grants: ArrayVec::new() }
        });
        vec![World { now: 0, accounts: accounts.collect(), broken: None }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken == Some(Rule::Fences) {
            return; // Numbers mean nothing any more.
        }
        if world.now < self.setup.last_tick {
            actions.push(Action::Tick);
        }
        actions.push(Action::Sweep);
        for (account, opening) in (0..).zip(self.setup.accounts) {
            let paid_in = world.accounts[usize::from(account)].deposited - opening;
            if paid_in < self.setup.deposits {
                actions.push(Action::Deposit { account });
            }
        }
        actions.extend((0..self.setup.calls.len()).map(|call| Action::Arrive { call: call as u8 }));
        for (account, records) in (0..).zip(&world.accounts) {
            for (number, grant) in records.numbered() {
                let of = (account, number);
                if grant.stage == Stage::Admitted {
                    // A host that may be too late must not begin.
                    let keyed = self.setup.calls[usize::from(grant.call)].key.is_some();
                    if !keyed || world.now < grant.at + self.setup.protected() {
                        actions.push(Action::Host { of, executes: true });
                    }
                    actions.push(Action::Host { of, executes: false });
                }
                self.offer_words(world, of, grant.stage, actions);
                let refunds = self.setup.refunds.iter();
                let refund = |&(reference, units)| Action::Refund { of, reference, units };
                actions.extend(refunds.map(refund));
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let step = self.step(last, action)?;
        let next = self.arrived(last, step);
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = steps_keep_their_rules();
        properties.extend(states_are_right());
        properties.extend(self.setup.sees.iter().map(|event| event.property()));
        properties
    }
}

fn steps_keep_their_rules() -> Vec<Property<Protocol>> {
    let always = Property::<Protocol>::always;
    vec![
        always(names::ANSWERS, |_, world| world.broken != Some(Rule::Answers)),
        always(names::ADMITTED_ANEW, |_, world| world.broken != Some(Rule::AdmittedAnew)),
        always(names::REPLAYS, |_, world| world.broken != Some(Rule::Replays)),
        always(names::REFUSALS, |_, world| world.broken != Some(Rule::Refusals)),
        always(names::STALE_FENCE, |_, world| world.broken != Some(Rule::StaleFence)),
        always(names::TWICE, |_, world| world.broken != Some(Rule::Twice)),
        always(names::ENDS_ONCE, |_, world| world.broken != Some(Rule::EndsOnce)),
        always(names::FENCES, |_, world| world.broken != Some(Rule::Fences)),
        always(names::ONE_ACCOUNT, |_, world| world.broken != Some(Rule::OneAccount)),
    ]
}

fn states_are_right() -> Vec<Property<Protocol>> {
    let always = Property::<Protocol>::always;
    vec![
        always(names::ONE_EXECUTION, |model, world| model.each(world, holds::has_one_execution)),
        always(names::ONE_HOLDER, |model, world| model.each(world, holds::has_one_holder)),
        always(names::KEYS, |model, world| model.each(world, holds::keys_are_right)),
        always(names::CONSERVED, |model, world| model.each(world, holds::is_conserved)),
        always(names::HELD, |model, world| model.each(world, holds::held_is_reserved)),
        always(names::KEPT, |model, world| model.each(world, holds::none_is_lost)),
        always(names::LEDGER, |model, world| model.each(world, holds::ledger_is_right)),
        always(names::REFUNDS, |model, world| model.each(world, holds::refunds_are_bounded)),
        always(names::CAPS, |model, world| model.each(world, holds::caps_hold)),
        always(names::FREED, |model, world| model.nothing_stays_stuck(world)),
    ]
}

impl Event {
    /// That it happens.
    fn property(self) -> Property<Protocol> {
        macro_rules! seen {
            ($($event:ident: $name:literal,)*) => {
                match self {
                    $(Event::$event => {
                        Property::sometimes($name, |model: &Protocol, world| {
                            model.sees(world, Event::$event)
                        })
                    })*
                }
            };
        }
        seen! {
            Admitted: "a call is admitted",
            Rerun: "an orphan's key is run again",
            Replayed: "a call is replayed",
            Mismatched: "a key is refused to another body",
            InFlight: "a call meets its key in flight",
            Capped: "a cap refuses a call",
            Poor: "the wallet is too low",
            Settled: "a host settles in time",
            SettledLate: "a host settles after its lease",
            Again: "a word comes again",
            Differing: "another word comes after the end",
            StaleRefused: "a stale fence is refused",
            LateRefused: "a word after the lease is refused",
            Resolved: "an operator ends an orphan",
            Released: "an operator ends what a lease left of a key",
            Swept: "a sweep ends what is due",
            Refunded: "a refund is made",
            RefundRefused: "a refund is refused",
        }
    }
}
