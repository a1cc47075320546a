//! A Redis server of a test's own.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tollgate::{
    AccountId, AccountPatch, Admin, Amount, Engine, PolicyConfig, TokenFormat, TokenPatch,
    TokenText,
};
use tollgate_redis::{RedisOptions, RedisStore};

use crate::accounts::TOKEN;
use crate::process::{free_port, signal};

/// A server with its data in a directory; stopped by its own id.
pub struct RedisServer {
    directory: TempDir,
    port: u16,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one, without data.
    #[must_use]
    pub fn start() -> RedisServer {
        let mut server =
            RedisServer { directory: TempDir::new().unwrap(), port: free_port(), child: None };
        server.go_on();
        server
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again, with the data that it had.
    pub fn go_on(&mut self) {
        let child = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "yes",
                "--port",
                &self.port.to_string(),
            ])
            .arg("--dir")
            .arg(self.directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server 7: apt-get install redis-server");
        self.child = Some(child);
        let end = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Keeps its connections open, and answers nothing until [`wake`](Self::wake).
    pub fn hang(&self) {
        self.tell(Signal::STOP);
    }

    /// Answers again, what was asked meanwhile first.
    pub fn wake(&self) {
        self.tell(Signal::CONT);
    }

    fn tell(&self, how: Signal) {
        if let Some(child) = &self.child {
            signal(child.id(), how);
        }
    }

    /// Stops it.
    pub fn stop(&mut self) {
        // One that hangs would not see that it is to end.
        self.wake();
        if let Some(mut child) = self.child.take() {
            signal(child.id(), Signal::TERM);
            child.wait().unwrap();
        }
    }

    /// Its store, with the account `acme`, 1,000 in its wallet, and its token [`TOKEN`] of the scope `all`.
    #[must_use]
    pub fn accounts(&self) -> RedisStore {
        let store = RedisStore::new(&RedisOptions::new(&self.url())).unwrap();
        let policy = PolicyConfig::from_json("{}").unwrap().compile().unwrap();
        let token = TokenText::parse(TokenFormat::Opaque, TOKEN).unwrap();
        let digest = Engine::new(policy).digest(&token);
        let (id, now_ms) = (AccountId::new("acme").unwrap(), 1_700_000_000_000);
        let admin = Admin::new(&store);
        admin.put_account(&id, Amount(1000), AccountPatch::default(), now_ms).unwrap();
        let settings = TokenPatch { scopes: Some(["all".into()].into()), ..TokenPatch::default() };
        admin.put_token(&digest, &id, settings, now_ms).unwrap();
        store
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}
