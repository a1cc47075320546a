//! The handles that there are, and what must be true of every result.

use core::ffi::{CStr, c_void};
use core::ptr::null_mut;
use std::collections::HashMap;

use tollgate_c::*;

use crate::input::{ACCOUNTS, Input, NOW_MS, TOKEN};

const MOST: usize = 6;

/// Handles of one kind.
pub struct Handles<T> {
    all: Vec<*mut T>,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Handles<T> {
    fn new(free: unsafe extern "C" fn(*mut T)) -> Self {
        Handles { all: Vec::new(), free }
    }

    /// One of them, or null.
    pub fn pick(&self, input: &mut Input<'_>) -> *mut T {
        if self.all.is_empty() || input.odds(32) {
            return null_mut();
        }
        self.all[input.index(self.all.len())]
    }

    /// Takes what a call gave: a handle where it succeeded, nothing where it did not.
    pub fn take(&mut self, result: tollgate_result_t, handle: *mut T) {
        assert_eq!(
            known(result),
            !handle.is_null(),
            "a handle without success, or the other way round"
        );
        if handle.is_null() {
            return;
        }
        if self.all.len() >= MOST {
            self.free_at(0);
        }
        self.all.push(handle);
    }

    pub fn free_one(&mut self, input: &mut Input<'_>) {
        if self.all.is_empty() {
            // SAFETY: null is none.
            return unsafe { (self.free)(null_mut()) };
        }
        let index = input.index(self.all.len());
        self.free_at(index);
    }

    fn free_at(&mut self, index: usize) {
        let handle = self.all.swap_remove(index);
        // SAFETY: the library gave it, and it is in the pool no more.
        unsafe { (self.free)(handle) }
    }
}

impl<T> Drop for Handles<T> {
    fn drop(&mut self) {
        while !self.all.is_empty() {
            self.free_at(0);
        }
    }
}

/// Every handle, in the order in which the rest is freed; the memory of regions is last.
pub struct Pool {
    pub policies: Handles<tollgate_policy_t>,
    pub engines: Handles<tollgate_engine_t>,
    pub stores: Handles<tollgate_store_t>,
    pub limits: Handles<tollgate_limits_t>,
    pub redises: Handles<tollgate_redis_t>,
    pub operations: Handles<tollgate_operation_t>,
    pub explanations: Handles<tollgate_explanation_t>,
    pub decisions: Handles<tollgate_decision_t>,
    pub ledger: Ledger,
    pub digest: [u8; 32],
    pub regions: Vec<Vec<u64>>,
}

const POLICY: &str = r#"
[tokens]
format = "opaque"
[scopes]
"sms:send" = ["POST /sms/send"]
otp = ["POST /otp/send"]
reports = ["GET /messages/{id}"]
[limits.token]
per = "token"
quota = 20
window_ms = 60_000
[limits.window]
per = "account"
quota = 30
window_ms = 60_000
algorithm = "sliding_window"
counts = "executions"
[routes."POST /sms/send"]
idempotency = true
price = 5
"#;

impl Pool {
    /// An engine, and a ledger with two accounts, one of which has a token: no sequence has to begin with them.
    pub fn start() -> Self {
        let mut pool = Pool {
            policies: Handles::new(tollgate_policy_free),
            engines: Handles::new(tollgate_engine_free),
            stores: Handles::new(tollgate_store_free),
            limits: Handles::new(tollgate_limits_free),
            redises: Handles::new(tollgate_redis_free),
            operations: Handles::new(tollgate_operation_free),
            explanations: Handles::new(tollgate_explanation_free),
            decisions: Handles::new(tollgate_decision_free),
            ledger: Ledger { store: null_mut(), deposited: HashMap::new() },
            digest: [0; 32],
            regions: Vec::new(),
        };
        let (mut policy, mut engine, mut store) = (null_mut(), null_mut(), null_mut());
        let scopes = ["sms:send", "reports"]
            .map(|scope| tollgate_str_t { data: scope.as_ptr().cast(), len: scope.len() });
        // SAFETY: every pointer is to a value that lives to the end of the call.
        unsafe {
            let made = tollgate_policy_new(POLICY.as_ptr().cast(), POLICY.len(), 1, &mut policy);
            pool.policies.take(made, policy);
            pool.engines
                .take(tollgate_engine_new(policy, core::ptr::null(), 0, &mut engine), engine);
            assert!(known(tollgate_store_memory_new(core::ptr::null(), &mut store)));
            pool.ledger.store = store;
            for name in ACCOUNTS {
                let settings = core::ptr::null();
                let (data, len) = (name.as_ptr().cast(), name.len());
                assert!(known(tollgate_account_put(store, data, len, 1_000, settings, NOW_MS)));
                pool.ledger.deposited.insert((*name).to_string(), 1_000);
            }
            let digest = pool.digest.as_mut_ptr();
            assert!(known(tollgate_engine_digest(
                engine,
                TOKEN.as_ptr().cast(),
                TOKEN.len(),
                digest
            )));
            let mut settings: tollgate_token_settings_t = core::mem::zeroed();
            settings.struct_size = size_of_val(&settings);
            (settings.scopes, settings.scopes_len) = (scopes.as_ptr(), scopes.len());
            settings.set_scopes = 1;
            let (data, len) = (ACCOUNTS[0].as_ptr().cast(), ACCOUNTS[0].len());
            assert!(known(tollgate_token_put(store, digest, data, len, &settings, NOW_MS)));
        }
        pool
    }

    /// A store: the ledger, mostly.
    pub fn store(&self, input: &mut Input<'_>) -> *mut tollgate_store_t {
        if input.odds(4) { self.stores.pick(input) } else { self.ledger.store }
    }
}

/// The store whose money is watched.
pub struct Ledger {
    pub store: *mut tollgate_store_t,
    /// What was paid in, by account.
    pub deposited: HashMap<String, u64>,
}

struct Sums {
    held: u64,
    open: u64,
    posted: u128,
}

unsafe extern "C" fn add_up(user: *mut c_void, reservation: *const tollgate_reservation_t) -> bool {
    // SAFETY: `user` is the sums of `check`, and the library lends the reservation.
    let (sums, reservation) = unsafe { (&mut *user.cast::<Sums>(), &*reservation) };
    assert!(reservation.refunded <= reservation.posted && reservation.posted <= reservation.amount);
    if reservation.state == tollgate_reservation_state::TOLLGATE_HELD as u32 {
        sums.held += reservation.amount;
        // One that holds a key alone is not among the wallet's.
        sums.open += u64::from(reservation.amount > 0);
    }
    sums.posted += u128::from(reservation.posted);
    true
}

impl Ledger {
    /// Money comes from deposits alone, goes by posting alone, and what is held is what reservations hold.
    pub fn check(&self) {
        for (name, deposited) in &self.deposited {
            let (data, len) = (name.as_ptr().cast(), name.len());
            let mut sums = Sums { held: 0, open: 0, posted: 0 };
            // SAFETY: every pointer is to a value that lives to the end of the call.
            let wallet = unsafe {
                let mut wallet: tollgate_wallet_t = core::mem::zeroed();
                assert!(known(tollgate_account_wallet(self.store, data, len, NOW_MS, &mut wallet)));
                let user = (&raw mut sums).cast();
                let listed =
                    tollgate_reservation_list(self.store, data, len, NOW_MS, Some(add_up), user);
                assert!(known(listed));
                wallet
            };
            assert_eq!(wallet.deposited, *deposited, "{name}: paid in");
            let comes = u128::from(wallet.deposited) + u128::from(wallet.refunded);
            assert_eq!(
                comes,
                u128::from(wallet.balance) + u128::from(wallet.posted),
                "{name}: conserved"
            );
            assert_eq!(wallet.held, sums.held, "{name}: held");
            assert_eq!(wallet.open_reservations, sums.open, "{name}: open");
            assert!(sums.posted <= u128::from(wallet.posted), "{name}: posted");
            assert_eq!(wallet.available, wallet.balance - wallet.held, "{name}: available");
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // SAFETY: the library gave it, and it is freed once.
        unsafe { tollgate_store_free(self.store) }
    }
}

/// Whether a call succeeded. Its number must be one of the header's, and not that of a bug.
pub fn known(result: tollgate_result_t) -> bool {
    if result == 0 {
        return true;
    }
    // SAFETY: both give a text that ends with a NUL.
    unsafe {
        let name = CStr::from_ptr(tollgate_result_name(result));
        assert!(
            name != c"TOLLGATE_?" && name != c"TOLLGATE_PANIC",
            "{result}: {:?}",
            CStr::from_ptr(tollgate_last_error())
        );
        let text = CStr::from_ptr(tollgate_last_error()).to_str();
        assert!(text.is_ok_and(|text| !text.is_empty()), "an error without a text");
    }
    false
}
