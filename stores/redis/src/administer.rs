//! What operators change and see. Settings and tokens are changed in Rust, over what was read, and written
//! if nobody else changed them meanwhile; then every look-up is told.

use std::sync::Arc;

use tollgate::transition::perform;
use tollgate::{
    AccountId, Administration, Command, Outcome, Refusal, StoreError, Token, TokenDigest,
};

use crate::bytes::parts;
use crate::exchange::{Call, Io, ScriptCall, bulk, list, wrong_shape};
use crate::look::{Seen, Wanted, look, revision};
use crate::look_up::{Published, claim, publish, published};
use crate::money;
use crate::protocol::{Protocol, named};
use crate::records;
use crate::scripts::PUT;
use crate::snapshot::Snapshot;

/// How often a change is tried again that others were quicker than.
const TRIES: u32 = 64;

pub(crate) async fn administer(
    protocol: &Protocol,
    io: &Io,
    administration: &Administration<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    match administration {
        Administration::PutAccount { account, .. } => {
            change(protocol, io, administration, Some(account), &[], now_ms).await
        }
        Administration::PutToken { account, digest, .. } => {
            change(protocol, io, administration, Some(account), &[**digest], now_ms).await
        }
        Administration::RevokeToken { digest } => {
            change(protocol, io, administration, None, &[**digest], now_ms).await
        }
        Administration::RotateToken { old, new, .. } => {
            change(protocol, io, administration, None, &[**old, **new], now_ms).await
        }
        Administration::Deposit { account, amount } => {
            money::deposit(protocol, io, account, *amount).await
        }
        Administration::Refund { account, reservation, amount, reference } => {
            let refund = money::Refund { reservation: *reservation, amount: *amount, reference };
            money::refund(protocol, io, named(account)?, refund, now_ms).await
        }
        Administration::Resolve { account, reservation, finish } => {
            money::resolve(protocol, io, account, *reservation, finish, now_ms).await
        }
        Administration::Inspect { account }
        | Administration::ListTokens { account }
        | Administration::ListReservations { account } => {
            show(protocol, io, administration, account, now_ms).await
        }
        Administration::NameAccount { account } => {
            show(protocol, io, administration, named(account)?, now_ms).await
        }
        _ => Err(StoreError::Unavailable {
            reason: "this version of the store does not know the command; use a later one".into(),
        }),
    }
}

/// Answers over what was read.
async fn show(
    protocol: &Protocol,
    io: &Io,
    administration: &Administration<'_>,
    account: &AccountId,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    let mut seen = look(protocol, io, account, Wanted::default()).await?;
    let keys = protocol.keys.account(account);
    let snapshot = &mut seen.snapshot;
    match administration {
        _ if snapshot.account.is_none() => {}
        Administration::ListTokens { .. } => {
            for (name, record) in pairs(io, keys.tokens()).await? {
                if let Some((_, token)) = records::token(&record)? {
                    snapshot.tokens.insert(digest(&name)?, token);
                }
            }
        }
        Administration::ListReservations { .. } => {
            for (name, record) in pairs(io, keys.reservations()).await? {
                let number = name.try_into().map_err(|_| wrong_shape())?;
                let id = tollgate::ReservationId(u64::from_be_bytes(number));
                snapshot.reservations.insert(id, (records::reservation(&record)?, 0));
            }
        }
        _ => {}
    }
    perform(snapshot, &Command::Administer(administration), now_ms)
}

/// All fields of a hash.
async fn pairs(io: &Io, key: String) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
    let mut flat = list(io.call(Call::new("HGETALL", key)).await?)?.into_iter();
    let mut pairs = Vec::new();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn digest(name: &[u8]) -> Result<TokenDigest, StoreError> {
    let bytes = name.try_into().map_err(|_| StoreError::Corrupt { what: "a token" })?;
    Ok(TokenDigest::new(bytes))
}

/// Changes settings or tokens of the account that is named, or that the first token belongs to.
async fn change(
    protocol: &Protocol,
    io: &Io,
    administration: &Administration<'_>,
    account: Option<&AccountId>,
    digests: &[TokenDigest],
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    for _ in 0..TRIES {
        let mut copies = Vec::new();
        for digest in digests {
            copies.push((*digest, published(protocol, io, digest).await?));
        }
        let owner = copies.first().and_then(|(_, copy)| copy.account()).cloned();
        let Some(account) = account.cloned().or(owner) else {
            return Ok(Outcome::Refused(Refusal::UnknownToken));
        };
        let wanted = Wanted { tokens: digests, ..Wanted::default() };
        let mut seen = look(protocol, io, &account, wanted).await?;
        add_foreign(&mut seen.snapshot, &account, &copies);
        let outcome = perform(&mut seen.snapshot, &Command::Administer(administration), now_ms)?;
        if !matches!(outcome, Outcome::Done) {
            mend(protocol, io, &seen, &account, digests).await?;
            return Ok(outcome);
        }
        if write(protocol, io, &account, &seen, &copies).await? {
            return Ok(outcome);
        }
    }
    let reason = "the account's settings change faster than this change can be made; send it again";
    Err(StoreError::Unavailable { reason: reason.into() })
}

/// Adds the tokens that belong to other accounts, so that they are seen to.
fn add_foreign(snapshot: &mut Snapshot, account: &AccountId, copies: &[(TokenDigest, Published)]) {
    for (digest, copy) in copies {
        let Some(owner) = copy.account().filter(|owner| *owner != account) else { continue };
        snapshot.tokens.insert(*digest, Arc::new(Token::plain(owner.clone(), Vec::new())));
    }
}

/// Publishes again what a command was refused over: an earlier try of the same may have died between
/// change and publication.
async fn mend(
    protocol: &Protocol,
    io: &Io,
    seen: &Seen,
    account: &AccountId,
    digests: &[TokenDigest],
) -> Result<(), StoreError> {
    let own = |digest: &TokenDigest| {
        let found = seen.found(digest).filter(|found| found.token.account == *account)?;
        Some((*digest, found))
    };
    publish(protocol, io, &digests.iter().filter_map(own).collect::<Vec<_>>(), None).await
}

/// Writes what was changed, and tells every look-up; `false`: somebody else was quicker.
async fn write(
    protocol: &Protocol,
    io: &Io,
    account: &AccountId,
    seen: &Seen,
    copies: &[(TokenDigest, Published)],
) -> Result<bool, StoreError> {
    let changed = &seen.snapshot.changed;
    if changed.new_wallet.is_some() {
        // Before the account: the sweep must never miss one.
        let register = protocol.keys.register_of(account);
        io.call(Call::new("SADD", register).arg(account.as_str())).await?;
    }
    // A digest is claimed first, in its own slot, so that no two accounts ever have it.
    for (digest, _) in &changed.tokens {
        let unknown = |(known, copy): &(TokenDigest, Published)| {
            known == digest && matches!(copy, Published::Nothing)
        };
        if copies.iter().any(unknown) && !claim(protocol, io, digest, account).await? {
            return Ok(false);
        }
    }
    let reply = bulk(io.script(script(protocol, io, account, seen)?).await?)?;
    let reply = reply.ok_or_else(wrong_shape)?;
    let parts = parts(&reply).ok_or_else(wrong_shape)?;
    let [b"K", settings_revision, settings, tokens @ ..] = &parts[..] else {
        return if matches!(parts[..], [b"Z"]) { Ok(false) } else { Err(wrong_shape()) };
    };
    let mut after = Seen {
        version: Vec::new(),
        settings_revision: revision(settings_revision)?,
        revisions: Vec::new(),
        snapshot: Snapshot { settings: records::settings(settings)?, ..Snapshot::default() },
    };
    for pair in tokens.chunks_exact(2) {
        let [name, record] = pair else { continue };
        let name = digest(name)?;
        if let Some((revision, token)) = records::token(record)? {
            after.revisions.push((name, revision));
            after.snapshot.tokens.insert(name, token);
        }
    }
    let all: Vec<TokenDigest> = after.snapshot.tokens.keys().copied().collect();
    let found = all.iter().filter_map(|digest| Some((*digest, after.found(digest)?)));
    publish(protocol, io, &found.collect::<Vec<_>>(), None).await?;
    Ok(true)
}

fn script(
    protocol: &Protocol,
    io: &Io,
    account: &AccountId,
    seen: &Seen,
) -> Result<ScriptCall, StoreError> {
    let changed = &seen.snapshot.changed;
    let keys = protocol.keys.account(account);
    let keys = vec![keys.account(), keys.tokens(), keys.senders(), keys.nonce(&io.next_nonce())];
    let (mut settings, mut caps, mut senders) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(changed) = &changed.settings {
        settings = records::json(&**changed)?;
        caps = records::caps(&changed.spend_caps);
        senders = changed.senders.iter().map(|sender| sender.as_bytes().to_vec()).collect();
    }
    let mut args = vec![
        protocol.remember_ms.clone(),
        seen.version.clone(),
        changed.new_wallet.as_ref().map(records::new_wallet).unwrap_or_default(),
        settings,
        caps,
        changed.tokens.len().to_string().into_bytes(),
        senders.len().to_string().into_bytes(),
        io.salt().to_string().into_bytes(),
    ];
    for (digest, token) in &changed.tokens {
        args.push(digest.as_bytes().to_vec());
        args.push(records::json(&**token)?);
    }
    args.extend(senders);
    Ok(ScriptCall { script: &PUT, keys, args })
}
