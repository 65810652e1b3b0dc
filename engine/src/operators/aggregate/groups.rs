//! Numbers for group keys: each distinct key gets a small number, found by hash.
//!
//! A key of one BIGINT or INT is hashed as it is; one STRING by its bytes; any other key by its
//! arrow-row encoding. Rows with a NULL in the key have no group.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, StringViewArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

use super::super::table::damaged;
use crate::codec::{Encoded, RowCodec};
use crate::error::Result;

/// The number of rows that have no group.
pub(super) const NO_GROUP: u32 = u32::MAX;

pub(super) struct Groups {
    keys: Keys,
    codec: RowCodec,
    types: Vec<DataType>,
    hasher: FixedState,
}

enum Keys {
    Int { numbers: HashMap<i64, u32, FixedState>, keys: Vec<i64> },
    Bytes { table: HashTable<u32>, arena: Arena, text: bool },
}

/// Byte strings one after the other; `ends[i]` is where number `i` ends.
#[derive(Default)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Arena {
    fn get(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.bytes[start..self.ends[number]]
    }

    fn push(&mut self, bytes: &[u8]) -> u32 {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.ends.len() as u32 - 1
    }
}

/// The number of `key` in `table`, a new one if it has none.
fn number_of(
    table: &mut HashTable<u32>,
    arena: &mut Arena,
    hasher: &FixedState,
    key: &[u8],
) -> u32 {
    let hash = hasher.hash_one(key);
    if let Some(found) = table.find(hash, |&i| arena.get(i) == key) {
        return *found;
    }
    let new = arena.push(key);
    table.insert_unique(hash, new, |&i| hasher.hash_one(arena.get(i)));
    new
}

impl Groups {
    pub(super) fn new(types: &[DataType]) -> Result<Self> {
        let keys = match types {
            [DataType::Int64 | DataType::Int32] => {
                Keys::Int { numbers: HashMap::default(), keys: Vec::new() }
            }
            _ => Keys::Bytes {
                table: HashTable::new(),
                arena: Arena::default(),
                text: matches!(types, [DataType::Utf8View]),
            },
        };
        let codec = RowCodec::of_types(types.to_vec())?;
        Ok(Groups { keys, codec, types: types.to_vec(), hasher: FixedState::with_seed(7) })
    }

    pub(super) fn len(&self) -> usize {
        match &self.keys {
            Keys::Int { keys, .. } => keys.len(),
            Keys::Bytes { arena, .. } => arena.ends.len(),
        }
    }

    /// About how many bytes are held.
    pub(super) fn bytes(&self) -> usize {
        match &self.keys {
            Keys::Int { keys, .. } => keys.len() * 24,
            Keys::Bytes { arena, .. } => arena.bytes.len() + arena.ends.len() * 16,
        }
    }

    /// Keeps these numbers only, ascending; they become the numbers from 0.
    pub(super) fn retain(&mut self, kept: &[u32]) {
        match &mut self.keys {
            Keys::Int { numbers, keys } => {
                *keys = kept.iter().map(|&number| keys[number as usize]).collect();
                *numbers = keys.iter().enumerate().map(|(i, &key)| (key, i as u32)).collect();
            }
            Keys::Bytes { table, arena, .. } => {
                let old = std::mem::take(arena);
                table.clear();
                for &number in kept {
                    number_of(table, arena, &self.hasher, old.get(number));
                }
                table.shrink_to_fit(|&i| self.hasher.hash_one(arena.get(i)));
            }
        }
    }

    /// The number of each row's key; new keys get the next numbers. Rows not `valid` get [`NO_GROUP`].
    pub(super) fn numbers(
        &mut self,
        columns: &[ArrayRef],
        len: usize,
        valid: impl Fn(usize) -> bool,
    ) -> Result<Vec<u32>> {
        let nulls: Vec<_> = columns.iter().filter_map(|c| c.logical_nulls()).collect();
        let whole = |row: &usize| valid(*row) && nulls.iter().all(|n| n.is_valid(*row));
        let mut out = vec![NO_GROUP; len];
        match &mut self.keys {
            Keys::Int { numbers, keys } => {
                let mut number = |key: i64| {
                    *numbers.entry(key).or_insert_with(|| {
                        keys.push(key);
                        keys.len() as u32 - 1
                    })
                };
                if let Some(column) = columns[0].as_primitive_opt::<Int64Type>() {
                    let values = column.values();
                    (0..len).filter(whole).for_each(|row| out[row] = number(values[row]));
                } else {
                    let values = columns[0].as_primitive::<Int32Type>().values();
                    (0..len).filter(whole).for_each(|row| out[row] = number(values[row].into()));
                }
            }
            Keys::Bytes { table, arena, text: true } => {
                let values = columns[0].as_string_view();
                for row in (0..len).filter(whole) {
                    let key = values.value(row).as_bytes();
                    out[row] = number_of(table, arena, &self.hasher, key);
                }
            }
            Keys::Bytes { table, arena, text: false } => {
                let encoded = self.codec.encode(columns, len)?;
                for row in (0..len).filter(whole) {
                    out[row] = number_of(table, arena, &self.hasher, encoded.row(row));
                }
            }
        }
        Ok(out)
    }

    /// The key columns of `numbers`.
    pub(super) fn columns(&self, numbers: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(match &self.keys {
            Keys::Int { keys, .. } => {
                let keys = numbers.iter().map(|&number| keys[number as usize]);
                vec![if self.types[0] == DataType::Int32 {
                    Arc::new(Int32Array::from_iter_values(keys.map(|key| key as i32)))
                } else {
                    Arc::new(Int64Array::from_iter_values(keys))
                }]
            }
            Keys::Bytes { arena, text: true, .. } => {
                let text = numbers.iter().map(|&number| std::str::from_utf8(arena.get(number)));
                let text: Vec<&str> =
                    text.collect::<std::result::Result<_, _>>().map_err(|_| damaged())?;
                vec![Arc::new(StringViewArray::from_iter_values(text))]
            }
            Keys::Bytes { arena, text: false, .. } => {
                self.codec.decode(numbers.iter().map(|&number| arena.get(number)))?
            }
        })
    }

    /// The keys of `numbers` as state has them.
    pub(super) fn state_keys(&self, numbers: &[u32]) -> Result<StateKeys<'_>> {
        match &self.keys {
            Keys::Bytes { arena, text: false, .. } => {
                Ok(StateKeys::Held { arena, numbers: numbers.to_vec() })
            }
            _ => self.encode(&self.columns(numbers)?, numbers.len()),
        }
    }

    /// Key columns as state has them.
    pub(super) fn encode(&self, columns: &[ArrayRef], len: usize) -> Result<StateKeys<'_>> {
        Ok(StateKeys::Encoded(self.codec.encode(columns, len)?))
    }

    /// The columns of state's keys.
    pub(super) fn decode<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>> {
        self.codec.decode(keys)
    }
}

/// Keys as arrow-row bytes.
pub(super) enum StateKeys<'a> {
    Held { arena: &'a Arena, numbers: Vec<u32> },
    Encoded(Encoded),
}

impl StateKeys<'_> {
    pub(super) fn get(&self, i: usize) -> &[u8] {
        match self {
            StateKeys::Held { arena, numbers } => arena.get(numbers[i]),
            StateKeys::Encoded(encoded) => encoded.row(i),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    #[test]
    fn equal_keys_have_one_number_and_null_has_none() {
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None, Some(7), Some(5)]));
        let text: ArrayRef =
            Arc::new(StringViewArray::from(vec![Some("a"), None, Some("bc"), Some("a")]));
        let expected = [0, NO_GROUP, 1, 0];
        for columns in [vec![ints.clone()], vec![text.clone()], vec![ints, text]] {
            let types: Vec<_> = columns.iter().map(|c| c.data_type().clone()).collect();
            let mut groups = Groups::new(&types).unwrap();
            assert_eq!(groups.numbers(&columns, 4, |_| true).unwrap(), expected);
            assert_eq!(groups.numbers(&columns, 4, |row| row > 0).unwrap()[0], NO_GROUP);
            assert_eq!(groups.len(), 2);
        }
    }
}
