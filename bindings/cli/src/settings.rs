//! Settings of accounts and tokens as arguments.

use std::str::FromStr;

use tollgate::{AccountId, Amount, IpNet, Period, SpendCap, TokenQuota, parse_network};

use crate::exit::Failure;

pub(crate) fn account_id(text: &str) -> Result<AccountId, Failure> {
    AccountId::new(text).map_err(|error| Failure::at("ACCOUNT", error))
}

pub(crate) fn money(amount: Amount) -> String {
    amount.to_string()
}

/// Why an argument is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingError {
    #[error(
        "give day=AMOUNT, month=AMOUNT or lifetime=AMOUNT, and `:shadow` behind it to only report"
    )]
    Cap,
    #[error("give LIMIT/MILLISECONDS, for instance 120/60000")]
    Quota,
}

/// A spend cap: `day=500`, `month=9000:shadow`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cap(pub(crate) SpendCap);

impl Cap {
    pub(crate) const fn period(per: Period) -> &'static str {
        match per {
            Period::Day => "day",
            Period::Month => "month",
            Period::Lifetime => "lifetime",
        }
    }
}

impl FromStr for Cap {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (text, shadow) = match text.strip_suffix(":shadow") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (per, amount) = text.split_once('=').ok_or(SettingError::Cap)?;
        let per = [Period::Day, Period::Month, Period::Lifetime]
            .into_iter()
            .find(|period| Cap::period(*period) == per)
            .ok_or(SettingError::Cap)?;
        let amount = Amount(amount.parse().map_err(|_| SettingError::Cap)?);
        Ok(Cap(SpendCap { per, amount, shadow }))
    }
}

/// A network or an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network(pub(crate) IpNet);

impl FromStr for Network {
    type Err = tollgate::NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_network(text).map(Network)
    }
}

/// A token's own quota: `120/60000`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnQuota(pub(crate) TokenQuota);

impl FromStr for OwnQuota {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (limit, window_ms) = text.split_once('/').ok_or(SettingError::Quota)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| SettingError::Quota);
        let (limit, window_ms) = (number(limit)?, number(window_ms)?);
        if window_ms == 0 {
            return Err(SettingError::Quota);
        }
        Ok(OwnQuota(TokenQuota { limit, window_ms }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_and_quotas() {
        let Cap(cap) = "month=9000:shadow".parse().unwrap();
        assert_eq!(cap, SpendCap { per: Period::Month, amount: Amount(9000), shadow: true });
        for wrong in ["", "day", "day=", "week=3", "day=-1", "day=3:", "day=18446744073709551616"] {
            assert!(wrong.parse::<Cap>().is_err(), "{wrong}");
        }
        let OwnQuota(quota) = "120/60000".parse().unwrap();
        assert_eq!(quota, TokenQuota { limit: 120, window_ms: 60_000 });
        for wrong in ["", "120", "120/0", "/5", "120/1m"] {
            assert!(wrong.parse::<OwnQuota>().is_err(), "{wrong}");
        }
    }
}
