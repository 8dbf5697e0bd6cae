//! Ed25519 keys (RFC 8032).

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use sigstore_tuf::Key;

/// Whether `signature` (hexadecimal) is `key`'s over `bytes`. Only Ed25519 keys speak here.
pub(crate) fn is_signed(key: &Key, bytes: &[u8], signature: &str) -> bool {
    let (Ok(public), Ok(raw)) = (hex::decode(&key.keyval.public), hex::decode(signature)) else {
        return false;
    };
    key.scheme == "ed25519" && UnparsedPublicKey::new(&ED25519, public).verify(bytes, &raw).is_ok()
}
