//! From when until when a certificate is valid.
//!
//! Read by hand: the two dates are all that is wanted, and a verifier tells them only after they have
//! passed, in a sentence.

use serde::Serialize;

/// Both ends, in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Validity {
    pub(crate) not_before_ms: i64,
    pub(crate) not_after_ms: i64,
}

impl Validity {
    /// `None` for what is no X.509 certificate.
    pub(crate) fn of(certificate: &[u8]) -> Option<Self> {
        let mut outer = Der(certificate);
        let mut certificate = Der(outer.expect(SEQUENCE)?);
        let mut body = Der(certificate.expect(SEQUENCE)?);
        if body.0.first() == Some(&VERSION) {
            body.expect(VERSION)?;
        }
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            // Serial number, algorithm, issuer.
            body.expect(tag)?;
        }
        let mut validity = Der(body.expect(SEQUENCE)?);
        Some(Self {
            not_before_ms: validity.time()?,
            not_after_ms: validity.time()?,
        })
    }
}

/// What is left of an encoding.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first & 0x80 != 0 {
            let bytes = usize::from(first & 0x7f);
            if bytes > 4 {
                return None;
            }
            let (digits, after) = rest.split_at_checked(bytes)?;
            length = digits.iter().fold(0, |n, &b| n << 8 | usize::from(b));
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: i64 = year.parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = text.split_at_checked(4)?;
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        if rest.len() != 10 {
            return None;
        }
        let part = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
        let days = days_since_1970(year, part(0)?, part(2)?)?;
        Some((((days * 24 + part(4)?) * 60 + part(6)?) * 60 + part(8)?) * 1_000)
    }
}

/// Of a day in the Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March, so that the day that leap years add is the last one.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468)
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

#[cfg(test)]
mod tests {
    use super::*;

    fn made(from: (i32, u8, u8), to: (i32, u8, u8)) -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn both_dates_are_read_in_both_forms() {
        let der = made((2024, 2, 29), (2061, 1, 1));
        let validity = Validity::of(&der).unwrap();
        assert_eq!(validity.not_before_ms, 1_709_164_800_000);
        assert_eq!(validity.not_after_ms, 2_871_763_200_000);
        let der = made((1969, 12, 31), (1999, 12, 31));
        let validity = Validity::of(&der).unwrap();
        assert_eq!(validity.not_before_ms, -86_400_000);
        assert_eq!(validity.not_after_ms, 946_598_400_000);
    }

    #[test]
    fn what_is_cut_or_bent_is_no_certificate_and_no_panic() {
        let der = made((2024, 2, 29), (2061, 1, 1));
        for end in 0..der.len() {
            let _ = Validity::of(&der[..end]);
        }
        for at in 0..der.len().min(300) {
            for bits in [0x01, 0x80, 0xff] {
                let mut bent = der.clone();
                bent[at] ^= bits;
                let _ = Validity::of(&bent);
            }
        }
        assert_eq!(Validity::of(b"hello"), None);
    }
}
