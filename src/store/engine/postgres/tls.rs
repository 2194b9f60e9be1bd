//! TLS as `sslmode` means it (<https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>).

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::engine::tls;
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
            let key = Path::new(key);
            let (chain, secret) = tls::own_certificate(Path::new(certificate), key)?;
            config.with_client_auth_cert(chain, secret).map_err(|error| tls::unusable(key, &error))?
        }
        _ => config.with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

/// What of a certificate is checked.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// Checks who signed it, and for which name; none = nothing is checked.
    authority: Option<Arc<WebPkiServerVerifier>>,
    /// The certificates of the file that is trusted: one of them may be that of the server itself.
    trusted: Vec<CertificateDer<'static>>,
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
        let trusted = match &root {
            Some(SslRoot::File(file)) if checks_authority => tls::certificates(file)?,
            _ => Vec::new(),
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
        let checks_name = place.ssl_mode() == SslMode::VerifyFull;
        Ok(Verifier { provider, authority, trusted, checks_name })
    }
}

fn roots(root: &SslRoot) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match root {
        SslRoot::System => tls::add_system_roots(&mut store),
        SslRoot::File(file) => tls::add_roots(&mut store, file)?,
    }
    Ok(store)
}

/// Where nothing of a certificate is checked, its signature of the handshake is not either: anybody could have made both, and
/// webpki does not read a certificate of version 1, as the documentation of PostgreSQL makes it.
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
            // A certificate that signed itself is refused as that of a server, but it is the very one that is trusted. It is
            // valid now: that is looked at before.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(error)))
                if error.0.to_string() == "CaUsedAsEndEntity" && self.trusted.contains(end_entity) =>
            {
                if self.checks_name {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        if self.authority.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        if self.authority.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
