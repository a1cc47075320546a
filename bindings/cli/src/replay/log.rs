//! One log: opened, unpacked, and read as records.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;

use super::lines::{Line, next_line};
use super::record::{BadLine, IdentityRule, Parsed, Record};
use super::{combined, json_line};
use crate::exit::Failure;

const READ_BYTES: usize = 256 * 1024;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// How the lines of logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// JSON where a line begins with `{`, else combined
    Auto,
    /// One JSON object a line
    Json,
    /// nginx's combined format
    Combined,
}

impl LogFormat {
    pub(crate) fn parse(self, line: &[u8], identity: &IdentityRule) -> Result<Parsed, BadLine> {
        let is_json = match self {
            LogFormat::Json => true,
            LogFormat::Combined => false,
            LogFormat::Auto => line.trim_ascii_start().starts_with(b"{"),
        };
        if is_json { json_line::parse(line, identity) } else { combined::parse(line, identity) }
    }
}

/// Lines of one log by what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineCounts {
    pub(crate) read: u64,
    pub(crate) blank: u64,
    pub(crate) not_http: u64,
    pub(crate) bad: u64,
}

/// A log that is being read.
pub(crate) struct Log {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    buffer: Vec<u8>,
    pub(crate) counts: LineCounts,
    /// The first bad lines, by number.
    pub(crate) bad: Vec<(u64, BadLine)>,
}

/// How many bad lines are shown of each log.
const BAD_SHOWN: usize = 5;

impl Log {
    /// Opens a file, or standard input for `-`. What begins as gzip does is unpacked.
    pub(crate) fn open(path: &Path, progress: &ProgressBar) -> Result<Self, Failure> {
        let input: Box<dyn Read> = if is_stdin(path) {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).map_err(|error| Failure::at(path.display(), error))?)
        };
        let counted = progress.wrap_read(input);
        let mut reader = BufReader::with_capacity(READ_BYTES, counted);
        let begin = reader.fill_buf().map_err(|error| Failure::at(path.display(), error))?;
        let reader: Box<dyn BufRead> = if begin.starts_with(GZIP_MAGIC) {
            Box::new(BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(reader)))
        } else {
            Box::new(reader)
        };
        Ok(Log::new(path, reader))
    }

    pub(crate) fn new(path: &Path, reader: Box<dyn BufRead>) -> Self {
        Log {
            path: path.to_owned(),
            reader,
            buffer: Vec::new(),
            counts: LineCounts::default(),
            bad: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> String {
        if is_stdin(&self.path) {
            "standard input".to_owned()
        } else {
            self.path.display().to_string()
        }
    }

    /// The next record, with the number of its line.
    pub(crate) fn next_record(
        &mut self,
        format: LogFormat,
        identity: &IdentityRule,
    ) -> Result<Option<(u64, Box<Record>)>, Failure> {
        loop {
            let line = next_line(&mut *self.reader, &mut self.buffer)
                .map_err(|error| Failure::at(self.path.display(), error))?;
            if line == Line::End {
                return Ok(None);
            }
            self.counts.read = self.counts.read.saturating_add(1);
            if line == Line::Whole && self.buffer.trim_ascii().is_empty() {
                self.counts.blank = self.counts.blank.saturating_add(1);
                continue;
            }
            let parsed = match line {
                Line::TooLong => Err(BadLine::TooLong),
                _ => format.parse(&self.buffer, identity),
            };
            match parsed {
                Ok(Parsed::Record(record)) => return Ok(Some((self.counts.read, record))),
                Ok(Parsed::NotHttp) => {
                    self.counts.not_http = self.counts.not_http.saturating_add(1);
                }
                Err(why) => self.note_bad(why),
            }
        }
    }

    fn note_bad(&mut self, why: BadLine) {
        self.counts.bad = self.counts.bad.saturating_add(1);
        if self.bad.len() < BAD_SHOWN {
            self.bad.push((self.counts.read, why));
        }
    }
}

pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn records(text: &[u8]) -> (Vec<u64>, LineCounts) {
        let reader = Box::new(io::Cursor::new(text.to_vec()));
        let mut log = Log::new(Path::new("x"), reader);
        let mut numbers = Vec::new();
        while let Some((number, _)) =
            log.next_record(LogFormat::Auto, &IdentityRule::First).unwrap()
        {
            numbers.push(number);
        }
        (numbers, log.counts)
    }

    #[test]
    fn each_line_is_read_by_its_own_format_and_counted() {
        let text = b"{\"now_ms\":1,\"method\":\"GET\",\"path\":\"/\"}\n\n\
            192.0.2.7 - - [29/Nov/2026:11:10:18 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"\n\
            192.0.2.7 - - [29/Nov/2026:11:10:18 +0000] \"\\x16\\x03\" 400 1 \"-\" \"-\"\n\
            rubbish\n";
        let (numbers, counts) = records(text);
        assert_eq!(numbers, [1, 3]);
        assert_eq!(counts, LineCounts { read: 5, blank: 1, not_http: 1, bad: 1 });
    }

    #[test]
    fn hostile_lines_are_counted_and_passed_over() {
        let mut text = vec![b'{'; 1 << 20];
        text.push(b'\n');
        text.extend([0, 0xff, 0xfe, b'\n']);
        text.extend(b"{\"now_ms\":1e400,\"method\":\"GET\",\"path\":\"/\"}\n");
        text.extend([b'['; 200_000]);
        text.push(b'\n');
        text.extend([b"{\"a\":".repeat(40_000), vec![b'\n']].concat());
        text.extend(b"{\"now_ms\":1,\"method\":\"\\u0000\",\"path\":\"/\\ud83d\\ude00\"}");
        let (numbers, counts) = records(&text);
        assert_eq!(numbers, [6]);
        assert_eq!(counts.bad, 5);
    }

    #[test]
    fn a_packed_log_is_unpacked_whatever_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let mut packed = Vec::new();
        // Rotation appends one packed part to another.
        for part in ["{\"now_ms\":1,\"method\":\"GET\",\"path\":\"/\"}\n", "bad\n"] {
            let mut encoder = flate2::write::GzEncoder::new(&mut packed, Default::default());
            encoder.write_all(part.as_bytes()).unwrap();
            encoder.finish().unwrap();
        }
        std::fs::write(&path, &packed).unwrap();
        let mut log = Log::open(&path, &ProgressBar::hidden()).unwrap();
        let mut next = || log.next_record(LogFormat::Auto, &IdentityRule::First).unwrap();
        assert!(next().is_some_and(|(number, _)| number == 1));
        assert!(next().is_none());
        assert_eq!(log.counts.bad, 1);

        std::fs::write(&path, &packed[..packed.len() - 9]).unwrap();
        let mut log = Log::open(&path, &ProgressBar::hidden()).unwrap();
        let mut next = || log.next_record(LogFormat::Auto, &IdentityRule::First);
        assert!(next().is_ok() && next().is_err());
    }

    /// Lines that are nearly right get further than random bytes.
    fn nearly_a_line() -> impl Strategy<Value = Vec<u8>> {
        let whole = prop_oneof![
            Just(
                r#"{"time":"2026-11-29T11:10:18.123Z","method":"POST","path":"/a","status":201,"key":"k","headers":[["a","b"]]}"#
            ),
            Just(
                r#"192.0.2.7 - u [29/Nov/2026:11:10:18 +0000] "GET /\x22 HTTP/1.1" 200 1 "-" "-""#
            ),
        ];
        let edits =
            proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 0..6);
        (whole, edits).prop_map(|(whole, edits)| {
            let mut line = whole.as_bytes().to_vec();
            for (index, byte, edit) in edits {
                let at = index.index(line.len().max(1));
                match edit {
                    0 if at < line.len() => line[at] = byte,
                    1 => line.insert(at, byte),
                    _ => line.truncate(at),
                }
            }
            line
        })
    }

    proptest! {
        #[test]
        fn no_line_panics(line in prop_oneof![proptest::collection::vec(any::<u8>(), 0..400), nearly_a_line()]) {
            for identity in [IdentityRule::First, IdentityRule::parse("shop")] {
                for format in [LogFormat::Auto, LogFormat::Json, LogFormat::Combined] {
                    if let Ok(Parsed::Record(record)) = format.parse(&line, &identity) {
                        prop_assert!(record.now_ms <= tollgate::MAX_NOW_MS);
                    }
                }
            }
        }
    }
}
