//! How often somebody may try to log in: by address, with the engine's own arithmetic.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;
use tollgate::{Algorithm, Cell, IpNet, Quota, check, expires_ms};

use crate::caller::Caller;

/// Attempts of one address in a minute.
pub(super) const ATTEMPTS: u64 = 10;

/// Addresses that are remembered. A flood of more is refused, and nobody's count is forgotten.
const MAX_ADDRESSES: usize = 4_096;

#[derive(Default)]
pub(super) struct Attempts(Mutex<HashMap<Option<IpNet>, Cell>>);

impl Attempts {
    /// Takes an attempt.
    ///
    /// # Errors
    /// The seconds to wait before the next one.
    pub(super) fn take(&self, caller: Caller, now_ms: u64) -> Result<(), u64> {
        let quota = Quota::new(ATTEMPTS, 60_000);
        let from = network(caller);
        let mut cells = self.0.lock();
        if !cells.contains_key(&from) && cells.len() >= MAX_ADDRESSES {
            cells.retain(|_, cell| expires_ms(Algorithm::Gcra, &quota, cell) > now_ms);
            if cells.len() >= MAX_ADDRESSES {
                return Err(60);
            }
        }
        match check(Algorithm::Gcra, &quota, cells.get(&from), now_ms, 1).verdict {
            Ok(cell) => {
                cells.insert(from, cell);
                Ok(())
            }
            Err(refused) => {
                let retry_ms = refused.retry_at_ms.unwrap_or(u64::MAX).saturating_sub(now_ms);
                Err(retry_ms.div_ceil(1_000).clamp(1, 60))
            }
        }
    }
}

/// IPv6 by /64, as one customer's network is. A socket in the file system is one place.
fn network(caller: Caller) -> Option<IpNet> {
    let Caller::Tcp(address) = caller else { return None };
    let address = address.ip().to_canonical();
    let length = if matches!(address, IpAddr::V6(_)) { 64 } else { 32 };
    IpNet::new(address, length).ok().map(|network| network.trunc())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn from(address: &str) -> Caller {
        Caller::Tcp(SocketAddr::new(address.parse().unwrap(), 1))
    }

    #[test]
    fn an_address_has_ten_attempts_a_minute_and_others_their_own() {
        let attempts = Attempts::default();
        let now_ms = 1_700_000_000_000;
        for _ in 0..ATTEMPTS {
            assert_eq!(attempts.take(from("2001:db8::1"), now_ms), Ok(()));
        }
        assert_eq!(attempts.take(from("2001:db8::2"), now_ms), Err(6));
        assert_eq!(attempts.take(from("192.0.2.1"), now_ms), Ok(()));
        assert_eq!(attempts.take(Caller::Unix, now_ms), Ok(()));
        assert_eq!(attempts.take(from("2001:db8::1"), now_ms + 6_000), Ok(()));
    }

    #[test]
    fn addresses_are_bounded_and_come_free_again() {
        let attempts = Attempts::default();
        for number in 0..u32::try_from(MAX_ADDRESSES).unwrap() {
            let address = std::net::Ipv4Addr::from(number);
            assert!(attempts.take(from(&address.to_string()), 1_000_000).is_ok());
        }
        assert!(attempts.take(from("203.0.113.1"), 1_000_000).is_err());
        assert!(attempts.take(from("0.0.0.1"), 1_000_000).is_ok());
        assert!(attempts.take(from("203.0.113.1"), 1_061_000).is_ok());
    }
}
