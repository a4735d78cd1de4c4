//! TLS to an Engine: both sides show certificates.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::DockerError;

/// Reads `ca.pem`, and `cert.pem` with `key.pem` when they are there, from a folder such as `DOCKER_CERT_PATH` names.
///
/// Only that authority is trusted: whoever can speak for an Engine has its machine, so the authorities that browsers
/// trust have no say here.
pub(crate) fn client_config(folder: &Path) -> Result<ClientConfig, DockerError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&folder.join("ca.pem"))? {
        roots.add(certificate).map_err(|error| bad(&folder.join("ca.pem"), error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(folder, error))?
        .with_root_certificates(roots);
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    if !certificate.exists() && !key.exists() {
        return Ok(config.with_no_client_auth());
    }
    let private = PrivateKeyDer::from_pem_slice(&read(&key)?).map_err(|error| bad(&key, error))?;
    config.with_client_auth_cert(certificates(&certificate)?, private).map_err(|error| bad(&key, error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, DockerError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let certificates = read.map_err(|error| bad(path, error))?;
    if certificates.is_empty() { Err(bad(path, "it holds no certificate")) } else { Ok(certificates) }
}

fn read(path: &Path) -> Result<Vec<u8>, DockerError> {
    fs::read(path).map_err(|error| bad(path, error))
}

fn bad(path: &Path, reason: impl ToString) -> DockerError {
    DockerError::BadCertificate { path: path.to_owned(), reason: reason.to_string() }
}
