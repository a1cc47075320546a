//! What the words of slots, groups and blocks mean.

/// How long a cell is kept and counts after it expired: processes that read the clock one after the
/// other may come in another order, and clocks are set back. The memory store does the same.
pub(crate) const KEPT_MS: u64 = 60_000;

const NS_PER_MS: u64 = 1_000_000;

/// How a slot's cell counts; its number is in the slot's name, and no name of a key has 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Gcra = 1,
    FixedWindow = 2,
    SlidingWindow = 3,
}

/// The first word of a slot: 46 bits of the key's hash, 2 bits of kind, and a tag of 16 bits that grows
/// with each key that the slot is given. A slot that never had a key is 0.
pub(crate) mod name {
    use super::Kind;

    const TAG: u64 = 0xffff;
    const KIND_BIT: u32 = 16;
    const HASH_BIT: u32 = 18;

    /// The name of a key, with tag 0.
    #[inline]
    pub(crate) fn of(hash: u64, kind: Kind) -> u64 {
        (hash.wrapping_shr(HASH_BIT).wrapping_shl(HASH_BIT)) | (kind as u64).wrapping_shl(KIND_BIT)
    }

    #[inline]
    pub(crate) fn is_of_key(name: u64, key: u64) -> bool {
        name & !TAG == key
    }

    #[inline]
    pub(crate) fn tag(name: u64) -> u64 {
        name & TAG
    }

    /// The name of the next key of a slot that was `old`.
    pub(crate) fn next(old: u64, key: u64) -> u64 {
        key | (old.wrapping_add(1) & TAG)
    }

    pub(crate) fn kind(name: u64) -> Option<Kind> {
        match name.wrapping_shr(KIND_BIT) & 3 {
            1 => Some(Kind::Gcra),
            2 => Some(Kind::FixedWindow),
            3 => Some(Kind::SlidingWindow),
            _ => None,
        }
    }

    /// 42 bits of the hash.
    pub(crate) fn low_hash(name: u64) -> u64 {
        name.wrapping_shr(HASH_BIT) & 0x3ff_ffff_ffff
    }
}

/// The second word of a slot: an arrival time in nanoseconds, a link to a block, or a mark that there is
/// no cell. The three are told apart by value, so that none is ever taken for another.
pub(crate) mod state {
    use super::{NS_PER_MS, name};

    /// Arrival times from here on (in the year 2536) have no place.
    pub(crate) const END_OF_TIMES: u64 = 0xf8 << 56;
    const LINK: u64 = 0b11_1110;
    const MARK: u64 = 0b11_1111;
    const PREFIX_BIT: u32 = 58;
    const TAG_BIT: u32 = 42;

    /// The mark with which the cell of `name` is taken out.
    pub(crate) fn mark(name: u64) -> u64 {
        MARK.wrapping_shl(PREFIX_BIT) | name::tag(name).wrapping_shl(TAG_BIT) | name::low_hash(name)
    }

    #[inline]
    pub(crate) fn is_mark(state: u64) -> bool {
        state.wrapping_shr(PREFIX_BIT) == MARK
    }

    /// Whether a slot has no cell and waits to be opened. A mark of an earlier name is another thing: the
    /// slot has been given a key, and its first cell can be written.
    #[inline]
    pub(crate) fn is_dead(name: u64, state: u64) -> bool {
        is_mark(state) && state.wrapping_shr(TAG_BIT) & 0xffff == name::tag(name)
    }

    #[inline]
    pub(crate) fn is_time(state: u64) -> bool {
        state < END_OF_TIMES
    }

    pub(crate) fn is_link(state: u64) -> bool {
        state.wrapping_shr(PREFIX_BIT) == LINK
    }

    /// When the cell of an arrival time expires.
    #[inline]
    pub(crate) fn time_expires_ms(tat_ns: u64) -> u64 {
        tat_ns.div_ceil(NS_PER_MS)
    }

    /// A link to the block `index`, published under `tag`.
    pub(crate) fn link(index: usize, tag: u32) -> u64 {
        LINK.wrapping_shl(PREFIX_BIT)
            | (index as u64 & 0x3ff_ffff).wrapping_shl(32)
            | u64::from(tag)
    }

    pub(crate) fn link_index(link: u64) -> usize {
        usize::try_from(link.wrapping_shr(32) & 0x3ff_ffff).unwrap_or(usize::MAX)
    }

    pub(crate) fn link_tag(link: u64) -> u32 {
        super::low_half(link)
    }
}

/// The first word of a group: a version of 40 bits, the slot that is open to be given a key (0: none),
/// and the tag that its name has while it is open. Bits 16 and 17 are 0, so it is no name of a key.
pub(crate) mod head {
    use super::name;

    const SLOT_BIT: u32 = 18;
    const VERSION_BIT: u32 = 24;

    pub(crate) fn open_slot(head: u64) -> usize {
        usize::try_from(head.wrapping_shr(SLOT_BIT) & 0x3f).unwrap_or(0)
    }

    /// Whether a slot with this name is still open.
    pub(crate) fn is_open(head: u64, name: u64) -> bool {
        name::tag(head) == name::tag(name)
    }

    /// The next version, with `slot`, now called `name`, open.
    pub(crate) fn opening(head: u64, slot: usize, name: u64) -> u64 {
        let version = head.wrapping_shr(VERSION_BIT).wrapping_add(1);
        version.wrapping_shl(VERSION_BIT)
            | (slot as u64 & 0x3f).wrapping_shl(SLOT_BIT)
            | name::tag(name)
    }
}

/// The first word of a block: whose it is, and a tag of 32 bits that grows whenever it is published or changes
/// hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The pool's.
    Free { tag: u32 },
    /// An attachment's (30 bits), until it is linked.
    Held { by: u32, tag: u32 },
    /// The slot's that links it. If none does, it was lost.
    Linked { tag: u32 },
}

impl Owner {
    pub(crate) fn word(self) -> u64 {
        let (status, by, tag) = match self {
            Owner::Free { tag } => (0_u64, 0, tag),
            Owner::Held { by, tag } => (1, by, tag),
            Owner::Linked { tag } => (2, 0, tag),
        };
        status.wrapping_shl(62) | u64::from(by & 0x3fff_ffff).wrapping_shl(32) | u64::from(tag)
    }

    pub(crate) fn of(word: u64) -> Option<Owner> {
        let tag = low_half(word);
        let by = low_half(word.wrapping_shr(32)) & 0x3fff_ffff;
        match word.wrapping_shr(62) {
            0 => Some(Owner::Free { tag }),
            1 => Some(Owner::Held { by, tag }),
            2 => Some(Owner::Linked { tag }),
            _ => None,
        }
    }

    pub(crate) fn tag(self) -> u32 {
        match self {
            Owner::Free { tag } | Owner::Held { tag, .. } | Owner::Linked { tag } => tag,
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // the low half is what is asked for
pub(crate) fn low_half(word: u64) -> u32 {
    word as u32
}

/// Whether a cell that expires then still counts, or is kept in case that a clock is behind.
#[inline]
pub(crate) fn is_kept(expires_ms: u64, now_ms: u64) -> bool {
    expires_ms.saturating_add(KEPT_MS) > now_ms
}
