//! Whole numbers that arrive as numbers or as strings, and what they count.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = deserializer.deserialize_any(Whole(PhantomData))?;
                if i64::try_from(number).is_err() {
                    return Err(de::Error::custom("a number that no database counts to"));
                }
                Ok(Self(number))
            }
        }
    };
}

number! {
    /// A position in the server's log of changes. Sent as a number, read as a number or a string, up to
    /// `i64::MAX`: nothing can come after more than a store can hold.
    Cursor(u64)
}

number! {
    /// Which writing of a record this is; the server counts up from 1, and 0 is "not there yet".
    /// Sent as a number, read as a number or a string, up to `i64::MAX`.
    Version(u64)
}

number! {
    /// Milliseconds since 1970 on the clock of whoever wrote them: that clock may be wrong.
    UnixMillis(i64)
}

impl Cursor {
    /// Before the first change.
    pub const ZERO: Self = Self(0);
}

impl Version {
    /// The version of a record that the server does not have yet.
    pub const ZERO: Self = Self(0);
}

/// Reads a whole number of `T`'s range from whatever form it came in.
struct Whole<T>(PhantomData<T>);

impl<T: TryFrom<u64> + TryFrom<i64> + FromStr> de::Visitor<'_> for Whole<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number in range, as a number or a string")
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<T, E> {
        T::try_from(n).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(n), &self))
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<T, E> {
        T::try_from(n).map_err(|_| E::invalid_value(de::Unexpected::Signed(n), &self))
    }

    fn visit_f64<E: de::Error>(self, n: f64) -> Result<T, E> {
        // A JavaScript server may print 1e3; beyond 2^53 a float no longer names one number.
        let exact = n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0;
        exact
            .then_some(n as i64)
            .and_then(|n| T::try_from(n).ok())
            .ok_or_else(|| E::invalid_value(de::Unexpected::Float(n), &self))
    }

    fn visit_str<E: de::Error>(self, s: &str) -> Result<T, E> {
        s.trim()
            .parse()
            .map_err(|_| E::invalid_value(de::Unexpected::Str(s), &self))
    }
}
