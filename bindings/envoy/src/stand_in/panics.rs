//! A panic of a hook's is a bug, and stays in the hook.
//!
//! Nothing in the module is known to panic. Here Envoy says that a body has more pieces than an address space could hold: to make room for
//! those is a panic that unwinds, as any bug would.

use super::fixture::{Bank, Kept, decided, pays, request};
use super::proxy::Proxy;
use crate::abi::level;

fn caught(proxy: &Proxy) -> usize {
    let lines = proxy.logged(level::ERROR);
    lines.iter().filter(|line| line.contains("a panic was caught")).count()
}

#[test]
fn a_request_whose_hook_panics_is_answered() {
    for kept in Kept::BOTH {
        let bank = Bank::new("panic of a request", kept);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        let stream = proxy.stream();
        stream.sends_head(request("POST", "/pay", "acme", &[("idempotency-key", "k")]), false);
        stream.change().absurd_pieces = true;
        stream.sends_body(&[b"x"], true);
        assert_eq!(caught(&proxy), 1, "{kept:?}");
        assert_eq!(stream.received(), 500);
        assert!(stream.text().contains("internal_error") && stream.is_gone());
        // The worker goes on.
        assert!(pays(&proxy, "acme", "k").state().decode.passed);
        bank.expect(&proxy, "acme", 5, 0);
        proxy.ends_after_panics();
    }
}

#[test]
fn a_response_whose_hook_panics_is_passed_on() {
    for kept in Kept::BOTH {
        let bank = Bank::new("panic of a response", kept);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        let stream = pays(&proxy, "acme", "k");
        decided(&proxy, &stream);
        stream.upstream_answers(200, &[], false);
        stream.change().absurd_pieces = true;
        stream.upstream_sends(&[b"done"], true);
        assert_eq!(caught(&proxy), 1, "{kept:?}");
        assert_eq!((stream.received(), stream.text().as_str()), (200, "done"));
        assert!(stream.is_gone());
        // What it came to is not known to the store.
        bank.expect(&proxy, "acme", 5, 0);
        proxy.ends_after_panics();
    }
}
