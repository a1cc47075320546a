//! One transaction, and what a command sees of it.

use arrayvec::ArrayVec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tollgate::transition::Due;
use tollgate::{AccountId, AccountRef, CellKey, ClaimKey, ReservationId, StoreError};

use crate::fault::{Fault, corrupt};
use crate::key::{self, Key};
use crate::map::{KvEntry, KvRead, KvWrite};
use crate::options::KvOptions;
use crate::record::{self, DueClaim, DueReservation, Head, Purse, Totals};
use crate::sweep::STEP;

/// How long a cell is kept and counts after it expired: callers that read the clock one after the other
/// may come in another order, and clocks are set back. For so long a window that is over is still
/// known to be used up.
pub(crate) const KEPT_MS: u64 = 60_000;

/// A transaction that changes, and the counts that change with it.
pub struct Writing<'e> {
    pub(crate) txn: &'e mut (dyn KvWrite + 'e),
    /// What the store holds.
    pub totals: Totals,
    /// As they are in the map.
    written: Totals,
    bytes: Vec<u8>,
}

impl<'e> Writing<'e> {
    /// In a transaction that has begun.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn new(txn: &'e mut (dyn KvWrite + 'e)) -> Result<Self, Fault> {
        let totals = totals(&*txn)?;
        Ok(Writing { txn, totals, written: totals, bytes: Vec::with_capacity(256) })
    }

    pub(crate) fn put<T: Serialize>(&mut self, key: &[u8], record: &T) -> Result<(), Fault> {
        record::seal(key, record, &mut self.bytes)?;
        Ok(self.txn.put(key, &self.bytes)?)
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<bool, Fault> {
        Ok(self.txn.remove(key)?)
    }

    /// Writes what is still to be written. The transaction is to be committed after it.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn finish(mut self) -> Result<(), Fault> {
        if self.totals == self.written {
            return Ok(());
        }
        let totals = self.totals;
        self.put(key::TOTALS, &totals)
    }
}

/// What the store holds.
///
/// # Errors
/// [`Fault`].
pub fn totals(txn: &dyn KvRead) -> Result<Totals, Fault> {
    const WHAT: &str = "what the store holds";
    read(txn, key::TOTALS, WHAT)?.ok_or_else(|| corrupt(WHAT))
}

fn read<T: DeserializeOwned>(
    txn: &dyn KvRead,
    key: &[u8],
    what: &'static str,
) -> Result<Option<T>, Fault> {
    match txn.get(key)? {
        Some(bytes) => record::open(key, &bytes, what).map(Some),
        None => Ok(None),
    }
}

/// The time of an entry in the list of what falls due, and what it stands for.
pub(crate) type Note = (u64, Due);

/// What a command may do to the records.
pub(crate) enum Access<'v, 'e> {
    Read(&'v (dyn KvRead + 'v)),
    Write(&'v mut Writing<'e>),
}

/// The records as one command sees them.
pub struct View<'v, 'e> {
    pub(crate) access: Access<'v, 'e>,
    pub(crate) options: &'v KvOptions,
    pub(crate) now_ms: u64,
    /// How many more entries of what falls due are dealt with.
    pub(crate) budget: u32,
    /// Whether the rest is then left for the next step. Any other command fails, a sweep deals with the
    /// rest in steps of its own, and the command is performed again: see [`execute`](crate::run::execute).
    pub(crate) sweeps: bool,
    /// The account of the token that was read last.
    pub(crate) hint: Option<(AccountId, u32)>,
    pub(crate) memo: Memo,
}

/// What this command found when it read, so that it need not look again before it writes.
#[derive(Default)]
pub(crate) struct Memo {
    /// Cells, and whether they are there.
    pub(crate) cells: ArrayVec<(CellKey, bool), 8>,
    purse: Option<(u32, Purse)>,
    /// The last claim that was read: the time of its entry, if it is there.
    pub(crate) claim: Option<(u32, ClaimKey, Option<u64>)>,
    /// The last reservation that was read, alike.
    pub(crate) reservation: Option<(u32, ReservationId, Option<u64>)>,
}

impl<'v, 'e> View<'v, 'e> {
    /// Of a transaction that reads.
    #[must_use]
    pub fn read(txn: &'v (dyn KvRead + 'v), options: &'v KvOptions, now_ms: u64) -> Self {
        View::new(Access::Read(txn), options, now_ms)
    }

    /// Of a transaction that changes.
    #[must_use]
    pub fn write(writing: &'v mut Writing<'e>, options: &'v KvOptions, now_ms: u64) -> Self {
        View::new(Access::Write(writing), options, now_ms)
    }

    fn new(access: Access<'v, 'e>, options: &'v KvOptions, now_ms: u64) -> Self {
        let memo = Memo::default();
        View { access, options, now_ms, budget: STEP, sweeps: false, hint: None, memo }
    }

    /// The transaction.
    pub(crate) fn txn(&self) -> &(dyn KvRead + '_) {
        match &self.access {
            Access::Read(txn) => *txn,
            Access::Write(writing) => &*writing.txn,
        }
    }

    pub(crate) fn writing(&mut self) -> Result<&mut Writing<'e>, Fault> {
        match &mut self.access {
            Access::Write(writing) => Ok(writing),
            // Only commands that change nothing are given a read transaction.
            Access::Read(_) => Err(Fault::Broken(StoreError::WrongOutcome)),
        }
    }

    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        key: &[u8],
        what: &'static str,
    ) -> Result<Option<T>, Fault> {
        read(self.txn(), key, what)
    }

    pub(crate) fn has(&self, key: &[u8]) -> Result<bool, Fault> {
        Ok(self.txn().get(key)?.is_some())
    }

    pub(crate) fn put<T: Serialize>(&mut self, key: &[u8], record: &T) -> Result<(), Fault> {
        self.writing()?.put(key, record)
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<bool, Fault> {
        self.writing()?.delete(key)
    }

    /// The first entry at or after `from`, if its key begins with `prefix`.
    pub(crate) fn first(&self, from: &[u8], prefix: &[u8]) -> Result<Option<KvEntry<'_>>, Fault> {
        let first = self.txn().first_at_or_after(from)?;
        Ok(first.filter(|(key, _)| key.starts_with(prefix)))
    }

    /// Visits the records whose keys begin with `prefix`, in their order.
    pub(crate) fn each<T: DeserializeOwned>(
        &self,
        prefix: &[u8],
        what: &'static str,
        mut visit: impl FnMut(&[u8], T) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.each_from(prefix, |key, bytes| {
            if !key.starts_with(prefix) {
                return Ok(false);
            }
            visit(key, record::open(key, bytes, what)?)?;
            Ok(true)
        })
    }

    /// Visits entries in their order, until `visit` says `false` or fails.
    pub(crate) fn each_from(
        &self,
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        let mut failed = None;
        self.txn().scan(from, &mut |key, bytes| match visit(key, bytes) {
            Ok(goes_on) => goes_on,
            Err(fault) => {
                failed = Some(fault);
                false
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// All records whose keys begin with `prefix`, in their order.
    pub(crate) fn all<T: DeserializeOwned>(
        &self,
        prefix: &Key,
        what: &'static str,
    ) -> Result<Vec<(Vec<u8>, T)>, Fault> {
        let mut all = Vec::new();
        self.each(prefix, what, |key, record| {
            all.push((key.to_vec(), record));
            Ok(())
        })?;
        Ok(all)
    }

    /// The names of accounts in their order, those after `after`.
    pub(crate) fn account_names(
        &self,
        after: Option<&AccountId>,
        at_most: usize,
    ) -> Result<Vec<AccountId>, Fault> {
        const WHAT: &str = "an account's name";
        let after = key::name(after.map_or("", AccountId::as_str));
        let mut names = Vec::new();
        if at_most == 0 {
            return Ok(names);
        }
        self.each_from(&after, |key, bytes| {
            if key == after.as_slice() {
                return Ok(true);
            }
            let Some((&key::NAME, name)) = key.split_first() else { return Ok(false) };
            record::open::<u32>(key, bytes, WHAT)?;
            let name = std::str::from_utf8(name).ok().and_then(|name| AccountId::new(name).ok());
            names.push(name.ok_or_else(|| corrupt(WHAT))?);
            Ok(names.len() < at_most)
        })?;
        Ok(names)
    }

    /// The number of an account; `None`: no such account.
    pub(crate) fn number(&self, account: &AccountRef) -> Result<Option<u32>, Fault> {
        match account {
            AccountRef::Slot(number) => Ok(Some(*number)),
            AccountRef::Id(id) => self.number_of(id),
        }
    }

    pub(crate) fn number_of(&self, id: &AccountId) -> Result<Option<u32>, Fault> {
        if let Some((known, number)) = &self.hint
            && known == id
        {
            return Ok(Some(*number));
        }
        self.get(&key::name(id.as_str()), "an account's name")
    }

    pub(crate) fn head(&self, number: u32) -> Result<Option<Head>, Fault> {
        self.get(&key::head(number), "an account's settings")
    }

    pub(crate) fn purse(&mut self, number: u32) -> Result<Option<Purse>, Fault> {
        if let Some((_, purse)) = self.memo.purse.filter(|(of, _)| *of == number) {
            return Ok(Some(purse));
        }
        let purse = self.get(&key::purse(number), "an account's money")?;
        self.memo.purse = purse.map(|purse| (number, purse));
        Ok(purse)
    }

    pub(crate) fn put_purse(&mut self, number: u32, purse: &Purse) -> Result<(), Fault> {
        self.memo.purse = Some((number, *purse));
        self.put(&key::purse(number), purse)
    }

    pub(crate) fn has_cell(&self, cell: &CellKey) -> Result<bool, Fault> {
        match self.memo.cells.iter().find(|(known, _)| known == cell) {
            Some((_, there)) => Ok(*there),
            None => self.has(&key::cell(cell)),
        }
    }

    pub(crate) fn read_claim(
        &mut self,
        number: u32,
        key: &ClaimKey,
    ) -> Result<Option<DueClaim>, Fault> {
        let found: Option<DueClaim> = self.get(&key::claim(number, key), "an idempotency claim")?;
        self.memo.claim = Some((number, *key, found.as_ref().map(|found| found.noted_ms)));
        Ok(found)
    }

    /// The time of a claim's entry, if the claim is there.
    pub(crate) fn noted_claim(
        &mut self,
        number: u32,
        key: &ClaimKey,
    ) -> Result<Option<u64>, Fault> {
        match self.memo.claim {
            Some((of, known, noted_ms)) if of == number && known == *key => Ok(noted_ms),
            _ => Ok(self.read_claim(number, key)?.map(|found| found.noted_ms)),
        }
    }

    pub(crate) fn read_reservation(
        &mut self,
        number: u32,
        id: ReservationId,
    ) -> Result<Option<DueReservation>, Fault> {
        let found: Option<DueReservation> =
            self.get(&key::reservation(number, id), "a reservation")?;
        self.memo.reservation = Some((number, id, found.as_ref().map(|found| found.noted_ms)));
        Ok(found)
    }

    /// The time of a reservation's entry, if the reservation is there.
    pub(crate) fn noted_reservation(
        &mut self,
        number: u32,
        id: ReservationId,
    ) -> Result<Option<u64>, Fault> {
        match self.memo.reservation {
            Some((of, known, noted_ms)) if of == number && known == id => Ok(noted_ms),
            _ => Ok(self.read_reservation(number, id)?.map(|found| found.noted_ms)),
        }
    }

    /// A record that every account has. Without it, the account was never there: or the record is lost.
    pub(crate) fn of_account<T>(
        &mut self,
        account: &AccountRef,
        what: &'static str,
        read: impl FnOnce(&mut Self, u32) -> Result<Option<T>, Fault>,
    ) -> Result<Option<T>, Fault> {
        let Some(number) = self.number(account)? else { return Ok(None) };
        match read(self, number)? {
            Some(record) => Ok(Some(record)),
            None if self.has(&key::head(number))? => Err(corrupt(what)),
            None => Ok(None),
        }
    }

    /// The first entry of an account in the list of what falls due, at or after `from`.
    pub(crate) fn first_note(&self, number: u32, from: &[u8]) -> Result<Option<Note>, Fault> {
        let Some((key, bytes)) = self.first(from, &key::dues(number))? else { return Ok(None) };
        record::open::<()>(&key, &bytes, "what falls due")?;
        key::read_due(&key).map(Some).ok_or_else(|| corrupt("what falls due"))
    }

    /// When what an entry stands for falls due.
    fn due_ms_of(&mut self, number: u32, due: Due) -> Result<u64, Fault> {
        let due_ms = match &due {
            Due::Claim(key) => self.read_claim(number, key)?.map(|found| found.due_ms),
            Due::Reservation(id) => self.read_reservation(number, *id)?.map(|found| found.due_ms),
        };
        due_ms.ok_or_else(|| corrupt("what falls due"))
    }

    /// What fell due first by `now_ms`. Entries of what was put off are moved on, where that can be.
    pub(crate) fn first_due(&mut self, number: u32, now_ms: u64) -> Result<Option<Due>, Fault> {
        let mut from = key::dues(number);
        loop {
            let note = self.first_note(number, &from)?;
            let Some((noted_ms, due)) = note.filter(|(noted_ms, _)| *noted_ms <= now_ms) else {
                return Ok(None);
            };
            if let Access::Write(_) = &self.access {
                match self.budget.checked_sub(1) {
                    Some(budget) => self.budget = budget,
                    None if self.sweeps => return Ok(None),
                    None => return Err(Fault::Bound("what fell due; expire more often")),
                }
            }
            let due_ms = self.due_ms_of(number, due)?;
            if due_ms <= now_ms {
                return Ok(Some(due));
            }
            match &self.access {
                Access::Write(_) => self.move_note(number, due, noted_ms, due_ms)?,
                Access::Read(_) => {
                    from = key::due(number, noted_ms, due);
                    let _ = from.try_push(0); // the next key there can be
                }
            }
        }
    }
}
