//! What a hostile caller may choose, beside what an honest one sends: addresses, keys, token texts, header
//! lines. Each is counted on a store of its own, so that all meet the same maps.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use tollgate::{
    AccountPatch, Admin, Algorithm, Amount, Engine, LimitId, LimitStore, MemoryOptions,
    MemoryStore, PolicyConfig, Request, Status, TokenFormat, TokenPatch, TokenText,
};

use tollgate_region::{Region, RegionOptions};

use crate::paths::{cell_keys, limit};
use crate::world::{START_MS, account, bearer, token};
use crate::{honest, hostile};

/// Enough that the maps of 64 shards hold more than a few each.
pub(crate) const CALLS: usize = 2_048;

/// What is chosen may cost so many times what is not.
const AT_MOST: u64 = 5;

const POLICY: &str = r#"
tokens.format = "opaque"
source.trusted_proxies = ["10.0.0.0/8"]
[scopes]
all = ["GET /free", "POST /pay"]
[limits.source]
per = "source_ip"
quota = 1000000
window_ms = 60000
[routes."POST /pay"]
idempotency = true
"#;

pub(crate) fn count() {
    addresses();
    keys();
    strangers();
    lines();
    bounds();
    region_bound();
}

/// One account with one token, `acme`.
struct Shop {
    engine: Engine,
    store: MemoryStore,
}

impl Shop {
    fn new() -> Self {
        Shop::bounded(&MemoryOptions::default())
    }

    fn bounded(options: &MemoryOptions) -> Self {
        let engine = Engine::new(PolicyConfig::from_toml(POLICY).unwrap().compile().unwrap());
        let store = MemoryStore::new(*options);
        let admin = Admin::new(&store);
        admin.put_account(&account(1), Amount(0), AccountPatch::default(), START_MS).unwrap();
        let digest = engine.digest(&TokenText::parse(TokenFormat::Opaque, "acme").unwrap());
        let settings = TokenPatch { scopes: Some(vec!["all".into()]), ..TokenPatch::default() };
        admin.put_token(&digest, &account(1), settings, START_MS).unwrap();
        Shop { engine, store }
    }

    fn get(&self, peer: Ipv6Addr, lines: &[(&str, &str); 1], status: Status) {
        let request = Request {
            peer: Some(peer.into()),
            ..Request::new(b"GET", b"/free", START_MS).with_headers(lines)
        };
        assert_eq!(self.engine.decide(&self.store, &request).status(), status);
    }

    /// A POST, as it reads every header that is read at all; whatever the answer is.
    fn ask<const LINES: usize>(&self, peer: Ipv6Addr, lines: &[(&str, &str); LINES]) {
        let request = Request {
            peer: Some(peer.into()),
            ..Request::new(b"POST", b"/pay", START_MS).with_headers(lines)
        };
        black_box(self.engine.decide(&self.store, &request));
    }

    fn post(&self, key: &str, status: Status) {
        let headers = [("authorization", "Bearer acme"), ("idempotency-key", key)];
        let request = Request::new(b"POST", b"/pay", START_MS).with_headers(&headers);
        assert_eq!(self.engine.decide(&self.store, &request).status(), status);
    }
}

/// A number that looks random, and differs for each other number.
fn mixed(number: usize) -> u64 {
    let mut mixed = number as u64 ^ 0x5bd1_e995;
    for _ in 0..3 {
        mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    mixed ^ (mixed >> 29)
}

const ACME: [(&str, &str); 1] = [("authorization", "Bearer acme")];

fn network(prefix: u64) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(prefix) << 64 | 1)
}

/// A cell each, as every address is of another /64.
fn addresses() {
    let shop = Shop::new();
    honest("source", |number| shop.get(network(mixed(number)), &ACME, Status::Allowed));
    let count = |name: &str, prefix: fn(usize) -> u64| {
        let shop = Shop::new();
        hostile(name, "source", AT_MOST, |number| {
            shop.get(network(prefix(number)), &ACME, Status::Allowed);
        });
    };
    count("source_sequential", |number| 0x2001_0db8_0000_0000 + number as u64);
    count("source_same_low_bits", |number| 0x2001_0db8 + ((number as u64) << 52));
    count("source_same_high_bits", |number| 0x2001_0db8_ffff_ffff - ((number as u64) << 12));
}

/// Keys of the same length, as its hashing is paid by the byte.
fn keys() {
    let count = |key: fn(usize) -> String| {
        let shop = Shop::new();
        let keys: Vec<String> = (0..CALLS).map(key).collect();
        move |number: usize| shop.post(&keys[number], Status::Allowed)
    };
    honest("key", count(|number| format!("{:016x}", mixed(number)).repeat(15)));
    hostile("key_sequential", "key", AT_MOST, count(|number| format!("{number:0>240}")));
    hostile(
        "key_shared_prefix",
        "key",
        AT_MOST,
        count(|number| format!("{}{number:0>8}", "a".repeat(232))),
    );
    hostile(
        "key_shared_suffix",
        "key",
        AT_MOST,
        count(|number| format!("{number:0>8}{}", "a".repeat(232))),
    );
}

/// Tokens that nobody has. What is looked up is their SHA-256, which nobody can choose.
fn strangers() {
    let count = |value: fn(usize) -> String| {
        let shop = Shop::new();
        let values: Vec<String> = (0..CALLS).map(value).collect();
        move |number: usize| {
            let lines = [("authorization", values[number].as_str())];
            shop.get(network(1), &lines, Status::InvalidToken);
        }
    };
    honest("stranger", count(|number| bearer(&token(mixed(number)))));
    hostile(
        "stranger_sequential",
        "stranger",
        AT_MOST,
        count(|number| format!("Bearer {number:0>44}")),
    );
}

/// Sixty-four header lines: an honest caller's of as many names, a hostile one's of one name that the engine reads.
fn lines() {
    const VALUE: &str = "10.0.0.2";
    let shop = Shop::new();
    let proxy = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped();
    let names: Vec<String> = (0..63).map(|number| format!("x-header-no-{number:03}")).collect();
    let lines = |name: Option<&'static str>| -> [(&str, &str); 64] {
        let line = |number: usize| match names.get(number) {
            Some(own) => (name.unwrap_or(own), VALUE),
            None => ACME[0],
        };
        std::array::from_fn(line)
    };
    let honest_lines = lines(None);
    honest("lines", |_| shop.ask(proxy, &honest_lines));
    for name in ["authorization", "idempotency-key", "x-forwarded-for"] {
        let hostile_lines = lines(Some(name));
        hostile(&format!("lines_{name}"), "lines", AT_MOST, |_| shop.ask(proxy, &hostile_lines));
    }
    let hops = [VALUE; 63].join(",");
    let one_line = [("x-forwarded-for", hops.as_str()), ACME[0]];
    hostile("hops_in_one_line", "lines", AT_MOST, |_| shop.ask(proxy, &one_line));
}

/// What is refused at a bound, beside what there is room for: a flood goes on when it has filled the store.
fn bounds() {
    let mut options = MemoryOptions::default();
    (options.max_cells, options.max_claims) = (64, 64);
    let shop = Shop::bounded(&options);
    let network = |number: usize| network(mixed(number));
    // Each part of the store has room for one.
    for number in CALLS..2 * CALLS {
        shop.ask(network(number), &ACME);
    }
    hostile("source_when_full", "source", AT_MOST, |number| {
        shop.get(network(number), &ACME, Status::StoreUnavailable);
    });

    let shop = Shop::bounded(&options);
    let key = |number: usize| format!("{:016x}", mixed(number)).repeat(15);
    (0..64).for_each(|number| shop.post(&key(CALLS + number), Status::Allowed));
    let keys: Vec<String> = (0..CALLS).map(key).collect();
    hostile("key_when_full", "key", AT_MOST, |number| {
        shop.post(&keys[number], Status::StoreUnavailable);
    });
}

/// The same in a region, whose windows have a bound of their own.
fn region_bound() {
    let mut limit = limit();
    limit.algorithm = Algorithm::FixedWindow;
    limit.id = LimitId::of("window", limit.algorithm);
    let keys = cell_keys(&limit, 3 * CALLS);
    let directory = tempfile::tempdir().unwrap();
    let options = RegionOptions { cells: 4 * CALLS, windows: 2 * CALLS };
    let region = Region::open(directory.path().join("region"), &options, &[7; 16]).unwrap();
    let take = |number: usize| region.take(&keys[number], &limit, &limit.quota, START_MS).is_ok();
    (0..CALLS).for_each(|number| assert!(take(number)));
    honest("region_window", |number| assert!(take(CALLS + number)));
    // Each looks through 2,048 blocks for one that has expired.
    hostile("region_window_when_full", "region_window", 60, |number| {
        assert!(!take(2 * CALLS + number));
    });
}
