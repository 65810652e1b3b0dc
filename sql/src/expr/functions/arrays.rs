//! Arrays.
//!
//! Elements of any type are compared by their row encoding (`arrow::row`), where NULL is a value, and
//! results are gathered from the argument's element columns by index, so no function here knows what
//! it holds.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int32Type};
use arrow::row::Rows;

use super::picks::{Picks, encode, items, list_range};
use super::typed::{B, I, L, List, S, f2, f3, rows, some};
use super::{Call, Kernel, Library};
use crate::expr::eval::{Outcome, cast};
use crate::expr::java;

pub(super) fn add(lib: &mut Library) {
    lib.category("ARRAY");
    lib.add(
        "ARRAY_CONCAT",
        "The elements of the first array, then those of the second.",
        [(
            "[T], [T] -> [T]",
            two_lists(|_, a, b| a.map(|i| (0, i)).chain(b.map(|i| (1, i))).collect()),
        )],
    )
    .note("A NULL array counts as empty; NULL if both are.")
    .arg("first", "An array.")
    .arg("second", "Another one.")
    .example("ARRAY_CONCAT(ARRAY[1, 2], ARRAY[2, 3])", "ARRAY[1, 2, 2, 3]");
    lib.add(
        "ARRAY_CONTAINS",
        "Whether the array has an element equal to the value.",
        [("[T], T -> B", contains())],
    )
    .note("FALSE if the array is NULL.")
    .arg("list", "The array.")
    .arg("value", "What to look for.")
    .example("ARRAY_CONTAINS(ARRAY[1, 2], 2)", "true");
    lib.add("ARRAY_DISTINCT", "The array without repeated elements.", [("[T] -> [T]", distinct())])
        .arg("list", "The array.")
        .example("ARRAY_DISTINCT(ARRAY[3, 1, 3])", "ARRAY[3, 1]");
    lib.add(
        "ARRAY_EXCEPT",
        "The distinct elements of the first array that the second lacks.",
        [(
            "[T], [T] -> [T]",
            set_operation(|keys, a, b| {
                let mut seen: HashSet<&[u8]> = b.map(|i| keys.right.row(i).data()).collect();
                a.filter(|i| seen.insert(keys.left.row(*i).data())).map(|i| (0, i)).collect()
            }),
        )],
    )
    .arg("list", "The array.")
    .arg("unwanted", "The elements to leave out.")
    .example("ARRAY_EXCEPT(ARRAY[1, 2, 3, 1], ARRAY[2])", "ARRAY[1, 3]");
    lib.add(
        "ARRAY_INTERSECT",
        "The distinct elements that both arrays have.",
        [(
            "[T], [T] -> [T]",
            set_operation(|keys, a, b| {
                let mut wanted: HashSet<&[u8]> = b.map(|i| keys.right.row(i).data()).collect();
                a.filter(|i| wanted.remove(keys.left.row(*i).data())).map(|i| (0, i)).collect()
            }),
        )],
    )
    .arg("first", "An array.")
    .arg("second", "Another one.")
    .example("ARRAY_INTERSECT(ARRAY[1, 2, 3], ARRAY[3, 1])", "ARRAY[1, 3]");
    lib.add(
        "ARRAY_UNION",
        "The distinct elements of both arrays.",
        [(
            "[T], [T] -> [T]",
            set_operation(|keys, a, b| {
                let mut seen: HashSet<&[u8]> = HashSet::new();
                let mut picks = vec![];
                picks.extend(a.filter(|i| seen.insert(keys.left.row(*i).data())).map(|i| (0, i)));
                picks.extend(b.filter(|i| seen.insert(keys.right.row(*i).data())).map(|i| (1, i)));
                picks
            }),
        )],
    )
    .arg("first", "An array.")
    .arg("second", "Another one.")
    .example("ARRAY_UNION(ARRAY[1, 2], ARRAY[2, 3])", "ARRAY[1, 2, 3]");
    lib.add(
        "ARRAY_JOIN",
        "The elements as one text, with a delimiter between.",
        [("[T] -> S", join()), ("[T], S -> S", join())],
    )
    .note(
        "A NULL element is written `null`. Elements that are arrays, maps or structs are an error.",
    )
    .arg("list", "The array.")
    .arg("delimiter", "What stands between; a comma unless given, nothing if NULL.")
    .example("ARRAY_JOIN(ARRAY[1, 2, 3], '-')", "'1-2-3'");
    lib.add("ARRAY_LENGTH", "The number of elements.", [("[T] -> I", length())])
        .arg("list", "The array.")
        .example("ARRAY_LENGTH(ARRAY[1, NULL])", "2");
    lib.add("ARRAY_MAX", "The greatest element.", [("[T] -> T", best(true))])
        .note("NULL elements are left out.")
        .arg("list", "The array.")
        .example("ARRAY_MAX(ARRAY[1, NULL, 3])", "3");
    lib.add("ARRAY_MIN", "The least element.", [("[T] -> T", best(false))])
        .note("NULL elements are left out.")
        .arg("list", "The array.")
        .example("ARRAY_MIN(ARRAY[2, NULL, 3])", "2");
    lib.add(
        "ARRAY_REMOVE",
        "The array without the elements equal to a value.",
        [("[T], T -> [T]", remove())],
    )
    .arg("list", "The array.")
    .arg("value", "The element to leave out; NULL removes NULLs.")
    .example("ARRAY_REMOVE(ARRAY[1, 2, 1], 1)", "ARRAY[2]");
    lib.add(
        "ARRAY_SORT",
        "The array sorted, NULLs last; 'DESC' for descending.",
        [("[T] -> [T]", sort()), ("[T], S -> [T]", sort())],
    )
    .note("NULLs come last. NULL for a direction that is none.")
    .arg("list", "The array.")
    .arg("direction", "`ASC` (unless given) or `DESC`.")
    .example("ARRAY_SORT(ARRAY[3, NULL, 1])", "ARRAY[1, 3, NULL]")
    .example("ARRAY_SORT(ARRAY[3, NULL, 1], 'DESC')", "ARRAY[3, 1, NULL]");
    lib.add(
        "SLICE",
        "The elements from one place to another, both included.",
        [("[T], I, I -> [T]", slice())],
    )
    .note("NULL if a position is out of range.")
    .arg("list", "The array.")
    .arg("from", "The first position, counted from 1; NULL means the beginning.")
    .arg("to", "The last position; NULL means the end.")
    .example("SLICE(ARRAY[1, 2, 3, 4], 2, 3)", "ARRAY[2, 3]");
    lib.add(
        "GENERATE_SERIES",
        "The numbers from one to another, by a step.",
        [
            (
                "I!, I! -> [I]",
                f2::<I, I, List<I>>(|a, b| {
                    series(a.into(), b.into(), None)
                        .map(|s| s.map(|s| s.into_iter().map(|v| Some(v as i32)).collect()))
                }),
            ),
            (
                "I!, I!, I! -> [I]",
                f3::<I, I, I, List<I>>(|a, b, step| {
                    series(a.into(), b.into(), Some(step))
                        .map(|s| s.map(|s| s.into_iter().map(|v| Some(v as i32)).collect()))
                }),
            ),
            (
                "L!, L! -> [L]",
                f2::<L, L, List<L>>(|a, b| {
                    series(a, b, None).map(|s| s.map(|s| s.into_iter().map(Some).collect()))
                }),
            ),
            (
                "L!, L!, I! -> [L]",
                f3::<L, L, I, List<L>>(|a, b, step| {
                    series(a, b, Some(step)).map(|s| s.map(|s| s.into_iter().map(Some).collect()))
                }),
            ),
        ],
    )
    .note("A step of 0, or one that leads away from the end, is an error.")
    .arg("from", "The first number.")
    .arg("to", "The last number.")
    .arg("step", "From each number to the next; 1 or -1 unless given.")
    .example("GENERATE_SERIES(1, 4)", "ARRAY[1, 2, 3, 4]")
    .example("GENERATE_SERIES(10, 0, -5)", "ARRAY[10, 5, 0]");
}

/// Encoded elements of two lists.
struct Keys {
    left: Rows,
    right: Rows,
}

type Elements = Vec<(usize, usize)>;

/// A function of two lists where a NULL list counts as empty, unless both are NULL.
fn two_lists(
    f: impl Fn(&(), Range<usize>, Range<usize>) -> Elements + Send + Sync + 'static,
) -> Kernel {
    Box::new(move |call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let mut out = Picks::new(call.rows);
        for row in 0..call.rows {
            out.row(match (list_range(&args[0], row), list_range(&args[1], row)) {
                (None, None) => None,
                (a, b) => Some(f(&(), a.unwrap_or(0..0), b.unwrap_or(0..0))),
            });
        }
        out.list(&[items(&args[0]), items(&args[1])], &call.ty.to_arrow())
    })
}

/// A function of two lists by equality; NULL when either list is.
fn set_operation(
    f: impl Fn(&Keys, Range<usize>, Range<usize>) -> Elements + Send + Sync + 'static,
) -> Kernel {
    Box::new(move |call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let Some(mut rows) = encode(&[items(&args[0]), items(&args[1])]) else {
            return arrow::array::new_null_array(&call.ty.to_arrow(), call.rows);
        };
        let (Some(right), Some(left)) = (rows.pop(), rows.pop()) else {
            return arrow::array::new_null_array(&call.ty.to_arrow(), call.rows);
        };
        let keys = Keys { left, right };
        let mut out = Picks::new(call.rows);
        for row in 0..call.rows {
            let ranges = list_range(&args[0], row).zip(list_range(&args[1], row));
            out.row(ranges.map(|(a, b)| f(&keys, a, b)));
        }
        out.list(&[items(&args[0]), items(&args[1])], &call.ty.to_arrow())
    })
}

/// A function of one list by its encoded elements.
fn one_list(f: impl Fn(&Rows, Range<usize>) -> Vec<usize> + Send + Sync + 'static) -> Kernel {
    Box::new(move |call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let values = items(&args[0]);
        let Some(keys) = encode(&[values]) else {
            return arrow::array::new_null_array(&call.ty.to_arrow(), call.rows);
        };
        let mut out = Picks::new(call.rows);
        for row in 0..call.rows {
            let picked = list_range(&args[0], row).map(|range| f(&keys[0], range));
            out.row(picked.map(|p| p.into_iter().map(|i| (0, i)).collect()));
        }
        out.list(&[values], &call.ty.to_arrow())
    })
}

fn distinct() -> Kernel {
    one_list(|keys, range| {
        let mut seen: HashSet<&[u8]> = HashSet::new();
        range.filter(|i| seen.insert(keys.row(*i).data())).collect()
    })
}

fn contains() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let keys = encode(&[items(&args[0]), &args[1].array]);
        rows::<B>(call, |row| {
            let (Some(keys), Some(mut range)) = (&keys, list_range(&args[0], row)) else {
                return some(false);
            };
            let wanted = keys[1].row(args[1].at(row));
            some(range.any(|i| keys[0].row(i) == wanted))
        })
    })
}

fn remove() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let values = items(&args[0]);
        let keys = encode(&[values, &args[1].array]);
        let mut out = Picks::new(call.rows);
        for row in 0..call.rows {
            let picked = keys.as_ref().zip(list_range(&args[0], row)).map(|(keys, range)| {
                let unwanted = keys[1].row(args[1].at(row));
                range.filter(|i| keys[0].row(*i) != unwanted).map(|i| (0, i)).collect()
            });
            out.row(picked);
        }
        out.list(&[values], &call.ty.to_arrow())
    })
}

fn length() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let arg = call.args.remove(0);
        rows::<I>(call, |row| Ok(list_range(&arg, row).map(|range| range.len() as i32)))
    })
}

/// The order of two elements, which is not that of their encodings for texts and bytes.
fn order(values: &ArrayRef, keys: &Rows, a: usize, b: usize) -> Ordering {
    match values.data_type() {
        DataType::Utf8View => {
            let texts = values.as_string_view();
            java::compare_utf16(texts.value(a).as_bytes(), texts.value(b).as_bytes())
        }
        DataType::Binary => {
            let bytes = values.as_binary::<i32>();
            java::compare_signed(bytes.value(a), bytes.value(b))
        }
        _ => keys.row(a).cmp(&keys.row(b)),
    }
}

fn best(greatest: bool) -> Kernel {
    Box::new(move |call: &mut Call<'_, '_>| {
        let arg = call.args.remove(0);
        let values = items(&arg);
        let keys = encode(&[values]);
        let picks: Int32Array = (0..call.rows)
            .map(|row| {
                let (keys, range) = (keys.as_ref()?, list_range(&arg, row)?);
                let present = range.filter(|i| values.is_valid(*i));
                let found = if greatest {
                    present.max_by(|a, b| order(values, &keys[0], *a, *b))
                } else {
                    present.min_by(|a, b| order(values, &keys[0], *a, *b))
                };
                found.map(|i| i as i32)
            })
            .collect();
        take(values, &picks, None).expect("elements are picked inside the column")
    })
}

fn sort() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let values = items(&args[0]);
        let keys = encode(&[values]);
        let mut out = Picks::new(call.rows);
        for row in 0..call.rows {
            let descending = match args.get(1) {
                None => Some(false),
                Some(direction) if direction.is_null(row) => None,
                Some(direction) => {
                    match direction.array.as_string_view().value(direction.at(row)) {
                        d if d.eq_ignore_ascii_case("ASC")
                            || d.eq_ignore_ascii_case("ASCENDING") =>
                        {
                            Some(false)
                        }
                        d if d.eq_ignore_ascii_case("DESC")
                            || d.eq_ignore_ascii_case("DESCENDING") =>
                        {
                            Some(true)
                        }
                        _ => None,
                    }
                }
            };
            let ordered = keys.as_ref().zip(list_range(&args[0], row)).zip(descending);
            out.row(ordered.map(|((keys, range), descending)| {
                let (mut present, nulls): (Vec<usize>, Vec<usize>) =
                    range.partition(|i| values.is_valid(*i));
                present.sort_by(|a, b| order(values, &keys[0], *a, *b));
                if descending {
                    present.reverse();
                }
                present.into_iter().chain(nulls).map(|i| (0, i)).collect()
            }));
        }
        out.list(&[values], &call.ty.to_arrow())
    })
}

fn join() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let values = items(&args[0]);
        rows::<S>(call, |row| {
            let Some(range) = list_range(&args[0], row) else { return Ok(None) };
            let delimiter = match args.get(1) {
                None => ",",
                Some(d) if d.is_null(row) => "",
                Some(d) => d.array.as_string_view().value(d.at(row)),
            };
            let plain = matches!(
                values.data_type(),
                DataType::Boolean
                    | DataType::Int32
                    | DataType::Int64
                    | DataType::Float64
                    | DataType::Utf8View
                    | DataType::Decimal128(..)
                    | DataType::Decimal256(..)
            );
            if !plain && range.clone().any(|i| values.is_valid(i)) {
                return Err("ARRAY_JOIN takes elements of simple types only".into());
            }
            let texts: Vec<String> = range.map(|i| cast::text(values, i)).collect();
            some(texts.join(delimiter))
        })
    })
}

/// 1-based and inclusive; a NULL bound is open, a place outside gives NULL.
fn slice() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let bound = |which: usize, row: usize| {
            let arg = &args[which];
            (!arg.is_null(row))
                .then(|| i64::from(arg.array.as_primitive::<Int32Type>().value(arg.at(row))))
        };
        let mut out = Picks::new(call.rows);
        for row in 0..call.rows {
            let picked = list_range(&args[0], row).and_then(|range| {
                let len = range.len() as i64;
                let from = bound(1, row).map_or(0, |from| from - 1);
                let to = bound(2, row).unwrap_or(len);
                if from < 0 || to > len || from > to {
                    return None;
                }
                let start = range.start;
                Some((start + from as usize..start + to as usize).map(|i| (0, i)).collect())
            });
            out.row(picked);
        }
        out.list(&[items(&args[0])], &call.ty.to_arrow())
    })
}

/// A series longer than this fails rather than take all memory.
const LONGEST_SERIES: i128 = 100_000;

fn series(from: i64, to: i64, step: Option<i32>) -> Outcome<Vec<i64>> {
    let step = step.map_or(if from <= to { 1 } else { -1 }, i64::from);
    if step == 0 {
        return Err("the step of GENERATE_SERIES is zero".into());
    }
    if (from < to && step < 0) || (from > to && step > 0) {
        return Err("the step of GENERATE_SERIES leads away from its end".into());
    }
    let count = (i128::from(to) - i128::from(from)) / i128::from(step) + 1;
    if count > LONGEST_SERIES {
        return Err(format!("GENERATE_SERIES would yield {count} numbers").into());
    }
    some((0..count as i64).map(|i| from + i * step).collect())
}
