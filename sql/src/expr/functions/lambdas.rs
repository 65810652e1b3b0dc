//! TRANSFORM, FILTER and REDUCE.
//!
//! A lambda's body runs once over the elements of all rows together (REDUCE: once per position), with
//! the outer columns it uses repeated per element. An element for which the body fails makes the whole
//! call fail for its row.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{interleave, take};

use super::picks::{Picks, encode, list_range, map_entries, map_range};
use super::{Call, Kernel, Library};
use crate::expr::RowErrors;
use crate::expr::eval::{Fail, Input, NodeRef, Run, Value, null_out};

/// A lambda, compiled: its input is the captured slots of the outer input, then its parameters.
#[derive(Debug)]
pub(crate) struct LambdaBody {
    pub captures: Vec<usize>,
    pub body: NodeRef,
}

pub(super) fn add(lib: &mut Library) {
    lib.category("LAMBDA");
    lib.add(
        "TRANSFORM",
        "What a lambda makes of each element, or of each key and value.",
        [
            ("[T], (T)=>R -> [R]", transform_array()),
            ("{K:V}, (K,V)=>R keyLambda, (K,V)=>U valueLambda -> {R:U}", transform_map()),
        ],
    )
    .note("Two entries that get the same key are an error.")
    .arg("collection", "The array or map.")
    .arg("lambda", "Makes the new element of the old one.")
    .arg("keyLambda", "Makes the new key of the old key and value.")
    .arg("valueLambda", "Makes the new value of the old key and value.")
    .example("TRANSFORM(ARRAY[1, 2, 3], x => x * 10)", "ARRAY[10, 20, 30]")
    .example("TRANSFORM(MAP('a' := 1), (k, v) => UCASE(k), (k, v) => v + 1)", "MAP('A' := 2)");
    lib.add(
        "FILTER",
        "The elements or entries for which a lambda is true.",
        [("[T], (T)=>B -> [T]", filter_array()), ("{K:V}, (K,V)=>B -> {K:V}", filter_map())],
    )
    .arg("collection", "The array or map.")
    .arg("lambda", "Says of an element, or of a key and its value, whether it stays.")
    .example("FILTER(ARRAY[1, 2, 3], x => x > 1)", "ARRAY[2, 3]")
    .example("FILTER(MAP('a' := 1, 'b' := 2), (k, v) => v > 1)", "MAP('b' := 2)");
    lib.add(
        "REDUCE",
        "What a lambda makes of a start value and one element after the other.",
        [("[T], R, (R,T)=>R -> R", reduce(false)), ("{K:V}, R, (R,K,V)=>R -> R", reduce(true))],
    )
    .note("A NULL collection gives the first state; a NULL state gives NULL.")
    .arg("collection", "The array or map.")
    .arg("state", "The state to begin with.")
    .arg(
        "lambda",
        "Makes the next state of the state and an element, or of the state, a key and its value.",
    )
    .example("REDUCE(ARRAY[1, 2, 3], 10, (s, x) => s + x)", "16")
    .example("REDUCE(MAP('a' := 1, 'b' := 2), 0, (s, k, v) => s + v)", "3");
}

const DUPLICATE_KEY: Fail = Fail::Borrowed("two entries of the new map have one key");
const NULL_PREDICATE: Fail = Fail::Borrowed("the lambda gave NULL instead of true or false");
const NULL_KEY: Fail = Fail::Borrowed("the lambda gave NULL as a key");

/// The elements of all rows: where they are, and which row each belongs to.
struct Elements {
    places: UInt32Array,
    owners: UInt32Array,
}

impl Elements {
    fn new(rows: usize, range: impl Fn(usize) -> Option<std::ops::Range<usize>>) -> Self {
        let (mut places, mut owners) = (vec![], vec![]);
        for row in 0..rows {
            for i in range(row).into_iter().flatten() {
                places.push(i as u32);
                owners.push(row as u32);
            }
        }
        Self { places: places.into(), owners: owners.into() }
    }

    fn len(&self) -> usize {
        self.places.len()
    }

    fn pick(&self, column: &ArrayRef) -> ArrayRef {
        take(column, &self.places, None).expect("elements are inside their column")
    }
}

/// Runs a body over elements; errors are reported for the rows that own them. The rows that own a
/// failed element are added to `failed`.
fn run_body(
    call: &mut Call<'_, '_>,
    lambda: &LambdaBody,
    params: Vec<ArrayRef>,
    owners: &UInt32Array,
    failed: &mut HashSet<usize>,
) -> ArrayRef {
    let mut columns: Vec<ArrayRef> = lambda
        .captures
        .iter()
        .map(|slot| {
            take(&call.input.columns[*slot], owners, None).expect("owners are rows of the input")
        })
        .collect();
    columns.extend(params);
    let mut errors = RowErrors::default();
    let input = Input { columns: &columns, rows: owners.len() };
    let mut run = Run { ctx: call.run.ctx, errors: &mut errors };
    let Value { array, failed: bad, .. } = lambda.body.eval(&input, &mut run).spread(owners.len());
    for error in errors.0 {
        call.run.fail(owners.value(error.row) as usize, error.message);
    }
    if let Some(bad) = bad {
        failed.extend(bad.set_indices().map(|i| owners.value(i) as usize));
    }
    array
}

fn without(array: ArrayRef, failed: &HashSet<usize>) -> ArrayRef {
    if failed.is_empty() {
        return array;
    }
    let mask = BooleanBuffer::collect_bool(array.len(), |row| failed.contains(&row));
    null_out(array, &mask)
}

/// Splits picks 0, 1, 2, … over rows as `owners` says; rows without a collection are NULL.
fn by_owner(
    rows: usize,
    owners: &UInt32Array,
    present: impl Fn(usize) -> bool,
    keep: impl Fn(usize) -> bool,
) -> Picks {
    let mut picks = Picks::new(rows);
    let mut at = 0;
    for row in 0..rows {
        let mut mine = vec![];
        while at < owners.len() && owners.value(at) as usize == row {
            if keep(at) {
                mine.push((0, at));
            }
            at += 1;
        }
        picks.row(present(row).then_some(mine));
    }
    picks
}

fn transform_array() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let arg = call.args.remove(0);
        let elements = Elements::new(call.rows, |row| list_range(&arg, row));
        let values = elements.pick(arg.array.as_list::<i32>().values());
        let mut failed = HashSet::new();
        let lambda = &call.lambdas[0];
        let made = run_body(call, lambda, vec![values], &elements.owners, &mut failed);
        let picks = by_owner(call.rows, &elements.owners, |row| !arg.is_null(row), |_| true);
        without(picks.list(&[&made], &call.ty.to_arrow()), &failed)
    })
}

fn transform_map() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let arg = call.args.remove(0);
        let elements = Elements::new(call.rows, |row| map_range(&arg, row));
        let map = arg.array.as_map();
        let params = vec![elements.pick(map.keys()), elements.pick(map.values())];
        let mut failed = HashSet::new();
        let lambdas = call.lambdas;
        let keys = run_body(call, &lambdas[0], params.clone(), &elements.owners, &mut failed);
        let values = run_body(call, &lambdas[1], params, &elements.owners, &mut failed);
        let encoded = encode(&[&keys]);
        let mut seen: HashSet<(u32, &[u8])> = HashSet::new();
        let mut fail = |row: usize, message: Fail, call: &mut Call<'_, '_>| {
            if failed.insert(row) {
                call.run.fail(row, message);
            }
        };
        for i in 0..elements.len() {
            let owner = elements.owners.value(i);
            if keys.is_null(i) {
                fail(owner as usize, NULL_KEY, call);
            } else if let Some(encoded) = &encoded
                && !seen.insert((owner, encoded[0].row(i).data()))
            {
                fail(owner as usize, DUPLICATE_KEY, call);
            }
        }
        let present = |row: usize| !arg.is_null(row) && !failed.contains(&row);
        let keep = |i: usize| !failed.contains(&(elements.owners.value(i) as usize));
        let picks = by_owner(call.rows, &elements.owners, present, keep);
        picks.map(&[&keys], &[&values], &call.ty.to_arrow())
    })
}

/// Runs a predicate; gives which elements to keep. NULL fails the row.
fn predicate(
    call: &mut Call<'_, '_>,
    params: Vec<ArrayRef>,
    elements: &Elements,
    failed: &mut HashSet<usize>,
) -> BooleanBuffer {
    let lambda = &call.lambdas[0];
    let answer = run_body(call, lambda, params, &elements.owners, failed);
    let answer = answer.as_boolean();
    let Some(nulls) = answer.nulls() else { return answer.values().clone() };
    for i in (!nulls.inner()).set_indices() {
        let owner = elements.owners.value(i) as usize;
        if failed.insert(owner) {
            call.run.fail(owner, NULL_PREDICATE);
        }
    }
    answer.values() & nulls.inner()
}

fn filter_array() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let arg = call.args.remove(0);
        let elements = Elements::new(call.rows, |row| list_range(&arg, row));
        let values = elements.pick(arg.array.as_list::<i32>().values());
        let mut failed = HashSet::new();
        let kept = predicate(call, vec![values.clone()], &elements, &mut failed);
        let present = |row: usize| !arg.is_null(row) && !failed.contains(&row);
        let picks = by_owner(call.rows, &elements.owners, present, |i| kept.value(i));
        without(picks.list(&[&values], &call.ty.to_arrow()), &failed)
    })
}

fn filter_map() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let arg = call.args.remove(0);
        let elements = Elements::new(call.rows, |row| map_range(&arg, row));
        let map = arg.array.as_map();
        let (keys, values) = (elements.pick(map.keys()), elements.pick(map.values()));
        let mut failed = HashSet::new();
        let params = vec![keys.clone(), values.clone()];
        let kept = predicate(call, params, &elements, &mut failed);
        let present = |row: usize| !arg.is_null(row) && !failed.contains(&row);
        let picks = by_owner(call.rows, &elements.owners, present, |i| kept.value(i));
        without(picks.map(&[&keys], &[&values], &call.ty.to_arrow()), &failed)
    })
}

/// One round per position: in round k the rows with more than k elements go on.
fn reduce(of_map: bool) -> Kernel {
    Box::new(move |call: &mut Call<'_, '_>| {
        let start = call.args.remove(1);
        let arg = call.args.remove(0);
        let places_of = |row| -> Option<Vec<usize>> {
            if of_map { map_entries(&arg, row) } else { Some(list_range(&arg, row)?.collect()) }
        };
        let order: Vec<Vec<usize>> =
            (0..call.rows).map(|row| places_of(row).unwrap_or_default()).collect();
        let mut state = start.clone().into_array(call.rows);
        let mut failed = HashSet::new();
        for k in 0.. {
            let (mut places, mut owners) = (vec![], vec![]);
            for row in 0..call.rows {
                // A NULL state ends it: NULL is the result.
                if start.is_null(row) || failed.contains(&row) {
                    continue;
                }
                if let Some(place) = order[row].get(k) {
                    places.push(*place as u32);
                    owners.push(row as u32);
                }
            }
            if owners.is_empty() {
                break;
            }
            let elements = Elements { places: places.into(), owners: owners.into() };
            let current = take(&state, &elements.owners, None).expect("owners are rows");
            let mut params = vec![current];
            if of_map {
                params.push(elements.pick(arg.array.as_map().keys()));
                params.push(elements.pick(arg.array.as_map().values()));
            } else {
                params.push(elements.pick(arg.array.as_list::<i32>().values()));
            }
            let lambda = &call.lambdas[0];
            let next = run_body(call, lambda, params, &elements.owners, &mut failed);
            let mut picks: Vec<(usize, usize)> = (0..call.rows).map(|row| (0, row)).collect();
            for (i, owner) in elements.owners.values().iter().enumerate() {
                picks[*owner as usize] = (1, i);
            }
            state = interleave(&[state.as_ref(), next.as_ref()], &picks)
                .expect("the lambda keeps the state's type");
        }
        if state.data_type() != &call.ty.to_arrow() {
            return new_null_array(&call.ty.to_arrow(), call.rows);
        }
        without(state, &failed)
    })
}
