//! Names of what is kept. All keys of an account have the same hash tag, hence the same cluster slot.

use std::fmt::Write as _;

use tollgate::{AccountId, CellKey, Limit, Partition, TokenDigest};

/// Sets that together name every account, for the sweep.
const REGISTERS: u8 = 64;

/// Makes keys that begin with a prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: Box<str>,
}

/// The keys of one account.
#[derive(Clone, Debug)]
pub(crate) struct AccountKeys {
    base: String,
}

impl Keys {
    /// `prefix` has no braces: they would make a hash tag.
    pub(crate) fn new(prefix: &str) -> Self {
        Keys { prefix: prefix.into() }
    }

    /// The name is escaped where it has what would end the hash tag.
    pub(crate) fn account(&self, id: &AccountId) -> AccountKeys {
        let mut base = format!("{}:{{", self.prefix);
        for char in id.as_str().chars() {
            match char {
                '{' => base.push_str("%7B"),
                '}' => base.push_str("%7D"),
                '%' => base.push_str("%25"),
                other => base.push(other),
            }
        }
        base.push_str("}:");
        AccountKeys { base }
    }

    /// The copy of a token that look-ups read.
    pub(crate) fn token(&self, digest: &TokenDigest) -> String {
        format!("{}:t:{{{digest}}}", self.prefix)
    }

    /// A cell that is no account's.
    pub(crate) fn cell(&self, key: &CellKey) -> String {
        format!("{}:c:{{{}}}", self.prefix, cell_name(key))
    }

    /// Remembers what was answered about such a cell, in the same slot.
    pub(crate) fn cell_nonce(&self, key: &CellKey, nonce: &str) -> String {
        format!("{}:n:{{{}}}:{nonce}", self.prefix, cell_name(key))
    }

    /// The set that names this account.
    pub(crate) fn register_of(&self, id: &AccountId) -> String {
        let sum =
            id.as_str().bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        self.register(sum.checked_rem(REGISTERS).unwrap_or(0))
    }

    pub(crate) fn registers(&self) -> impl Iterator<Item = String> {
        (0..REGISTERS).map(|number| self.register(number))
    }

    fn register(&self, number: u8) -> String {
        format!("{}:accounts:{{{number}}}", self.prefix)
    }
}

impl AccountKeys {
    /// Account, claims, reservations, what tokens spent, what falls due: the first five of most scripts.
    pub(crate) fn records(&self) -> [String; 5] {
        ["a", "c", "r", "s", "d"].map(|name| self.named(name))
    }

    pub(crate) fn account(&self) -> String {
        self.named("a")
    }

    pub(crate) fn reservations(&self) -> String {
        self.named("r")
    }

    pub(crate) fn senders(&self) -> String {
        self.named("p")
    }

    /// The tokens themselves, of which look-ups read copies.
    pub(crate) fn tokens(&self) -> String {
        self.named("t")
    }

    pub(crate) fn nonce(&self, nonce: &str) -> String {
        format!("{}n:{nonce}", self.base)
    }

    pub(crate) fn cell(&self, key: &CellKey) -> String {
        format!("{}l:{}", self.base, cell_name(key))
    }

    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }
}

fn cell_name(key: &CellKey) -> String {
    let mut name = format!("{:016x}", key.limit.0);
    for byte in key.partition {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Whether a limit counts in a cell of the account's slot.
pub(crate) fn is_of_account(limit: &Limit) -> bool {
    !matches!(limit.partition, Partition::SourceIp | Partition::Global)
}
