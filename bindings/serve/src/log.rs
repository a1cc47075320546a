//! The decision log: a line of JSON for each decision.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::oneshot;

use crate::options::DecisionLog as Target;
use crate::record::DecisionRecord;

/// Lines that wait to be written. A disk that is slower than that loses lines, which are counted, and holds up nobody.
const QUEUE: usize = 16_384;

/// How long a line may wait in the buffer, and how large that becomes.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
const FLUSH_BYTES: usize = 64 << 10;

/// How long a server that ends waits for what is not written yet.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

const DROP_WITHIN: Duration = Duration::from_secs(1);

/// Writes decisions on a thread of its own.
pub(crate) struct DecisionLog {
    queue: Option<SyncSender<Line>>,
    writer: Option<JoinHandle<()>>,
    lost: Counter,
}

enum Line {
    Decision(Box<DecisionRecord>),
    /// The file was moved away: begin a new one.
    Reopen,
    /// Tell when everything before this is written.
    Flush(oneshot::Sender<()>),
}

impl DecisionLog {
    /// Opens it.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn open(target: &Target, lost: Counter) -> Result<Self, String> {
        let output = match target {
            Target::None => return Ok(DecisionLog { queue: None, writer: None, lost }),
            Target::Stdout => Output::Stdout,
            Target::File(path) => {
                let file = append(path);
                let file =
                    file.map_err(|error| format!("the decision log {}: {error}", path.display()))?;
                Output::File(path.clone(), file)
            }
        };
        let (queue, lines) = sync_channel(QUEUE);
        let mut writer = Writer::new(output, lost.clone());
        let writer = std::thread::Builder::new()
            .name("decision-log".into())
            .spawn(move || writer.run(&lines))
            .map_err(|error| format!("no thread for the decision log: {error}"))?;
        Ok(DecisionLog { queue: Some(queue), writer: Some(writer), lost })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    pub(crate) fn write(&self, record: &DecisionRecord) {
        let Some(queue) = &self.queue else { return };
        if queue.try_send(Line::Decision(Box::new(record.clone()))).is_err() {
            self.lost.inc();
        }
    }

    pub(crate) async fn reopen(&self) {
        self.tell(Line::Reopen).await;
    }

    /// Waits until what was decided so far is written, but not for ever.
    pub(crate) async fn close(&self) {
        let (tell, told) = oneshot::channel();
        self.tell(Line::Flush(tell)).await;
        if tokio::time::timeout(CLOSE_WITHIN, told).await.is_err() {
            tracing::warn!("the end of the decision log is lost: it cannot be written in time");
        }
    }

    /// The queue may be full for a moment.
    async fn tell(&self, mut line: Line) {
        let Some(queue) = &self.queue else { return };
        let began = Instant::now();
        while let Err(TrySendError::Full(back)) = queue.try_send(line) {
            if began.elapsed() >= CLOSE_WITHIN {
                return;
            }
            line = back;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A server that is not stopped, and still ends. A reader of standard output that does not read must not hold it up.
impl Drop for DecisionLog {
    fn drop(&mut self) {
        self.queue = None;
        let Some(writer) = self.writer.take() else { return };
        let began = Instant::now();
        while !writer.is_finished() && began.elapsed() < DROP_WITHIN {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

enum Output {
    Stdout,
    File(PathBuf, File),
    #[cfg(test)]
    Other(Box<dyn Write + Send>),
}

impl Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()?;
                Ok(bytes.len())
            }
            Output::File(_, file) => file.write(bytes),
            #[cfg(test)]
            Output::Other(writer) => writer.write(bytes),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// What the thread has.
struct Writer {
    output: Output,
    buffer: Vec<u8>,
    /// Since when the first line of the buffer waits.
    since: Option<Instant>,
    /// The last line of the output is only a part of one.
    is_torn: bool,
    is_failing: bool,
    lost: Counter,
}

impl Writer {
    fn new(output: Output, lost: Counter) -> Self {
        let buffer = Vec::with_capacity(FLUSH_BYTES);
        Writer { output, buffer, since: None, is_torn: false, is_failing: false, lost }
    }

    fn run(&mut self, lines: &Receiver<Line>) {
        loop {
            let waits =
                self.since.map_or(FLUSH_EVERY, |since| FLUSH_EVERY.saturating_sub(since.elapsed()));
            match lines.recv_timeout(waits) {
                Ok(Line::Decision(record)) => self.add(&record),
                Ok(Line::Reopen) => self.reopen(),
                Ok(Line::Flush(tell)) => {
                    self.flush();
                    // Who does not wait any more has seen enough.
                    let _ = tell.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.flush(),
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
        }
    }

    fn add(&mut self, record: &DecisionRecord) {
        let before = self.buffer.len();
        if serde_json::to_writer(&mut self.buffer, record).is_err() {
            self.buffer.truncate(before);
            self.lost.inc();
            return;
        }
        self.buffer.push(b'\n');
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.buffer.len() >= FLUSH_BYTES || since.elapsed() >= FLUSH_EVERY {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.since = None;
        if self.buffer.is_empty() {
            return;
        }
        let mut written = 0;
        let done = self.write_buffer(&mut written);
        let rest = self.buffer.get(written..).unwrap_or_default();
        if done.is_err() {
            let lines = rest.iter().filter(|byte| **byte == b'\n').count();
            self.lost.inc_by(u64::try_from(lines).unwrap_or(u64::MAX));
            let last = written.checked_sub(1).and_then(|last| self.buffer.get(last));
            self.is_torn |= last.is_some_and(|byte| *byte != b'\n');
        }
        self.buffer.clear();
        self.say(done);
    }

    fn write_buffer(&mut self, written: &mut usize) -> io::Result<()> {
        // A line of which a part is there stays a broken line of its own.
        if self.is_torn {
            self.output.write(b"\n")?;
            self.is_torn = false;
        }
        while let Some(rest) = self.buffer.get(*written..).filter(|rest| !rest.is_empty()) {
            match self.output.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => *written = written.saturating_add(more),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Said once each time it begins: a full disk must not fill another one.
    fn say(&mut self, done: io::Result<()>) {
        match (&done, self.is_failing) {
            (Ok(()), true) => tracing::info!("the decision log is written again"),
            (Err(error), false) => {
                tracing::error!(%error, "the decision log cannot be written; decisions go on without it");
            }
            _ => {}
        }
        self.is_failing = done.is_err();
    }

    fn reopen(&mut self) {
        self.flush();
        let Output::File(path, file) = &mut self.output else { return };
        match append(path) {
            Ok(new) => {
                *file = new;
                self.is_torn = false;
            }
            Err(error) => {
                let path = path.display();
                tracing::error!(%error, "the decision log {path} cannot be opened anew; it goes on in the old file");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A disk with so much room.
    #[derive(Clone)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (written, room) = &mut *self.0.lock().unwrap();
            let fits = bytes.len().min(*room);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            written.extend(&bytes[..fits]);
            *room = room.saturating_sub(fits);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn add(writer: &mut Writer, lines: &[&str]) {
        for line in lines {
            writer.buffer.extend(line.as_bytes());
            writer.buffer.push(b'\n');
        }
        writer.flush();
    }

    #[test]
    fn lines_that_do_not_fit_are_counted_and_a_torn_one_spoils_no_other() {
        let disk = Disk(Arc::new(Mutex::new((Vec::new(), 10))));
        let lost = Counter::default();
        let mut writer = Writer::new(Output::Other(Box::new(disk.clone())), lost.clone());
        // Two and a half fit.
        add(&mut writer, &["aaa", "bbb", "ccc", "ddd"]);
        assert_eq!((lost.get(), writer.is_failing), (2, true));
        add(&mut writer, &["eee"]);
        assert_eq!((lost.get(), writer.is_failing), (3, true));
        disk.0.lock().unwrap().1 = 100;
        add(&mut writer, &["fff"]);
        assert_eq!((lost.get(), writer.is_failing), (3, false));
        assert_eq!(disk.0.lock().unwrap().0, b"aaa\nbbb\ncc\nfff\n");
    }
}
