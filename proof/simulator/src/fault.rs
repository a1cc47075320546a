//! What goes wrong on purpose.

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Fault {
    /// A command never reached the store.
    CommandLost,
    /// The store performed a command, and its answer was lost.
    ReplyLost,
    /// A command was performed twice, and the second answer came back.
    Doubled,
    /// A command was performed late, after others, and nobody waited for it.
    Delayed,
    /// The store said that it could not be asked.
    Unavailable,
    /// The store was full.
    Full,
    /// The store's disk refused a commit.
    CommitRefused,
    /// The store's disk met a conflict, and the store began again.
    CommitConflict,
    /// The host ended between two steps of one request.
    CrashBefore,
    /// The host ended after the store had performed a command.
    CrashAfter,
    /// A request waited for so long, while the clock went on, that its host gave it up.
    GivenUp,
    /// The host ended with all that it had begun; the store went on.
    HostCrash,
    /// All ended; a durable store came back.
    Restart,
    /// An upstream never answered, and nobody told the store.
    NeverSettled,
    /// The end of a request was told once more, or differently.
    ToldAgain,
    /// The clock went back.
    ClockBack,
    /// The clock went far ahead.
    ClockAhead,
}

impl Fault {
    /// All of them, in the order of their numbers.
    pub const ALL: [Fault; 17] = [
        Fault::CommandLost,
        Fault::ReplyLost,
        Fault::Doubled,
        Fault::Delayed,
        Fault::Unavailable,
        Fault::Full,
        Fault::CommitRefused,
        Fault::CommitConflict,
        Fault::CrashBefore,
        Fault::CrashAfter,
        Fault::GivenUp,
        Fault::HostCrash,
        Fault::Restart,
        Fault::NeverSettled,
        Fault::ToldAgain,
        Fault::ClockBack,
        Fault::ClockAhead,
    ];
}
