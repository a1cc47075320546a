//! Names of objects. They never change: state is found by them.
//!
//! All are of printable ASCII, and at most 392 bytes long.

use std::fmt::Write as _;

use tollgate::{AccountId, CellKey, TokenDigest};

/// The register of accounts: the names of all of them.
pub const ACCOUNTS: &str = "accounts";
/// The cells of limits that count everybody together.
pub const GLOBAL: &str = "global";

/// An account: `account/`, and its name, in which every byte but letters, digits, `-`, `_` and `.` is
/// written as `%` and two capital hexadecimal digits.
#[must_use]
pub fn account(account: &AccountId) -> String {
    let mut name = String::from("account/");
    for byte in account.as_str().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                name.push(char::from(byte));
            }
            _ => {
                let _ = write!(name, "%{byte:02X}"); // a string takes everything
            }
        }
    }
    name
}

/// The shard of the token directory that a digest is in: `tokens/`, and its first byte as two
/// hexadecimal digits.
#[must_use]
pub fn tokens(digest: &TokenDigest) -> String {
    let [first, ..] = digest.as_bytes();
    format!("tokens/{first:02x}")
}

/// A source address, by the cell of a limit that counts by it: `source/`, and 18 hexadecimal digits. They
/// are 04 and an IPv4 address, padded with zeros; or 06 and the first 64 bits of an IPv6 address; or
/// zeros, where there is no address.
pub(crate) fn source(cell: &CellKey) -> String {
    let mut name = String::from("source/");
    // A tag, the length of the bucket, the bucket.
    for byte in cell.partition.iter().skip(2).take(9) {
        let _ = write!(name, "{byte:02x}"); // a string takes everything
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use tollgate::{AccountRef, Limit};

    use super::*;

    #[test]
    fn names_are_as_documented() {
        let named = |name: &str| account(&AccountId::new(name).unwrap());
        assert_eq!(named("acme-2_x.Y"), "account/acme-2_x.Y");
        assert_eq!(named("a/b %é"), "account/a%2Fb%20%25%C3%A9");
        assert_eq!(named(&"/".repeat(128)).len(), 392);
        assert_eq!(tokens(&TokenDigest::new([0xa7; 32])), "tokens/a7");
        assert_eq!(tokens(&TokenDigest::new([7; 32])), "tokens/07");
    }

    #[test]
    fn a_source_has_the_cores_bucket() {
        let limit: Limit = crate::wire::tests::limit(tollgate::Partition::SourceIp);
        let named = |address: &str| {
            let account = AccountRef::Slot(0);
            let key = limit.cell_key(&TokenDigest::new([0; 32]), &account, address.parse().ok());
            source(&key)
        };
        assert_eq!(named("192.0.2.7"), "source/04c000020700000000");
        assert_eq!(named("::ffff:192.0.2.7"), "source/04c000020700000000");
        assert_eq!(named("2001:db8:1:2::3"), "source/0620010db800010002");
        assert_eq!(named("none"), "source/000000000000000000");
    }

    proptest! {
        #[test]
        fn other_names_are_other_objects(names in proptest::collection::btree_set("\\PC{1,20}", 2..9)) {
            let ids: Vec<_> = names.iter().filter_map(|name| AccountId::new(name).ok()).collect();
            let objects: BTreeSet<String> = ids.iter().map(account).collect();
            prop_assert_eq!(objects.len(), ids.len());
            for name in objects {
                prop_assert!(name.len() <= 392 && name.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
