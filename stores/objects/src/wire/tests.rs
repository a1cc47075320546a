//! Any message and any answer come through; what is neither does no harm.
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

use std::borrow::Cow;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use tollgate::*;

use super::*;
use crate::answer::{Answer, Found};
use crate::failure::Failure;
use crate::message::{AdmitMessage, Counter, Message, Plain, Taken};

/// A limit, which only a policy or bytes make.
pub(crate) fn limit(partition: Partition) -> Limit {
    limit_of("calls", 7, partition, Quota::new(10, 1_000), 1)
}

fn limit_of(name: &str, id: u64, partition: Partition, quota: Quota, cost: u64) -> Limit {
    let rest = (Algorithm::Gcra, Counts::Requests, cost, false, false, FailureMode::Closed);
    let bytes = postcard::to_allocvec(&(name, id, partition, quota, rest)).unwrap();
    postcard::from_bytes(&bytes).unwrap()
}

fn digest() -> impl Strategy<Value = TokenDigest> {
    let few = (0..3_u8).prop_map(|number| TokenDigest::new([number; 32]));
    prop_oneof![few, any::<[u8; 32]>().prop_map(TokenDigest::new)]
}

fn account() -> impl Strategy<Value = AccountId> {
    let name = prop_oneof![3 => Just("acme".to_owned()), 1 => "[^\\p{Cc}]{1,30}"];
    name.prop_map(|name| AccountId::new(&name).unwrap())
}

fn amount() -> impl Strategy<Value = Amount> {
    any::<u64>().prop_map(Amount)
}

fn words() -> impl Strategy<Value = Vec<Box<str>>> {
    vec("\\PC{0,9}".prop_map(Box::from), 0..4)
}

fn networks() -> impl Strategy<Value = Vec<IpNet>> {
    let network = select(vec!["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32"]);
    vec(network.prop_map(|network| network.parse().unwrap()), 0..3)
}

fn caps() -> impl Strategy<Value = Vec<SpendCap>> {
    let per = select(vec![Period::Day, Period::Month, Period::Lifetime]);
    let cap = (per, amount(), any::<bool>());
    vec(cap.prop_map(|(per, amount, shadow)| SpendCap { per, amount, shadow }), 0..3)
}

fn quota() -> impl Strategy<Value = Quota> {
    let quota = (any::<u64>(), any::<u64>(), any::<u64>());
    quota.prop_map(|(units, window_ms, burst)| Quota { units, window_ms, burst })
}

fn partition() -> impl Strategy<Value = Partition> {
    use Partition::{Account, AccountSourceIp, Global, SourceIp, Token, TokenSourceIp};
    select(vec![Token, Account, SourceIp, TokenSourceIp, AccountSourceIp, Global])
}

pub(crate) fn limits() -> impl Strategy<Value = Cow<'static, [Limit]>> {
    let parts = ("\\PC{0,9}", any::<u64>(), partition(), quota(), any::<u64>());
    let one = parts
        .prop_map(|(name, id, partition, quota, cost)| limit_of(&name, id, partition, quota, cost));
    vec(one, 0..4).prop_map(Cow::Owned)
}

fn cell() -> impl Strategy<Value = Cell> {
    prop_oneof![
        any::<u64>().prop_map(|tat_ns| Cell::Gcra(GcraCell { tat_ns })),
        (any::<u64>(), any::<u64>())
            .prop_map(|(start_ms, used)| Cell::FixedWindow(FixedCell { start_ms, used })),
        (any::<u64>(), any::<u64>(), any::<[u32; 17]>()).prop_map(|(part_ms, newest, counts)| {
            Cell::SlidingWindow(SlidingCell { part_ms, newest, counts })
        }),
    ]
}

fn cell_key() -> impl Strategy<Value = CellKey> {
    let key = (any::<u64>(), any::<[u8; 32]>());
    key.prop_map(|(limit, partition)| CellKey { limit: LimitId(limit), partition })
}

fn counter() -> impl Strategy<Value = Counter> {
    let algorithm = select(vec![Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow]);
    let counts = select(vec![Counts::Requests, Counts::Executions]);
    (cell_key(), algorithm, quota(), any::<u64>(), counts, any::<bool>()).prop_map(
        |(key, algorithm, quota, cost, counts, enforced)| Counter {
            key,
            algorithm,
            quota,
            cost,
            counts,
            enforced,
        },
    )
}

fn token() -> impl Strategy<Value = Token> {
    let quota = of((any::<u64>(), any::<u64>()));
    let quota =
        quota.prop_map(|quota| quota.map(|(limit, window_ms)| TokenQuota { limit, window_ms }));
    let rest = (of(any::<u64>()), any::<bool>(), of(digest()));
    (account(), words(), networks(), quota, caps(), rest).prop_map(
        |(account, scopes, networks, quota, spend_caps, (expires_ms, revoked, ancestor))| Token {
            account,
            scopes,
            networks,
            quota,
            spend_caps,
            expires_ms,
            revoked,
            ancestor,
        },
    )
}

fn response() -> impl Strategy<Value = Arc<StoredResponse>> {
    let header = ("[a-z-]{1,9}".prop_map(Box::from), vec(any::<u8>(), 0..9).prop_map(Box::from));
    let body = of(vec(any::<u8>(), 0..99).prop_map(Box::from));
    (any::<u16>(), vec(header, 0..3), body).prop_map(|(status, headers, body)| {
        Arc::new(StoredResponse { status, headers: headers.into(), body })
    })
}

fn finish() -> impl Strategy<Value = Finish> {
    prop_oneof![
        (of(amount()), of(response()))
            .prop_map(|(amount, response)| Finish::Settle { amount, response }),
        of(response()).prop_map(|response| Finish::Void { response }),
        Just(Finish::Unknown),
    ]
}

fn idempotency() -> impl Strategy<Value = Idempotency> {
    let key = (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<u64>(), any::<bool>());
    let key = key.prop_map(|(claim, fingerprint, retention_ms, required)| Idempotency::Key {
        claim: ClaimKey(claim),
        fingerprint: Fingerprint(fingerprint),
        rule: IdempotencyRule {
            required,
            retention_ms,
            on_orphan: if required { OnOrphan::Rerun } else { OnOrphan::Conflict },
            on_store_failure: FailureMode::Open,
        },
    });
    prop_oneof![Just(Idempotency::Absent), Just(Idempotency::Invalid), key]
}

fn denial() -> impl Strategy<Value = Denial> {
    prop_oneof![
        (any::<u16>(), any::<u64>())
            .prop_map(|(limit, retry_at_ms)| Denial::RateLimited { limit, retry_at_ms }),
        amount().prop_map(|available| Denial::InsufficientBalance { available }),
        amount().prop_map(|left| Denial::SpendCapExceeded {
            holder: CapHolder::Token,
            per: Period::Month,
            left
        }),
        Just(Denial::InFlight),
        Just(Denial::SenderNotApproved),
    ]
}

fn admit() -> impl Strategy<Value = Message<'static>> {
    let ask =
        (select(vec![Mode::Apply, Mode::Peek, Mode::Observe]), digest(), of(token()), account());
    let seen = (of(any::<u64>()), of(any::<IpAddr>()), limits(), of(denial()));
    let charge = of((1..=u64::MAX).prop_map(Amount)); // never nothing: see `Admit`
    let wants = (idempotency(), of("\\PC{0,9}"), any::<bool>(), charge);
    let rest = (any::<[u64; 2]>(), any::<bool>(), vec((cell_key(), of(cell())), 0..3));
    (ask, seen, wants, rest).prop_map(|(ask, seen, wants, rest)| {
        let (mode, token, token_record, account) = ask;
        let (revision, source, limits, refused_elsewhere) = seen;
        let (idempotency, sender, invalid, charge) = wants;
        let ([lease_ms, retention_ms], detail, elsewhere) = rest;
        Message::Admit(Box::new(AdmitMessage {
            mode,
            token,
            token_record: token_record.map(Cow::Owned),
            account,
            revision,
            source,
            limits,
            refused_elsewhere: refused_elsewhere.map(Cow::Owned),
            idempotency,
            sender: sender.map(Cow::Owned),
            invalid,
            charge,
            charge_rule: ChargeRule {
                price: charge,
                lease_ms,
                on_expiry: OnExpiry::Hold,
                retention_ms,
            },
            detail,
            elsewhere,
        }))
    })
}

pub(crate) fn message() -> impl Strategy<Value = Message<'static>> {
    let id = || prop_oneof![1..4_u64, any::<u64>()].prop_map(ReservationId);
    let account_patch = (of(networks()), of(caps()), of(words()));
    let account_patch = account_patch.prop_map(|(networks, spend_caps, senders)| AccountPatch {
        networks,
        spend_caps,
        senders,
    });
    let token_patch = (of(words()), of(networks()), of(of(any::<u64>())), of(caps()));
    let token_patch =
        token_patch.prop_map(|(scopes, networks, expires_ms, spend_caps)| TokenPatch {
            scopes,
            networks,
            quota: expires_ms.map(|limit| limit.map(|limit| TokenQuota { limit, window_ms: 1 })),
            spend_caps,
            expires_ms,
        });
    let taken = (counter(), of(cell())).prop_map(|(counter, before)| Taken { counter, before });
    let plain = (words(), limits()).prop_map(|(granted_by, limits)| Plain { granted_by, limits });
    prop_oneof![
        digest().prop_map(|digest| Message::Owner { digest }),
        (digest(), account()).prop_map(|(digest, account)| Message::Claim { digest, account }),
        account().prop_map(|account| Message::Register { account }),
        account().prop_map(|account| Message::Confirm { account }),
        (of(account()), any::<u32>())
            .prop_map(|(after, at_most)| Message::Names { after, at_most }),
        vec(counter(), 0..4).prop_map(|counters| Message::Read { counters }),
        vec(counter(), 0..4).prop_map(|counters| Message::Take { counters }),
        (vec(taken, 0..4), any::<u64>())
            .prop_map(|(taken, at_ms)| Message::GiveBack { taken, at_ms }),
        (account(), digest(), of(plain)).prop_map(|(account, digest, plain)| Message::LookUp {
            account,
            digest,
            plain
        }),
        admit(),
        (account(), id(), finish()).prop_map(|(account, reservation, finish)| Message::Settle {
            account,
            reservation,
            finish: Cow::Owned(finish)
        }),
        (account(), amount(), account_patch).prop_map(|(account, opening_balance, settings)| {
            Message::PutAccount { account, opening_balance, settings: Cow::Owned(settings) }
        }),
        (account(), digest(), token_patch, any::<bool>()).prop_map(
            |(account, digest, settings, claimed)| Message::PutToken {
                account,
                digest,
                settings: Cow::Owned(settings),
                claimed
            }
        ),
        digest().prop_map(|digest| Message::RevokeToken { digest }),
        (digest(), digest(), any::<u64>(), any::<bool>()).prop_map(
            |(old, new, grace_ms, claimed)| Message::RotateToken { old, new, grace_ms, claimed }
        ),
        (account(), amount()).prop_map(|(account, amount)| Message::Deposit { account, amount }),
        (account(), id(), amount(), "\\PC{0,20}").prop_map(
            |(account, reservation, amount, reference)| Message::Refund {
                account,
                reservation,
                amount,
                reference: Cow::Owned(reference)
            }
        ),
        (account(), id(), finish()).prop_map(|(account, reservation, finish)| Message::Resolve {
            account,
            reservation,
            finish: Cow::Owned(finish)
        }),
        account().prop_map(|account| Message::Inspect { account }),
        account().prop_map(|account| Message::ListTokens { account }),
        account().prop_map(|account| Message::ListReservations { account }),
        account().prop_map(|account| Message::NameAccount { account }),
        Just(Message::Expire),
    ]
}

fn admission() -> impl Strategy<Value = Admission> {
    let verdict = prop_oneof![
        of(any::<u64>())
            .prop_map(|id| AdmitVerdict::Admitted { reservation: id.map(ReservationId) }),
        response().prop_map(AdmitVerdict::Replay),
        denial().prop_map(AdmitVerdict::Denied),
        Just(AdmitVerdict::CredentialChanged),
    ];
    let report = (any::<u16>(), quota(), any::<u64>(), any::<u64>());
    let report = report.prop_map(|(limit, quota, remaining, reset_ms)| LimitReport {
        limit,
        quota,
        left: Left { remaining, reset_ms },
    });
    let report = report.boxed();
    let shadows = (any::<u64>(), any::<bool>(), any::<bool>());
    let detail = (vec((report.clone(), of(of(any::<u64>()))), 0..3), amount());
    let detail = detail.prop_map(|(limits, available)| {
        let limits =
            limits.into_iter().map(|(report, refused)| (report, refused.map_or(Ok(()), Err)));
        Box::new(AdmitDetail { limits: limits.collect(), spend_caps: Vec::new(), available })
    });
    (verdict, of(report), shadows, of(detail)).prop_map(|(verdict, tightest, shadows, detail)| {
        let (limits, spend_caps, networks) = shadows;
        Admission { verdict, tightest, shadows: Shadows { limits, spend_caps, networks }, detail }
    })
}

pub(crate) fn answer() -> impl Strategy<Value = Answer> {
    let found = (token(), networks(), any::<u64>()).prop_map(|(token, networks, revision)| {
        let settings = AccountSettings { networks, ..AccountSettings::default() };
        Found { token: Arc::new(token), settings: Some(Arc::new(settings)), revision }
    });
    let failure = prop_oneof![
        "\\PC{0,20}".prop_map(|what| Failure::Full(what.into())),
        "\\PC{0,20}".prop_map(|what| Failure::Unavailable(what.into())),
        Just(Failure::Corrupt("a token".into())),
        Just(Failure::NewerFormat { found: 7, known: 3 }),
        Just(Failure::WrongOutcome),
    ];
    let reservation = (amount(), digest(), vec("\\PC{0,9}".prop_map(Box::from), 0..3));
    let reservation = reservation.prop_map(|(amount, token, references)| Reservation {
        amount,
        token,
        account_counted: CountedIn::default(),
        token_counted: CountedIn::default(),
        lease_until_ms: amount.0,
        on_expiry: OnExpiry::Settle,
        retention_ms: 5,
        claim: Some(ClaimKey([9; 32])),
        state: ReservationState::Posted {
            amount,
            refunds: references.into_iter().map(|name| (name, amount)).collect(),
            by_expiry: true,
        },
    });
    let wallet = amount().prop_map(|balance| Wallet { balance, ..Wallet::default() });
    prop_oneof![
        failure.prop_map(Answer::Failed),
        select(vec![Refusal::UnknownAccount, Refusal::ForeignToken, Refusal::ClockOutOfRange])
            .prop_map(Answer::Refused),
        Just(Answer::Done),
        of(account()).prop_map(Answer::Owner),
        any::<bool>().prop_map(|confirmed| Answer::Registered { confirmed }),
        vec((account(), any::<bool>()), 0..4).prop_map(Answer::Names),
        (vec((of(cell()), any::<bool>()), 0..4), any::<u64>())
            .prop_map(|(cells, at_ms)| Answer::Cells { cells, at_ms }),
        (of(found), of(admission())).prop_map(|(found, admission)| Answer::Found(found, admission)),
        admission().prop_map(Answer::Admission),
        of(amount()).prop_map(|posted| Answer::Settled(Settled { posted })),
        Just(Answer::ClaimFirst),
        (wallet, caps()).prop_map(|(wallet, spend_caps)| {
            let settings = AccountSettings { spend_caps, ..AccountSettings::default() };
            Answer::Account(Box::new(AccountView { wallet, settings: Arc::new(settings) }))
        }),
        vec((digest(), token().prop_map(Arc::new)), 0..3).prop_map(Answer::Tokens),
        vec((any::<u64>().prop_map(ReservationId), reservation), 0..3)
            .prop_map(Answer::Reservations),
        account().prop_map(Answer::Name),
        any::<u64>().prop_map(Answer::Expired),
    ]
}

fn comes_through<T: Serialize + DeserializeOwned + Debug>(content: &T) -> Vec<u8> {
    let bytes = encode(content).unwrap();
    let read: T = decode(&bytes).unwrap();
    assert_eq!(format!("{read:?}"), format!("{content:?}"));
    assert_eq!(encode(&read).unwrap(), bytes);
    for end in 0..bytes.len() {
        assert!(decode::<T>(&bytes[..end]).is_err(), "{content:?} in {end} bytes");
    }
    bytes
}

/// Decodes what may be anything, and looks at what memory that takes.
fn does_no_harm(bytes: &[u8]) {
    let mut sound = false;
    let memory = allocation_counter::measure(|| {
        sound = decode::<Envelope<Message<'_>>>(bytes).is_ok();
        sound |= decode::<Answer>(bytes).is_ok();
    });
    let most = 4_096 + 512 * u64::try_from(bytes.len()).unwrap();
    assert!(memory.bytes_max <= most, "{memory:?} for {} bytes, read: {sound}", bytes.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_message_comes_through(
        now_ms in any::<u64>(),
        message in message(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = comes_through(&Envelope { now_ms, message });
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
            does_no_harm(&bytes);
        }
    }

    #[test]
    fn any_answer_comes_through(
        answer in answer(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = comes_through(&answer);
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
            does_no_harm(&bytes);
        }
    }

    #[test]
    fn any_bytes_do_no_harm(kind in 0..32_u8, mut bytes in vec(any::<u8>(), 0..300)) {
        does_no_harm(&bytes);
        // Past the version, into every kind of message.
        bytes.splice(0..0, [VERSION, 9, kind]);
        does_no_harm(&bytes);
    }
}

#[test]
fn long_lists_that_are_not_there_take_no_memory() {
    // An answer with 2^40 names, and one with as many cells.
    for kind in 0..20 {
        let mut bytes = vec![VERSION, kind];
        bytes.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0x3f]);
        does_no_harm(&bytes);
        bytes.insert(1, 0);
        does_no_harm(&bytes);
    }
}

#[test]
fn another_version_is_told_from_nonsense() {
    let mut bytes = encode(&Answer::Done).unwrap();
    bytes[0] = 9;
    let error = decode::<Answer>(&bytes).unwrap_err().to_string();
    assert!(error.contains("version 9") && error.contains("version 1"), "{error}");
    for nonsense in [&[][..], &[VERSION], &[VERSION, 200], &[VERSION, 2, 0]] {
        let error = decode::<Answer>(nonsense).unwrap_err().to_string();
        assert!(error.contains("of version 1"), "{error}");
    }
}

#[test]
fn errors_are_the_same_on_the_other_side() {
    let errors = [
        StoreError::Full { what: "idempotency claims" },
        StoreError::Corrupt { what: "an account's money" },
        StoreError::Unavailable { reason: "no".into() },
        StoreError::NewerFormat { found: 9, known: 2 },
        StoreError::WrongOutcome,
    ];
    for error in errors {
        let bytes = encode(&Failure::from(error.clone())).unwrap();
        let read: Failure = decode(&bytes).unwrap();
        assert_eq!(StoreError::from(read), error);
    }
    let strange = StoreError::from(Failure::Full("a word of a later version".into()));
    assert_eq!(strange, StoreError::Full { what: "records" });
}
