//! What must hold: of every step, and of every state.

/// A rule about steps. The first that a step breaks stays in the state that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// See [`names::ADMITTED_ANEW`].
    AdmittedAnew,
    /// See [`names::REPLAYS`].
    Replays,
    /// See [`names::ANSWERS`].
    Answers,
    /// See [`names::REFUSALS`].
    Refusals,
    /// See [`names::STALE_FENCE`].
    StaleFence,
    /// See [`names::TWICE`].
    Twice,
    /// See [`names::ENDS_ONCE`].
    EndsOnce,
    /// See [`names::FENCES`].
    Fences,
    /// See [`names::ONE_ACCOUNT`].
    OneAccount,
}

/// The names of all properties, as the checker reports them.
pub mod names {
    /// Every admission, settlement and refund is answered as the rules say, by what an onlooker knows.
    pub const ANSWERS: &str = "every answer is the one that the rules give";
    /// A key is admitted again only after its retention, after a word that it was not carried out, or
    /// (`rerun`) after the lease of a holder that said nothing.
    pub const ADMITTED_ANEW: &str = "a key is admitted again only by its rule";
    /// A replay is the answer of the key's last execution, within its retention.
    pub const REPLAYS: &str = "a replay is the answer that was settled";
    /// A denial, a refusal or a replay leaves the records as time alone would leave them.
    pub const REFUSALS: &str = "what is refused changes nothing";
    /// A host whose key went to another execution, or came free, is refused, and changes nothing.
    pub const STALE_FENCE: &str = "a stale fence changes nothing";
    /// An outcome after the end, the same or another, changes nothing.
    pub const TWICE: &str = "settled twice is settled once";
    /// A reservation that ended keeps its end, until its retention is over.
    pub const ENDS_ONCE: &str = "a reservation ends once";
    /// Each reservation's number is one more than the last of its account.
    pub const FENCES: &str = "fences only grow";
    /// A command changes nothing in another account.
    pub const ONE_ACCOUNT: &str = "a command changes one account";
    /// `conflict`: of two executions of a key, the later was admitted after the retention of the
    /// earlier. `rerun`: it was admitted after the lease of the earlier, or after its retention.
    pub const ONE_EXECUTION: &str = "at most one execution of a key at a time";
    /// No two executions have a key to themselves at once: for the retention (`conflict`) or for the
    /// lease (`rerun`).
    pub const ONE_HOLDER: &str = "a key has one holder";
    /// The claim on a key is that of the last execution, with its answer if there is one.
    pub const KEYS: &str = "a key's claim is its last execution's";
    /// Paid in + refunded = balance + posted, and held ≤ balance.
    pub const CONSERVED: &str = "money is conserved";
    /// What is held is the sum of the open reservations, and they are counted right.
    pub const HELD: &str = "held money has its reservation";
    /// A reservation is there while it is open, and as long after as its retention.
    pub const KEPT: &str = "no reservation is lost";
    /// Posted, refunded and paid in are the sums of what was answered, and each reservation's end too.
    pub const LEDGER: &str = "the ledger is what was answered";
    /// Refunds of a reservation are at most what it posted, each reference once.
    pub const REFUNDS: &str = "refunds stay within what was posted";
    /// Posted and held in a cap's period are at most the cap, and the counters say so.
    pub const CAPS: &str = "caps are never exceeded";
    /// A sweep ends all leases that are over and forgets what is past its retention. In the end all
    /// keys are free, and no money is held but what `hold` keeps for an operator, who can end it.
    pub const FREED: &str = "nothing stays stuck past its rule";
}
