//! TLS by rustls. Certificates are read again when their files change.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::options::TlsFiles;

/// A certificate that can be replaced between two connections.
pub(crate) struct Tls {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
}

impl Tls {
    /// # Errors
    /// Files that cannot be read, or do not belong together.
    pub(crate) fn open(files: &TlsFiles) -> Result<Self, String> {
        let config = read(files)?;
        Ok(Tls { files: files.clone(), config: ArcSwap::from_pointee(config) })
    }

    /// Reads the files again; what cannot be used changes nothing.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub(crate) fn reload(&self) -> Result<(), String> {
        self.config.store(Arc::new(read(&self.files)?));
        Ok(())
    }

    pub(crate) fn files(&self) -> &TlsFiles {
        &self.files
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

fn read(files: &TlsFiles) -> Result<ServerConfig, String> {
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("{}: {error}", files.certificate.display()))?;
    if certificates.is_empty() {
        return Err(format!("{}: no certificate in PEM", files.certificate.display()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| format!("{}: {error}", files.key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = config.with_no_client_auth().with_single_cert(certificates, key);
    let mut config = config.map_err(|error| {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        format!("{certificate} and {key} do not belong together: {error}")
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
