//! Random steps.

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::select;
use tollgate::{Period, PolicyConfig};

use crate::model::{Cap, End, Response};
use crate::world::policy::policy;

#[derive(Clone, Debug)]
pub enum Clock {
    Stay,
    Ahead(u64),
    Back(u64),
    /// So many milliseconds after the next whole second, day, month.
    Second(i64),
    Day(i64),
    Month(i64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Probe {
    No,
    Peek,
    Explain,
}

/// A request, in numbers that are folded into the world.
#[derive(Clone, Debug)]
pub struct Asked {
    pub token: usize,
    pub route: usize,
    pub query: bool,
    pub source: usize,
    pub key: usize,
    pub body: u8,
    pub cost: Option<u64>,
    pub sender: Option<u8>,
    pub invalid: bool,
}

#[derive(Clone, Debug)]
pub enum Step {
    Clock(Clock),
    Request(Asked, Probe),
    Finish {
        which: usize,
        end: End,
        operator: bool,
    },
    Deposit {
        account: usize,
        amount: u64,
    },
    Refund {
        which: usize,
        amount: u64,
        reference: u8,
    },
    Account {
        account: usize,
        networks: Option<Vec<IpNet>>,
        caps: Option<Vec<Cap>>,
        senders: Option<Vec<String>>,
    },
    Token {
        token: usize,
        networks: Option<Vec<IpNet>>,
        quota: Option<Option<(u64, u64)>>,
        caps: Option<Vec<Cap>>,
        expires_in_ms: Option<Option<u64>>,
    },
    Revoke {
        token: usize,
    },
    Rotate {
        token: usize,
        grace_ms: u64,
    },
    Expire,
    Reload(Box<PolicyConfig>),
}

fn clock() -> impl Strategy<Value = Clock> {
    let around = || select(vec![-1_i64, 0, 1, 500]);
    prop_oneof![
        2 => Just(Clock::Stay),
        4 => (1..30_u64).prop_map(Clock::Ahead),
        4 => (100..2_500_u64).prop_map(Clock::Ahead),
        2 => select(vec![5_000_u64, 5_001, 30_000, 60_000, 300_000]).prop_map(Clock::Ahead),
        2 => (1..3_000_u64).prop_map(Clock::Back),
        1 => (3_000..50_000_u64).prop_map(Clock::Back),
        2 => around().prop_map(Clock::Second),
        1 => around().prop_map(Clock::Day),
        1 => around().prop_map(Clock::Month),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    (
        (prop_oneof![1 => 0..2_usize, 12 => 2..12_usize], 0..6_usize, prop::bool::weighted(0.1)),
        (0..5_usize, 0..7_usize, prop_oneof![6 => Just(0_u8), 1 => Just(1_u8)]),
        prop::option::weighted(0.4, 0..30_u64),
        prop::option::weighted(0.2, 0..2_u8),
        prop::bool::weighted(0.08),
    )
        .prop_map(|((token, route, query), (source, key, body), cost, sender, invalid)| {
            Asked { token, route, query, source, key, body, cost, sender, invalid }
        })
}

fn response() -> impl Strategy<Value = Option<Response>> {
    let body = prop::option::weighted(0.8, select(vec![b"sent".to_vec(), b"failed".to_vec()]));
    let response = (select(vec![201_u16, 500]), body);
    prop::option::of(response.prop_map(|(status, body)| Response { status, body }))
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => (prop::option::weighted(0.4, 0..15_u64), response())
            .prop_map(|(amount, response)| End::Settle { amount, response }),
        3 => response().prop_map(|response| End::Void { response }),
        1 => Just(End::Unknown),
    ]
}

fn networks() -> impl Strategy<Value = Option<Vec<IpNet>>> {
    let list = prop_oneof![
        3 => Just(vec![]),
        1 => Just(vec!["192.0.2.0/24"]),
        1 => Just(vec!["192.0.2.8/32", "2001:db8:1:2::/64"]),
    ];
    let parse = |list: Vec<&str>| list.into_iter().map(|text| text.parse().unwrap()).collect();
    prop::option::of(list.prop_map(parse))
}

fn caps() -> impl Strategy<Value = Option<Vec<Cap>>> {
    let per = select(vec![Period::Day, Period::Month, Period::Lifetime]);
    let cap = (per, 0..60_u64, prop::bool::weighted(0.25)).prop_map(|(per, amount, shadow)| Cap {
        per,
        amount,
        shadow,
    });
    prop::option::of(prop::collection::vec(cap, 0..3))
}

fn senders() -> impl Strategy<Value = Option<Vec<String>>> {
    prop::option::of(select(vec![vec![], vec!["sender-0".to_owned()]]))
}

pub fn step() -> impl Strategy<Value = Step> {
    let probe =
        prop_oneof![6 => Just(Probe::No), 1 => Just(Probe::Peek), 1 => Just(Probe::Explain)];
    let quota = select(vec![(0, 1_000), (1, 1_000), (3, 1_000), (9, 60_000), (2, 250)]);
    let expires = prop::option::weighted(0.5, select(vec![0_u64, 1_000, 20_000]));
    prop_oneof![
        20 => clock().prop_map(Step::Clock),
        50 => (asked(), probe).prop_map(|(asked, probe)| Step::Request(asked, probe)),
        20 => (0..8_usize, end(), prop::bool::weighted(0.25))
            .prop_map(|(which, end, operator)| Step::Finish { which, end, operator }),
        4 => (0..3_usize, 0..50_u64)
            .prop_map(|(account, amount)| Step::Deposit { account, amount }),
        5 => (0..8_usize, 0..8_u64, 0..3_u8)
            .prop_map(|(which, amount, reference)| Step::Refund { which, amount, reference }),
        3 => (0..3_usize, networks(), caps(), senders()).prop_map(
            |(account, networks, caps, senders)| Step::Account { account, networks, caps, senders }
        ),
        3 => (0..8_usize, networks(), prop::option::of(prop::option::of(quota)), caps(),
            prop::option::weighted(0.2, expires))
            .prop_map(|(token, networks, quota, caps, expires_in_ms)| Step::Token {
                token, networks, quota, caps, expires_in_ms,
            }),
        1 => (0..8_usize).prop_map(|token| Step::Revoke { token }),
        2 => (0..8_usize, select(vec![0_u64, 1, 5_000]))
            .prop_map(|(token, grace_ms)| Step::Rotate { token, grace_ms }),
        4 => Just(Step::Expire),
        1 => policy().prop_map(|policy| Step::Reload(Box::new(policy))),
    ]
}
