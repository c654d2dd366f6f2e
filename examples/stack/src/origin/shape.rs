//! How numbers are written: some builds write cursors and versions as strings.

use std::sync::atomic::Ordering;

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::Origin;
use crate::answer::{self, Refusal};
use crate::settings::CursorForm;

impl Origin {
    /// An answer with its numbers in the form that the settings ask for.
    pub(super) fn shaped<T: Serialize>(&self, body: &T) -> Result<Response, Refusal> {
        if !self.strings_next() {
            return Ok(answer::json(StatusCode::OK, body));
        }
        let mut value = to_value(body)?;
        stringify(&mut value, false);
        Ok(answer::json(StatusCode::OK, &value))
    }

    /// The same for the data of one event.
    pub(super) fn shaped_data<T: Serialize>(&self, data: &T) -> String {
        let value = to_value(data).map(|mut value| {
            if self.strings_next() {
                stringify(&mut value, false);
            }
            value.to_string()
        });
        value.unwrap_or_else(|_| "{}".to_owned())
    }

    fn strings_next(&self) -> bool {
        match self.settings.cursor_as {
            CursorForm::Number => false,
            CursorForm::String => true,
            CursorForm::Mixed => !self
                .counters
                .shaped
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(2),
        }
    }
}

fn to_value<T: Serialize>(body: &T) -> Result<Value, Refusal> {
    serde_json::to_value(body).map_err(|error| Refusal::internal(error.to_string()))
}

/// Only the service's own numbers: what an app calls `cursor` in its records stays as it is.
fn stringify(value: &mut Value, in_note: bool) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|v| stringify(v, in_note)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.as_str();
                let ours = name == "version" || !in_note && CURSORS.contains(&name);
                if ours && value.is_number() {
                    *value = Value::String(value.to_string());
                } else if !in_note {
                    stringify(value, NOTES.contains(&name));
                }
            }
        }
        _ => {}
    }
}

const NOTES: [&str; 3] = ["note", "notes", "serverNote"];
const CURSORS: [&str; 6] = [
    "cursor",
    "nextCursor",
    "latestCursor",
    "oldestAvailableCursor",
    "baseVersion",
    "currentVersion",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_services_numbers_become_strings() {
        let mut page = json!({
            "changes": [{"cursor": 3, "note": {"id": "a", "version": 2, "cursor": 9,
                "deep": {"version": 1}, "createdAt": 5}}],
            "nextCursor": 3
        });
        stringify(&mut page, false);
        let expected = json!({
            "changes": [{"cursor": "3", "note": {"id": "a", "version": "2", "cursor": 9,
                "deep": {"version": 1}, "createdAt": 5}}],
            "nextCursor": "3"
        });
        assert_eq!(page, expected);
    }
}
