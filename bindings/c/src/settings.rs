//! Parts that the settings of accounts and tokens share.

use tollgate::{Amount, IpNet, Period, SpendCap, parse_network};

use crate::error::Error;
use crate::ffi::{many, texts, tollgate_str_t};

/// The time over which a spend cap adds up: one of `enum tollgate_period`.
pub type tollgate_period_t = u32;

/// The time over which a spend cap adds up.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum tollgate_period {
    /// A day, UTC.
    TOLLGATE_PER_DAY = 1,
    /// A month, UTC.
    TOLLGATE_PER_MONTH = 2,
    /// For ever.
    TOLLGATE_PER_LIFETIME = 3,
}

/// A bound on what may be spent in a period; posted and held money both count.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_spend_cap_t {
    /// The most that may be spent in it, in the ledger's minor unit.
    pub amount: u64,
    /// The period.
    pub per: tollgate_period_t,
    /// 1: evaluated and reported, not enforced.
    pub shadow: u8,
}

pub(crate) fn networks(data: *const tollgate_str_t, len: usize) -> Result<Vec<IpNet>, Error> {
    let parse = |text| parse_network(text).map_err(|error| Error::invalid(error.to_string()));
    texts(data, len, "settings.networks")?.into_iter().map(parse).collect()
}

pub(crate) fn spend_caps(
    data: *const tollgate_spend_cap_t,
    len: usize,
) -> Result<Vec<SpendCap>, Error> {
    const DAY: u32 = tollgate_period::TOLLGATE_PER_DAY as u32;
    const MONTH: u32 = tollgate_period::TOLLGATE_PER_MONTH as u32;
    const LIFETIME: u32 = tollgate_period::TOLLGATE_PER_LIFETIME as u32;
    let caps: &[tollgate_spend_cap_t] = many(data, len, "settings.spend_caps")?;
    let cap = |given: &tollgate_spend_cap_t| {
        let per = match given.per {
            DAY => Period::Day,
            MONTH => Period::Month,
            LIFETIME => Period::Lifetime,
            other => return Err(Error::invalid(format!("{other} is no period"))),
        };
        Ok(SpendCap { per, amount: Amount(given.amount), shadow: given.shadow != 0 })
    };
    caps.iter().map(cap).collect()
}

/// Owned texts.
pub(crate) fn boxed(
    data: *const tollgate_str_t,
    len: usize,
    what: &'static str,
) -> Result<Vec<Box<str>>, Error> {
    Ok(texts(data, len, what)?.into_iter().map(Box::from).collect())
}
