//! Memory: bytes per token, allocations per decision.
//!
//! The crate allocation-counter replaces the allocator of this program: it adds up sizes as they are
//! asked for, on this thread, and counts a reallocation as an allocation and a deallocation. What the
//! system's allocator adds for its own books is not in these figures.

use allocation_counter::measure;
use tollgate_bench::{Composed, Get, Keys, Post, Tokens, Tollgate};

const DECISIONS: u64 = 100_000;
const POSTS: u64 = 20_000;

/// What was counted.
#[derive(Debug)]
pub(crate) struct Footprint {
    /// Bytes of store or maps per token, with 1 M tokens of 100 000 accounts, after a GET of each.
    pub(crate) tollgate_bytes: f64,
    pub(crate) composed_bytes: f64,
    /// Allocations per allowed GET.
    pub(crate) tollgate_get: f64,
    pub(crate) composed_get: f64,
    /// Allocations per POST: tollgate's cycle, the composed claim.
    pub(crate) tollgate_post: f64,
    pub(crate) composed_post: f64,
}

impl Footprint {
    /// Measures all of it; takes some seconds.
    pub(crate) fn measure() -> Result<Self, String> {
        proof()?;
        let (tollgate, composed) = (Tollgate::new(1_000), Composed::new(1_000));
        Ok(Footprint {
            tollgate_bytes: bytes_per_token(Tollgate::new)?,
            composed_bytes: bytes_per_token(Composed::new)?,
            tollgate_get: get_allocations(&tollgate)?,
            composed_get: get_allocations(&composed)?,
            tollgate_post: post_allocations(&tollgate)?,
            composed_post: post_allocations(&composed)?,
        })
    }
}

/// An allocator that counted nothing would make every figure a good one.
fn proof() -> Result<(), String> {
    let mut kept = Vec::<u8>::new();
    let counted = measure(|| kept = std::hint::black_box(Vec::with_capacity(1_000)));
    if (counted.count_total, counted.bytes_current) == (1, 1_000) {
        return Ok(());
    }
    Err(format!("one allocation of 1000 bytes was counted as {counted:?}"))
}

fn bytes_per_token<C: Get>(new: impl Fn(usize) -> C) -> Result<f64, String> {
    const TOKENS: usize = 1_000_000;
    let mut tokens = Tokens::new(TOKENS);
    let mut contender = None;
    let mut allowed = 0;
    let counted = measure(|| {
        let built = contender.insert(new(TOKENS));
        tokens.each(|value, now_ms| allowed += usize::from(built.get(value, now_ms)));
    });
    if allowed != TOKENS {
        return Err(format!("{allowed} of {TOKENS} requests were allowed"));
    }
    Ok(counted.bytes_current as f64 / TOKENS as f64)
}

fn get_allocations(contender: &impl Get) -> Result<f64, String> {
    let mut tokens = Tokens::new(1_000);
    tokens.each(|value, now_ms| {
        contender.get(value, now_ms);
    });
    per_decision(DECISIONS, || {
        let (value, now_ms) = tokens.draw();
        contender.get(value, now_ms)
    })
}

fn post_allocations(contender: &impl Post) -> Result<f64, String> {
    // A GET is behind every token, and the clock goes on where those ended.
    let mut tokens = Tokens::new(1_000);
    for _ in 0..=DECISIONS {
        tokens.draw();
    }
    let mut keys = Keys::default();
    let mut post = || {
        let (value, now_ms) = tokens.draw();
        contender.post(value, keys.draw(), now_ms)
    };
    // Until what falls due keeps up with what is new.
    per_decision(POSTS, &mut post)?;
    per_decision(POSTS, post)
}

fn per_decision(decisions: u64, mut decide: impl FnMut() -> bool) -> Result<f64, String> {
    let mut allowed = 0;
    let counted = measure(|| {
        for _ in 0..decisions {
            allowed += u64::from(decide());
        }
    });
    if allowed != decisions {
        return Err(format!("{allowed} of {decisions} requests were allowed"));
    }
    Ok(counted.count_total as f64 / decisions as f64)
}
