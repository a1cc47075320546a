//! nginx with the module.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tollgate_gateway_tests::{Preloaded, Response, free_port, is_root, send, signal};

use crate::build::module;

/// How an nginx is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The main block's directives beside those that the harness needs.
    pub main: String,
    /// The http block's, with `PORT`, `UPSTREAM` and `DIR` filled in.
    pub http: String,
    /// What `UPSTREAM` stands for.
    pub upstream: u16,
    /// Worker processes.
    pub workers: usize,
    /// The wall clock, in Unix milliseconds; `None` is the machine's.
    pub clock_ms: Option<u64>,
    /// Another build of the module.
    pub module: Option<PathBuf>,
    /// Libraries to preload.
    pub preload: Vec<PathBuf>,
    /// Run below this program, with its arguments.
    pub below: Vec<String>,
    /// Files to write into the directory first.
    pub files: Vec<(String, String)>,
    /// Directories to make, each with a file and what it holds.
    pub directories: Vec<(String, String, String)>,
}

impl Options {
    /// These directives of the http block, and this upstream.
    #[must_use]
    pub fn new(http: &str, upstream: u16) -> Options {
        Options {
            main: String::new(),
            http: http.to_owned(),
            upstream,
            workers: 2,
            clock_ms: None,
            module: None,
            preload: Vec::new(),
            below: Vec::new(),
            files: Vec::new(),
            directories: Vec::new(),
        }
    }
}

/// A running nginx; stopped when dropped.
pub struct Nginx {
    directory: TempDir,
    child: Child,
    port: u16,
    options: Options,
}

impl Nginx {
    /// Starts one.
    #[must_use]
    pub fn start(options: Options) -> Nginx {
        let directory = prepare(&options);
        let port = free_port();
        write_config(directory.path(), port, &options);
        let mut command = command(directory.path(), &options);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut nginx = Nginx { directory, child, port, options };
        nginx.wait_until_up();
        nginx
    }

    /// What `nginx -t` says: whether it is good, and what it wrote.
    #[must_use]
    pub fn test(options: &Options) -> (bool, String) {
        let directory = prepare(options);
        write_config(directory.path(), free_port(), options);
        let output = command(directory.path(), options).arg("-t").output().unwrap();
        let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.push_str(&fs::read_to_string(directory.path().join("error.log")).unwrap_or_default());
        (output.status.success(), said)
    }

    fn wait_until_up(&mut self) {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("nginx ended with {status}:\n{}", self.error_log());
            }
            let listens = std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            let workers = self.options.main.contains("master_process off")
                || self.workers().len() >= self.options.workers;
            if listens && workers && send(self.port, "GET", "/up", &[], b"").status == 200 {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("nginx did not begin to serve:\n{}", self.error_log());
    }

    /// The gateway's port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its directory, with the store in `db`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it logged.
    #[must_use]
    pub fn error_log(&self) -> String {
        let log = fs::read(self.directory.path().join("error.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The access log.
    #[must_use]
    pub fn access_log(&self) -> String {
        let log = fs::read(self.directory.path().join("access.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The master, or the only process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The workers.
    #[must_use]
    pub fn workers(&self) -> Vec<u32> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        children.unwrap_or_default().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Sets the clock.
    pub fn set_clock_ms(&self, now_ms: u64) {
        preloaded(self.directory.path(), &self.options).set_clock_ms(now_ms);
    }

    /// Rewrites a file of [`Options::files`].
    pub fn rewrite(&self, name: &str, content: &str) {
        fs::write(self.directory.path().join(name), content).unwrap();
    }

    /// Reloads the configuration; returns once only new workers accept.
    pub fn reload(&self) {
        let old = self.workers();
        signal(self.pid(), Signal::HUP);
        let end = Instant::now() + Duration::from_secs(30);
        let leaves =
            |log: &str, pid: &u32| log.contains(&format!("{pid}#{pid}: gracefully shutting down"));
        while Instant::now() < end {
            let log = self.error_log();
            let new = self.workers().iter().filter(|pid| !old.contains(pid)).count();
            if new >= self.options.workers && old.iter().all(|pid| leaves(&log, pid)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("nginx did not reload:\n{}", self.error_log());
    }

    /// [`reload`](Self::reload), where there is a master.
    pub fn reload_if_it_can(&self) {
        if !self.options.main.contains("master_process off") {
            self.reload();
        }
    }

    /// Stops with this signal, and waits for the end.
    pub fn stop(&mut self, how: Signal) {
        signal(self.pid(), how);
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if self.child.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.stop(Signal::TERM);
        }
        if std::thread::panicking() {
            eprintln!("nginx said:\n{}", self.error_log());
            for entry in fs::read_dir(self.directory.path()).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with("asan.") || name.starts_with("ubsan.") {
                    eprintln!("{}", fs::read_to_string(entry.path()).unwrap_or_default());
                }
            }
        }
    }
}

fn prepare(options: &Options) -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    for (name, content) in &options.files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    for (name, file, content) in &options.directories {
        let made = directory.path().join(name);
        fs::create_dir(&made).unwrap();
        fs::write(made.join(file), content).unwrap();
    }
    if let Some(now_ms) = options.clock_ms {
        preloaded(directory.path(), options).set_clock_ms(now_ms);
    }
    directory
}

fn write_config(directory: &Path, port: u16, options: &Options) {
    let module = options.module.clone().unwrap_or_else(module);
    let dir = directory.display();
    let user = if is_root() { "user www-data;" } else { "" };
    let main = &options.main;
    let workers = if main.contains("worker_processes") || main.contains("master_process off") {
        String::new()
    } else {
        format!("worker_processes {};", options.workers)
    };
    let http = options
        .http
        .replace("PORT", &port.to_string())
        .replace("UPSTREAM", &format!("127.0.0.1:{}", options.upstream))
        .replace("DIR", &dir.to_string());
    let config = format!(
        "load_module {module};\n\
         {user}\n\
         daemon off;\n\
         {workers}\n\
         pid {dir}/nginx.pid;\n\
         error_log {dir}/error.log info;\n\
         {main}\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
         client_body_temp_path {dir}/temp; proxy_temp_path {dir}/temp; fastcgi_temp_path {dir}/temp;\n\
         uwsgi_temp_path {dir}/temp; scgi_temp_path {dir}/temp;\n\
         {log}\n\
         {http}\n\
         }}\n",
        module = module.display(),
        // An `off` holds against whatever else stands beside it.
        log = if http.contains("access_log access.log t;\n             server") {
            ""
        } else {
            "access_log off;"
        },
    );
    fs::write(directory.join("nginx.conf"), config).unwrap();
}

fn preloaded(directory: &Path, options: &Options) -> Preloaded {
    Preloaded {
        libraries: options.preload.clone(),
        clock: options.clock_ms.map(|_| directory.join("clock")),
    }
}

fn command(directory: &Path, options: &Options) -> Command {
    let mut arguments = options.below.clone();
    arguments.push("/usr/sbin/nginx".to_owned());
    let mut command = Command::new(&arguments[0]);
    command
        .args(&arguments[1..])
        .arg("-p")
        .arg(directory)
        .arg("-c")
        .arg("nginx.conf")
        .arg("-e")
        .arg("error.log");
    command.current_dir(directory);
    preloaded(directory, options).apply(&mut command);
    command
}

impl Nginx {
    /// One request on a connection of its own.
    #[must_use]
    pub fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        send(self.port, method, target, headers, body)
    }
}
