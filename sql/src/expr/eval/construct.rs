//! ARRAY[…], MAP(…), STRUCT(…), `struct->field`, `array[i]` and `map[k]`.
//!
//! A failed part becomes a plain NULL, the rest of the value stays. Access into NULL gives NULL.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, StringViewArray, StructArray, UInt32Array,
    new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, FieldRef, Fields, Int32Type};

use super::compare::same;
use super::{Fail, Input, Node, NodeRef, Run, Value};

#[derive(Debug)]
pub(crate) struct FieldNode {
    pub operand: NodeRef,
    pub index: usize,
}

impl Node for FieldNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let operand = self.operand.eval(input, run);
        let array = operand.array.as_struct();
        let field = array.column(self.index);
        // A field of a NULL struct is NULL, whatever its own slot holds.
        let field = match array.nulls() {
            Some(nulls) if nulls.null_count() > 0 => {
                super::null_out(field.clone(), &!nulls.inner())
            }
            _ => field.clone(),
        };
        Value { array: field, scalar: operand.scalar, failed: None }
    }
}

/// `array[i]`: 1-based, negative from the end; 0 and out of range give NULL.
#[derive(Debug)]
pub(crate) struct ItemNode {
    pub operand: NodeRef,
    pub index: NodeRef,
}

impl Node for ItemNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let operand = self.operand.eval(input, run).contained();
        let index = self.index.eval(input, run).contained();
        let scalar = operand.scalar && index.scalar;
        let len = if scalar { 1 } else { input.rows };
        let (list, places) =
            (operand.array.as_list::<i32>(), index.array.as_primitive::<Int32Type>());
        let picks: UInt32Array = (0..len)
            .map(|row| {
                if operand.is_null(row) || index.is_null(row) {
                    return None;
                }
                let (at, i) = (operand.at(row), i64::from(places.value(index.at(row))));
                let (start, end) = (list.value_offsets()[at], list.value_offsets()[at + 1]);
                let place = if i < 0 { i64::from(end) + i } else { i64::from(start) + i - 1 };
                let inside = i != 0 && place >= i64::from(start) && place < i64::from(end);
                inside.then_some(place as u32)
            })
            .collect();
        let array = take(list.values(), &picks, None).expect("every index was checked");
        Value { array, scalar, failed: None }
    }
}

/// `map[k]`; a missing key gives NULL.
#[derive(Debug)]
pub(crate) struct EntryNode {
    pub operand: NodeRef,
    pub key: NodeRef,
}

impl Node for EntryNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let operand = self.operand.eval(input, run).contained();
        let key = self.key.eval(input, run).contained();
        let scalar = operand.scalar && key.scalar;
        let len = if scalar { 1 } else { input.rows };
        let map = operand.array.as_map();
        let picks: UInt32Array = (0..len)
            .map(|row| {
                if operand.is_null(row) || key.is_null(row) {
                    return None;
                }
                let at = operand.at(row);
                let (start, end) = (map.value_offsets()[at], map.value_offsets()[at + 1]);
                // The last entry of a repeated key counts.
                (start as usize..end as usize)
                    .rev()
                    .find(|i| same(map.keys(), *i, &key.array, key.at(row)))
                    .map(|i| i as u32)
            })
            .collect();
        let array = take(map.values(), &picks, None).expect("every index was found in the map");
        Value { array, scalar, failed: None }
    }
}

/// Puts the values of several nodes side by side: row 0's values, then row 1's, …
fn interleaved(values: &[Value], len: usize, ty: &DataType) -> ArrayRef {
    if values.is_empty() {
        return new_null_array(ty, 0);
    }
    let arrays: Vec<&dyn Array> = values.iter().map(|v| v.array.as_ref()).collect();
    let picks: Vec<(usize, usize)> = (0..len)
        .flat_map(|row| values.iter().enumerate().map(move |(i, v)| (i, v.at(row))))
        .collect();
    interleave(&arrays, &picks).expect("the binder gives all parts one type")
}

#[derive(Debug)]
pub(crate) struct ArrayNode {
    pub items: Vec<NodeRef>,
    pub field: FieldRef,
}

impl Node for ArrayNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let values: Vec<Value> =
            self.items.iter().map(|i| i.eval(input, run).contained()).collect();
        let scalar = values.iter().all(|v| v.scalar);
        let len = if scalar { 1 } else { input.rows };
        let items = interleaved(&values, len, self.field.data_type());
        let offsets = OffsetBuffer::from_repeated_length(values.len(), len);
        let array = ListArray::new(self.field.clone(), offsets, items, None);
        Value { array: Arc::new(array), scalar, failed: None }
    }
}

/// A later entry of an equal key replaces an earlier one; a NULL key fails unless it is a STRING.
#[derive(Debug)]
pub(crate) struct MapNode {
    pub entries: Vec<(NodeRef, NodeRef)>,
    pub field: FieldRef,
}

/// A NULL among STRING keys as the text `null`, which is what ksqlDB's formats make of it.
fn named(mut keys: Value) -> Value {
    if keys.array.data_type() == &DataType::Utf8View && keys.array.null_count() > 0 {
        let texts = keys.array.as_string_view();
        keys.array =
            Arc::new(texts.iter().map(|t| t.or(Some("null"))).collect::<StringViewArray>());
    }
    keys
}

const NULL_KEY: Fail = Fail::Borrowed("a map key is NULL");

impl Node for MapNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let mut keys = Vec::with_capacity(self.entries.len());
        let mut values = Vec::with_capacity(self.entries.len());
        for (key, value) in &self.entries {
            keys.push(named(key.eval(input, run).contained()));
            values.push(value.eval(input, run).contained());
        }
        let rows = input.rows;
        let mut builder = MapBuilder::new(rows);
        let key_arrays: Vec<&dyn Array> = keys.iter().map(|k| k.array.as_ref()).collect();
        let mut picks: Vec<(usize, usize)> = Vec::with_capacity(rows * keys.len());
        for row in 0..rows {
            if keys.iter().any(|k| k.is_null(row)) {
                run.fail(row, NULL_KEY);
                builder.end_row(false, picks.len());
                continue;
            }
            for (i, key) in keys.iter().enumerate() {
                let repeated = keys[i + 1..]
                    .iter()
                    .any(|later| same(&key.array, key.at(row), &later.array, later.at(row)));
                if !repeated {
                    picks.push((i, row));
                }
            }
            builder.end_row(true, picks.len());
        }
        let at = |of: &[Value]| -> Vec<(usize, usize)> {
            picks.iter().map(|(i, row)| (*i, of[*i].at(*row))).collect()
        };
        let value_arrays: Vec<&dyn Array> = values.iter().map(|v| v.array.as_ref()).collect();
        let flat_keys = interleave(&key_arrays, &at(&keys)).expect("keys are of one type");
        let flat_values = interleave(&value_arrays, &at(&values)).expect("values are of one type");
        let (array, failed) = builder.finish(&self.field, flat_keys, flat_values);
        Value { array, scalar: false, failed }
    }
}

/// The offsets and NULLs of a map column.
pub(crate) struct MapBuilder {
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl MapBuilder {
    pub(crate) fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, valid: Vec::with_capacity(rows) }
    }

    /// Ends a row; `entries` is the number of entries so far, all rows together.
    pub(crate) fn end_row(&mut self, valid: bool, entries: usize) {
        self.offsets.push(entries as i32);
        self.valid.push(valid);
    }

    /// The column, and the rows that were ended as not valid.
    pub(crate) fn finish(
        self,
        field: &FieldRef,
        keys: ArrayRef,
        values: ArrayRef,
    ) -> (ArrayRef, Option<arrow::buffer::BooleanBuffer>) {
        let DataType::Struct(fields) = field.data_type() else {
            unreachable!("a map's entries are structs");
        };
        let entries = StructArray::new(fields.clone(), vec![keys, values], None);
        let offsets = OffsetBuffer::new(self.offsets.into());
        let failed = self
            .valid
            .contains(&false)
            .then(|| self.valid.iter().map(|v| !v).collect::<arrow::buffer::BooleanBuffer>());
        let nulls = failed.as_ref().map(|_| arrow::buffer::NullBuffer::from(self.valid));
        let map = MapArray::new(field.clone(), offsets, entries, nulls, false);
        (Arc::new(map), failed)
    }
}

#[derive(Debug)]
pub(crate) struct StructNode {
    pub values: Vec<NodeRef>,
    pub fields: Fields,
}

impl Node for StructNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let rows = input.rows;
        if self.fields.is_empty() {
            return Value::array(Arc::new(StructArray::new_empty_fields(rows, None)));
        }
        let columns: Vec<ArrayRef> =
            self.values.iter().map(|v| v.eval(input, run).contained().into_array(rows)).collect();
        Value::array(Arc::new(StructArray::new(self.fields.clone(), columns, None)))
    }
}
