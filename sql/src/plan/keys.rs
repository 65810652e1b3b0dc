//! Which selected column is which key column of the result.
//!
//! Every key column must be selected exactly once (`reference/ksqldb.md` 1.5); for the key of a join
//! several columns stand, and the first of them that is selected is it.

use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::Expr;
use crate::plan::flow::KeyColumn;
use crate::plan::project::Item;
use crate::plan::universe::Universe;

/// How the key columns came about: for the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyReason {
    Source,
    Join,
    Grouping,
    Partitioning,
}

/// A key column of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyItem {
    /// Which of the key columns before the projection.
    pub key: usize,
    /// The selected item that it is; `None` when rows go to a client, who sees values only.
    pub item: Option<usize>,
}

/// Whether the n-th item is in the key, so not in the value.
pub(super) fn is_key_item(keys: &[KeyItem], n: usize) -> bool {
    keys.iter().any(|k| k.item == Some(n))
}

/// For each key column the item that selects it.
pub(super) fn find_in_projection(
    keys: &[KeyColumn],
    items: &[Item],
    reason: KeyReason,
    universe: &Universe,
) -> Result<Vec<KeyItem>> {
    let find =
        |(key, column)| Ok(KeyItem { key, item: Some(find_one(column, items, reason, universe)?) });
    keys.iter().enumerate().map(find).collect()
}

/// ksqlDB's "new planner": the key columns that are selected, in the order of the SELECT list.
pub(super) fn as_selected(keys: &[KeyColumn], items: &[Item]) -> Vec<KeyItem> {
    let key_of = |(n, item): (usize, &Item)| {
        let key = keys.iter().position(|k| k.viable.contains(&item.expr))?;
        Some(KeyItem { key, item: Some(n) })
    };
    items.iter().enumerate().filter_map(key_of).collect()
}

fn find_one(
    key: &KeyColumn,
    items: &[Item],
    reason: KeyReason,
    universe: &Universe,
) -> Result<usize> {
    let selected = |viable: &Expr| -> Vec<usize> {
        items.iter().enumerate().filter(|(_, i)| i.expr == *viable).map(|(n, _)| n).collect()
    };
    let Some(found) = key.viable.iter().map(selected).find(|found| !found.is_empty()) else {
        return Err(missing(key, items, reason, universe));
    };
    match found.as_slice() {
        [one] => Ok(*one),
        several => {
            let names: Vec<&str> = several.iter().map(|n| items[*n].name.as_str()).collect();
            Err(SqlError::new(
                ErrorKind::KeyRepeatedInProjection,
                format!("a key column is selected more than once, as {}", names.join(" and ")),
                "Keep one; AS_VALUE(column) copies a key into the value.",
            )
            .at(several.last().and_then(|n| items[*n].span)))
        }
    }
}

fn missing(key: &KeyColumn, items: &[Item], reason: KeyReason, universe: &Universe) -> SqlError {
    let names: Vec<String> = key.viable.iter().map(|e| universe.text(e)).collect();
    let what = match reason {
        KeyReason::Source => "the key column",
        KeyReason::Join => "the join expression",
        KeyReason::Grouping => "the grouping expression",
        KeyReason::Partitioning => "the partitioning expression",
    };
    let all = names.join(" or ");
    SqlError::new(
        ErrorKind::KeyMissingInProjection,
        format!("{what} {all} is the key of the result, but is not selected"),
        format!("Add {} to the SELECT list.", names.first().map_or("it", String::as_str)),
    )
    .at(items.first().and_then(|i| i.span))
}
