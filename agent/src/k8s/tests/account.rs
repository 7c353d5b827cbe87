//! Token and CA: shown, refused, rotated.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::server::{Answer, Asked, Server, node, standing};
use super::*;

/// A new CA: its certificate in PEM, and a server that shows one of its certificates.
fn authority(name: &str) -> (String, ServerConfig) {
    authority_until(name, 2100)
}

/// The same; the server's certificate is valid until that year.
fn authority_until(name: &str, year: i32) -> (String, ServerConfig) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.distinguished_name.push(DnType::CommonName, name);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let mut server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    server.not_after = rcgen::date_time_ymd(year, 1, 1);
    let server = server.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    (pem, config.with_single_cert(vec![server.der().clone()], key).unwrap())
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(format!(".{name}")), text).unwrap();
    fs::rename(dir.join(format!(".{name}")), dir.join(name)).unwrap();
}

/// Lists for whoever shows that token.
fn guarded(token: &'static str) -> impl FnMut(&Asked) -> Option<Answer> {
    let mut standing = standing("NodeList", &[node(1, 1), node(2, 1)]);
    move |asked| {
        if asked.token == format!("Bearer {token}") {
            standing(asked)
        } else {
            Some(Answer::refusal(401, "Unauthorized"))
        }
    }
}

#[test]
fn a_new_token_is_used_at_once() {
    run(async {
        let (server, account) = (Server::start().await, tempfile::tempdir().unwrap());
        let (ca, config) = authority("ca");
        server.encrypt(config);
        server.on(NODES, guarded("new"));
        write(account.path(), "ca.crt", &ca);
        write(account.path(), "token", "old\n");
        let watching = watch_as_n1(&server, Some(account.path()));
        until("the token is refused", || watching.view.status().problem.is_some()).await;
        let problem = watching.view.problems().join(" ");
        assert!(problem.contains("token (401): Unauthorized"), "{problem}");
        write(account.path(), "token", "new\n");
        let since = Instant::now();
        until_peers(&watching, &["n2"]).await;
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
        until("everything is followed", || watching.view.status().connected).await;
    });
}

#[test]
fn a_new_authority_is_trusted_when_the_account_says_so() {
    run(async {
        let (server, account) = (Server::start().await, tempfile::tempdir().unwrap());
        let (first, second) = (authority("first"), authority("second"));
        server.encrypt(second.1);
        server.on(NODES, guarded("t"));
        write(account.path(), "token", "t");
        let watching = watch_as_n1(&server, Some(account.path()));
        let problem = || watching.view.status().problem.unwrap_or_default();
        until("there is no CA", || problem().contains("ca.crt")).await;
        assert!(problem().contains("service-account"), "{}", problem());
        write(account.path(), "ca.crt", "nothing of use");
        until("it is of no use", || problem().contains("holds no CA certificate")).await;
        write(account.path(), "ca.crt", &first.0);
        until("it is another's", || problem().contains("certificate: UnknownIssuer")).await;
        assert!(server.asked(NODES).is_empty(), "no token was shown to a stranger");
        write(account.path(), "ca.crt", &second.0);
        until_peers(&watching, &["n2"]).await;
    });
}

#[test]
fn a_certificate_of_another_time_is_the_clocks() {
    run(async {
        let (server, account) = (Server::start().await, tempfile::tempdir().unwrap());
        let (ca, config) = authority_until("ca", 2001);
        server.encrypt(config);
        write(account.path(), "ca.crt", &ca);
        write(account.path(), "token", "t");
        let watching = watch_as_n1(&server, Some(account.path()));
        until("it is told", || watching.view.status().problem.is_some()).await;
        let problem = watching.view.problems().join(" ");
        assert!(problem.contains("compare this node's clock") && problem.contains("expired"), "{problem}");
    });
}
