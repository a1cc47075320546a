//! Administration of tokens, which stores know by their digests.

use core::ffi::{c_char, c_void};

use tollgate::{TokenDigest, TokenPatch, TokenQuota, TokenText};

use crate::account::account_id;
use crate::error::{Error, tollgate_result_t};
use crate::ffi::{
    Sized_, array, borrow, call, optional_array, read_optional, tollgate_str_t, write_text,
};
use crate::limits::random;
use crate::settings::{boxed, networks, spend_caps, tollgate_spend_cap_t};
use crate::store::tollgate_store_t;

/// `set_…`: the setting is taken away.
pub const TOLLGATE_CLEAR: u8 = 2;

/// Settings of a token to replace; those whose `set_…` is 0 stay as they are.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_token_settings_t {
    /// `sizeof(tollgate_token_settings_t)`.
    pub struct_size: usize,
    /// Names of its scopes, UTF-8.
    pub scopes: *const tollgate_str_t,
    /// How many scopes.
    pub scopes_len: usize,
    /// Networks or addresses it may be used from; none: any.
    pub networks: *const tollgate_str_t,
    /// How many networks.
    pub networks_len: usize,
    /// Its own spend caps.
    pub spend_caps: *const tollgate_spend_cap_t,
    /// How many spend caps.
    pub spend_caps_len: usize,
    /// Its own quota in place of the policy's: units per window.
    pub quota_limit: u64,
    /// The window of its own quota, in milliseconds.
    pub quota_window_ms: u64,
    /// When it expires, in Unix milliseconds.
    pub expires_ms: u64,
    /// 1: replace the scopes.
    pub set_scopes: u8,
    /// 1: replace the networks.
    pub set_networks: u8,
    /// 1: replace the spend caps.
    pub set_spend_caps: u8,
    /// 1: replace the quota; `TOLLGATE_CLEAR`: take it away.
    pub set_quota: u8,
    /// 1: replace the expiry; `TOLLGATE_CLEAR`: take it away.
    pub set_expires: u8,
}

// SAFETY: `repr(C)`, pointers and numbers, and it begins with its size.
unsafe impl Sized_ for tollgate_token_settings_t {}

/// A token as a store keeps it. Its scopes are valid for the length of the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_token_t {
    /// Its digest.
    pub digest: [u8; 32],
    /// Names of its scopes.
    pub scopes: *const tollgate_str_t,
    /// How many scopes.
    pub scopes_len: usize,
    /// When it expires, in Unix milliseconds, if `has_expiry`.
    pub expires_ms: u64,
    /// Whether it expires.
    pub has_expiry: bool,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// Takes a token, valid for the length of the call. False ends the list.
pub type tollgate_token_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, token: *const tollgate_token_t) -> bool>;

impl tollgate_token_settings_t {
    fn patch(&self) -> Result<TokenPatch, Error> {
        let given = |set: u8| set != 0;
        let quota = TokenQuota { limit: self.quota_limit, window_ms: self.quota_window_ms };
        Ok(TokenPatch {
            scopes: given(self.set_scopes)
                .then(|| boxed(self.scopes, self.scopes_len, "settings.scopes"))
                .transpose()?,
            networks: given(self.set_networks)
                .then(|| networks(self.networks, self.networks_len))
                .transpose()?,
            spend_caps: given(self.set_spend_caps)
                .then(|| spend_caps(self.spend_caps, self.spend_caps_len))
                .transpose()?,
            quota: changed(self.set_quota, quota)?,
            expires_ms: changed(self.set_expires, self.expires_ms)?,
        })
    }
}

fn changed<T>(set: u8, value: T) -> Result<Option<Option<T>>, Error> {
    match set {
        0 => Ok(None),
        1 => Ok(Some(Some(value))),
        TOLLGATE_CLEAR => Ok(Some(None)),
        other => Err(Error::invalid(format!(
            "a `set_…` of a token is 0, 1 or TOLLGATE_CLEAR, not {other}"
        ))),
    }
}

fn digest(data: *const u8, what: &'static str) -> Result<TokenDigest, Error> {
    array(data, what).map(TokenDigest::new)
}

/// Writes a new token of the native format, such as `tg_live_…`, and its length, 64 bytes at most. Show it once; give stores its
/// `tollgate_engine_digest`.
///
/// `entropy` is 32 random bytes; null: the operating system's. Errors: `TOLLGATE_BUFFER_TOO_SMALL` with the length that is needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_token_generate(
    entropy: *const u8,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
) -> tollgate_result_t {
    call(|| {
        let entropy = match optional_array(entropy, "entropy")? {
            Some(entropy) => entropy,
            None => random()?,
        };
        let token = TokenText::generate(&entropy);
        write_text(token.expose().as_bytes(), buffer, capacity, len)
    })
}

/// Creates a token, or replaces the settings that are given. Its account must exist; `digest` is 32 bytes. `settings` may be null.
///
/// Errors: `TOLLGATE_UNKNOWN_ACCOUNT`, `TOLLGATE_FOREIGN_TOKEN`, `TOLLGATE_TOKEN_REVOKED`; those of stores.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_token_put(
    store: *const tollgate_store_t,
    digest_bytes: *const u8,
    account: *const c_char,
    account_len: usize,
    settings: *const tollgate_token_settings_t,
    now_ms: u64,
) -> tollgate_result_t {
    call(|| {
        let (store, digest) = (borrow(store, "store")?, digest(digest_bytes, "digest_bytes")?);
        let id = account_id(account, account_len)?;
        let patch = match read_optional(settings, "settings")? {
            Some(settings) => settings.patch()?,
            None => TokenPatch::default(),
        };
        Ok(store.admin().put_token(&digest, &id, patch, now_ms)?)
    })
}

/// Revokes a token for good: it holds from the moment this returns.
///
/// Errors: `TOLLGATE_UNKNOWN_TOKEN`; those of stores.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_token_revoke(
    store: *const tollgate_store_t,
    digest_bytes: *const u8,
    now_ms: u64,
) -> tollgate_result_t {
    call(|| {
        let (store, digest) = (borrow(store, "store")?, digest(digest_bytes, "digest_bytes")?);
        Ok(store.admin().revoke_token(&digest, now_ms)?)
    })
}

/// Gives a new token the settings of an old one, which still works for `grace_ms` milliseconds.
///
/// Errors: `TOLLGATE_UNKNOWN_TOKEN`, `TOLLGATE_TOKEN_EXISTS`, `TOLLGATE_TOKEN_REVOKED`; those of stores.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_token_rotate(
    store: *const tollgate_store_t,
    old_digest: *const u8,
    new_digest: *const u8,
    grace_ms: u64,
    now_ms: u64,
) -> tollgate_result_t {
    call(|| {
        let store = borrow(store, "store")?;
        let (old, new) = (digest(old_digest, "old_digest")?, digest(new_digest, "new_digest")?);
        Ok(store.admin().rotate_token(&old, &new, grace_ms, now_ms)?)
    })
}

/// Lists an account's tokens, by digest. `each` must not leave by an exception or `longjmp`, and may call the library.
///
/// Errors: `TOLLGATE_UNKNOWN_ACCOUNT`; those of stores; nothing was listed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_token_list(
    store: *const tollgate_store_t,
    account: *const c_char,
    account_len: usize,
    now_ms: u64,
    each: tollgate_token_fn,
    user: *mut c_void,
) -> tollgate_result_t {
    call(|| {
        let (store, id) = (borrow(store, "store")?, account_id(account, account_len)?);
        let each = each.ok_or(Error::null("each"))?;
        for (digest, token) in store.admin().tokens(&id, now_ms)? {
            let scopes: Vec<_> = token.scopes.iter().map(|name| tollgate_str_t::of(name)).collect();
            let shown = tollgate_token_t {
                digest: *digest.as_bytes(),
                scopes: scopes.as_ptr(),
                scopes_len: scopes.len(),
                expires_ms: token.expires_ms.unwrap_or(0),
                has_expiry: token.expires_ms.is_some(),
                revoked: token.revoked,
            };
            // SAFETY: the function and its argument are the caller's, to be called so.
            if !unsafe { each(user, &raw const shown) } {
                break;
            }
        }
        Ok(())
    })
}
