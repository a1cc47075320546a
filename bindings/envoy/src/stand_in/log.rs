//! What the module has logged, by the thread that did, since tests run beside each other.

use std::sync::Once;
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

struct Line {
    thread: ThreadId,
    level: u32,
    text: String,
}

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// Panics of the module's own threads, where no hook catches them.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Takes a line down.
pub(super) fn add(level: u32, text: String) {
    LINES.lock().push(Line { thread: thread::current().id(), level, text });
}

/// How many lines there are so far.
pub(super) fn mark() -> usize {
    LINES.lock().len()
}

/// What this thread has logged since a mark, at this level.
pub(super) fn own(since: usize, level: u32) -> Vec<String> {
    let current = thread::current().id();
    let lines = LINES.lock();
    let own = lines.iter().skip(since).filter(|line| line.thread == current && line.level == level);
    own.map(|line| line.text.clone()).collect()
}

/// Whether a line with this text was logged by any thread.
pub(super) fn anybody_said(text: &str) -> bool {
    LINES.lock().iter().any(|line| line.text.contains(text))
}

/// Has panics of the module's threads noted, from now on.
pub(super) fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if thread::current().name() == Some("tollgate") {
                PANICS.lock().push(panic.to_string());
            }
            usual(panic);
        }));
    });
}

/// Those panics.
pub(super) fn panics() -> Vec<String> {
    PANICS.lock().clone()
}
