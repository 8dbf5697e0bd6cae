//! The channel's certificate authorities and the server's leaf: made here, and read back.
//!
//! An authority's certificate is a function of its key and its dates, so that a leaf can be
//! issued from the key file alone.

use std::time::Duration;

use handover_model::{Digest, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::der::{DecodePem as _, Encode as _};
use zeroize::Zeroizing;

use crate::StartError;

/// How long an authority lives.
const CA_LIFE: Duration = Duration::from_hours(10 * 365 * 24);
/// How long a leaf lives.
const LEAF_LIFE: Duration = Duration::from_hours(30 * 24);
/// How far back a certificate's life begins, for hosts whose clocks are behind.
const LEEWAY: Duration = Duration::from_hours(24);

/// One of the channel's certificate authorities.
pub(crate) struct Authority {
    /// The certificate, PEM.
    pub(crate) pem: String,
    /// SHA-256 of the certificate's DER: what tokens pin.
    pub(crate) pin: Digest,
    /// When its life begins.
    pub(crate) not_before: Timestamp,
    /// When it ends.
    pub(crate) not_after: Timestamp,
    key: KeyPair,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({}, [secret])", self.pin)
    }
}

/// Why a stored authority can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    /// The certificate.
    #[error("the certificate does not parse")]
    Certificate,
    /// The key.
    #[error("the key does not parse")]
    Key,
    /// Both parse, but are not of each other.
    #[error("the certificate is of another key")]
    Pair,
}

impl Authority {
    /// Makes one.
    pub(crate) fn make(now: Timestamp) -> Result<Self, StartError> {
        let key = KeyPair::generate().map_err(crypto("make the channel CA's key"))?;
        let mut params = params_of(&key);
        params.not_before = date(before(now, LEEWAY));
        params.not_after = date(now.after(CA_LIFE));
        let certificate = params.self_signed(&key).map_err(crypto("make the channel CA"))?;
        Ok(Self {
            pem: certificate.pem(),
            pin: Digest::of(certificate.der()),
            not_before: before(now, LEEWAY),
            not_after: now.after(CA_LIFE),
            key,
        })
    }

    /// Reads one from its two files.
    pub(crate) fn read(pem: &str, key: &str) -> Result<Self, AuthorityError> {
        let parsed =
            x509_cert::Certificate::from_pem(pem).map_err(|_source| AuthorityError::Certificate)?;
        let key = KeyPair::from_pem(key).map_err(|_source| AuthorityError::Key)?;
        let tbs = &parsed.tbs_certificate;
        let public = tbs.subject_public_key_info.subject_public_key.as_bytes();
        if public != Some(key.public_key_raw()) {
            return Err(AuthorityError::Pair);
        }
        let der = parsed.to_der().map_err(|_source| AuthorityError::Certificate)?;
        let at = |time: x509_cert::time::Time| {
            Timestamp::from_micros(
                i64::try_from(time.to_unix_duration().as_micros()).unwrap_or(i64::MAX),
            )
        };
        Ok(Self {
            pem: pem.to_owned(),
            pin: Digest::of(&der),
            not_before: at(tbs.validity.not_before),
            not_after: at(tbs.validity.not_after),
            key,
        })
    }

    /// The private half, PEM.
    pub(crate) fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    /// Issues a leaf with a fresh key for `names`.
    pub(crate) fn issue(&self, names: &[String], now: Timestamp) -> Result<Leaf, StartError> {
        let key = KeyPair::generate().map_err(crypto("make the server's key"))?;
        let mut params = CertificateParams::new(names)
            .map_err(|_source| StartError::Name { name: names.join(", ") })?;
        let not_after = std::cmp::min(now.after(LEAF_LIFE), self.not_after);
        params.not_before = date(before(now, LEEWAY));
        params.not_after = date(not_after);
        params.distinguished_name = name("Handover control plane");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::new(params_of(&self.key), &self.key);
        let certificate =
            params.signed_by(&key, &issuer).map_err(crypto("issue the server's certificate"))?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signer = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&private)
            .map_err(crypto("use the server's key"))?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        Ok(Leaf {
            certified: CertifiedKey::new(chain, signer),
            issued: now,
            not_after,
            issuer: self.pin,
        })
    }
}

/// The server's certificate, in memory alone: every start makes a new one.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// For the TLS stack.
    pub(crate) certified: CertifiedKey,
    /// When it was issued.
    pub(crate) issued: Timestamp,
    /// When it ends.
    pub(crate) not_after: Timestamp,
    /// The pin of the authority that issued it.
    pub(crate) issuer: Digest,
}

fn params_of(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id = Digest::of(key.public_key_raw()).short();
    params.distinguished_name = name(&format!("Handover channel CA {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

fn before(at: Timestamp, length: Duration) -> Timestamp {
    let micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.as_micros().saturating_sub(micros))
}

fn date(at: Timestamp) -> time::OffsetDateTime {
    // Certificates carry whole seconds.
    time::OffsetDateTime::from_unix_timestamp(at.as_micros().div_euclid(1_000_000))
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

fn crypto<E: std::error::Error + Send + Sync + 'static>(
    act: &'static str,
) -> impl Fn(E) -> StartError {
    move |source| StartError::Crypto { act, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000)
    }

    #[test]
    fn an_authority_reads_back_from_its_files_and_from_no_others() {
        let (one, other) = (Authority::make(now()).unwrap(), Authority::make(now()).unwrap());
        let back = Authority::read(&one.pem, &one.key_pem()).unwrap();
        assert_eq!((back.pin, back.not_after), (one.pin, one.not_after));
        assert!(matches!(Authority::read(&one.pem, &other.key_pem()), Err(AuthorityError::Pair)));
        assert!(matches!(Authority::read("", &one.key_pem()), Err(AuthorityError::Certificate)));
        assert!(matches!(Authority::read(&one.pem, ""), Err(AuthorityError::Key)));
    }
}
