//! Limits in the user's words.

use alloc::boxed::Box;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ledger::AccountRef;
use crate::limit::gcra::Rate;
use crate::sha256::{length, sha256};
use crate::token::TokenDigest;

/// How many units may be taken in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Units per window.
    pub units: u64,
    /// Length of the window in milliseconds, at least 1.
    pub window_ms: u64,
    /// Units that may be taken at once; only [`Algorithm::Gcra`] makes a difference between the two.
    pub burst: u64,
}

impl Quota {
    /// `units` per `window_ms`, all of which may be taken at once.
    #[must_use]
    pub fn new(units: u64, window_ms: u64) -> Self {
        Quota { units, window_ms, burst: units }
    }
}

/// How a limit counts, and what it guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Generic cell rate algorithm (ITU-T I.371): a bucket of `burst` units that refills smoothly.
    ///
    /// Guarantee: in any `t` milliseconds never more than `burst + units × t / window_ms`. A
    /// constant cost; a cell is 8 bytes. What would refill only past the year 2554 is refused.
    Gcra,
    /// A counter that starts anew at every multiple of the window since the Unix epoch.
    ///
    /// Guarantee: never more than `units` from one multiple to the next, also when the clock runs
    /// backwards; up to twice as many in a window that begins between multiples.
    FixedWindow,
    /// Never more than the quota in any window, wherever it begins.
    ///
    /// Guarantee: that, from counters of 1/16 of the window; what was taken counts for up to one such
    /// part (rounded up to whole milliseconds) longer than the window. Quotas above `u32::MAX`
    /// units count as `u32::MAX`.
    SlidingWindow,
}

/// Whose units a limit counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partition {
    /// Each token on its own.
    Token,
    /// Each account on its own.
    Account,
    /// Each source address on its own; IPv6 by /64.
    SourceIp,
    /// Each token from each source address.
    TokenSourceIp,
    /// Each account from each source address.
    AccountSourceIp,
    /// Everybody together.
    Global,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counts {
    /// Every authorised request: also replays, conflicts, and those denied later on.
    Requests,
    /// Only requests that go through to the upstream.
    Executions,
}

/// What happens to a check when the store cannot answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureMode {
    /// The request is denied with `store_unavailable`.
    #[default]
    Closed,
    /// The check is passed over.
    Open,
}

/// A token's own quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenQuota {
    /// Units per window.
    pub limit: u64,
    /// Length of the window in milliseconds.
    pub window_ms: u64,
}

/// A stable identity of a limit, from its name, so that a reloaded policy finds its cells again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LimitId(pub u64);

impl LimitId {
    /// The identity of the limit called `name`: the first 8 bytes of a SHA-256. A limit that changes
    /// its algorithm starts afresh.
    #[must_use]
    pub fn of(name: &str, algorithm: Algorithm) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = sha256([&[algorithm as u8], name.as_bytes()]);
        LimitId(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// One limit as it applies to one route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "LimitParts")]
pub struct Limit {
    /// Its name in the policy.
    pub name: Box<str>,
    /// Its identity in the store.
    pub id: LimitId,
    /// Whose units are counted together.
    pub partition: Partition,
    /// How many units in which time.
    pub quota: Quota,
    /// The quota in the terms of GCRA, worked out once.
    #[serde(skip_serializing)]
    pub(crate) rate: Rate,
    /// How they are counted.
    pub algorithm: Algorithm,
    /// Which requests are counted.
    pub counts: Counts,
    /// Units that one request on this route takes, at least 1.
    pub cost: u64,
    /// Whether a token's own quota takes the place of `quota`.
    pub token_override: bool,
    /// Evaluated and reported, not enforced.
    pub shadow: bool,
    /// What happens when the store cannot answer.
    pub on_store_failure: FailureMode,
}

/// What is written of a [`Limit`].
#[derive(Deserialize)]
struct LimitParts {
    name: Box<str>,
    id: LimitId,
    partition: Partition,
    quota: Quota,
    algorithm: Algorithm,
    counts: Counts,
    cost: u64,
    token_override: bool,
    shadow: bool,
    on_store_failure: FailureMode,
}

impl From<LimitParts> for Limit {
    fn from(parts: LimitParts) -> Self {
        Limit {
            name: parts.name,
            id: parts.id,
            partition: parts.partition,
            rate: Rate::of(&parts.quota),
            quota: parts.quota,
            algorithm: parts.algorithm,
            counts: parts.counts,
            cost: parts.cost,
            token_override: parts.token_override,
            shadow: parts.shadow,
            on_store_failure: parts.on_store_failure,
        }
    }
}

impl Limit {
    /// Whether it counts by source address.
    #[must_use]
    pub fn needs_source(&self) -> bool {
        matches!(
            self.partition,
            Partition::SourceIp | Partition::TokenSourceIp | Partition::AccountSourceIp
        )
    }

    /// Names the cell in which this limit counts a request.
    #[must_use]
    pub fn cell_key(
        &self,
        token: &TokenDigest,
        account: &AccountRef,
        source: Option<IpAddr>,
    ) -> CellKey {
        let partition = match self.partition {
            Partition::Token => *token.as_bytes(),
            Partition::Account => tagged(1, account.as_key_bytes().as_ref()),
            Partition::SourceIp => tagged(2, &source_bucket(source)),
            Partition::TokenSourceIp => joined(3, token.as_bytes(), &source_bucket(source)),
            Partition::AccountSourceIp => {
                joined(4, account.as_key_bytes().as_ref(), &source_bucket(source))
            }
            Partition::Global => [0; 32],
        };
        CellKey { limit: self.id, partition }
    }

    /// The quota in force for a token: its own where it has one and this limit takes it.
    #[must_use]
    #[inline]
    pub fn quota_for(&self, own: Option<TokenQuota>) -> Quota {
        match own {
            Some(own) if self.token_override => Quota::new(own.limit, own.window_ms.max(1)),
            _ => self.quota,
        }
    }
}

/// Names one cell in a store: a limit, and the bytes of its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CellKey {
    /// The limit.
    pub limit: LimitId,
    /// The partition: a digest, or a tagged short value padded with zeros.
    pub partition: [u8; 32],
}

/// The bytes under which a source address is counted: IPv4 whole, IPv6 by /64 (one customer's
/// network, RFC 6177), and all requests without an address together.
fn source_bucket(source: Option<IpAddr>) -> [u8; 9] {
    match source.map(|address| address.to_canonical()) {
        None => [0; 9],
        Some(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            [4, a, b, c, d, 0, 0, 0, 0]
        }
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, e, f, g, h, ..] = address.octets();
            [6, a, b, c, d, e, f, g, h]
        }
    }
}

fn tagged(tag: u8, value: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    let Some(room) = bytes.get_mut(2..2usize.saturating_add(value.len())) else {
        return joined(tag, value, &[]);
    };
    room.copy_from_slice(value);
    bytes[0] = tag;
    bytes[1] = u8::try_from(value.len()).unwrap_or(u8::MAX);
    bytes
}

fn joined(tag: u8, left: &[u8], right: &[u8]) -> [u8; 32] {
    sha256([&[tag], &length(left), left, right])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_addresses_are_counted_by_host_and_by_64() {
        let bucket = |address: &str| source_bucket(Some(address.parse().unwrap()));
        assert_eq!(bucket("192.0.2.7"), [4, 192, 0, 2, 7, 0, 0, 0, 0]);
        assert_eq!(bucket("::ffff:192.0.2.7"), bucket("192.0.2.7"));
        assert_eq!(bucket("2001:db8:1:2::3"), [6, 0x20, 1, 0x0d, 0xb8, 0, 1, 0, 2]);
        assert_eq!(bucket("2001:db8:1:2:ffff::"), bucket("2001:db8:1:2::3"));
        assert_eq!(source_bucket(None), [0; 9]);
    }

    #[test]
    fn a_limit_is_read_as_it_was_written() {
        let quota = Quota { units: 7, window_ms: 1_000, burst: 3 };
        let limit = Limit {
            name: "calls".into(),
            id: LimitId::of("calls", Algorithm::Gcra),
            partition: Partition::Account,
            quota,
            rate: Rate::of(&quota),
            algorithm: Algorithm::Gcra,
            counts: Counts::Executions,
            cost: 2,
            token_override: true,
            shadow: true,
            on_store_failure: FailureMode::Open,
        };
        let text = serde_json::to_string(&limit).unwrap();
        assert!(!text.contains("rate"), "{text}");
        assert_eq!(serde_json::from_str::<Limit>(&text).unwrap(), limit);
    }

    #[test]
    fn short_partitions_are_tagged_and_long_ones_hashed() {
        assert_eq!(tagged(1, b"ab")[..5], [1, 2, b'a', b'b', 0]);
        assert_ne!(tagged(1, b"ab"), tagged(2, b"ab"));
        assert_ne!(tagged(1, b"a"), tagged(1, b"a\0"));
        assert_eq!(tagged(1, &[7; 31]), joined(1, &[7; 31], &[]));
    }
}
