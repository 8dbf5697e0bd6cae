//! The channel's CA: fetched from whoever answers, believed only where a token's pins name it.
//!
//! Invariant: nothing but certificates whose digests are pinned comes out of that exchange, and no
//! secret goes into it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use handover_model::Digest;
use handover_model::wire::ChannelCa;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// The most certificates that are looked at.
const MOST: usize = 4;

/// The certificates among `offered` that `pins` name, as they came (PEM).
pub(crate) fn pinned(offered: &ChannelCa, pins: &[Digest]) -> Vec<String> {
    let is_pinned = |pem: &&String| der(pem).is_some_and(|der| pins.contains(&Digest::of(&der)));
    offered.certificates.iter().take(MOST).filter(is_pinned).cloned().collect()
}

/// The one certificate in a PEM text (RFC 7468).
pub(crate) fn der(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once(BEGIN)?;
    let (body, after) = rest.split_once(END)?;
    if after.contains(BEGIN) {
        return None;
    }
    let body: String = body.split_ascii_whitespace().collect();
    BASE64.decode(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(der: &[u8]) -> String {
        format!("{BEGIN}\n{}\n{END}\n", BASE64.encode(der))
    }

    #[test]
    fn only_pinned_certificates_come_through() {
        let offered = ChannelCa {
            type_: ChannelCa::TYPE.to_owned(),
            number: 1,
            certificates: vec![pem(b"evil"), pem(b"ours"), "garbage".to_owned()],
        };
        assert_eq!(pinned(&offered, &[Digest::of(b"ours")]), vec![pem(b"ours")]);
        assert!(pinned(&offered, &[]).is_empty());
    }

    #[test]
    fn a_second_certificate_cannot_ride_behind_a_pinned_one() {
        let two = format!("{}{}", pem(b"ours"), pem(b"evil"));
        assert_eq!(der(&two), None);
    }
}
