//! Three-way merge of a record's fields: what two sides made of the same base.
//!
//! A field is taken as a whole, an absent one is a value like any other, and only the app's own fields
//! take part: version and times are the service's business. Pure, and symmetric in the two sides.

use serde_json::{Map, Value};

/// The app's fields of a record.
pub type Fields = Map<String, Value>;

/// What came of a merge that nobody has to decide.
#[derive(Clone, Debug, PartialEq)]
pub enum Merged {
    /// The record with the changes of both sides.
    Record(Fields),
    /// The record is gone: one side deleted it, and the other left it alone or deleted it too.
    Deleted,
}

/// Both sides changed the same thing in different ways; somebody has to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// Both sides gave these fields different values (or one removed what the other changed). Sorted,
    /// never empty.
    Fields(Vec<String>),
    /// We deleted what they changed.
    DeleteAgainstEdit,
    /// We changed what they deleted.
    EditAgainstDelete,
}

/// Merges two sides that began with the same base. `None` stands for a record that is not there: in
/// `base` it was new to both sides (or deleted before), in a side it was deleted.
///
/// ```
/// use evenkeel_proto::merge::{Clash, Merged, merge};
/// use serde_json::{Value, json};
///
/// let fields = |value: Value| value.as_object().cloned();
/// let base = fields(json!({"content": "milk", "done": false}));
/// let ours = fields(json!({"content": "milk, eggs", "done": false}));
/// let theirs = fields(json!({"content": "milk", "done": true}));
/// let both = fields(json!({"content": "milk, eggs", "done": true})).unwrap();
/// assert_eq!(merge(base.as_ref(), ours.as_ref(), theirs.as_ref()), Ok(Merged::Record(both)));
/// assert_eq!(merge(base.as_ref(), None, theirs.as_ref()), Err(Clash::DeleteAgainstEdit));
/// ```
///
/// # Errors
///
/// A [`Clash`] where both sides changed the same thing in different ways.
pub fn merge(
    base: Option<&Fields>,
    ours: Option<&Fields>,
    theirs: Option<&Fields>,
) -> Result<Merged, Clash> {
    if ours == base || ours == theirs {
        return Ok(whole(theirs));
    }
    if theirs == base {
        return Ok(whole(ours));
    }
    let (ours, theirs) = match (ours, theirs) {
        (Some(ours), Some(theirs)) => (ours, theirs),
        (None, _) => return Err(Clash::DeleteAgainstEdit),
        (_, None) => return Err(Clash::EditAgainstDelete),
    };
    let nothing = Fields::new();
    let base = base.unwrap_or(&nothing);
    let mut clashing: Vec<_> = changed_fields(base, ours)
        .into_iter()
        .filter(|name| {
            let theirs = theirs.get(name);
            theirs != base.get(name) && theirs != ours.get(name)
        })
        .collect();
    if clashing.is_empty() {
        return Ok(Merged::Record(reapply(base, ours, theirs)));
    }
    clashing.sort_unstable();
    Err(Clash::Fields(clashing))
}

/// The fields that differ between the two, those that only one of them has included; in the order of
/// `now`, removed ones last.
#[must_use]
pub fn changed_fields(base: &Fields, now: &Fields) -> Vec<String> {
    let changed = now
        .iter()
        .filter(|(name, value)| base.get(*name) != Some(*value))
        .map(|(name, _)| name);
    let removed = base.keys().filter(|name| !now.contains_key(*name));
    changed.chain(removed).cloned().collect()
}

/// Does to `theirs` what turned `base` into `ours`; where both changed a field, ours wins.
#[must_use]
pub fn reapply(base: &Fields, ours: &Fields, theirs: &Fields) -> Fields {
    let mut result = theirs.clone();
    for name in changed_fields(base, ours) {
        match ours.get(&name) {
            Some(value) => drop(result.insert(name, value.clone())),
            None => drop(result.shift_remove(&name)),
        }
    }
    result
}

fn whole(side: Option<&Fields>) -> Merged {
    side.map_or(Merged::Deleted, |fields| Merged::Record(fields.clone()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is a test's verdict")]

    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    fn merged(base: Value, ours: Value, theirs: Value) -> Result<Merged, Clash> {
        let side = |value: Value| value.as_object().cloned();
        merge(
            side(base).as_ref(),
            side(ours).as_ref(),
            side(theirs).as_ref(),
        )
    }

    fn record(value: Value) -> Result<Merged, Clash> {
        Ok(Merged::Record(fields(value)))
    }

    #[test]
    fn changes_to_different_fields_are_both_kept() {
        let base = json!({"a": 1, "b": 1, "c": 1});
        let both = merged(
            base,
            json!({"a": 2, "b": 1}),
            json!({"a": 1, "b": 3, "c": 1, "d": 4}),
        );
        assert_eq!(both, record(json!({"a": 2, "b": 3, "d": 4})));
    }

    #[test]
    fn the_same_change_on_both_sides_is_no_clash() {
        let base = json!({"a": 1, "b": 1});
        let both = merged(
            base,
            json!({"a": 2, "b": 1, "c": 3}),
            json!({"a": 2, "c": 3}),
        );
        assert_eq!(both, record(json!({"a": 2, "c": 3})));
    }

    #[test]
    fn clashing_fields_are_named_in_order() {
        let base = json!({"z": 1, "a": 1, "m": 1});
        let ours = json!({"z": 2, "a": 2, "m": 2});
        let clash = merged(base, ours, json!({"z": 3, "m": 1}));
        assert_eq!(clash, Err(Clash::Fields(vec!["a".into(), "z".into()])));
    }

    #[test]
    fn null_and_absent_are_different_values() {
        let clash = merged(json!({"due": 1}), json!({"due": null}), json!({}));
        assert_eq!(clash, Err(Clash::Fields(vec!["due".into()])));
    }

    #[test]
    fn two_new_records_of_one_id_clash_only_where_they_differ() {
        let both = merged(Value::Null, json!({"a": 1}), json!({"b": 2}));
        assert_eq!(both, record(json!({"a": 1, "b": 2})));
        let clash = merged(Value::Null, json!({"a": 1}), json!({"a": 2}));
        assert_eq!(clash, Err(Clash::Fields(vec!["a".into()])));
    }

    #[test]
    fn a_deletion_wins_over_no_change_and_over_another_deletion() {
        let base = json!({"a": 1});
        for (ours, theirs) in [
            (Value::Null, base.clone()),
            (base.clone(), Value::Null),
            (Value::Null, Value::Null),
        ] {
            assert_eq!(merged(base.clone(), ours, theirs), Ok(Merged::Deleted));
        }
    }

    #[test]
    fn a_deletion_against_an_edit_says_whose_is_whose() {
        let (base, edited) = (json!({"a": 1}), json!({"a": 2}));
        let ours = merged(base.clone(), Value::Null, edited.clone());
        assert_eq!(ours, Err(Clash::DeleteAgainstEdit));
        let theirs = merged(base, edited, Value::Null);
        assert_eq!(theirs, Err(Clash::EditAgainstDelete));
    }

    #[test]
    fn reapplied_changes_win_and_leave_the_rest_alone() {
        let base = fields(json!({"a": 1, "b": 1, "c": 1}));
        let ours = fields(json!({"a": 2, "c": 1}));
        let theirs = fields(json!({"a": 3, "b": 1, "c": 4, "d": 5}));
        let result = reapply(&base, &ours, &theirs);
        assert_eq!(result, fields(json!({"a": 2, "c": 4, "d": 5})));
    }
}
