//! Engines: what decides.

use std::sync::Arc;

use tollgate::{Engine, LiveEngine, Pepper, TokenText};

use crate::error::{Error, tollgate_result_t};
use crate::ffi::{borrow, call, free, many, out, text};
use crate::log::{TOLLGATE_LOG_INFO, log};
use crate::policy::tollgate_policy_t;

/// Decides requests under a policy, which can be replaced while it does.
///
/// Ownership: made by `tollgate_engine_new`, freed by `tollgate_engine_free`; decisions and operations keep
/// what they need of it. Threads: any number may use it at once.
pub struct tollgate_engine_t(LiveEngine);

impl tollgate_engine_t {
    pub(crate) fn load(&self) -> Arc<Engine> {
        self.0.load()
    }
}

/// Makes an engine. The policy is copied.
///
/// With a `pepper`, of at least 16 bytes, stores keep HMAC-SHA-256 digests of tokens under it instead of
/// SHA-256 ones; it must stay the same for as long as the tokens. Null: none.
///
/// `*engine` is the caller's, to be freed. Errors: `TOLLGATE_INVALID_ARGUMENT` for a pepper that is too short.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_engine_new(
    policy: *const tollgate_policy_t,
    pepper: *const u8,
    pepper_len: usize,
    engine: *mut *mut tollgate_engine_t,
) -> tollgate_result_t {
    call(|| {
        let engine = out(engine, "engine")?;
        let mut made = Engine::new(borrow(policy, "policy")?.compile()?);
        if !pepper.is_null() {
            let pepper = Pepper::new(many(pepper, pepper_len, "pepper")?);
            made = made.with_pepper(pepper.map_err(|error| Error::invalid(error.to_string()))?);
        }
        engine.give(tollgate_engine_t(LiveEngine::new(made)));
        Ok(())
    })
}

/// Replaces the policy for all requests that begin from now on; those that have begun end under theirs. The pepper
/// stays. State is the store's, and stays too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_engine_reload(
    engine: *const tollgate_engine_t,
    policy: *const tollgate_policy_t,
) -> tollgate_result_t {
    call(|| {
        let (engine, policy) = (borrow(engine, "engine")?, borrow(policy, "policy")?);
        engine.0.reload(policy.compile()?);
        log(TOLLGATE_LOG_INFO, "the policy was replaced");
        Ok(())
    })
}

/// The digest under which stores keep a token: 32 bytes, written to `digest`.
///
/// Errors: `TOLLGATE_INVALID_ARGUMENT` when the text is no token of the policy's format.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_engine_digest(
    engine: *const tollgate_engine_t,
    token: *const core::ffi::c_char,
    token_len: usize,
    digest: *mut u8,
) -> tollgate_result_t {
    call(|| {
        let engine = borrow(engine, "engine")?.load();
        let digest = out(digest.cast::<[u8; 32]>(), "digest")?;
        let token =
            TokenText::parse(engine.policy().token_format(), text(token, token_len, "token")?);
        let token = token.map_err(|error| Error::invalid(error.to_string()))?;
        digest.set(*engine.digest(&token).as_bytes());
        Ok(())
    })
}

/// Frees an engine; null is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_engine_free(engine: *mut tollgate_engine_t) {
    free(engine);
}
