//! The program that is spoken with.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tollgate_scenario::StepError;

/// The longest that one step may take.
const PATIENCE: Duration = Duration::from_secs(60);

type Waiting = Arc<Mutex<HashMap<u64, Sender<Value>>>>;

/// A program that was started; it ends when this is dropped.
pub struct Program {
    child: Child,
    input: Mutex<Option<ChildStdin>>,
    waiting: Waiting,
    next: AtomicU64,
}

impl Program {
    /// Starts `node SCRIPT ARGS…`.
    ///
    /// # Errors
    /// When there is no Node, or no built package.
    pub fn start(script: &Path, args: &[&str]) -> Result<Self, StepError> {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../npm/dist/objects/node.js");
        if !built.exists() {
            return Err(StepError::new("the npm package is not built: run `cargo xtask wasm`"));
        }
        let mut child = Command::new("node")
            .arg(script)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| StepError::new(format!("node cannot be started: {error}")))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = output.ok_or_else(|| StepError::new("node has no standard output"))?;
        let waiting = Waiting::default();
        let read = Arc::clone(&waiting);
        // It ends with the program's output.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let Ok(reply) = serde_json::from_str::<Value>(&line) else { continue };
                let number = reply.get("n").and_then(Value::as_u64);
                let waits = number.and_then(|number| read.lock().remove(&number));
                let _ = waits.map(|waits| waits.send(reply));
            }
            read.lock().clear();
        });
        Ok(Program { child, input: Mutex::new(input), waiting, next: AtomicU64::new(1) })
    }

    /// Sends a line and waits for what it is replied with.
    pub(crate) fn ask(&self, session: u64, what: &str, value: Value) -> Result<Value, StepError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = channel();
        self.waiting.lock().insert(number, sender);
        let mut line = Map::new();
        line.insert("n".into(), json!(number));
        line.insert("session".into(), json!(session));
        line.insert(what.into(), value);
        let text = format!("{}\n", Value::Object(line));
        let sent = match &mut *self.input.lock() {
            Some(input) => input.write_all(text.as_bytes()).and_then(|()| input.flush()),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        sent.map_err(|error| StepError::new(format!("the program is gone: {error}")))?;
        receiver
            .recv_timeout(PATIENCE)
            .map_err(|_| StepError::new("the program did not reply; see what it printed"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The end of its input is the end of the program.
        drop(self.input.lock().take());
        let _ = self.child.wait();
    }
}
