//! What a server does on its own: ends what is due, sums money up, follows certificates.

use std::sync::Arc;
use std::time::Duration;

use tollgate::{Admin, AdminError, Store};

use crate::admin::is_orphan;
use crate::listen::Tls;
use crate::metrics::Totals;
use crate::policy::content;
use crate::shared::Shared;

/// How often what is due is ended.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);

/// How often money is summed up, which reads every account.
const COUNT_EVERY: Duration = Duration::from_secs(30);

/// How often certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Accounts that are listed at once.
const PAGE: usize = 1_000;

/// Ends leases and claims that are due.
pub(crate) async fn expire(shared: Arc<Shared>) {
    let mut every = interval(EXPIRE_EVERY);
    loop {
        every.tick().await;
        let now_ms = shared.clock.now_ms();
        match shared.store.administer(move |admin| admin.expire(now_ms)).await {
            Ok(ended) => {
                shared.metrics.expired.inc_by(ended);
            }
            Err(error) => tracing::warn!(%error, "what is due could not be ended"),
        }
    }
}

/// Sums up money and orphans of all accounts, for the metrics.
pub(crate) async fn count_money(shared: Arc<Shared>) {
    let mut every = interval(COUNT_EVERY);
    loop {
        every.tick().await;
        let now_ms = shared.clock.now_ms();
        match shared.store.administer(move |admin| totals(&admin, now_ms)).await {
            Ok(totals) => shared.metrics.set_money(&totals),
            Err(error) => tracing::warn!(%error, "money could not be summed up"),
        }
    }
}

fn totals(admin: &Admin<'_, dyn Store>, now_ms: u64) -> Result<Totals, AdminError> {
    let mut totals = Totals::default();
    let mut after = None;
    loop {
        let page = admin.accounts(after.as_ref(), PAGE, now_ms)?;
        for id in &page {
            let wallet = admin.account(id, now_ms)?.wallet;
            let reservations = admin.reservations(id, now_ms)?;
            let orphans =
                reservations.iter().filter(|(_, reservation)| is_orphan(reservation, now_ms));
            let orphans = u64::try_from(orphans.count()).unwrap_or(u64::MAX);
            totals.accounts = totals.accounts.saturating_add(1);
            totals.held = totals.held.saturating_add(wallet.held.0);
            totals.balance = totals.balance.saturating_add(wallet.balance.0);
            totals.orphans = totals.orphans.saturating_add(orphans);
        }
        let last = page.last().cloned();
        if page.len() < PAGE {
            return Ok(totals);
        }
        after = last;
    }
}

/// Reads a certificate again when its files change.
pub(crate) async fn follow_certificate(tls: Arc<Tls>) {
    let files = tls.files().clone();
    let look =
        async || (content(files.certificate.clone()).await, content(files.key.clone()).await);
    let mut seen = look().await;
    let mut every = interval(LOOK_EVERY);
    loop {
        every.tick().await;
        let now = look().await;
        if now == seen {
            continue;
        }
        match tls.reload() {
            Ok(()) => {
                tracing::info!("the certificate was loaded anew");
                seen = now;
            }
            // Perhaps one of the two is still being written: looked at again.
            Err(error) => tracing::warn!(%error, "the certificate stays as it was"),
        }
    }
}

fn interval(every: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}
