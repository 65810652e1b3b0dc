//! Numbers for group keys: each distinct key of a batch gets a small number, found by hash.
//!
//! A key of one BIGINT or INT is hashed as it is; one STRING by its bytes; any other key by its
//! arrow-row encoding. Rows with a NULL in the key have no group.

use std::hash::BuildHasher;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

use crate::codec::RowCodec;
use crate::error::Result;

/// The number of rows that have no group.
pub(crate) const NO_GROUP: u32 = u32::MAX;

pub(crate) struct Groups {
    keys: Keys,
    codec: RowCodec,
    hasher: FixedState,
}

enum Keys {
    Int { numbers: HashMap<i64, u32, FixedState>, count: u32 },
    Bytes { table: HashTable<u32>, arena: Arena, text: bool },
}

/// Key bytes one after the other; `ends[i]` is where key `i` ends.
#[derive(Default)]
struct Arena {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Arena {
    fn key(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.bytes[start..self.ends[number]]
    }

    fn push(&mut self, key: &[u8]) -> u32 {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        self.ends.len() as u32 - 1
    }
}

impl Groups {
    pub(crate) fn new(types: &[DataType]) -> Result<Self> {
        let keys = match types {
            [DataType::Int64 | DataType::Int32] => {
                Keys::Int { numbers: HashMap::default(), count: 0 }
            }
            _ => Keys::Bytes {
                table: HashTable::new(),
                arena: Arena::default(),
                text: matches!(types, [DataType::Utf8View]),
            },
        };
        let codec = RowCodec::of_types(types.to_vec())?;
        Ok(Groups { keys, codec, hasher: FixedState::with_seed(7) })
    }

    /// Encodes keys as state has them.
    pub(crate) fn codec(&self) -> &RowCodec {
        &self.codec
    }

    pub(crate) fn clear(&mut self) {
        match &mut self.keys {
            Keys::Int { numbers, count } => {
                numbers.clear();
                *count = 0;
            }
            Keys::Bytes { table, arena, .. } => {
                table.clear();
                *arena = Arena::default();
            }
        }
    }

    /// The number of each row's key; new keys get the next numbers. Rows not `valid` get [`NO_GROUP`].
    pub(crate) fn numbers(
        &mut self,
        columns: &[ArrayRef],
        len: usize,
        valid: impl Fn(usize) -> bool,
    ) -> Result<Vec<u32>> {
        let whole = |row: usize| valid(row) && columns.iter().all(|c| c.is_valid(row));
        let mut out = vec![NO_GROUP; len];
        match &mut self.keys {
            Keys::Int { numbers, count } => {
                let mut number = |key: i64| {
                    *numbers.entry(key).or_insert_with(|| {
                        *count += 1;
                        *count - 1
                    })
                };
                if *columns[0].data_type() == DataType::Int64 {
                    let keys = columns[0].as_primitive::<Int64Type>().values();
                    for row in (0..len).filter(|&row| whole(row)) {
                        out[row] = number(keys[row]);
                    }
                } else {
                    let keys = columns[0].as_primitive::<Int32Type>().values();
                    for row in (0..len).filter(|&row| whole(row)) {
                        out[row] = number(i64::from(keys[row]));
                    }
                }
            }
            Keys::Bytes { table, arena, text } => {
                let hasher = &self.hasher;
                let mut number = |key: &[u8]| {
                    let hash = hasher.hash_one(key);
                    if let Some(found) = table.find(hash, |&number| arena.key(number) == key) {
                        return *found;
                    }
                    let new = arena.push(key);
                    table.insert_unique(hash, new, |&number| hasher.hash_one(arena.key(number)));
                    new
                };
                if *text {
                    let keys = columns[0].as_string_view();
                    for row in (0..len).filter(|&row| whole(row)) {
                        out[row] = number(keys.value(row).as_bytes());
                    }
                } else {
                    let keys = self.codec.encode(columns, len)?;
                    for row in (0..len).filter(|&row| whole(row)) {
                        out[row] = number(keys.row(row));
                    }
                }
            }
        }
        Ok(out)
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
        }
    }
}
