//! Envoy with the module.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tollgate_gateway_tests::{Preloaded, Response, disk_shim, send};

use crate::process::Process;

const CONFIG: &str = include_str!("../envoy.yaml");
const LISTENERS: &str = include_str!("../listeners.yaml");

/// Another listener, on a port of its own, with a filter of its own.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name.
    pub name: &'static str,
    /// The name of its filter.
    pub filter_name: &'static str,
    /// Its filter's configuration, with `DIR` filled in.
    pub filter: Value,
}

/// What `envoy --mode validate` said of a configuration.
#[derive(Debug)]
pub struct Checked {
    /// The exit code.
    pub code: Option<i32>,
    /// All that it printed.
    pub said: String,
    /// The directory that `DIR` stood for.
    pub directory: TempDir,
}

/// How an Envoy is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The filter's configuration, with `DIR` filled in.
    pub filter: Value,
    /// Routes before the one for everything, in YAML's flow style, each with a comma behind it.
    pub routes: String,
    /// Whether what listens stands in a file of its own, so that it can be [updated](Envoy::update).
    pub updated: bool,
    /// Listeners beside those of `listeners.yaml`, where that is a file of its own.
    pub others: Vec<Listener>,
    /// The format of the access log's lines.
    pub access: String,
    /// The port of what is behind it, on 127.0.0.1.
    pub upstream: u16,
    /// Worker threads.
    pub concurrency: usize,
    /// The wall clock, in Unix milliseconds; `None` is the machine's.
    pub clock_ms: Option<u64>,
    /// Files to write into the directory first.
    pub files: Vec<(String, String)>,
    /// What replaces what in Envoy's configuration, before anything is filled in.
    pub edits: Vec<(String, String)>,
    /// Whether [`Envoy::disk_waits`] can be called.
    pub disk_may_wait: bool,
}

impl Options {
    /// This filter, and this upstream.
    #[must_use]
    pub fn new(filter: Value, upstream: u16) -> Options {
        Options {
            filter,
            routes: String::new(),
            updated: false,
            others: Vec::new(),
            access: "%REQ(X-TEST-ID)%|%DYNAMIC_METADATA(tollgate:settled)%|".to_owned(),
            upstream,
            concurrency: 2,
            clock_ms: None,
            files: Vec::new(),
            edits: Vec::new(),
            disk_may_wait: false,
        }
    }

    /// Replaces a text of Envoy's configuration, which must be in it.
    pub fn edit(&mut self, text: &str, by: &str) {
        assert!(CONFIG.contains(text) || LISTENERS.contains(text), "not there: {text}");
        self.edits.push((text.to_owned(), by.to_owned()));
    }

    /// Puts a filter, in YAML's flow style, before one that is there: `tollgate` or `router`.
    pub fn filter_before(&mut self, name: &str, filter: &str) {
        let place = format!("        - name: {name}\n");
        self.edit(&place, &format!("        - {filter}\n{place}"));
    }
}

/// A running Envoy; stopped when dropped.
pub struct Envoy {
    // Before the directory, which they write to.
    process: Process,
    old: Vec<Process>,
    directory: TempDir,
    options: Options,
    /// How often a process says that it has loaded a policy from a file: once for each filter that does.
    loads: usize,
}

impl Envoy {
    /// Starts one.
    #[must_use]
    pub fn start(options: Options) -> Envoy {
        let directory = prepare(&options);
        if let Some(now_ms) = options.clock_ms {
            preloaded(directory.path(), &options).set_clock_ms(now_ms);
        }
        let process = start(directory.path(), 0, &options);
        let mut envoy = Envoy { process, old: Vec::new(), directory, options, loads: 0 };
        let log = envoy.log();
        assert!(log.contains("ABI version v0.2.0 matched"), "another ABI:\n{log}");
        envoy.loads = loads(&log);
        envoy
    }

    /// What Envoy says of a configuration before it serves any.
    #[must_use]
    pub fn check(options: &Options) -> Checked {
        let directory = prepare(options);
        let (code, said) = Process::check(&write_config(directory.path(), 0, options));
        Checked { code, said, directory }
    }

    /// The gateway's port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// The port of another listener, once it has one.
    #[must_use]
    pub fn port_of(&self, listener: &str) -> Option<u16> {
        self.process.listens(listener)
    }

    /// What its administration answers to this.
    #[must_use]
    pub fn ask(&self, target: &str) -> Response {
        self.process.ask(target)
    }

    /// The socket on which it listens too.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.process.socket()
    }

    /// Its directory, with the store in `db`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read(self.directory.path().join("envoy.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The access log.
    #[must_use]
    pub fn access_log(&self) -> String {
        let log = fs::read(self.directory.path().join("access.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// A counter or gauge of Envoy's.
    #[must_use]
    pub fn stat(&self, name: &str) -> u64 {
        let said = self.process.ask(&format!("/stats?filter=^{name}$")).text();
        let value = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}: {said}"))
    }

    /// Sets the clock.
    pub fn set_clock_ms(&self, now_ms: u64) {
        preloaded(self.directory.path(), &self.options).set_clock_ms(now_ms);
    }

    /// From now on whatever is synced waits, or goes on.
    pub fn disk_waits(&self, waits: bool) {
        assert!(self.options.disk_may_wait);
        let file = self.directory.path().join("disk-waits");
        if waits { fs::write(file, "").unwrap() } else { fs::remove_file(file).unwrap() }
    }

    /// Replaces a file of [`Options::files`] at once.
    pub fn rewrite(&self, name: &str, content: &str) {
        let (new, place) = (self.directory.path().join("new"), self.directory.path().join(name));
        fs::write(&new, content).unwrap();
        fs::rename(new, place).unwrap();
    }

    /// Replaces what listens by the same with another filter; gives whether Envoy took it. It does not, and says why in its log, if the
    /// configuration is wrong.
    #[must_use]
    pub fn update(&mut self, filter: Value) -> bool {
        let others = self.options.others.clone();
        self.update_all(filter, others)
    }

    /// The same with [other listeners](Options::others) too.
    #[must_use]
    pub fn update_all(&mut self, filter: Value, others: Vec<Listener>) -> bool {
        let counts = |envoy: &Envoy| {
            let count = |what: &str| envoy.stat(&format!("listener_manager.lds.update_{what}"));
            (count("success"), count("rejected"))
        };
        let before = counts(self);
        (self.options.filter, self.options.others) = (filter, others);
        let file = self.listeners_file();
        self.rewrite(&file, &listeners(self.directory(), self.old.len(), &self.options));
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let now = counts(self);
            match (now.0 > before.0, now.1 > before.1) {
                (_, true) => return false,
                (true, false) => return true,
                (false, false) => {}
            }
            assert!(Instant::now() < end, "nothing is updated:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn listeners_file(&self) -> String {
        format!("listeners-{}.yaml", self.old.len())
    }

    /// Replaces the policy's file, and returns once every filter of every process has loaded it.
    pub fn replace_policy(&self, policy: &str) {
        let wanted = loads(&self.log()) + self.loads * (1 + self.old.len());
        self.rewrite("policy.json", policy);
        let end = Instant::now() + Duration::from_secs(30);
        while loads(&self.log()) < wanted {
            assert!(Instant::now() < end, "the policy is not loaded:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A new process with the same configuration, at another port. The old one has no more requests than those under way, and stays for them.
    pub fn restart(&mut self) {
        let process = start(self.directory.path(), self.old.len() + 1, &self.options);
        self.old.push(std::mem::replace(&mut self.process, process));
    }

    /// Ends it with this signal, and waits; gives whether it ended by itself and well.
    pub fn stop(&mut self, how: Signal) -> bool {
        self.process.stop(how)
    }

    /// One request on a connection of its own.
    #[must_use]
    pub fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        send(self.port(), method, target, headers, body)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("envoy said:\n{log}");
            return;
        }
        for bad in ["panic", "Caught ", "assert failure"] {
            assert!(!log.contains(bad), "{bad}:\n{log}");
        }
    }
}

fn prepare(options: &Options) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, content) in &options.files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

/// How many policies were loaded from a file, by what was logged.
fn loads(log: &str) -> usize {
    let loaded = |line: &&str| line.contains("tollgate: policy ") && line.ends_with(" loaded");
    log.lines().filter(loaded).count()
}

fn preloaded(directory: &Path, options: &Options) -> Preloaded {
    Preloaded {
        libraries: options.disk_may_wait.then(disk_shim).into_iter().collect(),
        clock: options.clock_ms.map(|_| directory.join("clock")),
    }
}

fn socket(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("socket-{number}"))
}

/// With the edits of these options.
fn edited(text: &str, options: &Options) -> String {
    options.edits.iter().fold(text.to_owned(), |edited, (text, by)| edited.replace(text, by))
}

fn filled_in(config: &str, directory: &Path, number: usize, options: &Options) -> String {
    // JSON is YAML.
    config
        .replace("FILTER", &options.filter.to_string())
        .replace("ROUTES", &options.routes)
        .replace("UPSTREAM", &options.upstream.to_string())
        .replace("ACCESS", &options.access) // may name what Envoy knows of an UPSTREAM
        .replace("SOCKET", &socket(directory, number).display().to_string())
        .replace("DIR", &directory.display().to_string())
}

/// What listens, as a file of its own.
fn listeners(directory: &Path, number: usize, options: &Options) -> String {
    let typed = "\n- \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener\n  name: ";
    let mut listeners = filled_in(&edited(LISTENERS, options), directory, number, options);
    for other in &options.others {
        let own = Options { filter: other.filter.clone(), ..options.clone() };
        listeners += &filled_in(&like_port(other), directory, number, &own);
    }
    format!("resources:\n{}", listeners.replace("\n- name: ", typed))
}

/// The listener `port` under another name, with another filter.
fn like_port(other: &Listener) -> String {
    let (_, port) = LISTENERS.split_once("\n- name: port\n").unwrap();
    let (port, _) = port.split_once("\n# Requests without an address.").unwrap();
    let port = port
        .replace("&manager", "&another")
        .replace("filter_name: tollgate", &format!("filter_name: {}", other.filter_name));
    format!("\n- name: {}\n{port}\n", other.name)
}

/// Writes the configuration of the `number`th process of this directory.
fn write_config(directory: &Path, number: usize, options: &Options) -> PathBuf {
    let (here, elsewhere) = if options.updated {
        let file = directory.join(format!("listeners-{number}.yaml"));
        fs::write(&file, listeners(directory, number, options)).unwrap();
        let source = format!("{{ path_config_source: {{ path: {} }} }}", file.display());
        let dynamic = format!(
            "node: {{ id: test, cluster: test }}\ndynamic_resources: {{ lds_config: {source} }}\n"
        );
        ("[]".to_owned(), dynamic)
    } else {
        // A list stands at the column of its name, or further in.
        let listeners = edited(LISTENERS, options);
        (format!("\n{listeners}").replace('\n', "\n  "), String::new())
    };
    let config = edited(CONFIG, options).replace("LISTENERS", &here);
    let config = filled_in(&config, directory, number, options);
    let file = directory.join(format!("envoy-{number}.yaml"));
    fs::write(&file, config + &elsewhere).unwrap();
    file
}

fn start(directory: &Path, number: usize, options: &Options) -> Process {
    let config = write_config(directory, number, options);
    let preloaded = preloaded(directory, options);
    Process::start(&config, options.concurrency, &preloaded, socket(directory, number))
}
