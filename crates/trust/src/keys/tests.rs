use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(Zeroizing::new([seed; 32])).unwrap()
}

fn sealed(phrase: &[u8]) -> Zeroizing<String> {
    key(7).to_pem(Protection::Passphrase { phrase, salt: &[1; 16], iv: &[2; 16] }).unwrap()
}

#[test]
fn a_key_file_opens_to_the_same_key() {
    let plain = key(7).to_pem(Protection::FileMode).unwrap();
    assert_eq!(SigningKey::from_pem(&plain, None).unwrap().public(), key(7).public());
    let opened = SigningKey::from_pem(&sealed(b"horse"), Some(b"horse")).unwrap();
    assert_eq!(opened.public(), key(7).public());
}

#[test]
fn an_encrypted_file_opens_with_its_own_passphrase_alone() {
    let text = sealed(b"horse");
    assert!(matches!(SigningKey::from_pem(&text, None), Err(KeyError::NeedsPassphrase)));
    assert!(matches!(SigningKey::from_pem(&text, Some(b"cow")), Err(KeyError::Passphrase)));
    assert!(matches!(SigningKey::from_pem("junk", None), Err(KeyError::Parse)));
}

#[test]
fn a_key_of_another_algorithm_is_named_so() {
    let x25519 = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VuBCIEICh8cQI4zv+8ymPYN358KifOPpWfy2H2KWhmkeCIWxtI\n\
        -----END PRIVATE KEY-----\n";
    assert!(matches!(SigningKey::from_pem(x25519, None), Err(KeyError::Algorithm)));
}

#[test]
fn signatures_verify_with_their_key_and_bytes_alone() {
    let signature = key(1).sign(b"bytes");
    assert!(key(1).public().has_signed(b"bytes", &signature));
    assert!(!key(2).public().has_signed(b"bytes", &signature));
    assert!(!key(1).public().has_signed(b"other", &signature));
    assert!(!key(1).public().has_signed(b"bytes", "zz"));
}

#[test]
fn a_secret_never_prints() {
    let text = format!("{:?}", key(9));
    assert!(text.contains("[secret]") && !text.contains(&hex::encode([9; 32])), "{text}");
}

#[test]
fn the_public_key_is_that_of_rfc_8032() {
    // RFC 8032, section 7.1, test 1.
    let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let seed: [u8; 32] = seed.unwrap().try_into().unwrap();
    let key = SigningKey::from_seed(Zeroizing::new(seed)).unwrap();
    assert_eq!(
        key.public().keyval.public,
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    );
}
