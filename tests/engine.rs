//! What hosts and operators call, each once: peppers, handles of stores, lists, shadows.

// Helpers of tests may do what tests may; `clippy.toml` allows it in test functions alone.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod small_api;

use std::sync::Arc;

use small_api::*;
use tollgate::*;

#[test]
fn a_pepper_is_a_part_of_every_digest() {
    let plain = engine("");
    let pepper = || Pepper::new(&[7; 32]).unwrap();
    let peppered = engine("").with_pepper(pepper());
    let token = TokenText::parse(TokenFormat::Opaque, "acme").unwrap();
    assert_ne!(plain.digest(&token), peppered.digest(&token));
    let store = store(&peppered, |_| {});
    assert_eq!(FREE.decide(&peppered, &store).status(), Status::Allowed);
    assert_eq!(FREE.decide(&plain, &store).status(), Status::InvalidToken);
    // Another policy has the same one.
    let config = PolicyConfig::from_toml("tokens.format = \"opaque\"").unwrap();
    let reloaded = peppered.with_policy(config.compile().unwrap());
    assert_eq!(FREE.decide(&reloaded, &store).status(), Status::InsufficientScope);
    assert_eq!(reloaded.digest(&token), peppered.digest(&token));
}

#[test]
fn a_store_behind_a_handle_is_that_store() {
    let engine = engine(KEYED);
    let shared = Arc::new(store(&engine, |_| {}));
    for ask in [FREE, PAY] {
        assert_eq!(ask.decide(&engine, &shared).status(), Status::Allowed);
        assert_eq!(ask.decide(&engine, &&*shared).status(), Status::Allowed);
    }
    let wallet = Admin::new(&&*shared).account(&account("acme"), NOW_MS).unwrap().wallet;
    assert_eq!(wallet.held, Amount(2));
}

#[test]
fn operators_see_accounts_tokens_and_reservations() {
    let engine = engine(KEYED);
    let store = store(&engine, |_| {});
    let admin = Admin::new(&store);
    let (acme, globex) = (account("acme"), account("globex"));
    let both = [acme.clone(), globex.clone()];
    assert_eq!(admin.accounts(None, 9, NOW_MS).unwrap(), both);
    assert_eq!(admin.accounts(None, 1, NOW_MS).unwrap(), both[..1]);
    assert_eq!(admin.accounts(Some(&acme), 9, NOW_MS).unwrap(), both[1..]);

    let second = put_token(&engine, &store, "acme", "acme-2");
    let mut digests = [put_token(&engine, &store, "acme", "acme"), second];
    digests.sort();
    let tokens = admin.tokens(&acme, NOW_MS).unwrap();
    assert_eq!([tokens[0].0, tokens[1].0], digests);
    assert!(tokens.len() == 2 && tokens.iter().all(|(_, token)| token.account == acme));

    let decision = PAY.decide(&engine, &store);
    let ticket = decision.ticket().unwrap();
    assert_eq!(admin.account_id(&ticket.account, NOW_MS).unwrap(), acme);
    let reservations = admin.reservations(&acme, NOW_MS).unwrap();
    assert_eq!(reservations.len(), 1);
    assert_eq!((reservations[0].0, reservations[0].1.amount), (ticket.reservation, Amount(1)));
    assert_eq!(admin.reservations(&globex, NOW_MS).unwrap(), []);
}

#[test]
fn shadowed_networks_are_reported_where_they_would_deny() {
    let engine = engine(
        "[source]\nshadow_networks = true\n[limits.l]\nper = \"token\"\nquota = 9\nwindow_ms = 1000",
    );
    let store = store(&engine, |_| {});
    let networks = |text: &str| {
        let networks = Some(vec![text.parse().unwrap()]);
        let patch = AccountPatch { networks, ..Default::default() };
        Admin::new(&store).put_account(&account("acme"), Amount(0), patch, NOW_MS).unwrap();
        let decision = FREE.decide(&engine, &store);
        assert_eq!(decision.status(), Status::Allowed);
        (decision.shadows().networks, decision.shadows().is_empty())
    };
    assert_eq!(networks("2001:db8::/32"), (false, true));
    assert_eq!(networks("2001:db9::/32"), (true, false));
}

#[test]
fn errors_of_a_store_have_names() {
    let errors = [
        (StoreError::Full { what: "keys" }, "store_full"),
        (StoreError::Unavailable { reason: "gone".into() }, "store_unavailable"),
        (StoreError::Corrupt { what: "keys" }, "store_corrupt"),
        (StoreError::NewerFormat { found: 3, known: 2 }, "store_newer_format"),
        (StoreError::WrongOutcome, "store_wrong_outcome"),
    ];
    for (error, code) in errors {
        assert_eq!(error.code(), code);
    }
}

/// CRC-32 (IEEE 802.3), bit by bit, in six digits of base62.
fn checksum(body: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut crc = u32::MAX;
    for byte in body.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    let mut rest = !crc;
    let mut text = [0; 6];
    for place in text.iter_mut().rev() {
        *place = DIGITS[rest as usize % 62];
        rest /= 62;
    }
    String::from_utf8(text.to_vec()).unwrap()
}

#[test]
fn a_right_checksum_alone_makes_no_native_token() {
    let parse = |text: &str| TokenText::parse(TokenFormat::Native, text).is_ok();
    let body = TokenText::generate(&[7; 32]).expose()[..38].to_owned();
    let with_checksum = |body: &str| format!("{body}{}", checksum(body));
    assert!(parse(&with_checksum(&body)), "{body}");
    assert!(!parse(&with_checksum(&body.replace("tg_live_", "tg_test_"))));
    assert!(!parse(&with_checksum(&format!("{}-", &body[..37]))));
    assert!(!parse(&with_checksum(&format!("{}--", &body[..36]))));
}

/// 255, which stands for what is no digit, is four times 62 and seven: with a digit that is four less
/// before it, it would make the same number as a seven.
#[test]
fn what_is_no_digit_is_in_no_checksum() {
    let forged = (0..4_096_u16).filter_map(|seed| {
        let mut entropy = [7; 32];
        entropy[..2].copy_from_slice(&seed.to_be_bytes());
        let token = TokenText::generate(&entropy).expose().to_owned();
        let (rest, last) = token.split_at(token.len() - 2);
        let before = last.strip_suffix('7')?.parse::<u8>().ok()?.checked_sub(4)?;
        Some(format!("{rest}{before}!"))
    });
    let forged: Vec<String> = forged.collect();
    assert!(!forged.is_empty());
    for text in forged {
        assert!(TokenText::parse(TokenFormat::Native, &text).is_err(), "{text}");
    }
}

#[test]
fn a_digest_reads_as_hexadecimal_digits() {
    let digest = TokenDigest::new([0xa5; 32]);
    assert_eq!(format!("{digest:?}"), format!("TokenDigest({})", "a5".repeat(32)));
}

#[test]
fn a_key_without_a_price_reserves_no_money() {
    let engine = engine(KEYED);
    let store = store(&engine, |_| {});
    let decision = Ask { key: Some("k"), cost: Some(0), ..PAY }.decide(&engine, &store);
    assert!(decision.ticket().is_some_and(|ticket| ticket.holds_key));
    assert_eq!(decision.reserved(), None);
    assert_eq!(PAY.decide(&engine, &store).reserved(), Some(Amount(1)));
}
