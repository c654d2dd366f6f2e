//! The three-way merge.

use evenkeel_proto::merge::{Clash, Fields, Merged, changed_fields, merge as three_way, reapply};
use serde_json::Value;

use crate::bytes::Bytes;

/// Symmetric in its two sides; nothing is invented, nothing that one side alone changed is lost; a
/// clash names what clashes and nothing else.
///
/// Three sides, each of a byte (whether it is there, and how many fields) and two per field.
pub fn merge(data: &[u8]) {
    let mut bytes = Bytes(data);
    let [base, ours, theirs] = std::array::from_fn(|_| side(&mut bytes));
    let (base, ours, theirs) = (base.as_ref(), ours.as_ref(), theirs.as_ref());
    let result = three_way(base, ours, theirs);
    let mirrored = match three_way(base, theirs, ours) {
        Err(Clash::DeleteAgainstEdit) => Err(Clash::EditAgainstDelete),
        Err(Clash::EditAgainstDelete) => Err(Clash::DeleteAgainstEdit),
        other => other,
    };
    assert_eq!(result, mirrored);
    let nothing = Fields::new();
    let base = base.unwrap_or(&nothing);
    match (result, ours, theirs) {
        (Ok(Merged::Record(merged)), Some(ours), Some(theirs)) => {
            let names = [base, ours, theirs, &merged]
                .into_iter()
                .flat_map(Fields::keys);
            for name in names {
                let [b, o, t, m] = [base, ours, theirs, &merged].map(|side| side.get(name));
                let expected = if o == b { t } else { o };
                assert_eq!(m, expected, "{name}");
                assert!(o == b || t == b || o == t, "{name} clashed");
            }
            assert_eq!(reapply(base, ours, theirs), merged);
        }
        (Ok(Merged::Record(merged)), ours, theirs) => {
            assert_eq!(Some(&merged), ours.or(theirs));
        }
        (Ok(Merged::Deleted), ours, theirs) => assert!(ours.is_none() || theirs.is_none()),
        (Err(Clash::Fields(names)), Some(ours), Some(theirs)) => {
            assert!(names.is_sorted() && !names.is_empty());
            let [changed_here, changed_there] =
                [ours, theirs].map(|side| changed_fields(base, side));
            for name in changed_here {
                let both = changed_there.contains(&name) && ours.get(&name) != theirs.get(&name);
                assert_eq!(names.contains(&name), both, "{name}");
            }
        }
        (Err(Clash::DeleteAgainstEdit), ours, _) => assert!(ours.is_none()),
        (Err(Clash::EditAgainstDelete), _, theirs) => assert!(theirs.is_none()),
        (Err(Clash::Fields(_)), ..) => panic!("fields of what is not there"),
    }
}

fn side(bytes: &mut Bytes<'_>) -> Option<Fields> {
    let head = bytes.u8();
    let mut fields = Fields::new();
    for _ in 0..head % 6 {
        let name = ["a", "b", "c", "", "tags", "\u{e9}"][usize::from(bytes.u8() % 6)];
        let value = match bytes.u8() % 6 {
            0 => Value::Null,
            1 => Value::from(0),
            2 => Value::from(0.0),
            3 => Value::from("x"),
            4 => Value::Array(vec![Value::Null]),
            _ => Value::Object(fields.clone()),
        };
        fields.insert(name.into(), value);
    }
    (head & 0x80 == 0).then_some(fields)
}
