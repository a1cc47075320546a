//! What is worth seeing: a search that never meets it proves nothing about it.

/// An event of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call was admitted, and its key was not known.
    Admitted,
    /// An orphan's key was run again.
    Rerun,
    /// A call was answered from its key.
    Replayed,
    /// A key was refused to another body.
    Mismatched,
    /// A call met its key in flight.
    InFlight,
    /// A cap refused a call.
    Capped,
    /// The wallet was too low.
    Poor,
    /// A host's word was taken within its lease.
    Settled,
    /// A host's word was taken after its lease.
    SettledLate,
    /// A word came again.
    Again,
    /// Another word came after the end.
    Differing,
    /// The word of a host that no longer has its key was refused.
    StaleRefused,
    /// A host's word was refused because its lease had ended.
    LateRefused,
    /// An operator ended an orphan.
    Resolved,
    /// An operator ended what the end of a lease had left of a key.
    Released,
    /// A sweep ended a lease or forgot something.
    Swept,
    /// A refund was made.
    Refunded,
    /// A refund was refused.
    RefundRefused,
}

/// How many there are.
pub(crate) const EVENTS: usize = Event::RefundRefused as usize + 1;
