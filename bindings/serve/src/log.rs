//! The decision log: a line of JSON for each decision.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::options::DecisionLog as Target;
use crate::record::DecisionRecord;

/// Lines that wait to be written. A disk that is slower than that loses lines, which are counted, and holds up nobody.
const QUEUE: usize = 16_384;

/// How long a line may wait in a buffer.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// Writes decisions on a thread of its own.
pub(crate) struct DecisionLog {
    queue: Option<SyncSender<Line>>,
    writer: Option<JoinHandle<()>>,
    lost: prometheus_client::metrics::counter::Counter,
}

enum Line {
    Decision(Box<DecisionRecord>),
    /// The file was moved away: begin a new one.
    Reopen,
}

impl DecisionLog {
    /// Opens it.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn open(
        target: &Target,
        lost: prometheus_client::metrics::counter::Counter,
    ) -> Result<Self, String> {
        let output = match target {
            Target::None => return Ok(DecisionLog { queue: None, writer: None, lost }),
            Target::Stdout => Output::Stdout(BufWriter::new(io::stdout())),
            Target::File(path) => {
                let file = append(path).map_err(|error| format!("{}: {error}", path.display()))?;
                Output::File(path.clone(), BufWriter::new(file))
            }
        };
        let (queue, lines) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("decision-log".into())
            .spawn(move || write_lines(output, &lines))
            .map_err(|error| format!("no thread for the decision log: {error}"))?;
        Ok(DecisionLog { queue: Some(queue), writer: Some(writer), lost })
    }

    pub(crate) fn write(&self, record: &DecisionRecord) {
        let Some(queue) = &self.queue else { return };
        if queue.try_send(Line::Decision(Box::new(record.clone()))).is_err() {
            self.lost.inc();
        }
    }

    pub(crate) fn reopen(&self) {
        if let Some(queue) = &self.queue {
            let _ = queue.try_send(Line::Reopen);
        }
    }
}

/// What was decided is written before the server ends.
impl Drop for DecisionLog {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

enum Output {
    Stdout(BufWriter<io::Stdout>),
    File(PathBuf, BufWriter<File>),
}

impl Output {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Output::Stdout(writer) => writer,
            Output::File(_, writer) => writer,
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.writer().flush()?;
        if let Output::File(path, writer) = self {
            *writer = BufWriter::new(append(path)?);
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn write_lines(mut output: Output, lines: &Receiver<Line>) {
    let mut failing = false;
    loop {
        let done = match lines.recv_timeout(FLUSH_EVERY) {
            Ok(Line::Decision(record)) => write_line(&mut *output.writer(), &record),
            Ok(Line::Reopen) => output.reopen(),
            Err(RecvTimeoutError::Timeout) => output.writer().flush(),
            Err(RecvTimeoutError::Disconnected) => {
                let _ = output.writer().flush();
                return;
            }
        };
        // Said once each time it begins: a full disk must not fill another one.
        if let (Err(error), false) = (&done, failing) {
            tracing::error!(%error, "the decision log cannot be written; decisions go on without it");
        }
        failing = done.is_err();
    }
}

fn write_line(out: &mut dyn Write, record: &DecisionRecord) -> io::Result<()> {
    // One write a line, so that a line is never split by a rotation.
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    out.write_all(&line)
}
