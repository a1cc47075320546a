//! Policies: from text, checked, for engines to be made of.

use core::ffi::c_char;

use tollgate::{CompiledPolicy, PolicyConfig, PolicyErrors, Warning, lint, preset};

use crate::error::{Error, tollgate_result, tollgate_result_t};
use crate::ffi::{borrow, borrow_mut, call, free, out, text, tollgate_str_t, value};

/// A policy that compiles.
///
/// Ownership: made by `tollgate_policy_new`, freed by `tollgate_policy_free`; engines copy what they need.
/// Threads: any number may read it; `tollgate_policy_patch` needs it alone.
pub struct tollgate_policy_t {
    config: PolicyConfig,
    warnings: Vec<String>,
}

/// What a policy's text is: one of `enum tollgate_policy_format`.
pub type tollgate_policy_format_t = u32;

/// What a policy's text is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum tollgate_policy_format {
    /// TOML.
    TOLLGATE_POLICY_TOML = 1,
    /// JSON.
    TOLLGATE_POLICY_JSON = 2,
    /// The name of a policy that comes with the library, such as `sms-gateway`.
    TOLLGATE_POLICY_PRESET = 3,
}

impl tollgate_policy_t {
    pub(crate) fn compile(&self) -> Result<CompiledPolicy, Error> {
        self.config.compile().map_err(invalid)
    }

    fn new(config: PolicyConfig) -> Self {
        let told = |warning: &Warning| format!("{}: {}", warning.place, warning.message);
        let warnings = lint(&config).iter().map(told).collect();
        tollgate_policy_t { config, warnings }
    }

    fn read(text: &str, format: tollgate_policy_format_t) -> Result<Self, Error> {
        const TOML: u32 = tollgate_policy_format::TOLLGATE_POLICY_TOML as u32;
        const JSON: u32 = tollgate_policy_format::TOLLGATE_POLICY_JSON as u32;
        const PRESET: u32 = tollgate_policy_format::TOLLGATE_POLICY_PRESET as u32;
        // Compiled from the text itself, so that every error has its line.
        let (compiled, config) = match format {
            TOML => (CompiledPolicy::from_toml(text), PolicyConfig::from_toml(text)),
            JSON => (CompiledPolicy::from_json(text), PolicyConfig::from_json(text)),
            PRESET => {
                let known = tollgate::PRESETS.join(", ");
                let config = preset(text).ok_or_else(|| {
                    Error::invalid(format!("there is no preset `{text}`; there are {known}"))
                })?;
                (config.compile(), Ok(config))
            }
            _ => return Err(Error::invalid(format!("{format} is no format of a policy"))),
        };
        compiled.map_err(invalid)?;
        Ok(tollgate_policy_t::new(config.map_err(invalid)?))
    }
}

fn invalid(errors: PolicyErrors) -> Error {
    Error::new(tollgate_result::TOLLGATE_POLICY_INVALID, errors.to_string())
}

/// Reads and compiles a policy.
///
/// `*policy` is the caller's, to be freed. Errors: `TOLLGATE_POLICY_INVALID` with every error on a line of
/// `tollgate_last_error`, with its own line in the text; `TOLLGATE_INVALID_ARGUMENT` for an unknown format or preset;
/// `TOLLGATE_NOT_UTF8`, `TOLLGATE_NULL_POINTER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_policy_new(
    policy_text: *const c_char,
    policy_text_len: usize,
    format: tollgate_policy_format_t,
    policy: *mut *mut tollgate_policy_t,
) -> tollgate_result_t {
    call(|| {
        let policy = out(policy, "policy")?;
        let text = text(policy_text, policy_text_len, "policy_text")?;
        policy.give(tollgate_policy_t::read(text, format)?);
        Ok(())
    })
}

/// Changes a policy by a JSON merge patch (RFC 7396): members replace, `null` resets or removes.
///
/// On an error the policy is as it was. Errors: `TOLLGATE_POLICY_INVALID`, without lines;
/// `TOLLGATE_INVALID_ARGUMENT` when the patch is not JSON.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_policy_patch(
    policy: *mut tollgate_policy_t,
    patch_json: *const c_char,
    patch_json_len: usize,
) -> tollgate_result_t {
    call(|| {
        let policy = borrow_mut(policy, "policy")?;
        let patch = text(patch_json, patch_json_len, "patch_json")?;
        let patch = serde_json::from_str(patch)
            .map_err(|error| Error::invalid(format!("the patch is not JSON: {error}")))?;
        let config = policy.config.merge_patch(&patch).map_err(invalid)?;
        config.compile().map_err(invalid)?;
        *policy = tollgate_policy_t::new(config);
        Ok(())
    })
}

/// Whether the policy names proxies whose forwarding header is believed. False for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_policy_trusts_proxies(policy: *const tollgate_policy_t) -> bool {
    value(false, || Ok(!borrow(policy, "policy")?.config.source.trusted_proxies.is_empty()))
}

/// How many warnings there are about what is legal and odd in a policy. 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_policy_warning_count(policy: *const tollgate_policy_t) -> usize {
    value(0, || Ok(borrow(policy, "policy")?.warnings.len()))
}

/// A warning, by its index from 0. `*warning` is valid until the policy is patched or freed.
///
/// Errors: `TOLLGATE_INVALID_ARGUMENT` when there is none with this index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_policy_warning(
    policy: *const tollgate_policy_t,
    index: usize,
    warning: *mut tollgate_str_t,
) -> tollgate_result_t {
    call(|| {
        let warning = out(warning, "warning")?;
        let text = borrow(policy, "policy")?.warnings.get(index);
        let text = text.ok_or_else(|| Error::invalid("there is no warning with this index"))?;
        warning.set(tollgate_str_t::of(text));
        Ok(())
    })
}

/// Frees a policy; null is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_policy_free(policy: *mut tollgate_policy_t) {
    free(policy);
}
