//! Cookies under TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tollgate_serve::TlsFiles;

use crate::browser::{self, Answer};
use crate::site::{OPERATOR, Site};

#[test]
fn under_tls_the_cookie_is_bound_to_the_host() {
    let directory = std::env::temp_dir().join(format!("tollgate-page-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let site = Site::with("", Some(TlsFiles { certificate: certificate.clone(), key }));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| -> Answer {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
        let stream = TcpStream::connect(site.admin).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, stream);
        stream
            .write_all(&browser::request("localhost", method, path, headers, body.as_bytes()))
            .unwrap();
        let mut bytes = Vec::new();
        // A server may close without a last word; what came is looked at.
        let _ = stream.read_to_end(&mut bytes);
        browser::answer(&bytes)
    };
    let headers =
        [("origin", "https://localhost"), ("content-type", "application/x-www-form-urlencoded")];
    let answer = ask("POST", "/settings/login", &headers, &format!("token={OPERATOR}"));
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    assert!(cookie.starts_with("__Host-tollgate_session="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(ask("GET", "/settings/accounts", &[("cookie", pair)], "").status, 200);
    let plain = pair.trim_start_matches("__Host-");
    assert_eq!(ask("GET", "/settings/accounts", &[("cookie", plain)], "").status, 303);
    std::fs::remove_dir_all(&directory).unwrap();
}
