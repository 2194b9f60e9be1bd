//! Certificates of files, for the engines that are asked over a network.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::quote::{shell_word, shown};
use crate::store::error::{Code, Error, Result};

/// The certificates of a file.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(file, &error));
    match found {
        // With no certificate at all, each of the server would be told to be a wrong one.
        Ok(found) if found.is_empty() => Err(unusable(file, &"no certificate is in it")),
        found => found,
    }
}

/// Trusts the certificates of a file.
pub(crate) fn add_roots(roots: &mut RootCertStore, file: &Path) -> Result<()> {
    certificates(file)?
        .into_iter()
        .try_for_each(|certificate| roots.add(certificate).map_err(|error| unusable(file, &error)))
}

/// Trusts the authorities of this system.
pub(crate) fn add_system_roots(roots: &mut RootCertStore) {
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
}

/// What proves who this side is.
pub(crate) fn own_certificate(
    certificate: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = certificates(certificate)?;
    check_private(key)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    Ok((chain, secret))
}

/// As libpq does: whoever else can read the key can log in.
fn check_private(key: &Path) -> Result<()> {
    let metadata = key.metadata().map_err(|error| unusable(key, &error))?;
    let forbidden = if metadata.uid() == 0 { 0o027 } else { 0o077 };
    if metadata.mode() & forbidden == 0 {
        return Ok(());
    }
    Err(unusable(key, &"others may read it").hint(format!("chmod 600 {}", shell_word(key))))
}

/// The error for a file of a certificate or a key.
pub(crate) fn unusable(file: &Path, error: &dyn std::fmt::Display) -> Error {
    let error = Error::new(Code::Unavailable, format!("{} cannot be used for TLS: {error}", shown(file)))
        .hint("certificates and keys stand in files in PEM; a key has no passphrase and belongs to its certificate");
    Error { retry: false, ..error }
}
