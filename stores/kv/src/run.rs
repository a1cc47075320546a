//! Which kind of transaction a command needs, and what is done when there is no room.

use tollgate::transition::perform;
use tollgate::{
    AccountRef, Administration, Admit, Command, Lookup, MAX_NOW_MS, Mode, Outcome, Refusal, Settle,
    StoreError,
};

use crate::fault::Fault;
use crate::options::KvOptions;
use crate::sweep::{SMALLEST_STEP, STEP, Swept};
use crate::view::{View, Writing};

/// How a store runs transactions.
pub trait Transactions {
    /// The store's bounds.
    fn options(&self) -> &KvOptions;

    /// Performs a command that changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    fn read(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError>;

    /// Performs a command that may change something, in one transaction, alone or with others.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the command is done then.
    fn write(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError>;

    /// Does other work in a transaction, alone or with others. It may be done again, in another
    /// transaction, when one failed.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the work is done then.
    fn step(
        &self,
        work: &mut dyn FnMut(&mut Writing<'_>) -> Result<Outcome, Fault>,
    ) -> Result<Outcome, StoreError>;
}

/// Performs a command in the transactions that it needs.
///
/// # Errors
/// [`StoreError`].
pub fn execute(
    store: &impl Transactions,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    match command {
        // The admission is left out, and `Command::Admit` follows. So the many requests that end at their
        // token, network or scope never wait for a writer.
        Command::Lookup(lookup) => {
            store.read(&Command::Lookup(Lookup { plain: None, ..*lookup }), now_ms)
        }
        // Nothing but the revision is compared: no need to wait for a writer.
        Command::Admit(admit) if admit.limits.is_empty() && admit.asks_limits_only() => {
            store.read(&Command::Admit(Admit { mode: Mode::Peek, ..*admit }), now_ms)
        }
        Command::Administer(Administration::Expire) if now_ms > MAX_NOW_MS => {
            Ok(Outcome::Refused(Refusal::ClockOutOfRange))
        }
        Command::Administer(Administration::Expire) => {
            sweep(store, now_ms).map(|swept| Outcome::Expired(swept.ended))
        }
        command if changes_nothing(command) => store.read(command, now_ms),
        command => match store.write(command, now_ms) {
            // What is due in other accounts makes room too; or there is more due in this one than one
            // transaction deals with.
            Err(full @ StoreError::Full { .. }) => {
                let made_room = sweep(store, now_ms).is_ok_and(|swept| swept.seen > 0);
                if made_room { store.write(command, now_ms) } else { Err(full) }
            }
            outcome => outcome,
        },
    }
}

/// Ends what is due, in steps. An account with a damaged record is passed over, and is the error in
/// the end.
fn sweep(store: &impl Transactions, now_ms: u64) -> Result<Swept, StoreError> {
    let (mut skipped, mut damage, mut all) = (Vec::new(), None, Swept::default());
    let mut step = STEP;
    loop {
        let known = skipped.len();
        let mut swept = Swept::default();
        let stepped = store.step(&mut |writing| {
            swept = View::write(writing, store.options(), now_ms).sweep(step, &mut skipped)?;
            Ok(Outcome::Expired(swept.ended))
        });
        match stepped {
            Ok(_) => {
                all.ended = all.ended.saturating_add(swept.ended);
                all.seen = all.seen.saturating_add(swept.seen);
                if !swept.more {
                    break;
                }
            }
            Err(error @ StoreError::Corrupt { .. }) if skipped.len() > known => {
                damage = Some(error);
            }
            // Where there is hardly any room left, few must do.
            Err(StoreError::Full { .. }) if step > SMALLEST_STEP => step /= 5,
            Err(error) => return Err(error),
        }
    }
    damage.map_or(Ok(all), Err)
}

fn changes_nothing(command: &Command<'_>) -> bool {
    match command {
        Command::Lookup(_) => true,
        Command::Admit(admit) => admit.mode != Mode::Apply,
        Command::Administer(administration) => matches!(
            administration,
            Administration::Inspect { .. }
                | Administration::ListAccounts { .. }
                | Administration::ListTokens { .. }
                | Administration::ListReservations { .. }
                | Administration::NameAccount { .. }
        ),
        _ => false,
    }
}

/// Performs a command on the records. An account is counted and kept by its number, also when the
/// command names it.
///
/// # Errors
/// [`Fault`].
pub fn perform_in(
    view: &mut View<'_, '_>,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, Fault> {
    let named = match command {
        Command::Admit(Admit { account: named @ AccountRef::Id(_), .. })
        | Command::Settle(Settle { account: named @ AccountRef::Id(_), .. }) => named,
        _ => return perform(view, command, now_ms),
    };
    let Some(number) = view.number(named)? else { return perform(view, command, now_ms) };
    let account = &AccountRef::Slot(number);
    match command {
        Command::Admit(admit) => {
            perform(view, &Command::Admit(Admit { account, ..*admit }), now_ms)
        }
        Command::Settle(settle) => {
            perform(view, &Command::Settle(Settle { account, ..*settle }), now_ms)
        }
        _ => perform(view, command, now_ms),
    }
}
