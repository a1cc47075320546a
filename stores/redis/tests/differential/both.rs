//! A store and the model, asked the same.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tollgate::transition::{Records, expire_account, perform};
use tollgate::*;
use tollgate_conformance::ModelRecords;
use tollgate_redis::RedisStore;

use crate::common;
use crate::common::limits::{any_limit, engine};
use crate::steps::{Ask, Lim, Step, account, token};

/// An outcome in full: the `Debug` of a stored answer leaves its content out.
pub(crate) fn show(outcome: &Outcome) -> String {
    if let Outcome::LookedUp(LookedUp { credential: Some(credential), admission }) = outcome {
        // Every store has revisions of its own.
        let credential = Credential { revision: 0, ..credential.clone() };
        return format!("{credential:?} {admission:?}");
    }
    let text = format!("{outcome:?}");
    let Outcome::Admission(Admission { verdict: AdmitVerdict::Replay(response), .. }) = outcome
    else {
        return text;
    };
    format!("{text} {:?} {:?}", response.headers, response.body)
}

pub(crate) struct Both {
    pub(crate) engine: Engine,
    pub(crate) limit: Limit,
    pub(crate) store: RedisStore,
    pub(crate) model: ModelRecords,
    pub(crate) now_ms: u64,
    /// With what was changed by then.
    pub(crate) known: BTreeMap<usize, (Credential, [u64; 2])>,
    /// How often the settings of each account were changed, and each token.
    changed: [BTreeMap<usize, u64>; 2],
}

/// What `transition` says over plain maps. No cell is ever dropped by age.
fn by_model(model: &mut ModelRecords, command: &Command<'_>, now_ms: u64) -> Outcome {
    let model = model.at(0);
    let Command::Administer(Administration::Expire) = command else {
        return perform(model, command, now_ms).unwrap();
    };
    let ids = model.account_ids(None, usize::MAX).unwrap();
    let end = |id| expire_account(model, &AccountRef::Id(id), now_ms).unwrap();
    Outcome::Expired(ids.into_iter().map(end).sum())
}

impl Both {
    pub(crate) fn new(url: &str, now_ms: u64) -> Both {
        let mut both = Both {
            engine: engine(),
            limit: any_limit(),
            store: common::store(url),
            model: ModelRecords::default(),
            now_ms,
            known: BTreeMap::new(),
            changed: Default::default(),
        };
        for who in 0..2 {
            both.step(&Step::PutAccount(who, 20, AccountPatch::default())).unwrap();
            for which in 0..2 {
                let scopes = Some(vec!["all".into()]);
                let patch = TokenPatch { scopes, ..TokenPatch::default() };
                both.step(&Step::PutToken(2 * who + which, who, patch)).unwrap();
            }
        }
        both
    }

    fn same(&mut self, command: &Command<'_>) -> Result<[Outcome; 2], TestCaseError> {
        self.alike(command, command)
    }

    /// The outcomes of the store and of the model.
    fn alike(
        &mut self,
        command: &Command<'_>,
        of_model: &Command<'_>,
    ) -> Result<[Outcome; 2], TestCaseError> {
        let now_ms = self.now_ms;
        let expected = by_model(&mut self.model, of_model, now_ms);
        let outcome = self.store.perform(command, now_ms);
        let outcome = outcome.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        prop_assert_eq!(show(&outcome), show(&expected), "at {} of {:?}", now_ms, command);
        Ok([outcome, expected])
    }

    fn administer(&mut self, administration: &Administration<'_>) -> Result<(), TestCaseError> {
        self.same(&Command::Administer(administration)).map(drop)
    }

    /// An administration of an account's settings (0) or of tokens (1).
    fn change(
        &mut self,
        what: usize,
        which: &[usize],
        administration: &Administration<'_>,
    ) -> Result<(), TestCaseError> {
        let [outcome, _] = self.same(&Command::Administer(administration))?;
        if matches!(outcome, Outcome::Done) {
            for one in which {
                *self.changed[what].entry(*one).or_default() += 1;
            }
        }
        Ok(())
    }

    /// How often what a token's credential is made of was changed.
    fn changes(&self, index: usize) -> [u64; 2] {
        let [settings, tokens] = &self.changed;
        [settings.get(&(index / 2)), tokens.get(&index)].map(|count| count.copied().unwrap_or(0))
    }

    pub(crate) fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Tick(by) => {
                self.now_ms = self.now_ms.saturating_add_signed(*by).min(MAX_NOW_MS);
                Ok(())
            }
            Step::Lookup(index) => self.look_up(*index),
            Step::Admit(ask) => self.admit(ask),
            Step::Settle(who, id, finish) => {
                let account = AccountRef::Id(account(*who));
                let reservation = ReservationId(*id);
                self.same(&Command::Settle(Settle { account: &account, reservation, finish }))?;
                Ok(())
            }
            Step::PutAccount(who, opening, settings) => {
                let (account, opening_balance) = (&account(*who), Amount(*opening));
                let settings = settings.clone();
                let put = Administration::PutAccount { account, opening_balance, settings };
                self.change(0, &[*who], &put)
            }
            Step::PutToken(index, who, settings) => {
                let (digest, account) = (&token(*index), &account(*who));
                let settings = settings.clone();
                let put = Administration::PutToken { digest, account, settings };
                self.change(1, &[*index], &put)
            }
            Step::Revoke(index) => {
                self.change(1, &[*index], &Administration::RevokeToken { digest: &token(*index) })
            }
            Step::Rotate(old, new, grace_ms) => {
                let which = [*old, *new];
                let (old, new, grace_ms) = (&token(*old), &token(*new), *grace_ms);
                let rotate = Administration::RotateToken { old, new, grace_ms };
                self.change(1, &which, &rotate)
            }
            Step::Deposit(who, amount) => {
                let (account, amount) = (&account(*who), Amount(*amount));
                self.administer(&Administration::Deposit { account, amount })
            }
            Step::Refund(who, id, amount, reference) => {
                let account = &AccountRef::Id(account(*who));
                let (reservation, amount) = (ReservationId(*id), Amount(*amount));
                self.administer(&Administration::Refund { account, reservation, amount, reference })
            }
            Step::Resolve(who, id, finish) => {
                let (account, reservation) = (&account(*who), ReservationId(*id));
                let finish = finish.clone();
                self.administer(&Administration::Resolve { account, reservation, finish })
            }
            Step::Show(who) => self.show(*who),
            Step::Expire => self.administer(&Administration::Expire),
        }
    }

    pub(crate) fn show(&mut self, who: usize) -> Result<(), TestCaseError> {
        let account = &account(who);
        self.administer(&Administration::Inspect { account })?;
        self.administer(&Administration::ListTokens { account })?;
        self.administer(&Administration::ListReservations { account })?;
        self.administer(&Administration::NameAccount { account: &AccountRef::Id(account.clone()) })
    }

    fn look_up(&mut self, index: usize) -> Result<(), TestCaseError> {
        let digest = token(index);
        let scopes = self.engine.policy().scopes().clone();
        let lookup = Lookup { digest: &digest, scopes: &scopes, plain: None };
        let found = |outcome| match outcome {
            Outcome::LookedUp(found) => found.credential,
            _ => None,
        };
        match self.same(&Command::Lookup(lookup))?.map(found) {
            [Some(credential), Some(_)] => {
                let changes = self.changes(index);
                self.known.insert(index, (credential, changes));
            }
            _ => drop(self.known.remove(&index)),
        }
        Ok(())
    }

    fn admit(&mut self, ask: &Ask) -> Result<(), TestCaseError> {
        let known =
            self.known.get(&ask.token).filter(|_| ask.looked_up && ask.account < 2).cloned();
        let limits: Vec<Limit> = ask.limits.iter().map(|lim| self.limit(lim)).collect();
        let idempotency = match ask.key {
            _ if ask.key_invalid => Idempotency::Invalid,
            None => Idempotency::Absent,
            Some((key, fingerprint, retention_ms, on_orphan)) => Idempotency::Key {
                claim: ClaimKey([key; 32]),
                fingerprint: Fingerprint([fingerprint; 32]),
                rule: IdempotencyRule {
                    required: false,
                    retention_ms,
                    on_orphan,
                    on_store_failure: FailureMode::Closed,
                },
            },
        };
        let (lease_ms, on_expiry, retention_ms) = ask.rule;
        let refusal = Denial::RateLimited { limit: 7, retry_at_ms: 1 };
        // A token is one account's: whoever says another has not looked it up.
        let (who, digest) = match ask.account {
            2 => (2, token(9)),
            _ => (ask.token / 2, token(ask.token)),
        };
        let named = AccountRef::Id(account(who));
        // The model has one number for all of an account. A store is asked to tell one token's changes from
        // another's: whether the credential is the present one is worked out here.
        let present = self.model.revision(&named).unwrap();
        let of_model =
            known.as_ref().map(|(_, changes)| match *changes == self.changes(ask.token) {
                true => present,
                false => u64::MAX,
            });
        let known = known.map(|(known, _)| known);
        let record = known.as_ref().and_then(|known| known.token.clone());
        let admit = Admit {
            mode: ask.mode,
            token: &digest,
            token_record: record.as_deref(),
            account: known.as_ref().map_or(&named, |known| &known.account),
            revision: known.as_ref().map(|known| known.revision),
            source: ask.source,
            limits: &limits,
            refused_elsewhere: ask.refused_elsewhere.then_some(&refusal),
            idempotency: &idempotency,
            sender: ask.sender,
            invalid: ask.invalid,
            charge: ask.charge.map(Amount),
            charge_rule: &ChargeRule { price: None, lease_ms, on_expiry, retention_ms },
            detail: ask.detail,
        };
        let same = Admit { revision: of_model, ..admit };
        self.alike(&Command::Admit(admit), &Command::Admit(same)).map(drop)
    }

    fn limit(&self, lim: &Lim) -> Limit {
        let mut limit = self.limit.clone();
        // Scripts take windows above 2^52 ms for this long. That shows in no answer, unless one policy
        // has such a window and the next one another: then its end, thousands of years from now, is
        // another one.
        let huge = lim.quota.window_ms > 1 << 52;
        let name = if huge { format!("{} of ages", lim.name) } else { lim.name.to_owned() };
        limit.id = LimitId::of(&name, lim.algorithm);
        limit.name = name.into();
        limit.partition = lim.partition;
        limit.algorithm = lim.algorithm;
        limit.quota = lim.quota;
        limit.counts = lim.counts;
        limit.cost = lim.cost;
        limit.token_override = lim.token_override && !huge;
        limit.shadow = lim.shadow;
        limit
    }
}
