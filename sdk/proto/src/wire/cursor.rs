//! A position in the server's change log; arrives as a number or as a string.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// A position in the server's log of changes. Sent as a number, read as a number or a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Cursor(pub u64);

impl Cursor {
    /// Before the first change.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Cursor;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of at least 0, as a number or a string")
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Cursor, E> {
                Ok(Cursor(n))
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Cursor, E> {
                u64::try_from(n)
                    .map(Cursor)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(n), &self))
            }

            fn visit_f64<E: de::Error>(self, n: f64) -> Result<Cursor, E> {
                // A JavaScript server may print 1e3; beyond 2^53 a float no longer names one change.
                if n >= 0.0 && n.fract() == 0.0 && n <= 9_007_199_254_740_992.0 {
                    Ok(Cursor(n as u64))
                } else {
                    Err(E::invalid_value(de::Unexpected::Float(n), &self))
                }
            }

            fn visit_str<E: de::Error>(self, s: &str) -> Result<Cursor, E> {
                s.trim()
                    .parse()
                    .map(Cursor)
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(s), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
