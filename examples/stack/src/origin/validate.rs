//! What the origin accepts in a write.

use evenkeel_proto::wire::{Op, Operation, REQUEST_ID_CHARS, Record};
use serde_json::Value;

use crate::answer::Refusal;

pub(super) fn operations(operations: &[Operation], most: u64) -> Result<(), Refusal> {
    if operations.is_empty() || operations.len() as u64 > most {
        return Err(refused(format!("a batch holds 1 to {most} operations")));
    }
    for (index, operation) in operations.iter().enumerate() {
        operation_is_sound(operation)
            .map_err(|why| refused(format!("operations[{index}]: {why}")))?;
    }
    Ok(())
}

fn operation_is_sound(operation: &Operation) -> Result<(), String> {
    let chars = operation.request_id.chars().count();
    if !REQUEST_ID_CHARS.contains(&chars) {
        return Err("requestId has 8 to 128 characters".to_owned());
    }
    if !matches!(operation.op, Op::Upsert | Op::Delete) {
        return Err("op is upsert or delete".to_owned());
    }
    id_is_sound(&operation.note_id)?;
    match &operation.note {
        Some(note) if note.id != operation.note_id => {
            Err("note.id and noteId are not the same".to_owned())
        }
        Some(note) => note_is_sound(note),
        None => Ok(()),
    }
}

pub(super) fn note(note: &Record) -> Result<(), Refusal> {
    note_is_sound(note).map_err(refused)
}

fn note_is_sound(note: &Record) -> Result<(), String> {
    id_is_sound(&note.id)?;
    text(note, "content", CONTENT_CHARS_MAX)?;
    text(note, "title", TITLE_CHARS_MAX)?;
    one_of(note, "type", &["NOTE", "TASK", "IDEA"])?;
    one_of(note, "priority", &["urgent", "normal", "low"])?;
    one_of(note, "analysisState", &["pending", "complete", "failed"])?;
    text(note, "contentHash", HASH_CHARS_MAX)?;
    for name in ["isProcessed", "isCompleted", "isArchived", "isPinned"] {
        is(note, name, "true or false", Value::is_boolean)?;
    }
    is(
        note,
        "dueDate",
        "a time in Unix milliseconds",
        Value::is_i64,
    )?;
    is(note, "analysisVersion", "a whole number", Value::is_i64)?;
    let Some(tags) = note.fields.get("tags").filter(|tags| !tags.is_null()) else {
        return Ok(());
    };
    let short = |tag: &Value| {
        tag.as_str()
            .is_some_and(|t| t.chars().count() <= TAG_CHARS_MAX)
    };
    match tags.as_array() {
        Some(tags) if tags.len() <= TAGS_MAX && tags.iter().all(short) => Ok(()),
        _ => Err(format!(
            "tags are at most {TAGS_MAX} of {TAG_CHARS_MAX} characters"
        )),
    }
}

fn id_is_sound(id: &str) -> Result<(), String> {
    match id.chars().count() {
        1..=ID_CHARS_MAX => Ok(()),
        _ => Err(format!("an id has 1 to {ID_CHARS_MAX} characters")),
    }
}

fn text(note: &Record, name: &str, chars_max: usize) -> Result<(), String> {
    match note.fields.get(name) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(text)) if text.chars().count() <= chars_max => Ok(()),
        Some(_) => Err(format!(
            "{name} is a text of at most {chars_max} characters"
        )),
    }
}

fn one_of(note: &Record, name: &str, words: &[&str]) -> Result<(), String> {
    match note.fields.get(name) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(word)) if words.contains(&word.as_str()) => Ok(()),
        Some(_) => Err(format!("{name} is one of {}", words.join(", "))),
    }
}

fn is(note: &Record, name: &str, what: &str, sound: impl Fn(&Value) -> bool) -> Result<(), String> {
    match note.fields.get(name) {
        Some(value) if !value.is_null() && !sound(value) => Err(format!("{name} is {what}")),
        _ => Ok(()),
    }
}

fn refused(why: String) -> Refusal {
    Refusal::bad_request(why)
}

const ID_CHARS_MAX: usize = 128;
const CONTENT_CHARS_MAX: usize = 100_000;
const TITLE_CHARS_MAX: usize = 512;
const HASH_CHARS_MAX: usize = 256;
const TAGS_MAX: usize = 20;
const TAG_CHARS_MAX: usize = 64;
