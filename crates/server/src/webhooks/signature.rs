//! `Handover-Signature: t=<unix seconds>,v1=<hex>`: HMAC-SHA256 over `<t>.<body>`, keyed with the
//! secret's text as it is shown (docs/webhooks.md).

use std::time::Duration;

use aws_lc_rs::hmac;
use handover_model::Timestamp;

/// The header's name.
pub(crate) const HEADER: &str = "handover-signature";
/// How far a signature's time may be from ours.
const TOLERANCE: Duration = Duration::from_mins(5);
const SECOND: i64 = 1_000_000;

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it is not t=<unix seconds>,v1=<hex>")]
    Unreadable,
    #[error("it was made with another secret, or of another body")]
    Wrong,
    #[error("its time is more than five minutes from this server's: set the clock, sign again")]
    Untimely,
}

/// Signs a body at a time; the header's value.
pub(crate) fn sign(secret: &str, body: &[u8], at: Timestamp) -> String {
    let seconds = at.as_micros().div_euclid(SECOND);
    format!("t={seconds},v1={}", hex::encode(mac(secret, seconds, body)))
}

/// Checks a signature at a time, and returns the time that was signed.
///
/// Several `v1` may stand in it, of which one has to fit; parts of other names are passed over.
///
/// # Errors
/// [`Refused`].
pub(crate) fn verify(
    secret: &str,
    header: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<Timestamp, Refused> {
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let mut times = parts().filter(|(name, _)| *name == "t");
    let (Some((_, seconds)), None) = (times.next(), times.next()) else {
        return Err(Refused::Unreadable);
    };
    let is_plain = seconds.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = seconds.parse().ok().filter(|_| is_plain).ok_or(Refused::Unreadable)?;
    let at = seconds.checked_mul(SECOND).map(Timestamp::from_micros);
    let at = at.ok_or(Refused::Unreadable)?;
    let mut given = parts().filter(|(name, _)| *name == "v1").peekable();
    if given.peek().is_none() {
        return Err(Refused::Unreadable);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signed = signed(seconds, body);
    let fits =
        |text: &str| hex::decode(text).is_ok_and(|tag| hmac::verify(&key, &signed, &tag).is_ok());
    if !given.take(8).any(|(_, text)| fits(text)) {
        return Err(Refused::Wrong);
    }
    if at.after(TOLERANCE) < now || now.after(TOLERANCE) < at {
        return Err(Refused::Untimely);
    }
    Ok(at)
}

fn mac(secret: &str, seconds: i64, body: &[u8]) -> impl AsRef<[u8]> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::sign(&key, &signed(seconds, body))
}

fn signed(seconds: i64, body: &[u8]) -> Vec<u8> {
    let mut signed = seconds.to_string().into_bytes();
    signed.push(b'.');
    signed.extend_from_slice(body);
    signed
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"verdict":"pass"}"#;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * SECOND)
    }

    fn checked(header: &str, now: i64) -> Result<Timestamp, Refused> {
        verify("hws1_secret", header, BODY, at(now))
    }

    #[test]
    fn a_signature_is_the_one_that_openssl_makes() {
        // printf '%s' '1700000000.{"verdict":"pass"}' | openssl dgst -sha256 -hmac hws1_secret
        let made = "59d96b9aa27ca9bea37afecf3d2b8f189ce66a364f46980f2dc21757d46b1c2b";
        assert_eq!(sign("hws1_secret", BODY, at(1_700_000_000)), format!("t=1700000000,v1={made}"));
    }

    #[test]
    fn what_was_signed_is_taken_within_five_minutes() {
        let header = sign("hws1_secret", BODY, at(1000));
        assert_eq!(checked(&header, 1000), Ok(at(1000)));
        assert_eq!(checked(&header, 1300), Ok(at(1000)));
        assert_eq!(checked(&header, 700), Ok(at(1000)));
        assert_eq!(checked(&header, 1301), Err(Refused::Untimely));
        assert_eq!(checked(&header, 699), Err(Refused::Untimely));
        assert_eq!(checked(&format!("v0=x, {header}, v1=00"), 1000), Ok(at(1000)));
    }

    #[test]
    fn a_signature_of_another_secret_body_or_time_is_wrong() {
        let forged = sign("hws1_other", BODY, at(1000));
        assert_eq!(checked(&forged, 1000), Err(Refused::Wrong));
        let other = sign("hws1_secret", b"{}", at(1000));
        assert_eq!(checked(&other, 1000), Err(Refused::Wrong));
        let moved = sign("hws1_secret", BODY, at(1000)).replace("t=1000", "t=1001");
        assert_eq!(checked(&moved, 1000), Err(Refused::Wrong));
        assert_eq!(checked("t=1000,v1=", 1000), Err(Refused::Wrong));
    }

    #[test]
    fn a_header_of_another_form_is_told_apart() {
        let twice = "t=1000,t=1000,v1=00";
        for bad in ["", "t=1000", "v1=00", "t=,v1=00", "t=+1000,v1=00", "t=1e3,v1=00", twice] {
            assert_eq!(checked(bad, 1000), Err(Refused::Unreadable), "{bad:?}");
        }
        assert_eq!(checked("t=9223372036854775807,v1=00", 1000), Err(Refused::Unreadable));
    }
}
