//! The server's certificate and whoever vouches for it.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate authority and what a server needs of it.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    /// The authority's own certificate, as clients get it in `ca.crt`.
    pub(super) pem: String,
    /// For the server.
    pub(super) config: Arc<ServerConfig>,
}

impl Authority {
    /// A new authority that vouches for a server at these addresses, in these years.
    pub(super) fn new(addresses: &[IpAddr], years: Range<i32>) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "kubernetes");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?).context("make an authority")?;
        let names = addresses.iter().map(IpAddr::to_string).chain(["kubernetes.default.svc".to_owned()]);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.use_authority_key_identifier_extension = true;
        params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        let certificate = params.signed_by(&key, &issuer).context("make a certificate")?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], key)
            .context("use the certificate")?;
        Ok(Self { pem: issuer.pem(), config: Arc::new(config) })
    }
}
