//! An Engine at the other end of a TLS connection.

use std::{fs, path::Path, sync::Arc};

use claw_docker::{Docker, DockerError};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::lab::{answer, head};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/certificates");

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(Path::new(FOLDER).join(name)).expect("a certificate")
}

/// A server that wants a certificate of its own authority, as `dockerd --tlsverify` does.
async fn engine() -> (String, JoinHandle<()>) {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")).expect("an authority");
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::from_pem_file(Path::new(FOLDER).join("server-key.pem")).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients.build().expect("a verifier"))
        .with_single_cert(vec![certificate("server.pem")], key)
        .expect("a certificate with its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a caller");
            // Some callers are not let in.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let request = head(&mut stream).await;
            assert!(request.contains(&format!("\r\nhost: localhost:{port}\r\n")), "{request}");
            answer(&mut stream, "200 OK", br#"[{"Id":"sha256:aa","RepoTags":["a:1"]}]"#)
                .await
                .expect("answered");
        }
    });
    (format!("tcp://localhost:{port}"), task)
}

/// A folder as `DOCKER_CERT_PATH` names it.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (from, to) in files {
        fs::copy(Path::new(FOLDER).join(from), folder.path().join(to)).expect("copied");
    }
    folder
}

const WHOLE: &[(&str, &str)] =
    &[("ca.pem", "ca.pem"), ("client.pem", "cert.pem"), ("client-key.pem", "key.pem")];

#[tokio::test]
async fn an_engine_is_spoken_to_over_tls_with_a_certificate() {
    let (address, engine) = engine().await;
    let certificates = folder(WHOLE);

    for address in [address.clone(), address.replace("tcp://", "https://")] {
        let docker = Docker::connect_with(Some(&address), Some(certificates.path())).expect("usable");
        assert_eq!(docker.images().await.expect("listed")[0].tags, ["a:1"]);
        assert_eq!(docker.endpoint(), address);
    }
    engine.abort();
}

#[tokio::test]
async fn whoever_cannot_show_a_certificate_or_is_somebody_else_is_not_spoken_to() {
    let (address, engine) = engine().await;
    let nameless = folder(&WHOLE[..1]);
    // An authority that has not signed the Engine's certificate: the client's own certificate is none.
    let stranger = folder(&[("client.pem", "ca.pem"), WHOLE[1], WHOLE[2]]);

    let refused = Docker::connect_with(Some(&address), Some(nameless.path())).expect("usable");
    assert!(refused.images().await.expect_err("no certificate").is_unavailable());
    let unknown = Docker::connect_with(Some(&address), Some(stranger.path())).expect("usable");
    let error = unknown.images().await.expect_err("an unknown authority");
    assert!(error.is_unavailable() && error.to_string().contains("certificate"), "{error}");
    engine.abort();
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[], "ca.pem"),
        (&[("client-key.pem", "ca.pem")], "ca.pem"),
        (&[WHOLE[0], WHOLE[1]], "key.pem"),
        (&[WHOLE[0], WHOLE[1], ("server-key.pem", "key.pem")], "key.pem"),
    ];
    for (files, named) in cases {
        let folder = folder(files);

        let error =
            Docker::connect_with(Some("tcp://localhost:2376"), Some(folder.path())).expect_err("unusable");

        assert!(
            matches!(&error, DockerError::BadCertificate { path, .. } if path.ends_with(named)),
            "{error}"
        );
    }
    let unix = Docker::connect_with(Some("unix:///var/run/docker.sock"), Some(Path::new("/nowhere")));
    assert!(unix.is_ok(), "a socket needs no certificates");
}
