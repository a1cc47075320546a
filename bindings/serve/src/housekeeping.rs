//! What a server does on its own: ends what is due, sums money up, follows certificates.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tollgate::{Admin, AdminError, Store};

use crate::listen::Tls;
use crate::metrics::Totals;
use crate::policy::content;
use crate::shared::Shared;

/// How often the store is asked whether it is there, and how long it may take.
const ASK_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How often money is summed up, which reads every account; more seldom where that takes long.
const COUNT_EVERY: Duration = Duration::from_secs(30);
const COUNT_SHARE: u32 = 20;

/// How often certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Accounts that are listed at once: a store in memory sorts all of them each time.
const PAGE: usize = 1 << 16;

/// Asks the store now and then, for `/readyz`: callers of that must not be able to occupy a store that hangs.
pub(crate) async fn ask_store(shared: Arc<Shared>) {
    let mut answered = None;
    let mut say = |answers: bool| {
        shared.store_answers.store(answers, Ordering::Release);
        match (answered.replace(answers), answers) {
            (Some(true) | None, false) => tracing::error!("the store does not answer"),
            (Some(false), true) => tracing::info!("the store answers again"),
            _ => {}
        }
    };
    loop {
        let mut asked = pin!(shared.store.answers(shared.clock.now_ms()));
        let answers = match tokio::time::timeout(ANSWER_WITHIN, asked.as_mut()).await {
            Ok(answers) => answers,
            Err(_) => {
                say(false);
                asked.await
            }
        };
        say(answers);
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Ends leases and claims that are due.
pub(crate) async fn expire(shared: Arc<Shared>) {
    let mut every = interval(shared.options.expire_every);
    // Not at once: a server that starts has other things to do.
    every.tick().await;
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
    loop {
        let (began, now_ms) = (Instant::now(), shared.clock.now_ms());
        match shared.store.administer(move |admin| totals(&admin, now_ms)).await {
            Ok(totals) => shared.metrics.set_money(&totals),
            Err(error) => tracing::warn!(%error, "money could not be summed up"),
        }
        let wait = began.elapsed().saturating_mul(COUNT_SHARE).max(COUNT_EVERY);
        tokio::time::sleep(wait).await;
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
                reservations.iter().filter(|(_, reservation)| reservation.is_orphan(now_ms));
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
