//! How a key is put away: AES-256-GCM under one secret, bound to the place that it is kept at.

use aes_gcm::aead::{Aead, Generate, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use evenkeel_proto::wire::Secret;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::hex::{hex, unhex};

/// Seals and opens under one secret.
pub(super) struct Seal(Aes256Gcm);

impl Seal {
    /// `None` only where the cipher refuses its key, which is always of the right length.
    pub(super) fn of(secret: &Secret) -> Option<Self> {
        let mut key = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.expose().as_bytes()).ok()?;
        // So that the same secret used for something else is another key there.
        key.update(PURPOSE);
        let key = key.finalize().into_bytes();
        Some(Self(Aes256Gcm::new_from_slice(&key).ok()?))
    }

    /// `place` is where it will be kept: moved to another place, it cannot be opened.
    pub(super) fn close(&self, place: &str, key: &Secret) -> Option<String> {
        let nonce = Nonce::try_generate().ok()?;
        let payload = Payload {
            msg: key.expose().as_bytes(),
            aad: place.as_bytes(),
        };
        let sealed = self.0.encrypt(&nonce, payload).ok()?;
        Some(format!("{}.{}", hex(&nonce), hex(&sealed)))
    }

    /// `None` for what was sealed under another secret, at another place, or has been changed.
    pub(super) fn open(&self, place: &str, sealed: &str) -> Option<Secret> {
        let (nonce, sealed) = sealed.split_once('.')?;
        let nonce = Nonce::try_from(unhex(nonce)?.as_slice()).ok()?;
        let payload = Payload {
            msg: &unhex(sealed)?,
            aad: place.as_bytes(),
        };
        let key = self.0.decrypt(&nonce, payload).ok()?;
        String::from_utf8(key).ok().map(Secret::new)
    }
}

const PURPOSE: &[u8] = b"evenkeel-stack: keys of AI sessions";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_at_the_same_place_opens_it() {
        let key = Secret::new("sk-7");
        let seal = Seal::of(&Secret::new("one")).unwrap();
        let sealed = seal.close("account:ann", &key).unwrap();
        assert_eq!(seal.open("account:ann", &sealed), Some(key.clone()));
        assert_eq!(seal.open("account:bob", &sealed), None);
        let other = Seal::of(&Secret::new("two")).unwrap();
        assert_eq!(other.open("account:ann", &sealed), None);
        let again = seal.close("account:ann", &key).unwrap();
        assert_ne!(again, sealed, "no nonce comes twice");
        let mut changed = sealed.clone();
        let last = changed.pop().unwrap();
        changed.push(if last == '0' { '1' } else { '0' });
        assert_eq!(seal.open("account:ann", &changed), None);
        for broken in ["", ".", "00.00", "zz.zz"] {
            assert_eq!(seal.open("account:ann", broken), None);
        }
    }
}
