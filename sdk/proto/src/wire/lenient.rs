//! How single fields are read when a strange value must not spoil the rest of the answer.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// `null` is the default, as an absent field is.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A text; anything else is none.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

/// A finite number, plain or in a string; anything else is none.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let number = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    Ok(number.filter(|n| n.is_finite()))
}

/// A boolean; anything else is none.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_bool())
}

/// An optional [`number`], written without a fraction where it has none.
pub(super) mod hint {
    use serde::Serializer;

    pub(in crate::wire) use super::number as deserialize;

    #[expect(clippy::ref_option, reason = "serde passes a reference")]
    pub(in crate::wire) fn serialize<S: Serializer>(
        hint: &Option<f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match *hint {
            Some(n) if n.fract() == 0.0 && n.abs() < 9e15 => serializer.serialize_i64(n as i64),
            Some(n) => serializer.serialize_f64(n),
            None => serializer.serialize_none(),
        }
    }
}
