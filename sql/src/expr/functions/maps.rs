//! Maps with STRING keys.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::interleave;
use arrow::datatypes::DataType;

use super::picks::{Picks, items, list_range, map_entries, map_range};
use super::{Call, Kernel, Library};

pub(super) fn add(lib: &mut Library) {
    lib.category("MAP");
    lib.add(
        "AS_MAP",
        "The map of an array of keys and an array of values.",
        [("[S], [T] -> {S:T}", as_map())],
    )
    .note("Keys without a value get NULL.")
    .arg("keys", "The keys.")
    .arg("values", "The values.")
    .example("AS_MAP(ARRAY['a', 'b'], ARRAY[1, 2])", "MAP('a' := 1, 'b' := 2)");
    lib.add(
        "ENTRIES",
        "The entries of a map as structs K and V, sorted by key if asked.",
        [("{S:T}, B! -> [<K S, V T>]", entries())],
    )
    .arg("map", "The map.")
    .arg("sorted", "Whether to sort by key.")
    .example(
        "ENTRIES(MAP('b' := 2, 'a' := 1), TRUE)",
        "ARRAY[STRUCT(K := 'a', V := 1), STRUCT(K := 'b', V := 2)]",
    );
    lib.add("MAP_KEYS", "The keys.", [("{S:T} -> [S]", map_part(true))])
        .note("In no particular order.")
        .arg("map", "The map.")
        .example("ARRAY_SORT(MAP_KEYS(MAP('a' := 1, 'b' := 2)))", "ARRAY['a', 'b']");
    lib.add("MAP_VALUES", "The values.", [("{S:T} -> [T]", map_part(false))])
        .note("In no particular order.")
        .arg("map", "The map.")
        .example("ARRAY_SORT(MAP_VALUES(MAP('a' := 1, 'b' := 2)))", "ARRAY[1, 2]");
    lib.add(
        "MAP_UNION",
        "The entries of both maps; the second's count where both have a key.",
        [("{S:T}, {S:T} -> {S:T}", map_union())],
    )
    .note("A NULL map counts as empty; NULL if both are.")
    .arg("first", "A map.")
    .arg("second", "Another one.")
    .example("MAP_UNION(MAP('a' := 1, 'b' := 2), MAP('b' := 3))", "MAP('a' := 1, 'b' := 3)");
}

fn as_map() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let (keys, values) = (items(&args[0]), items(&args[1]));
        // One NULL behind all values, for keys without one.
        let none = arrow::array::new_null_array(values.data_type(), 1);
        let texts = keys.as_string_view();
        let (mut key_picks, mut value_picks) = (Picks::new(call.rows), Vec::new());
        for row in 0..call.rows {
            let ranges = list_range(&args[0], row).zip(list_range(&args[1], row));
            key_picks.row(ranges.map(|(ks, vs)| {
                let mut entries: Vec<(usize, usize)> = vec![];
                let mut chosen: Vec<(usize, usize)> = vec![];
                for (n, k) in ks.enumerate().filter(|(_, k)| texts.is_valid(*k)) {
                    let value = if n < vs.len() { (0, vs.start + n) } else { (1, 0) };
                    match entries.iter().position(|(_, e)| texts.value(*e) == texts.value(k)) {
                        Some(at) => chosen[at] = value,
                        None => {
                            entries.push((0, k));
                            chosen.push(value);
                        }
                    }
                }
                value_picks.extend(chosen);
                entries
            }));
        }
        let DataType::Map(field, _) = call.ty.to_arrow() else {
            unreachable!("AS_MAP gives a MAP")
        };
        let DataType::Struct(fields) = field.data_type() else {
            unreachable!("a map's entries are structs");
        };
        let flat_keys = key_picks.gather(&[keys]);
        let flat_values = interleave(&[values.as_ref(), none.as_ref()], &value_picks)
            .expect("values are picked inside the column");
        let entries = StructArray::new(fields.clone(), vec![flat_keys, flat_values], None);
        let offsets = OffsetBuffer::new(key_picks.offsets.into());
        let nulls = Some(NullBuffer::from(key_picks.valid));
        Arc::new(MapArray::new(field.clone(), offsets, entries, nulls, false))
    })
}

fn entries() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let map = args[0].array.as_map();
        let keys = map.keys().as_string_view();
        let sorted = args[1].array.as_boolean();
        let mut out = Picks::new(call.rows);
        for row in 0..call.rows {
            out.row(map_entries(&args[0], row).map(|mut places| {
                if !args[1].is_null(row) && sorted.value(args[1].at(row)) {
                    places.sort_by(|a, b| keys.value(*a).cmp(keys.value(*b)));
                }
                places.into_iter().map(|i| (0, i)).collect()
            }));
        }
        let DataType::List(field) = call.ty.to_arrow() else { unreachable!("an ARRAY is a list") };
        let DataType::Struct(fields) = field.data_type() else { unreachable!("of structs") };
        let columns = vec![map.keys().clone(), map.values().clone()];
        let structs: ArrayRef = Arc::new(StructArray::new(fields.clone(), columns, None));
        out.list(&[&structs], &call.ty.to_arrow())
    })
}

fn map_part(keys: bool) -> Kernel {
    Box::new(move |call: &mut Call<'_, '_>| {
        let arg = call.args.remove(0);
        let map = arg.array.as_map();
        let column = if keys { map.keys() } else { map.values() };
        let mut out = Picks::new(call.rows);
        for row in 0..call.rows {
            out.row(
                map_entries(&arg, row).map(|places| places.into_iter().map(|i| (0, i)).collect()),
            );
        }
        out.list(&[column], &call.ty.to_arrow())
    })
}

fn map_union() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let maps: Vec<&MapArray> = args.iter().map(|a| a.array.as_map()).collect();
        let keys: Vec<_> = maps.iter().map(|m| m.keys().as_string_view()).collect();
        let mut out = Picks::new(call.rows);
        for row in 0..call.rows {
            let ranges = [map_range(&args[0], row), map_range(&args[1], row)];
            if ranges.iter().all(Option::is_none) {
                out.row(None);
                continue;
            }
            let mut merged: Vec<(usize, usize)> = vec![];
            for (which, range) in ranges.into_iter().enumerate() {
                for i in range.into_iter().flatten() {
                    let key = keys[which].value(i);
                    match merged.iter_mut().find(|(w, e)| keys[*w].value(*e) == key) {
                        Some(entry) => *entry = (which, i),
                        None => merged.push((which, i)),
                    }
                }
            }
            out.row(Some(merged));
        }
        let key_columns: Vec<&ArrayRef> = maps.iter().map(|m| m.keys()).collect();
        let value_columns: Vec<&ArrayRef> = maps.iter().map(|m| m.values()).collect();
        out.map(&key_columns, &value_columns, &call.ty.to_arrow())
    })
}
