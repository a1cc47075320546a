//! Reads what a command needs of one account, in one script.

use tollgate::{AccountId, CellKey, ClaimKey, ReservationId, StoreError, TokenDigest};

use crate::bytes::parts;
use crate::cache::Found;
use crate::exchange::{Io, ScriptCall, bulk, wrong_shape};
use crate::protocol::Protocol;
use crate::records;
use crate::scripts::LOOK;
use crate::snapshot::Snapshot;

/// What to read besides the account itself.
#[derive(Default)]
pub(crate) struct Wanted<'w> {
    /// Reservations that are due at this time.
    pub(crate) due_ms: Option<u64>,
    pub(crate) claim: Option<ClaimKey>,
    pub(crate) spends_as: Option<TokenDigest>,
    pub(crate) tokens: &'w [TokenDigest],
    pub(crate) cells: &'w [CellKey],
}

/// An account at one moment.
pub(crate) struct Seen {
    /// How often settings or tokens were changed, as the server counts; empty: there is no account.
    pub(crate) version: Vec<u8>,
    pub(crate) settings_revision: u64,
    /// The token records that were asked for, with their revisions.
    pub(crate) revisions: Vec<(TokenDigest, u64)>,
    pub(crate) snapshot: Snapshot,
}

impl Seen {
    /// The revision of a token's credential: of its own record or of the settings, whichever is later.
    pub(crate) fn revision(&self, digest: &TokenDigest) -> u64 {
        let own = self.revisions.iter().find(|(known, _)| known == digest);
        own.map_or(0, |(_, revision)| *revision).max(self.settings_revision)
    }

    /// What look-ups shall find of a token.
    pub(crate) fn found(&self, digest: &TokenDigest) -> Option<Found> {
        let token = self.snapshot.tokens.get(digest)?.clone();
        let settings = self.snapshot.settings.clone();
        let settings = if settings.networks.is_empty() { Default::default() } else { settings };
        Some(Found { token, settings, revision: self.revision(digest) })
    }
}

pub(crate) async fn look(
    protocol: &Protocol,
    io: &Io,
    id: &AccountId,
    wanted: Wanted<'_>,
) -> Result<Seen, StoreError> {
    let keys = protocol.keys.account(id);
    let mut all_keys = keys.records().to_vec();
    all_keys.push(keys.tokens());
    all_keys.extend(wanted.cells.iter().map(|cell| keys.cell(cell)));
    let mut args = vec![
        wanted.due_ms.map(|ms| ms.to_string().into_bytes()).unwrap_or_default(),
        wanted.claim.map(|key| key.0.to_vec()).unwrap_or_default(),
        wanted.spends_as.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default(),
        wanted.tokens.len().to_string().into_bytes(),
    ];
    args.extend(wanted.tokens.iter().map(|digest| digest.as_bytes().to_vec()));
    let reply = io.script(ScriptCall { script: &LOOK, keys: all_keys, args }).await?;
    let reply = bulk(reply)?.ok_or_else(wrong_shape)?;
    let parts = parts(&reply).ok_or_else(wrong_shape)?;
    read(id, &wanted, &parts)
}

fn read(id: &AccountId, wanted: &Wanted<'_>, parts: &[&[u8]]) -> Result<Seen, StoreError> {
    let mut parts = parts.iter().copied();
    let mut next = || parts.next().ok_or_else(wrong_shape);
    let version = next()?.to_vec();
    let settings_revision = revision(next()?)?;
    let mut snapshot = Snapshot {
        account: (!version.is_empty()).then(|| id.clone()),
        settings: records::settings(next()?)?,
        wallet: records::wallet(next()?)?,
        ..Snapshot::default()
    };
    let (claim, spend) = (records::claim(next()?)?, records::spend(next()?)?);
    if let (Some(key), Some(claim)) = (wanted.claim, claim) {
        let due_ms = claim.expires_ms;
        snapshot.claims.insert(key, (claim, due_ms));
    }
    if let Some(digest) = wanted.spends_as {
        snapshot.spends.insert(digest, spend);
    }
    let mut revisions = Vec::new();
    for digest in wanted.tokens {
        if let Some((revision, token)) = records::token(next()?)? {
            revisions.push((*digest, revision));
            snapshot.tokens.insert(*digest, token);
        }
    }
    for key in wanted.cells {
        if let Some(cell) = records::cell(next()?)? {
            snapshot.cells.insert(*key, cell);
        }
    }
    while let (Some(number), Some(record)) = (parts.next(), parts.next()) {
        let number = number.try_into().map_err(|_| wrong_shape())?;
        let reservation = records::reservation(record)?;
        let due_ms = wanted.due_ms.unwrap_or_default();
        snapshot
            .reservations
            .insert(ReservationId(u64::from_be_bytes(number)), (reservation, due_ms));
    }
    Ok(Seen { version, settings_revision, revisions, snapshot })
}

/// A revision of 8 bytes; none is 0.
pub(crate) fn revision(bytes: &[u8]) -> Result<u64, StoreError> {
    if bytes.is_empty() {
        return Ok(0);
    }
    let bytes = bytes.try_into().map_err(|_| StoreError::Corrupt { what: "an account" })?;
    Ok(u64::from_be_bytes(bytes))
}
