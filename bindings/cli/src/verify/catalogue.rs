//! Every check by name: what it says, and on what ground.

/// A check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info {
    pub(super) name: &'static str,
    /// What is documented.
    pub(super) says: &'static str,
    /// The RFC, or the part of the documentation, behind it.
    pub(super) basis: &'static str,
    /// Checks whose failure would be this one's too: then it is not run.
    pub(super) after: &'static [&'static str],
    /// Whether it looks at all answers of the other checks, instead of asking by itself.
    pub(super) watches: bool,
}

const fn check(
    name: &'static str,
    says: &'static str,
    basis: &'static str,
    after: &'static [&'static str],
) -> Info {
    Info { name, says, basis, after, watches: false }
}

const fn watch(name: &'static str, says: &'static str, basis: &'static str) -> Info {
    Info { name, says, basis, after: &[], watches: true }
}

/// In the order in which they run; those that watch come last.
pub(super) const CATALOGUE: &[Info] = &[
    check("answers-http", "The gateway answers every request in HTTP.", "RFC 9112", &[]),
    check(
        "missing-token-is-401",
        "A request without a bearer token is denied: 401 missing_token.",
        "RFC 6750, section 3.1; check 1",
        &[],
    ),
    check(
        "unknown-token-is-401",
        "A token that nobody has, or that is malformed, is denied: 401 invalid_token.",
        "RFC 6750, section 3.1; check 2",
        &[],
    ),
    check(
        "known-token-passes",
        "A request with a token, within its scopes and limits, is let through.",
        "checks 1 to 4",
        &[],
    ),
    check(
        "scheme-is-case-insensitive",
        "The scheme `Bearer` is read in any case.",
        "RFC 9110, section 11.1",
        &["known-token-passes"],
    ),
    check(
        "one-token-in-one-place",
        "Tokens are read from one Authorization header and from nowhere else: not from the query, and not from two headers.",
        "RFC 6750, section 2; RFC 9110, section 5.3",
        &["missing-token-is-401", "unknown-token-is-401"],
    ),
    check(
        "expired-token-is-401",
        "A token that has expired is denied: 401 invalid_token.",
        "check 2",
        &["unknown-token-is-401"],
    ),
    check(
        "network-allowlist",
        "Once networks are set for an account or a token, other source addresses are denied: 403 ip_not_allowed.",
        "contract: IP allowlisting; check 3",
        &["known-token-passes"],
    ),
    check(
        "forwarded-address-is-not-believed",
        "A forwarding header counts only behind a trusted proxy: others cannot choose their source address.",
        "RFC 7239, section 8.1; policy: source.trusted_proxies",
        &["network-allowlist"],
    ),
    check(
        "scope-grants",
        "A scope grants each of its routes.",
        "contract: scopes; check 4",
        &["known-token-passes"],
    ),
    check(
        "scope-outside-is-403",
        "A token without a scope of the route is denied, whatever else it has: 403 insufficient_scope.",
        "contract: scopes; RFC 6750, section 3.1; check 4",
        &[],
    ),
    check(
        "unknown-route-is-denied",
        "What no scope grants is outside every token's scopes: 403 insufficient_scope.",
        "policy: scopes; check 4",
        &[],
    ),
    check(
        "non-canonical-path-is-denied",
        "A path that could be read in two ways is no route: 403 insufficient_scope.",
        "policy: paths; RFC 3986, section 6.2.2",
        &["unknown-route-is-denied"],
    ),
    check(
        "head-is-get",
        "HEAD is decided as GET, and has no body.",
        "RFC 9110, section 9.3.2; policy: routes",
        &["known-token-passes"],
    ),
    check(
        "first-failing-check-decides",
        "When several checks fail, the first in the documented order gives the answer.",
        "the order of checks",
        &["network-allowlist", "scope-outside-is-403", "unknown-token-is-401"],
    ),
    check(
        "retry-is-replayed-not-executed",
        "A retry with the same Idempotency-Key gets the first answer; nothing is carried out again.",
        "contract: idempotency; check 6",
        &["known-token-passes"],
    ),
    check(
        "key-reuse-is-422",
        "An Idempotency-Key that was used for another request is denied: 422 idempotency_key_reused.",
        "draft-ietf-httpapi-idempotency-key-header, section 2.7; check 6",
        &["retry-is-replayed-not-executed"],
    ),
    check(
        "malformed-key-is-422",
        "An Idempotency-Key is 1 to 255 visible ASCII characters, sent once: else 422 idempotency_key_invalid.",
        "check 6",
        &[],
    ),
    check(
        "required-key-is-422",
        "Where a key is required, a request without one is denied: 422 idempotency_key_invalid.",
        "policy: idempotency.required; check 6",
        &[],
    ),
    check(
        "keys-of-accounts-are-apart",
        "The same key of another account stands for another request: it is carried out.",
        "idempotency: scope of a key",
        &["retry-is-replayed-not-executed"],
    ),
    check(
        "concurrent-duplicates-one-execution",
        "Of concurrent requests with one key, one is carried out; the others get 409 or the replay.",
        "contract: idempotency; check 6",
        &["retry-is-replayed-not-executed"],
    ),
    check(
        "empty-wallet-is-402",
        "What the wallet cannot pay is denied: 402 insufficient_balance.",
        "contract: errors; check 10",
        &[],
    ),
    check(
        "wallet-is-never-overdrawn",
        "Never more is let through than the wallet can pay, also at once.",
        "money: 0 ≤ held ≤ balance",
        &[],
    ),
    check(
        "replay-is-not-charged",
        "A replay costs nothing.",
        "contract: idempotency",
        &["retry-is-replayed-not-executed", "empty-wallet-is-402"],
    ),
    check(
        "denial-keeps-no-key",
        "A denial is not stored under its key: the retry is decided anew.",
        "idempotency: what is stored",
        &["retry-is-replayed-not-executed", "empty-wallet-is-402"],
    ),
    check(
        "spend-cap",
        "A request above a spend cap of the token or the account is denied: 403 spend_cap_exceeded.",
        "contract: errors; check 9",
        &[],
    ),
    check(
        "limit-is-enforced",
        "A limit lets through what it says and no more: then 429 rate_limited.",
        "contract: rate limits; checks 5 and 8",
        &["known-token-passes"],
    ),
    check(
        "denial-consumes-nothing",
        "A 429 consumes nothing: whoever waits as told gets through, however often they were denied meanwhile.",
        "limits; RFC 9110, section 10.2.3",
        &["known-token-passes"],
    ),
    check(
        "revoked-at-once",
        "A revoked token is denied from then on, and replays nothing: 401 invalid_token.",
        "revocation; check 2",
        &["unknown-token-is-401", "known-token-passes"],
    ),
    watch(
        "executions-match-decisions",
        "What is denied never reaches the API behind the gateway, and what is let through reaches it once.",
        "the decision",
    ),
    watch(
        "error-body-shape",
        "Errors have a JSON body with a message and a code.",
        "contract: errors; RFC 9457 where the policy says problem_json",
    ),
    watch(
        "denials-are-not-cached",
        "Denials say Cache-Control: no-store.",
        "RFC 9111, section 5.2.2.5",
    ),
    watch(
        "challenge-on-401",
        "401, and 403 for a scope, say in WWW-Authenticate what is missing.",
        "RFC 6750, section 3; RFC 9110, section 11.6.1",
    ),
    watch(
        "rate-limit-headers",
        "Authenticated answers have the rate limit headers of the policy, with the engine's numbers.",
        "contract: rate limits; policy: answers",
    ),
    watch(
        "retry-after-on-429",
        "429 says in Retry-After when it is worth to try again: whole seconds, at least 1, never too early.",
        "RFC 9110, section 10.2.3; contract: rate limits",
    ),
    watch("retry-after-on-409", "409 has Retry-After: 1.", "RFC 9110, section 10.2.3"),
    watch(
        "replay-is-marked",
        "A replayed answer has Idempotent-Replayed: true, and no other answer has it.",
        "contract: idempotency",
    ),
    watch(
        "replay-is-the-original",
        "A replayed answer has the status, content type and body of the first.",
        "contract: idempotency",
    ),
    check(
        "vectors",
        "The steps of the scenarios that were given are answered as the engine answers them.",
        "--vectors",
        &["known-token-passes"],
    ),
];

pub(super) fn info(name: &str) -> Option<&'static Info> {
    CATALOGUE.iter().find(|info| info.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case_and_come_after_what_they_need() {
        for (index, info) in CATALOGUE.iter().enumerate() {
            let is_kebab =
                |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
            assert!(info.name.chars().all(is_kebab), "{}", info.name);
            assert!(info.says.ends_with('.'), "{}", info.name);
            let before = &CATALOGUE[..index];
            assert!(!before.iter().any(|other| other.name == info.name), "{}", info.name);
            for needed in info.after {
                assert!(before.iter().any(|other| other.name == *needed), "{}", info.name);
            }
        }
    }
}
