//! Runs the counted program under callgrind, and reads what it counted.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::metadata;
use crate::run::{Failure, Run, relative};

/// What counts depend on beside the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// As `rustc --version` says it.
    pub(crate) rustc: String,
    /// What it compiles for.
    pub(crate) target: String,
}

impl Toolchain {
    /// That of this machine.
    pub(crate) fn here() -> Result<Self, Failure> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let text = Run::program(Path::new(&rustc)).args(["--version", "--verbose"]).read()?;
        Toolchain::parse(&text)
            .ok_or_else(|| Failure(format!("`rustc --version --verbose` names no host:\n{text}")))
    }

    fn parse(text: &str) -> Option<Self> {
        let rustc = text.lines().next()?.to_string();
        let target = text.lines().find_map(|line| line.strip_prefix("host: "))?.to_string();
        Some(Toolchain { rustc, target })
    }
}

/// Instructions a call, by path.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// What is compared with the record.
    pub(crate) hot: BTreeMap<String, u64>,
    /// Paths of the same names, with more work planted in them.
    pub(crate) planted: BTreeMap<String, u64>,
    /// What hostile callers choose.
    pub(crate) hostile: Vec<Hostile>,
}

/// A path that a hostile caller chose.
#[derive(Debug)]
pub(crate) struct Hostile {
    name: String,
    instructions: u64,
    /// The path of an honest caller, and its instructions.
    beside: String,
    honest: u64,
    /// So many times as much as the honest caller it may cost.
    at_most: u64,
}

impl Hostile {
    /// Whether it costs no more than it may.
    pub(crate) fn holds(&self) -> bool {
        self.instructions <= self.honest.saturating_mul(self.at_most)
    }
}

impl fmt::Display for Hostile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hostile { name, instructions, beside, honest, at_most } = self;
        let hundredths = instructions.saturating_mul(100).checked_div(*honest).unwrap_or(0);
        let (whole, part) = (hundredths / 100, hundredths % 100);
        let holds = if self.holds() { "at most" } else { "TOO MUCH, at most" };
        write!(f, "  {name:<28}{instructions:>9}  {whole}.{part:02} × {beside} ({holds} {at_most})")
    }
}

const PACKAGE: &str = "tollgate-counts";

/// glibc copies and compares memory by the widest instructions of the processor. Without these it does so alike on all
/// of them; else settling a request with its response counts 8 % more on one than on another.
const ONE_GLIBC: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-AVX512F,-AVX512VL,-ERMS,-FSRM",
);

/// Builds the program, runs it and reads the counts.
pub(crate) fn measure() -> Result<Measured, Failure> {
    // The profile of what is shipped: others inline less across crates, and count something else.
    Run::cargo(["build", "--release", "--package", PACKAGE]).or("mend what does not compile")?;
    let target = PathBuf::from(metadata::target_directory()?);
    let dumps = target.join("counts");
    let unusable = |error: std::io::Error| Failure(format!("{}: {error}", relative(&dumps)));
    match fs::remove_dir_all(&dumps) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unusable(error)),
        _ => fs::create_dir_all(&dumps).map_err(unusable)?,
    }
    let program = target.join("release").join(PACKAGE);
    let ran = Run::program(Path::new("valgrind"))
        .env(ONE_GLIBC.0, ONE_GLIBC.1)
        .args(["--tool=callgrind", "--quiet"])
        .args(["--toggle-collect=tollgate_counts::counted_calls"])
        .args(["--dump-after=tollgate_counts::dumped_after"])
        .args([format!("--callgrind-out-file={}", dumps.join("dump").display())])
        .args([program.display().to_string()])
        .shown()?;
    read(&ran, |number| {
        // Dumps are numbered from 1.
        let file = dumps.join(format!("dump.{}", number.saturating_add(1)));
        let text = fs::read_to_string(&file)
            .map_err(|error| Failure(format!("{}: {error}", relative(&file))))?;
        total(&text).ok_or_else(|| Failure(format!("{} has no total", relative(&file))))
    })
}

/// The total of a dump.
fn total(dump: &str) -> Option<u64> {
    dump.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

/// Reads what the program says that it ran, with the total of each dump.
fn read(
    ran: &str,
    mut total: impl FnMut(usize) -> Result<u64, Failure>,
) -> Result<Measured, Failure> {
    let mut measured = Measured::default();
    let mut honest = BTreeMap::new();
    for (number, line) in ran.lines().enumerate() {
        let unread = || Failure(format!("{PACKAGE} said {line:?}, which is not understood"));
        let mut words = line.split(' ');
        let (Some(kind), Some(name), Some(calls)) = (words.next(), words.next(), words.next())
        else {
            return Err(unread());
        };
        let calls: u64 = calls.parse().map_err(|_| unread())?;
        let instructions = total(number)?.checked_div(calls).ok_or_else(unread)?;
        if instructions == 0 {
            return Err(Failure(format!("nothing was counted in {name}")));
        }
        let name = name.to_string();
        match (kind, words.next(), words.next()) {
            ("hot", None, None) => drop(measured.hot.insert(name, instructions)),
            ("planted", None, None) => drop(measured.planted.insert(name, instructions)),
            ("honest", None, None) => drop(honest.insert(name, instructions)),
            ("hostile", Some(beside), Some(at_most)) => measured.hostile.push(Hostile {
                name,
                instructions,
                beside: beside.to_string(),
                honest: *honest.get(beside).ok_or_else(unread)?,
                at_most: at_most.parse().map_err(|_| unread())?,
            }),
            _ => return Err(unread()),
        }
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toolchain_is_read() {
        let text =
            "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n";
        let toolchain = Toolchain::parse(text).unwrap();
        assert_eq!(toolchain.rustc, "rustc 1.95.0 (59807616e 2026-04-14)");
        assert_eq!(toolchain.target, "x86_64-unknown-linux-gnu");
    }

    #[test]
    fn totals_are_divided_by_calls() {
        let ran = "hot get 10\nplanted get 10\nhonest key 4\nhostile key_same 4 key 5";
        let measured = read(ran, |number| Ok([1_009, 1_200, 400, 2_004][number])).unwrap();
        assert_eq!(measured.hot["get"], 100);
        assert_eq!(measured.planted["get"], 120);
        assert!(!measured.hostile[0].holds(), "501 is more than five times 100");
        assert_eq!(
            measured.hostile[0].to_string(),
            "  key_same                          501  5.01 × key (TOO MUCH, at most 5)"
        );
    }

    #[test]
    fn what_counts_nothing_or_says_something_else_is_refused() {
        for ran in ["hot get 10", "hot get", "hot get 0", "warm get 1", "hostile a 1 b 5"] {
            assert!(read(ran, |_| Ok(9)).is_err(), "{ran}");
        }
        assert!(read("hot get 1", |_| Err(Failure(String::new()))).is_err());
        assert_eq!(total("events: Ir\ntotals: 123\n"), Some(123));
        assert_eq!(total("events: Ir\n"), None);
    }
}
