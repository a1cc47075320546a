//! Tickets as text: what names an open request between its decision and its settlement.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tollgate::{AccountId, AccountRef, Amount, ReservationId, Ticket};

/// A ticket's text: `1.RESERVATION.RESERVED.KEY.ACCOUNT`, with `k` or `-` for whether it holds an idempotency key, and the
/// account in base64url. It is no secret, and no proof of anything: who may settle is decided by who may ask.
pub(crate) fn to_text(ticket: &Ticket, account: &AccountId) -> String {
    let key = if ticket.holds_key { 'k' } else { '-' };
    let account = URL_SAFE_NO_PAD.encode(account.as_str());
    format!("1.{}.{}.{key}.{account}", ticket.reservation.0, ticket.reserved.0)
}

/// Reads one.
pub(crate) fn from_text(text: &str) -> Option<Ticket> {
    let mut parts = text.split('.');
    let mut next = || parts.next();
    if next()? != "1" {
        return None;
    }
    let reservation = ReservationId(next()?.parse().ok()?);
    let reserved = Amount(next()?.parse().ok()?);
    let holds_key = match next()? {
        "k" => true,
        "-" => false,
        _ => return None,
    };
    let account = URL_SAFE_NO_PAD.decode(next()?).ok()?;
    let account = AccountId::new(std::str::from_utf8(&account).ok()?).ok()?;
    if next().is_some() {
        return None;
    }
    Some(Ticket { account: AccountRef::Id(account), reservation, reserved, holds_key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_comes_back_from_its_text() {
        for (name, holds_key) in [("acme", true), ("ä.b c", false)] {
            let account = AccountId::new(name).unwrap();
            let ticket = Ticket {
                account: AccountRef::Id(account.clone()),
                reservation: ReservationId(u64::MAX),
                reserved: Amount(7),
                holds_key,
            };
            assert_eq!(from_text(&to_text(&ticket, &account)), Some(ticket));
        }
        for wrong in [
            "",
            "1",
            "1.2.3.k",
            "1.2.3.k.",
            "2.2.3.k.YQ",
            "1.2.3.x.YQ",
            "1.2.3.k.YQ.4",
            "1.-2.3.k.YQ",
        ] {
            assert_eq!(from_text(wrong), None, "{wrong}");
        }
    }
}
