//! Metrics in OpenMetrics' text format, which Prometheus reads.

use std::fmt::Error;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::decide::Decided;
use crate::question::Via;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    route: Box<str>,
    code: &'static str,
    via: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ViaLabel {
    via: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// All metrics of a server.
pub(crate) struct Metrics {
    registry: Registry,
    decisions: Family<DecisionLabels, Counter>,
    shadows: Counter,
    durations: Family<ViaLabel, Histogram, fn() -> Histogram>,
    settlements: Family<OutcomeLabel, Counter>,
    store_errors: Family<CodeLabel, Counter>,
    reloads: Family<OutcomeLabel, Counter>,
    pub connections: Gauge,
    pub connections_refused: Counter,
    pub log_lines_lost: Counter,
    pub expired: Counter,
    held: Gauge<u64, AtomicU64>,
    balance: Gauge<u64, AtomicU64>,
    accounts: Gauge<u64, AtomicU64>,
    orphans: Gauge<u64, AtomicU64>,
}

/// From 10 microseconds to 2.6 seconds.
fn duration_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_01, 2.0, 19))
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("tollgate"),
            decisions: Family::default(),
            shadows: Counter::default(),
            durations: Family::new_with_constructor(duration_histogram),
            settlements: Family::default(),
            store_errors: Family::default(),
            reloads: Family::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            log_lines_lost: Counter::default(),
            expired: Counter::default(),
            held: Gauge::default(),
            balance: Gauge::default(),
            accounts: Gauge::default(),
            orphans: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "decisions",
            "Decisions by route, code and how they were asked for",
            self.decisions.clone(),
        );
        registry.register(
            "shadow_refusals",
            "Decisions that a check in shadow mode would have refused",
            self.shadows.clone(),
        );
        registry.register_with_unit(
            "decision_duration",
            "How long decisions took, store included",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register("settlements", "Settlements by outcome", self.settlements.clone());
        registry.register(
            "store_errors",
            "Commands that the store could not perform, by code",
            self.store_errors.clone(),
        );
        registry.register(
            "policy_reloads",
            "Reloads of the policy by outcome",
            self.reloads.clone(),
        );
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "connections_refused",
            "Connections that were closed because there were too many",
            self.connections_refused.clone(),
        );
        registry.register(
            "decision_log_lines_lost",
            "Lines of the decision log that were not written",
            self.log_lines_lost.clone(),
        );
        registry.register(
            "expired",
            "Leases and claims that ended on their own",
            self.expired.clone(),
        );
        registry.register(
            "held_money",
            "Money that open requests hold, of all accounts, in the ledger's minor unit",
            self.held.clone(),
        );
        registry.register(
            "balance_money",
            "Balances of all accounts, in the ledger's minor unit",
            self.balance.clone(),
        );
        registry.register("accounts", "Accounts", self.accounts.clone());
        registry.register(
            "orphaned_reservations",
            "Reservations whose end nobody reported",
            self.orphans.clone(),
        );
    }

    pub(crate) fn decided(&self, decided: &Decided, via: Via, took: Duration) {
        let (code, via) = (decided.decision.status().code(), via.name());
        let labels = DecisionLabels { route: decided.route().unwrap_or("none").into(), code, via };
        self.decisions.get_or_create(&labels).inc();
        let shadows = decided.decision.shadows();
        if shadows.limits != 0 || shadows.spend_caps || shadows.networks {
            self.shadows.inc();
        }
        self.durations.get_or_create(&ViaLabel { via }).observe(took.as_secs_f64());
    }

    pub(crate) fn settled(&self, outcome: &'static str) {
        self.settlements.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(crate) fn store_failed(&self, code: &'static str) {
        self.store_errors.get_or_create(&CodeLabel { code }).inc();
    }

    pub(crate) fn reloaded(&self, outcome: &'static str) {
        self.reloads.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(crate) fn set_money(&self, totals: &Totals) {
        self.held.set(totals.held);
        self.balance.set(totals.balance);
        self.accounts.set(totals.accounts);
        self.orphans.set(totals.orphans);
    }

    /// The text of all.
    pub(crate) fn encode(&self) -> Result<String, Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Sums over all accounts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub held: u64,
    pub balance: u64,
    pub accounts: u64,
    pub orphans: u64,
}
