//! Sequences of calls of the C ABI on a pool of handles, with hostile arguments, freed in any order.
//!
//! What must hold: no crash, no memory error and no leak (AddressSanitizer looks), every result is a number of the
//! header and none a bug, out-parameters are written on success only, and the ledger's money is conserved.
//!
//! Not called: what opens files by a path (LMDB, a region's file), for fuzzed paths would write anywhere.

#![no_main]

mod input;
mod pool;

use core::ffi::{c_char, c_void};
use core::ptr::{null, null_mut};

use input::{ACCOUNTS, Input};
use pool::{Pool, known};
use tollgate_c::*;

const MOST_CALLS: usize = 80;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut pool = Pool::start();
    for _ in 0..MOST_CALLS {
        if input.is_over() {
            break;
        }
        let call = input.next_call();
        // SAFETY: `input` makes only arguments that callers may give, and handles of the pool live.
        unsafe { one_call(call, &mut input, &mut pool) };
    }
    pool.ledger.check();
});

unsafe fn one_call(call: u8, input: &mut Input<'_>, pool: &mut Pool) {
    unsafe {
        match call % 32 {
            0 => policy(input, pool),
            1 => engine(input, pool),
            2 => stores(input, pool),
            3 => regions(input, pool),
            4 | 5 => accounts(input, pool),
            6 => tokens(input, pool),
            7 | 8 => reservations(input, pool),
            9..=13 => decide(input, pool),
            14..=17 => finish(input, pool),
            18..=20 => read_decision(input, pool),
            21..=24 => operation(input, pool),
            25..=27 => redis(input, pool),
            28 => explain(input, pool),
            29 => rest(input),
            _ => free(input, pool),
        }
    }
}

unsafe fn policy(input: &mut Input<'_>, pool: &mut Pool) {
    unsafe {
        let (text, len) = input.text();
        if input.odds(2) {
            known(tollgate_policy_patch(pool.policies.pick(input), text, len));
        } else {
            let mut policy = null_mut();
            let result = tollgate_policy_new(text, len, input.enumerator(), &mut policy);
            pool.policies.take(result, policy);
        }
        let policy = pool.policies.pick(input);
        tollgate_policy_trusts_proxies(policy);
        let warnings = tollgate_policy_warning_count(policy);
        let mut warning = tollgate_str_t { data: null(), len: 0 };
        let index = input.index(3);
        assert_eq!(known(tollgate_policy_warning(policy, index, &mut warning)), index < warnings);
    }
}

unsafe fn engine(input: &mut Input<'_>, pool: &mut Pool) {
    unsafe {
        let policy = pool.policies.pick(input);
        match input.byte() % 3 {
            0 => {
                let (pepper, len) = input.blob();
                let mut engine = null_mut();
                let result = tollgate_engine_new(policy, pepper, len, &mut engine);
                pool.engines.take(result, engine);
            }
            1 => _ = known(tollgate_engine_reload(pool.engines.pick(input), policy)),
            _ => {
                let (text, len) = input.text();
                let mut digest = [7; 32];
                let done = known(tollgate_engine_digest(
                    pool.engines.pick(input),
                    text,
                    len,
                    digest.as_mut_ptr(),
                ));
                assert!(done || digest == [7; 32], "written without success");
            }
        }
    }
}

unsafe fn stores(input: &mut Input<'_>, pool: &mut Pool) {
    unsafe {
        let mut store = null_mut();
        match input.byte() % 4 {
            0 => {
                let options = input.memory_options();
                pool.stores.take(tollgate_store_memory_new(&options, &mut store), store);
            }
            1 => {
                let accounts = pool.store(input);
                let result =
                    tollgate_store_composite_new(pool.limits.pick(input), accounts, &mut store);
                pool.stores.take(result, store);
            }
            2 => {
                // Nothing is asked of it: that would be a connection to wherever the bytes say.
                let ((url, len), options) = (input.text(), input.redis_options());
                let opened = known(tollgate_store_redis_open(url, len, &options, &mut store));
                assert_eq!(opened, !store.is_null());
                tollgate_store_free(store);
            }
            _ => {
                let mut expired = 0;
                let now_ms = input.now();
                known(tollgate_store_expire(pool.store(input), now_ms, &mut expired));
            }
        }
    }
}

unsafe fn regions(input: &mut Input<'_>, pool: &mut Pool) {
    unsafe {
        let (mut cells, mut windows, mut size) = (0, 0, 0);
        if input.odds(4) {
            let (a, b) = (input.number() as usize, input.number() as usize);
            known(tollgate_region_size(a, b, &mut size));
            known(tollgate_region_fit(a, &mut cells, &mut windows, &mut size));
            let mut processes = 0;
            known(tollgate_limits_reclaim_dead(
                pool.limits.pick(input),
                input.now(),
                &mut processes,
            ));
            return;
        }
        if pool.regions.len() >= 2 {
            return;
        }
        assert!(known(tollgate_region_fit(300 * 1024, &mut cells, &mut windows, &mut size)));
        let mut memory = vec![0_u64; size.div_ceil(8)];
        let start = memory.as_mut_ptr().cast::<u8>();
        if input.odds(4) {
            let (bytes, len) = input.blob();
            if !bytes.is_null() && len <= 80 {
                start.copy_from_nonoverlapping(bytes, len);
            }
        } else {
            let len = if input.odds(8) { size - 8 } else { size };
            known(tollgate_region_create(start, len, cells, windows, input.keep(&[5; 16])));
        }
        let offset = usize::from(input.odds(16));
        let mut limits = null_mut();
        let result = tollgate_limits_region_attach(start.add(offset), size - offset, &mut limits);
        pool.limits.take(result, limits);
        pool.regions.push(memory);
    }
}

unsafe fn accounts(input: &mut Input<'_>, pool: &mut Pool) {
    unsafe {
        let store = pool.store(input);
        // The ledger's own sums are kept by the names that it began with; composites above it share it.
        let index = input.index(ACCOUNTS.len());
        let watched = input.odds(2);
        let (name, len) = if watched {
            (input.keep(ACCOUNTS[index].as_bytes()).cast(), ACCOUNTS[index].len())
        } else {
            input.text_of(&["acct_3", "acct_4"])
        };
        match input.byte() % 4 {
            0 => {
                let settings = input.account_settings();
                let (amount, now_ms) = (input.number(), input.now());
                known(tollgate_account_put(store, name, len, amount, &settings, now_ms));
            }
            1 if !watched => {
                let (name, len, amount) = (input.keep(b"acct_3").cast(), 6, input.number());
                known(tollgate_account_deposit(store, name, len, amount, input.now()));
            }
            1 => {
                let amount = input.number();
                let done = known(tollgate_account_deposit(
                    pool.ledger.store,
                    name,
                    len,
                    amount,
                    input.now(),
                ));
                let sum = pool.ledger.deposited.get_mut(ACCOUNTS[index]);
                if let (true, Some(sum)) = (done, sum) {
                    *sum = sum.checked_add(amount).expect("more than 64 bits were paid in");
                }
            }
            2 => {
                let mut wallet: tollgate_wallet_t = core::mem::zeroed();
                if known(tollgate_account_wallet(store, name, len, input.now(), &mut wallet)) {
                    assert!(wallet.held <= wallet.balance);
                }
            }
            _ => {
                let (after, after_len) = input.text();
                let (most, now_ms) = (input.number() as usize, input.now());
                let mut calls = u64::from(input.byte());
                let user = (&raw mut calls).cast();
                known(tollgate_account_list(
                    store,
                    after,
                    after_len,
                    most,
                    now_ms,
                    Some(name_listed),
                    user,
                ));
            }
        }
    }
}

unsafe extern "C" fn name_listed(user: *mut c_void, name: *const c_char, len: usize) -> bool {
    // SAFETY: `user` is the number of calls that are welcome, and the library lends the name.
    let (calls, name) =
        unsafe { (&mut *user.cast::<u64>(), core::slice::from_raw_parts(name.cast::<u8>(), len)) };
    assert!(!name.is_empty() && name.len() <= 255);
    *calls = calls.saturating_sub(1);
    *calls > 0
}

unsafe extern "C" fn token_listed(_: *mut c_void, token: *const tollgate_token_t) -> bool {
    // SAFETY: the library lends the token and its scopes.
    unsafe { (*token).scopes_len == 0 || !(*token).scopes.is_null() }
}

unsafe extern "C" fn logged(
    _: *mut c_void,
    level: tollgate_log_level_t,
    _: *const c_char,
    len: usize,
) {
    assert!((1..=3).contains(&level) && len > 0);
}

unsafe fn tokens(input: &mut Input<'_>, pool: &mut Pool) {
    unsafe {
        let (store, digest) = (pool.store(input), input.digest(&pool.digest));
        match input.byte() % 8 {
            0 => _ = known(tollgate_token_revoke(store, digest, input.now())),
            1 => {
                let new = input.digest(&[9; 32]);
                known(tollgate_token_rotate(store, digest, new, input.number(), input.now()));
            }
            2 => {
                let (name, len) = input.text_of(ACCOUNTS);
                known(tollgate_token_list(
                    store,
                    name,
                    len,
                    input.now(),
                    Some(token_listed),
                    null_mut(),
                ));
            }
            3 => {
                let mut buffer = vec![0_u8; input.index(70)];
                let mut used = usize::MAX;
                let entropy = input.digest(&[3; 32]);
                if known(tollgate_token_generate(
                    entropy,
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    &mut used,
                )) {
                    assert!(used <= buffer.len() && buffer.starts_with(b"tg_live_"));
                }
            }
            _ => {
                let (name, len) = input.text_of(ACCOUNTS);
                let settings = input.token_settings();
                known(tollgate_token_put(store, digest, name, len, &settings, input.now()));
            }
        }
    }
}

unsafe fn reservations(input: &mut Input<'_>, pool: &mut Pool) {
    unsafe {
        let (store, (name, len)) = (pool.store(input), input.text_of(ACCOUNTS));
        let (number, now_ms) = (input.number(), input.now());
        if input.odds(2) {
            let (reference, reference_len) = input.text_of(&["ref-1", "ref-2", "ref-3"]);
            let amount = input.number();
            known(tollgate_reservation_refund(
                store,
                name,
                len,
                number,
                amount,
                reference,
                reference_len,
                now_ms,
            ));
        } else {
            let finish = input.finish();
            let (mut has, mut posted) = (false, 77);
            known(tollgate_reservation_resolve(
                store,
                name,
                len,
                number,
                &finish,
                now_ms,
                &mut has,
                &mut posted,
            ));
        }
        pool.ledger.check();
    }
}

unsafe fn decide(input: &mut Input<'_>, pool: &mut Pool) {
    unsafe {
        let (engine, store, request) =
            (pool.engines.pick(input), pool.store(input), input.request());
        let mut decision = null_mut();
        let result = tollgate_decide(engine, store, &request, &mut decision);
        pool.decisions.take(result, decision);
    }
}

unsafe fn finish(input: &mut Input<'_>, pool: &mut Pool) {
    unsafe {
        let (decision, store, finish) =
            (pool.decisions.pick(input), pool.store(input), input.finish());
        let now_ms = input.now();
        let mut amount = 0;
        let reserved = tollgate_decision_reserved(decision, &mut amount);
        let (mut has, mut posted) = (false, 77);
        if known(tollgate_finish(decision, store, &finish, now_ms, &mut has, &mut posted)) {
            assert!(!has || !reserved || posted <= amount, "more was posted than reserved");
        } else {
            assert_eq!((has, posted), (false, 77), "written without success");
        }
        pool.ledger.check();
    }
}

unsafe fn read_decision(input: &mut Input<'_>, pool: &mut Pool) {
    unsafe {
        let decision = pool.decisions.pick(input);
        assert!(tollgate_decision_verdict(decision) <= 3);
        assert!(
            (200..=599).contains(&tollgate_decision_http_status(decision)) || !decision.is_null()
        );
        tollgate_decision_status(decision);
        assert!(!tollgate_decision_code(decision).is_null());
        tollgate_decision_must_finish(decision);
        tollgate_decision_holds_key(decision);
        tollgate_decision_shadows(decision);
        let mut number = 0;
        tollgate_decision_reservation(decision, &mut number);
        tollgate_decision_reserved(decision, null_mut());
        tollgate_decision_retry_at(decision, &mut number);
        let mut route = tollgate_str_t { data: null(), len: 0 };
        known(tollgate_decision_route(decision, &mut route));
        for text in
            [tollgate_decision_account, tollgate_decision_store_error, tollgate_decision_body]
        {
            let mut buffer = vec![0_u8; input.index(255)];
            let mut len = usize::MAX;
            let done = known(text(decision, buffer.as_mut_ptr().cast(), buffer.len(), &mut len));
            assert!(!done || len <= buffer.len());
            if !decision.is_null() && !done && len != usize::MAX {
                let mut buffer = vec![0_u8; len];
                assert!(
                    known(text(decision, buffer.as_mut_ptr().cast(), len, &mut len)),
                    "the length was wrong"
                );
            }
        }
        let none = tollgate_header_t { name: null(), name_len: 0, value: null(), value_len: 0 };
        let (mut headers, mut buffer) =
            (vec![none; input.index(18)], vec![0_u8; usize::from(input.byte()) * 5]);
        let (mut count, mut used) = (usize::MAX, usize::MAX);
        let (space, capacity) = (buffer.as_mut_ptr().cast(), buffer.len());
        let places = headers.len();
        let first = headers.as_mut_ptr();
        if known(tollgate_decision_headers(
            decision, first, places, &mut count, space, capacity, &mut used,
        )) {
            assert!(count <= places && used <= capacity);
            for header in &headers[..count] {
                let name = core::slice::from_raw_parts(header.name.cast::<u8>(), header.name_len);
                assert!(!name.is_empty() && buffer.as_ptr_range().contains(&name.as_ptr()));
            }
        }
    }
}

unsafe fn operation(input: &mut Input<'_>, pool: &mut Pool) {
    unsafe {
        let at = pool.operations.pick(input);
        let mut operation = null_mut();
        match input.byte() % 8 {
            0 | 1 => {
                let (engine, request) = (pool.engines.pick(input), input.request());
                let result =
                    tollgate_operation_decide(engine, &request, input.odds(2), &mut operation);
                pool.operations.take(result, operation);
            }
            2 => {
                let (decision, finish) = (pool.decisions.pick(input), input.finish());
                let result =
                    tollgate_operation_finish(decision, &finish, input.now(), &mut operation);
                pool.operations.take(result, operation);
            }
            3 | 4 => _ = known(tollgate_operation_perform(at, pool.store(input))),
            5 => {
                let (reason, len) = input.text();
                known(tollgate_operation_fail(at, reason, len));
            }
            6 => {
                let mut decision = null_mut();
                pool.decisions.take(tollgate_operation_decision(at, &mut decision), decision);
            }
            _ => {
                let (mut has, mut posted) = (false, 0);
                known(tollgate_operation_finished(at, &mut has, &mut posted));
            }
        }
        assert!(tollgate_operation_command(pool.operations.pick(input)) <= 3);
        tollgate_operation_wants_body(pool.operations.pick(input));
        pool.ledger.check();
    }
}

/// A server that says whatever the bytes say.
unsafe fn redis(input: &mut Input<'_>, pool: &mut Pool) {
    unsafe {
        if input.odds(8) {
            let options = input.redis_options();
            let mut redis = null_mut();
            pool.redises.take(tollgate_redis_new(&options, &mut redis), redis);
        }
        if pool.redises.pick(input).is_null() {
            let mut redis = null_mut();
            pool.redises.take(tollgate_redis_new(null(), &mut redis), redis);
        }
        let operation = pool.operations.pick(input);
        let nonce = if input.odds(4) { null() } else { input.keep(&[1; 16]) };
        known(tollgate_operation_redis_start(operation, pool.redises.pick(input), nonce));
        for _ in 0..input.index(4) {
            let calls = tollgate_operation_redis_calls(operation);
            for index in 0..=calls {
                let none = || tollgate_str_t { data: null(), len: 0 };
                let (mut bytes, mut key) = (none(), none());
                let there =
                    known(tollgate_operation_redis_call(operation, index, &mut bytes, &mut key));
                assert_eq!(there, index < calls);
                let (reply, len) = input.reply();
                let mut consumed = usize::MAX;
                known(tollgate_operation_redis_reply(operation, index, reply, len, &mut consumed));
                assert!(consumed == usize::MAX || consumed <= len);
            }
            known(tollgate_operation_redis_resume(operation));
        }
        pool.ledger.check();
    }
}

unsafe fn explain(input: &mut Input<'_>, pool: &mut Pool) {
    unsafe {
        let (engine, store, request) =
            (pool.engines.pick(input), pool.store(input), input.request());
        let mut explanation = null_mut();
        let result = tollgate_explain(engine, store, &request, &mut explanation);
        pool.explanations.take(result, explanation);
        let explanation = pool.explanations.pick(input);
        let steps = tollgate_explanation_step_count(explanation);
        for index in 0..=steps {
            let mut step: tollgate_trace_step_t = core::mem::zeroed();
            let there = known(tollgate_explanation_step(explanation, index, &mut step));
            assert_eq!(there, index < steps);
            assert!(!there || step.check.len > 0);
        }
        let mut decision = null_mut();
        pool.decisions.take(tollgate_explanation_decision(explanation, &mut decision), decision);
        pool.ledger.check();
    }
}

fn rest(input: &mut Input<'_>) {
    let log: tollgate_log_fn = if input.odds(4) { None } else { Some(logged) };
    assert!(known(tollgate_set_log(log, null_mut())));
    let version = input.enumerator();
    assert_eq!(known(tollgate_check_abi(version)), version == tollgate_abi_version());
    assert!(!tollgate_version().is_null());
    assert!(!tollgate_result_name(input.number() as u32).is_null());
}

unsafe fn free(input: &mut Input<'_>, pool: &mut Pool) {
    match input.byte() % 8 {
        0 => pool.policies.free_one(input),
        1 => pool.engines.free_one(input),
        2 => pool.stores.free_one(input),
        3 => pool.limits.free_one(input),
        4 => pool.redises.free_one(input),
        5 => pool.operations.free_one(input),
        6 => pool.explanations.free_one(input),
        _ => pool.decisions.free_one(input),
    }
}
