//! A store with a record of every kind in it, and commands on it.

use arbitrary::Arbitrary;
use tollgate::{
    AccountId, AccountPatch, AccountRef, Admin, Administration, Admit, Amount, ChargeRule,
    ClaimKey, Command, Engine, Fingerprint, Finish, Idempotency, IdempotencyRule, Limit, Lookup,
    Mode, OnExpiry, OnOrphan, Outcome, PlainAdmit, ReservationId, Settle, SpendCap, Store,
    StoredResponse, TokenDigest, TokenPatch,
};
use tollgate_kv::{KvOptions, KvStore, MemoryMap};

use crate::damage::Entries;

pub const NOW_MS: u64 = 1_700_000_000_000;

const POLICY: &str = r#"
[scopes]
send = ["POST /messages"]
[limits.a]
per = "token"
quota = 5
window_ms = 1000
[limits.b]
per = "account"
quota = 5
window_ms = 60000
algorithm = "fixed_window"
[limits.c]
per = "source_ip"
quota = 3
window_ms = 60000
algorithm = "sliding_window"
[routes."POST /messages"]
idempotency = true
price = 3
"#;

thread_local! {
    static ENGINE: Engine = Engine::new(tollgate::CompiledPolicy::from_toml(POLICY).unwrap());
}

/// Of a charge: it is over after a second, and its record after a minute.
const CHARGE: ChargeRule = ChargeRule {
    price: Some(Amount(3)),
    lease_ms: 1_000,
    on_expiry: OnExpiry::Void,
    retention_ms: 60_000,
};

fn account(which: u8) -> AccountId {
    AccountId::new(["acme", "globex", "initech"][usize::from(which % 3)]).unwrap()
}

fn digest(which: u8) -> TokenDigest {
    TokenDigest::new([which % 6 + 1; 32])
}

/// One command, in small numbers.
#[derive(Arbitrary, Debug)]
pub struct Asked {
    what: u8,
    account: u8,
    token: u8,
    number: u8,
    amount: u16,
    later_ms: u32,
    flags: u8,
}

fn response() -> StoredResponse {
    let headers = [("etag".into(), b"1".as_slice().into())].into();
    StoredResponse { status: 201, headers, body: Some(b"sent".as_slice().into()) }
}

impl Asked {
    /// Gives the command to `work`, with its time.
    pub fn perform(&self, work: impl FnOnce(&Command<'_>, u64)) {
        let now_ms = NOW_MS + u64::from(self.later_ms);
        let (id, token, other) = (account(self.account), digest(self.token), digest(self.number));
        // What the store gives out, or a name: never a number that it has not given.
        let named = match self.flags & 64 {
            0 => AccountRef::Slot(u32::from(self.account % 3)),
            _ => AccountRef::Id(id.clone()),
        };
        let (account, amount) = (&id, Amount(self.amount.into()));
        let reservation = ReservationId(u64::from(self.number % 8));
        let response = (self.flags & 1 == 1).then(|| response().into());
        let finish = match self.flags >> 1 & 3 {
            0 | 1 => Finish::Settle { amount: (self.flags & 8 == 8).then_some(amount), response },
            2 => Finish::Void { response },
            _ => Finish::Unknown,
        };
        let networks = (self.flags & 1 == 1).then(|| vec!["192.0.2.0/24".parse().unwrap()]);
        let cap = SpendCap { per: tollgate::Period::Day, amount, shadow: false };
        let spend_caps = (self.flags & 2 == 2).then(|| vec![cap]);
        let administration = match self.what % 24 {
            0 => Administration::PutAccount {
                account,
                opening_balance: amount,
                settings: AccountPatch { networks, spend_caps, senders: None },
            },
            1 => Administration::PutToken {
                digest: &token,
                account,
                settings: TokenPatch {
                    scopes: Some(vec!["send".into()]),
                    networks,
                    spend_caps,
                    ..Default::default()
                },
            },
            2 => Administration::RevokeToken { digest: &token },
            3 => Administration::RotateToken { old: &token, new: &other, grace_ms: amount.0 },
            4 => Administration::Deposit { account, amount },
            5 => {
                Administration::Refund { account: &named, reservation, amount, reference: "again" }
            }
            6 => Administration::Resolve { account, reservation, finish: finish.clone() },
            7 => Administration::Inspect { account },
            8 => Administration::ListAccounts {
                after: (self.flags & 1 == 1).then_some(account),
                at_most: 2,
            },
            9 => Administration::ListTokens { account },
            10 => Administration::ListReservations { account },
            11 => Administration::NameAccount { account: &named },
            _ => Administration::Expire,
        };
        ENGINE.with(|engine| {
            let policy = engine.policy();
            let limits = policy.limits(None);
            let plain = PlainAdmit { granted_by: policy.scopes().set(["send"]), limits };
            let idempotency = self.idempotency();
            let admit = self.admit(&token, &named, limits, &idempotency);
            work(
                &match self.what % 24 {
                    12..=14 => Command::Lookup(Lookup {
                        digest: &token,
                        scopes: policy.scopes(),
                        plain: (self.what % 24 != 12).then_some(plain),
                    }),
                    15..=18 => Command::Admit(admit),
                    19..=21 => {
                        Command::Settle(Settle { account: &named, reservation, finish: &finish })
                    }
                    _ => Command::Administer(&administration),
                },
                now_ms,
            );
        });
    }

    fn idempotency(&self) -> Idempotency {
        let rule = IdempotencyRule {
            required: false,
            retention_ms: 60_000,
            on_orphan: if self.flags & 32 == 32 { OnOrphan::Rerun } else { OnOrphan::Conflict },
            on_store_failure: tollgate::FailureMode::Closed,
        };
        let (claim, fingerprint) =
            (ClaimKey([self.number % 4; 32]), Fingerprint([self.flags & 1; 32]));
        match self.flags >> 4 & 1 {
            0 => Idempotency::Absent,
            _ => Idempotency::Key { claim, fingerprint, rule },
        }
    }

    fn admit<'a>(
        &self,
        token: &'a TokenDigest,
        account: &'a AccountRef,
        limits: &'a [Limit],
        idempotency: &'a Idempotency,
    ) -> Admit<'a> {
        let mode =
            [Mode::Apply, Mode::Apply, Mode::Peek, Mode::Observe][usize::from(self.flags & 3)];
        Admit {
            mode,
            source: Some([192, 0, 2, self.number % 4].into()),
            idempotency: if mode == Mode::Observe { &Idempotency::Absent } else { idempotency },
            charge: (self.flags & 8 == 8 && mode != Mode::Observe)
                .then_some(Amount(1 + u64::from(self.amount) % 8)),
            charge_rule: &CHARGE,
            detail: self.flags & 128 == 128,
            ..Admit::limits_only(token, account, limits)
        }
    }
}

/// Whether an outcome is one that the command's documentation names.
pub fn fits(command: &Command<'_>, outcome: &Outcome) -> bool {
    let refused = matches!(outcome, Outcome::Refused(_));
    match command {
        Command::Lookup(_) => matches!(outcome, Outcome::LookedUp(_)),
        Command::Admit(_) => refused || matches!(outcome, Outcome::Admission(_)),
        Command::Settle(_) => refused || matches!(outcome, Outcome::Settled(_)),
        Command::Administer(administration) => match administration {
            Administration::Resolve { .. } => refused || matches!(outcome, Outcome::Settled(_)),
            Administration::Inspect { .. } => refused || matches!(outcome, Outcome::Account(_)),
            Administration::ListAccounts { .. } => {
                matches!(outcome, Outcome::Accounts(found) if found.len() <= 2)
            }
            Administration::ListTokens { .. } => refused || matches!(outcome, Outcome::Tokens(_)),
            Administration::ListReservations { .. } => {
                refused || matches!(outcome, Outcome::Reservations(_))
            }
            Administration::NameAccount { .. } => refused || matches!(outcome, Outcome::Name(_)),
            Administration::Expire => matches!(outcome, Outcome::Expired(_)),
            _ => refused || matches!(outcome, Outcome::Done),
        },
        _ => false,
    }
}

/// All that a store has after a few commands of every kind.
pub fn entries() -> Entries {
    let store = KvStore::open(MemoryMap::default(), &KvOptions::default()).unwrap();
    let admin = Admin::new(&store);
    for which in 0..3 {
        let caps =
            vec![SpendCap { per: tollgate::Period::Month, amount: Amount(90), shadow: false }];
        let settings = AccountPatch { spend_caps: Some(caps), ..Default::default() };
        admin.put_account(&account(which), Amount(100), settings, NOW_MS).unwrap();
        let settings = TokenPatch { scopes: Some(vec!["send".into()]), ..Default::default() };
        admin.put_token(&digest(which), &account(which), settings, NOW_MS).unwrap();
    }
    admin.rotate_token(&digest(0), &digest(3), 60_000, NOW_MS).unwrap();
    let ask = |what: u8, token: u8, number: u8, flags: u8| {
        let asked = Asked { what, account: token, token, number, amount: 3, later_ms: 5, flags };
        asked.perform(|command, now_ms| {
            store.perform(command, now_ms).unwrap();
        });
    };
    for token in 0..2 {
        ask(13, token, 0, 0);
        // Three executions with keys, a charge each.
        for number in 0..3 {
            ask(15, token, number, 64 | 16 | 8);
        }
        ask(19, token, 1, 64 | 1);
        ask(20, token, 2, 64 | 4);
        ask(5, token, 1, 64);
    }
    store.verify().unwrap();
    store.map().entries().into_iter().collect()
}
