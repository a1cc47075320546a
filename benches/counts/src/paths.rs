//! The hot paths.

use std::hint::black_box;

use tollgate::{
    AccountId, AccountRef, Admin, CellKey, Command, Decision, Limit, LimitStore, PolicyConfig,
    Status, Verdict, preset,
};
use tollgate_region::{Region, RegionOptions};

use crate::world::{KEEP_MS, START_MS, World, at, bearer, get_request, token};
use crate::{CALLS, hot, planted};

const MESSAGES: &[u8] = b"/messages";

pub(crate) fn count() {
    gets();
    denials();
    posts();
    around();
    region();
}

/// Allowed GETs over a thousand tokens, each of which was seen before.
fn gets() {
    let world = World::new();
    let allowed = |number: usize| {
        let decision = world.get(world.value(number), MESSAGES, at(number));
        assert_eq!(decision.verdict(), Verdict::Allow);
    };
    (0..CALLS).for_each(allowed);
    hot("get_allow", |number| allowed(CALLS + number));
    // The comparison must see a slow-down: this one is some hundreds of instructions.
    planted("get_allow", |number| {
        allowed(2 * CALLS + number);
        for spin in 0..200_u64 {
            black_box(spin);
        }
    });

    let parameter = |number: usize| {
        let decision = world.get(world.value(number), b"/messages/msg_123", at(number));
        assert_eq!(decision.verdict(), Verdict::Allow);
    };
    hot("get_allow_parameter", |number| parameter(3 * CALLS + number));
    let answers: Vec<Decision> =
        (0..CALLS).map(|n| world.get(world.value(n), MESSAGES, at(4 * CALLS + n))).collect();
    hot("answer_allow", |number| {
        assert_eq!(black_box(world.engine.answer(&answers[number])).status, 200);
    });
}

fn denials() {
    let world = World::new();
    let denied = |value: &str, target: &[u8], status: Status| {
        assert_eq!(world.get(value, target, START_MS).status(), status);
    };
    let stranger = |number: usize| bearer(&token(1_000_000 + number as u64));
    let strangers: Vec<String> = (0..CALLS).map(stranger).collect();
    hot("unknown_token", |number| denied(&strangers[number], MESSAGES, Status::InvalidToken));

    let mut malformed = strangers.clone();
    malformed.iter_mut().for_each(|value| {
        let last = value.pop();
        value.push(if last == Some('0') { '1' } else { '0' });
    });
    hot("malformed_token", |number| denied(&malformed[number], MESSAGES, Status::InvalidToken));
    // One token for all: it carries the path of 1 KiB and no limit that would run out.
    let long = [b"/messages/".as_slice(), &[b'a'; 1_014], b"/b"].concat();
    hot("long_path", |number| {
        let status = world.get(world.value(number), &long, at(number)).status();
        assert_eq!(status, Status::InsufficientScope);
    });

    let busy = world.value(0);
    while world.get(busy, MESSAGES, START_MS).status() == Status::Allowed {}
    hot("get_limited", |_| denied(busy, MESSAGES, Status::RateLimited));
    let limited = world.get(busy, MESSAGES, START_MS);
    hot("answer_limited", |_| {
        assert_eq!(black_box(world.engine.answer(&limited)).status, 429);
    });
    let unknown = world.get(&strangers[0], MESSAGES, START_MS);
    hot("answer_unknown_token", |_| {
        assert_eq!(black_box(world.engine.answer(&unknown)).status, 401);
    });
}

/// A POST in its parts, then whole.
fn posts() {
    let world = World::new();
    let keys: Vec<String> = (0..12 * CALLS).map(|number| format!("{number:k>24}")).collect();
    let post = |number: usize, key: usize| world.post(world.value(number), &keys[key], at(number));
    let settled = |number: usize, key: usize| {
        let decision = post(number, key);
        assert_eq!(decision.verdict(), Verdict::Allow);
        world.settle(&decision, at(number) + 1);
    };
    // Maps grow to the size at which they stay.
    (0..4 * CALLS).for_each(|number| settled(number, number));

    let first = 4 * CALLS;
    let mut decisions = Vec::with_capacity(CALLS);
    hot("post_claim_and_reserve", |number| decisions.push(post(first + number, first + number)));
    assert!(decisions.iter().all(|decision| decision.verdict() == Verdict::Allow));
    let second = first + CALLS;
    hot("settle_with_response", |number| {
        world.settle(&decisions[number], at(second));
    });
    hot("replay", |number| {
        let value = world.value(first + number);
        let replay = world.post(value, &keys[first + number], at(second));
        assert_eq!(replay.verdict(), Verdict::Replay);
    });
    // All that is there falls due at once; a call is one claim and its reservation.
    let third = second + CALLS;
    (0..CALLS).for_each(|number| settled(third + number, third + number));
    Admin::new(&world.store).expire(at(third) + KEEP_MS - 1).unwrap();
    let admin = Admin::new(&world.store);
    hot("expire", |number| {
        admin.expire(at(third + number) + 1 + KEEP_MS).unwrap();
    });
    let fourth = third + CALLS + usize::try_from(KEEP_MS).unwrap();
    // As many are made as fall due, once the first are old enough.
    let steady = |number: usize| settled(fourth + number, third + CALLS + number % (4 * CALLS));
    (0..3 * CALLS).for_each(steady);
    hot("post_cycle", |number| steady(3 * CALLS + number));
}

/// What hosts do beside decisions.
fn around() {
    let config = preset("sms-gateway").unwrap();
    hot("compile_preset", |_| {
        black_box(config.compile().unwrap());
    });
    let world = World::new();
    hot("explain", |number| {
        let value = world.value(number).as_bytes();
        let headers: [(&[u8], &[u8]); 2] = [(b"host", b"api.example"), (b"authorization", value)];
        let request = get_request(MESSAGES, at(number)).with_headers(&headers);
        black_box(world.engine.explain(&world.store, &request));
    });
}

/// Takes of cells that are there.
fn region() {
    let directory = tempfile::tempdir().unwrap();
    let options = RegionOptions { cells: 2 * CALLS, windows: 0 };
    let region = Region::open(directory.path().join("region"), &options, &[7; 16]).unwrap();
    let limit = limit();
    let keys = cell_keys(&limit, CALLS);
    let take = |number: usize| {
        let check = region.take(&keys[number], &limit, &limit.quota, at(number)).unwrap();
        assert!(check.verdict.is_ok());
    };
    (0..CALLS).for_each(take);
    hot("region_take", take);
}

/// A cell of this limit for each of so many tokens.
pub(crate) fn cell_keys(limit: &Limit, count: usize) -> Vec<CellKey> {
    let account = AccountRef::Id(AccountId::new("acme").unwrap());
    (0..count)
        .map(|number| tollgate::digest(&number.to_be_bytes(), None))
        .map(|digest| limit.cell_key(&digest, &account, None))
        .collect()
}

/// The preset's limit of tokens, as a store is given it.
pub(crate) fn limit() -> Limit {
    let config: PolicyConfig = preset("sms-gateway").unwrap();
    let engine = tollgate::Engine::new(config.compile().unwrap());
    let value = bearer(&token(7));
    let headers = [("authorization", value.as_str())];
    let request = get_request(b"/balance", START_MS).with_headers(&headers);
    let evaluation = engine.evaluate(&request);
    let Some(Command::Lookup(lookup)) = evaluation.command() else { unreachable!("no look-up") };
    lookup.plain.expect("nothing but a limit holds it back").limits[0].clone()
}
