//! Administration of accounts.

use core::ffi::{c_char, c_void};

use tollgate::{AccountId, AccountPatch, Amount};

use crate::error::{Error, tollgate_result_t};
use crate::ffi::{Sized_, borrow, call, optional_text, out, read_optional, text, tollgate_str_t};
use crate::settings::{boxed, networks, spend_caps, tollgate_spend_cap_t};
use crate::store::tollgate_store_t;

/// Settings of an account to replace; those without their `set_…` stay as they are.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_account_settings_t {
    /// `sizeof(tollgate_account_settings_t)`.
    pub struct_size: usize,
    /// Networks or addresses its tokens may be used from; none: any.
    pub networks: *const tollgate_str_t,
    /// How many networks.
    pub networks_len: usize,
    /// Its spend caps.
    pub spend_caps: *const tollgate_spend_cap_t,
    /// How many spend caps.
    pub spend_caps_len: usize,
    /// Senders that are approved for it, UTF-8.
    pub senders: *const tollgate_str_t,
    /// How many senders.
    pub senders_len: usize,
    /// 1: replace the networks.
    pub set_networks: u8,
    /// 1: replace the spend caps.
    pub set_spend_caps: u8,
    /// 1: replace the senders.
    pub set_senders: u8,
}

// SAFETY: `repr(C)`, pointers and numbers, and it begins with its size.
unsafe impl Sized_ for tollgate_account_settings_t {}

/// An account's money, in the ledger's minor unit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct tollgate_wallet_t {
    /// What is there, held money included.
    pub balance: u64,
    /// The part of the balance that reservations hold.
    pub held: u64,
    /// What may still be reserved.
    pub available: u64,
    /// All that was ever posted.
    pub posted: u64,
    /// All that was ever paid in.
    pub deposited: u64,
    /// All that was ever refunded.
    pub refunded: u64,
    /// Reservations that hold money.
    pub open_reservations: u64,
}

/// Takes a name, UTF-8 without a NUL, valid for the length of the call. False ends the list.
pub type tollgate_account_fn = Option<
    unsafe extern "C" fn(user: *mut c_void, account: *const c_char, account_len: usize) -> bool,
>;

pub(crate) fn account_id(data: *const c_char, len: usize) -> Result<AccountId, Error> {
    let text = text(data, len, "account")?;
    AccountId::new(text).map_err(|error| Error::invalid(error.to_string()))
}

impl tollgate_account_settings_t {
    fn patch(&self) -> Result<AccountPatch, Error> {
        let given = |set: u8| set != 0;
        Ok(AccountPatch {
            networks: given(self.set_networks)
                .then(|| networks(self.networks, self.networks_len))
                .transpose()?,
            spend_caps: given(self.set_spend_caps)
                .then(|| spend_caps(self.spend_caps, self.spend_caps_len))
                .transpose()?,
            senders: given(self.set_senders)
                .then(|| boxed(self.senders, self.senders_len, "settings.senders"))
                .transpose()?,
        })
    }
}

/// Creates an account, or replaces the settings that are given. `opening_balance` counts only at creation; `settings` may be null.
///
/// A name is 1 to 255 bytes of UTF-8. Errors: `TOLLGATE_INVALID_ARGUMENT` for a name, network or cap that is none; those of stores.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_account_put(
    store: *const tollgate_store_t,
    account: *const c_char,
    account_len: usize,
    opening_balance: u64,
    settings: *const tollgate_account_settings_t,
    now_ms: u64,
) -> tollgate_result_t {
    call(|| {
        let (store, id) = (borrow(store, "store")?, account_id(account, account_len)?);
        let patch = match read_optional(settings, "settings")? {
            Some(settings) => settings.patch()?,
            None => AccountPatch::default(),
        };
        Ok(store.admin().put_account(&id, Amount(opening_balance), patch, now_ms)?)
    })
}

/// Pays in.
///
/// Errors: `TOLLGATE_UNKNOWN_ACCOUNT`, `TOLLGATE_AMOUNT_OVERFLOW`; those of stores.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_account_deposit(
    store: *const tollgate_store_t,
    account: *const c_char,
    account_len: usize,
    amount: u64,
    now_ms: u64,
) -> tollgate_result_t {
    call(|| {
        let (store, id) = (borrow(store, "store")?, account_id(account, account_len)?);
        Ok(store.admin().deposit(&id, Amount(amount), now_ms)?)
    })
}

/// Shows an account's money.
///
/// Errors: `TOLLGATE_UNKNOWN_ACCOUNT`; those of stores.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_account_wallet(
    store: *const tollgate_store_t,
    account: *const c_char,
    account_len: usize,
    now_ms: u64,
    wallet: *mut tollgate_wallet_t,
) -> tollgate_result_t {
    call(|| {
        let (store, id) = (borrow(store, "store")?, account_id(account, account_len)?);
        let told = out(wallet, "wallet")?;
        let wallet = store.admin().account(&id, now_ms)?.wallet;
        told.set(tollgate_wallet_t {
            balance: wallet.balance.0,
            held: wallet.held.0,
            available: wallet.available().0,
            posted: wallet.posted.0,
            deposited: wallet.deposited.0,
            refunded: wallet.refunded.0,
            open_reservations: wallet.open_reservations,
        });
        Ok(())
    })
}

/// Lists the names of accounts, sorted by their bytes: those after `after` (null: from the first), at most `at_most`. `each` must not leave by an
/// exception or `longjmp`, and may call the library.
///
/// Errors: those of stores; nothing was listed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_account_list(
    store: *const tollgate_store_t,
    after: *const c_char,
    after_len: usize,
    at_most: usize,
    now_ms: u64,
    each: tollgate_account_fn,
    user: *mut c_void,
) -> tollgate_result_t {
    call(|| {
        let store = borrow(store, "store")?;
        let each = each.ok_or(Error::null("each"))?;
        let after = match optional_text(after, after_len, "after")? {
            Some(_) => Some(account_id(after, after_len)?),
            None => None,
        };
        for name in store.admin().accounts(after.as_ref(), at_most, now_ms)? {
            let name = name.as_str();
            // SAFETY: the function and its argument are the caller's, to be called so.
            if !unsafe { each(user, name.as_ptr().cast(), name.len()) } {
                break;
            }
        }
        Ok(())
    })
}
