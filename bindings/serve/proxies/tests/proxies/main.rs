//! Each behaviour through each proxy.
#![cfg(test)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)] // what helps tests is outside of them

mod answers;
mod attacks;
mod direct;
mod outages;
mod paths;
mod replays;
mod settlement;

/// One test for each proxy and behaviour, so that a failure names both.
macro_rules! each {
    ($($module:ident: $kind:ident;)*) => {$(
        mod $module {
            use tollgate_serve_proxies::Kind;

            const KIND: Kind = Kind::$kind;

            #[test]
            fn answers_come_as_the_server_gives_them() {
                crate::answers::all(KIND);
            }

            #[test]
            fn a_store_that_fails_lets_nothing_pass() {
                crate::answers::store_unavailable(KIND);
            }

            #[test]
            fn what_was_answered_is_answered_again_or_refused_and_never_carried_out_again() {
                crate::replays::all(KIND);
            }

            #[test]
            fn settled_at_once_it_is_paid_when_it_passes() {
                crate::settlement::at_once(KIND);
            }

            #[test]
            fn what_clients_forge_changes_nothing() {
                crate::attacks::all(KIND);
            }

            #[test]
            fn odd_requests_are_judged_as_the_api_sees_them() {
                crate::paths::all(KIND);
            }

            #[test]
            fn without_a_decision_nothing_passes() {
                crate::outages::all(KIND);
            }
        }
    )*};
}

each! {
    nginx_accel: NginxAccel;
    nginx_auth_request: NginxAuthRequest;
    caddy: Caddy;
    traefik: Traefik;
    traefik_loop: TraefikLoop;
    envoy_http: EnvoyHttp;
    envoy_grpc: EnvoyGrpc;
}
