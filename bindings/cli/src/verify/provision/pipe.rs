//! A program that reads steps and answers, a line each.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, Take};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::Provisioned;
use crate::exit::Failure;

/// All that the program may answer in one run.
const MAX_OUTPUT_BYTES: u64 = 16 << 20;

pub(in crate::verify) struct Pipe {
    input: ChildStdin,
    output: Lines<BufReader<Take<ChildStdout>>>,
    timeout: Duration,
    // Killed when it is dropped.
    _child: Child,
}

impl Pipe {
    pub(super) fn start(command: &str, timeout: Duration) -> Result<Pipe, Failure> {
        let fail = |error: &dyn std::fmt::Display| Failure::at("--provision", error);
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| fail(&error))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(fail(&"the program has no standard input and output"));
        };
        let output = BufReader::new(output.take(MAX_OUTPUT_BYTES)).lines();
        Ok(Pipe { input, output, timeout, _child: child })
    }

    pub(super) async fn perform(&mut self, step: &Value) -> Result<Provisioned, Failure> {
        let fail = |why: &dyn std::fmt::Display| {
            let op = super::text(step, "op");
            Failure::at("--provision", format!("{op}: {why}"))
        };
        let mut line = step.to_string();
        line.push('\n');
        let exchange = async {
            self.input.write_all(line.as_bytes()).await?;
            self.input.flush().await?;
            self.output.next_line().await
        };
        let answer = match tokio::time::timeout(self.timeout, exchange).await {
            Err(_) => return Err(fail(&format!("no answer within {:?}", self.timeout))),
            Ok(Err(error)) => return Err(fail(&error)),
            Ok(Ok(None)) => return Err(fail(&"the program ended without an answer")),
            Ok(Ok(Some(answer))) => answer,
        };
        // The answer itself is not shown: it may have the token in it.
        let answer: Value = serde_json::from_str(&answer)
            .map_err(|_| fail(&"the program's answer is not a line of JSON"))?;
        if let Some(error) = answer.get("error") {
            return Err(fail(error));
        }
        match answer.get("token").and_then(Value::as_str) {
            Some(token) => Ok(Provisioned::WithToken(token.to_owned())),
            None => Ok(Provisioned::Done),
        }
    }
}
