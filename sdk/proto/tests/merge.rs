//! What holds for every merge, whatever the records are.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

use std::collections::BTreeSet;

use evenkeel_proto::merge::{Clash, Fields, Merged, changed_fields, merge};
use proptest::prelude::*;
use serde_json::Value;

/// Few names and values, so that sides meet often.
fn fields() -> impl Strategy<Value = Fields> {
    let name = prop::sample::select(vec!["a", "b", "c", "d", "e"]);
    let value = prop_oneof![
        (0..3_i64).prop_map(Value::from),
        Just(Value::Null),
        Just(Value::from("text")),
    ];
    prop::collection::vec((name, value), 0..5)
        .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

fn side() -> impl Strategy<Value = Option<Fields>> {
    prop_oneof![1 => Just(None), 5 => fields().prop_map(Some)]
}

/// What one side of a clash calls it, seen from the other side.
fn seen_from_there(outcome: Result<Merged, Clash>) -> Result<Merged, Clash> {
    outcome.map_err(|clash| match clash {
        Clash::Fields(names) => Clash::Fields(names),
        Clash::DeleteAgainstEdit => Clash::EditAgainstDelete,
        Clash::EditAgainstDelete => Clash::DeleteAgainstEdit,
    })
}

fn changes(base: Option<&Fields>, now: &Fields) -> BTreeSet<String> {
    let nothing = Fields::new();
    let changed = changed_fields(base.unwrap_or(&nothing), now);
    changed.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_sides_come_to_the_same_outcome(base in side(), ours in side(), theirs in side()) {
        let here = merge(base.as_ref(), ours.as_ref(), theirs.as_ref());
        let there = merge(base.as_ref(), theirs.as_ref(), ours.as_ref());
        prop_assert_eq!(here, seen_from_there(there));
    }

    #[test]
    fn a_side_without_changes_gives_way_to_the_other(base in side(), other in side()) {
        let expected = other.clone().map_or(Merged::Deleted, Merged::Record);
        let outcome = merge(base.as_ref(), base.as_ref(), other.as_ref());
        prop_assert_eq!(outcome, Ok(expected));
    }

    #[test]
    fn disjoint_changes_always_merge(base in fields(), other in fields(), by_us in any::<u8>()) {
        // Each field is changed by one of the two at most: a bit of `by_us` says by whom.
        let ours_to_change = |name: &str| by_us >> (name.as_bytes()[0] - b'a') & 1 == 1;
        let side = |we: bool| -> Fields {
            let kept = base.iter().filter(|(name, _)| ours_to_change(name) != we);
            let new = other.iter().filter(|(name, _)| ours_to_change(name) == we);
            kept.chain(new).map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        let (ours, theirs) = (side(true), side(false));
        let base = Some(&base);
        let (we, they) = (changes(base, &ours), changes(base, &theirs));
        prop_assert!(we.is_disjoint(&they));
        let Ok(Merged::Record(result)) = merge(base, Some(&ours), Some(&theirs)) else {
            return Err(TestCaseError::fail("disjoint changes clashed"));
        };
        for name in &we {
            prop_assert_eq!(result.get(name), ours.get(name));
        }
        for name in &they {
            prop_assert_eq!(result.get(name), theirs.get(name));
        }
    }

    #[test]
    fn every_field_of_a_merge_is_a_field_of_a_side(base in side(), ours in fields(), theirs in fields()) {
        if let Ok(Merged::Record(result)) = merge(base.as_ref(), Some(&ours), Some(&theirs)) {
            for (name, value) in &result {
                let known = ours.get(name) == Some(value) || theirs.get(name) == Some(value);
                prop_assert!(known, "{} = {} is an invention", name, value);
            }
        }
    }

    #[test]
    fn a_clash_names_exactly_the_fields_that_both_changed_apart(
        base in side(),
        ours in fields(),
        theirs in fields(),
    ) {
        let (we, they) = (changes(base.as_ref(), &ours), changes(base.as_ref(), &theirs));
        let apart = we.intersection(&they).filter(|name| ours.get(*name) != theirs.get(*name));
        let apart: Vec<_> = apart.cloned().collect();
        match merge(base.as_ref(), Some(&ours), Some(&theirs)) {
            Ok(_) => prop_assert!(apart.is_empty(), "{:?} were merged", apart),
            Err(clash) => prop_assert_eq!(clash, Clash::Fields(apart)),
        }
    }
}
