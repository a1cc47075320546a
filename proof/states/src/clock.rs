//! A clock of few ticks.

/// A tick: half a day. Two of them end a day, and the third of the first ends a month too, so that
/// caps of all periods begin anew within the few ticks that a setup has.
const TICK_MS: u64 = 43_200_000;

/// Tick 0: 28 February 1970. Not in the first month of the epoch, whose number is also that of no
/// month at all.
const START_MS: u64 = 58 * 86_400_000;

/// The tick of what never falls due.
pub(crate) const NEVER: u8 = u8::MAX;

/// The Unix millisecond of a tick.
pub(crate) fn ms(tick: u8) -> u64 {
    if tick == NEVER { u64::MAX } else { START_MS + span_ms(tick) }
}

/// The tick of a Unix millisecond that is one.
pub(crate) fn tick(ms: u64) -> u8 {
    if ms == u64::MAX { NEVER } else { span(ms.checked_sub(START_MS).unwrap()) }
}

/// Milliseconds in so many ticks.
pub(crate) fn span_ms(ticks: u8) -> u64 {
    u64::from(ticks) * TICK_MS
}

/// Ticks in so many milliseconds, which are whole ticks.
pub(crate) fn span(ms: u64) -> u8 {
    assert_eq!(ms % TICK_MS, 0, "{ms} ms are no whole ticks");
    small(ms / TICK_MS)
}

/// A number of a setup, all of which are small.
pub(crate) fn small(number: u64) -> u8 {
    u8::try_from(number).unwrap()
}
