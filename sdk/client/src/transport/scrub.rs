//! Takes the secret that was sent out of an answer that says it back.
//!
//! Before anything is read from the answer: a message that was cut to its length could end in the
//! middle of the secret, and would not be recognised any more.

use std::borrow::Cow;

use evenkeel_proto::wire::Secret;

/// The bytes with `***` wherever the secret stood: as it is, as in a URL, and as some write it in JSON.
pub(super) fn without<'b>(secret: &Secret, bytes: &'b [u8]) -> Cow<'b, [u8]> {
    let plain = secret.expose();
    let in_url: String = url::form_urlencoded::byte_serialize(plain.as_bytes()).collect();
    let in_json = plain.replace('/', "\\/");
    let mut bytes = Cow::Borrowed(bytes);
    for form in [plain, &in_url, &in_json] {
        if let Some(clean) = replaced(&bytes, form.as_bytes()) {
            bytes = Cow::Owned(clean);
        }
    }
    bytes
}

/// `None` if the form is not there.
fn replaced(bytes: &[u8], form: &[u8]) -> Option<Vec<u8>> {
    if form.is_empty() {
        return None;
    }
    let find = |bytes: &[u8]| bytes.windows(form.len()).position(|window| window == form);
    let mut rest = bytes;
    let mut clean = Vec::new();
    while let Some(at) = find(rest) {
        clean.extend_from_slice(&rest[..at]);
        clean.extend_from_slice(b"***");
        rest = &rest[at + form.len()..];
    }
    if clean.is_empty() {
        return None;
    }
    clean.extend_from_slice(rest);
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_out_in_every_form() {
        let secret = Secret::new("a/b+c=");
        let clean = |text: &str| {
            let clean = without(&secret, text.as_bytes()).into_owned();
            String::from_utf8(clean).unwrap()
        };
        assert_eq!(clean("a/b+c= and a/b+c="), "*** and ***");
        assert_eq!(clean("GET /x?ticket=a%2Fb%2Bc%3D"), "GET /x?ticket=***");
        assert_eq!(clean("{\"m\":\"a\\/b+c=\"}"), "{\"m\":\"***\"}");
        assert_eq!(clean("a/b"), "a/b");
        assert_eq!(&*without(&Secret::new(""), b"x"), b"x");
    }
}
