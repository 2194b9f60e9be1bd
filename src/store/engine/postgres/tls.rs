//! TLS as `sslmode` means it (<https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>).

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::quote::shown;
use crate::store::error::{Code, Error, Result};
use crate::store::open::postgres::{PostgresPlace, SslMode, SslRoot};

/// How the servers of a place are spoken to.
pub(super) fn connector(place: &PostgresPlace) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Code::Internal, format!("TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::of(place, provider)?));
    let own = (place.get("sslcert"), place.get("sslkey"));
    let config = match own {
        (Some(certificate), Some(key)) => {
            let (certificate, key) = (Path::new(certificate), Path::new(key));
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
            config.with_client_auth_cert(chain, secret).map_err(|error| unusable(key, &error))?
        }
        _ => config.with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|error| unusable(file, &error))
}

fn unusable(file: &Path, error: &dyn std::fmt::Display) -> Error {
    let error = Error::new(Code::Unavailable, format!("{} cannot be used for TLS: {error}", shown(file)));
    Error { retry: false, ..error }
}

/// What of a certificate is checked.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// Checks who signed it, and for which name; none = nothing is checked.
    authority: Option<Arc<WebPkiServerVerifier>>,
    checks_name: bool,
}

impl Verifier {
    fn of(place: &PostgresPlace, provider: Arc<CryptoProvider>) -> Result<Verifier> {
        let root = place.ssl_root();
        let checks_authority = match place.ssl_mode() {
            SslMode::VerifyCa | SslMode::VerifyFull => true,
            // As libpq does, for who has put a root certificate in its place.
            SslMode::Require => root.is_some(),
            SslMode::Disable | SslMode::Allow | SslMode::Prefer => false,
        };
        let authority = match (checks_authority, root) {
            (false, _) => None,
            (true, None) => {
                let message = "sslmode asks for a check of the certificate, and no root certificate is there";
                let error = Error::new(Code::Unavailable, message).hint(
                    "name it with sslrootcert=FILE, put it into ~/.postgresql/root.crt, or trust the authorities of this \
                     system with sslrootcert=system",
                );
                return Err(Error { retry: false, ..error });
            }
            (true, Some(root)) => {
                let roots = Arc::new(roots(&root)?);
                let built = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
                Some(built.map_err(|error| {
                    let error =
                        Error::new(Code::Unavailable, format!("no root certificate can be used: {error}"));
                    Error { retry: false, ..error }
                })?)
            }
        };
        // The authorities of a system sign for anybody, so libpq allows them for verify-full alone.
        let checks_name =
            place.ssl_mode() == SslMode::VerifyFull || place.ssl_root() == Some(SslRoot::System);
        Ok(Verifier { provider, authority, checks_name })
    }
}

fn roots(root: &SslRoot) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match root {
        SslRoot::System => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        SslRoot::File(file) => {
            for certificate in certificates(file)? {
                store.add(certificate).map_err(|error| unusable(file, &error))?;
            }
        }
    }
    Ok(store)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
