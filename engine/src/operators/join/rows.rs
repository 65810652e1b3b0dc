//! What the joins share: their two sides, keys as bytes, versions of rows, and results as columns.
//!
//! A join works out its results on encoded rows, one trigger after the other, and keeps of each result
//! only where its parts are: among this epoch's rows, or in state. [`JoinRows`] then gathers the
//! columns at once; what comes from state is decoded once however many results it is in.

use arrow::array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, SchemaRef};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use millstream_sql::plan::{Op, Step};
use millstream_sql::syntax::ast::JoinKind;
use millstream_sql::types::Schema;

use crate::codec::{Encoded, RowCodec, all_null};
use crate::error::{EngineError, Result};
use crate::operators::table::{damaged, from_ordered, ordered, row_of, time_of};
use crate::rows::{Millis, OldValues, Rows, TriggersBuilder, Windows, batch};
use crate::state::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Left = 0,
    Right = 1,
}

impl Side {
    pub(crate) const BOTH: [Side; 2] = [Side::Left, Side::Right];

    pub(crate) fn other(self) -> Side {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }
}

/// Whether rows of `side` appear in the result without a partner.
pub(crate) fn is_padded(kind: JoinKind, side: Side) -> bool {
    match kind {
        JoinKind::Inner => false,
        JoinKind::Left => side == Side::Left,
        JoinKind::Right => side == Side::Right,
        JoinKind::Full => true,
    }
}

/// One epoch's rows of both sides, each as one run; `None` for none.
pub(crate) type Inputs = [Option<Rows>; 2];

pub(crate) fn gather(inputs: &[&[Rows]]) -> Result<Inputs> {
    let side = |i: usize| Rows::concat(inputs.get(i).copied().unwrap_or_default());
    Ok([side(0)?, side(1)?])
}

/// All rows of both sides in the order of their triggers, left before right.
pub(crate) fn merged(inputs: &Inputs) -> Vec<(Side, usize)> {
    let orders =
        Side::BOTH.map(|s| inputs[s as usize].as_ref().map_or(&[][..], |r| &r.triggers.order));
    let [left, right] = orders;
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        let take_left = r == right.len() || (l < left.len() && left[l] <= right[r]);
        if take_left {
            out.push((Side::Left, l));
            l += 1;
        } else {
            out.push((Side::Right, r));
            r += 1;
        }
    }
    out
}

/// One version of a row of one side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version<'a> {
    pub(crate) time: Millis,
    /// The value columns, encoded.
    pub(crate) bytes: &'a [u8],
    /// Its place among the epoch's rows; `None`: it comes from state.
    pub(crate) row: Option<u32>,
}

impl<'a> Version<'a> {
    /// From what a table's state holds: `time ‖ value columns`.
    pub(crate) fn stored(value: &'a [u8]) -> Result<Self> {
        Ok(Version { time: time_of(value)?, bytes: row_of(value)?, row: None })
    }

    pub(crate) fn maybe_stored(value: &'a Option<Value>) -> Result<Option<Self>> {
        value.as_deref().map(Self::stored).transpose()
    }

    /// As state holds it.
    pub(crate) fn to_state(self) -> Vec<u8> {
        [&self.time.to_le_bytes(), self.bytes].concat()
    }
}

/// A result: the two rows it is made of; `None` where there is no result.
pub(crate) type Joined<'a> = Option<[Option<Version<'a>>; 2]>;

fn same(a: &Joined<'_>, b: &Joined<'_>) -> bool {
    let equal = |a: &Option<Version<'_>>, b: &Option<Version<'_>>| {
        a.as_ref().map(|v| v.bytes) == b.as_ref().map(|v| v.bytes)
    };
    match (a, b) {
        (Some(a), Some(b)) => equal(&a[0], &b[0]) && equal(&a[1], &b[1]),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// Where a result's key is found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyAt<'a> {
    Row(Side, usize),
    /// Encoded by [`JoinKeys`].
    Stored(&'a [u8]),
}

/// One row of a join's result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    /// A number for the key, for consolidation.
    pub(crate) slot: usize,
    pub(crate) key: KeyAt<'a>,
    pub(crate) time: Millis,
    pub(crate) trigger: (Side, usize),
    pub(crate) now: Joined<'a>,
    /// What it replaces; of no meaning in a stream.
    pub(crate) before: Joined<'a>,
}

/// One net change per slot, in the place of its last one; nothing where the value is what it was.
pub(crate) fn consolidated(changes: Vec<Change<'_>>) -> Vec<Change<'_>> {
    // First value and last place of each slot.
    let mut slots: HashMap<usize, (Joined<'_>, usize), RandomState> = HashMap::default();
    for (i, change) in changes.iter().enumerate() {
        slots.entry(change.slot).and_modify(|(_, last)| *last = i).or_insert((change.before, i));
    }
    let mut net = Vec::with_capacity(slots.len());
    for (i, change) in changes.iter().enumerate() {
        if let Some((before, last)) = slots.get(&change.slot)
            && *last == i
            && !same(before, &change.now)
        {
            net.push(Change { before: *before, ..*change });
        }
    }
    net
}

/// Join keys as bytes: `key column as arrow-row ‖ [window start ‖ window end]`, order-preserving and
/// without one key being the beginning of another.
///
/// A key that is NULL joins nothing: of a key of several columns, when any of them is.
pub(crate) struct JoinKeys {
    codec: RowCodec,
    windowed: bool,
    /// The key only identifies rows, as a foreign-key join's left one does: NULL only as a whole.
    identifies: bool,
}

/// Start and end of a key's window, if keys have one.
pub(crate) type WindowOf = Option<(Millis, Millis)>;

/// The keys of a run of rows.
pub(crate) struct KeyBytes {
    encoded: Encoded,
    /// With windows.
    whole: Option<Vec<Vec<u8>>>,
    nulls: Vec<bool>,
}

impl KeyBytes {
    /// `None` for a NULL key.
    pub(crate) fn get(&self, row: usize) -> Option<&[u8]> {
        if self.nulls[row] {
            return None;
        }
        Some(match &self.whole {
            Some(whole) => &whole[row],
            None => self.encoded.row(row),
        })
    }
}

impl JoinKeys {
    pub(crate) fn new(schema: &Schema, windowed: bool) -> Result<Self> {
        Ok(JoinKeys { codec: RowCodec::new(&schema.key)?, windowed, identifies: false })
    }

    pub(crate) fn encode(&self, rows: &Rows) -> Result<KeyBytes> {
        self.encode_columns(rows.key_columns(), rows.windows.as_ref(), rows.len())
    }

    pub(crate) fn encode_columns(
        &self,
        columns: &[ArrayRef],
        windows: Option<&Windows>,
        len: usize,
    ) -> Result<KeyBytes> {
        let encoded = self.codec.encode(columns, len)?;
        let any_null = |row: usize| columns.iter().any(|c| c.is_null(row));
        let null = |row| if self.identifies { all_null(columns, row) } else { any_null(row) };
        let nulls = (0..len).map(null).collect();
        let whole = windows.filter(|_| self.windowed).map(|w| {
            (0..len)
                .map(|i| [encoded.row(i), &ordered(w.starts[i]), &ordered(w.ends[i])].concat())
                .collect()
        });
        Ok(KeyBytes { encoded, whole, nulls })
    }

    pub(crate) fn is_windowed(&self) -> bool {
        self.windowed
    }

    /// The key column's bytes, and the window.
    pub(crate) fn split<'a>(&self, key: &'a [u8]) -> Result<(&'a [u8], WindowOf)> {
        if !self.windowed {
            return Ok((key, None));
        }
        let at = key.len().checked_sub(16).ok_or_else(damaged)?;
        let (key, window) = key.split_at(at);
        Ok((key, Some((from_ordered(&window[..8]), from_ordered(&window[8..])))))
    }

    /// The key columns.
    pub(crate) fn decode(&self, keys: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let bare = keys.iter().map(|k| Ok(self.split(k)?.0)).collect::<Result<Vec<_>>>()?;
        self.codec.decode(bare)
    }
}

/// Makes rows of a join's schema.
pub(crate) struct JoinRows {
    schema: SchemaRef,
    key_len: usize,
    pub(crate) keys: JoinKeys,
    pub(crate) values: [RowCodec; 2],
    types: [Vec<DataType>; 2],
}

impl JoinRows {
    /// For the join `step` whose result has the key of `keyed`, an input.
    pub(crate) fn new(step: &Step, left: &Step, right: &Step, keyed: &Step) -> Result<Self> {
        let types = |s: &Step| s.schema.value.iter().map(|c| c.ty.to_arrow()).collect::<Vec<_>>();
        let (l, r) = (types(left), types(right));
        let of = |s: &Schema| s.key.iter().map(|c| c.ty.to_arrow()).collect::<Vec<_>>();
        if l.len() + r.len() != step.schema.value.len() || of(&step.schema) != of(&keyed.schema) {
            return Err(EngineError::Shape(format!("step {} is no join of its inputs", step.name)));
        }
        Ok(JoinRows {
            schema: step.schema.to_arrow(),
            key_len: step.schema.key.len(),
            keys: JoinKeys {
                identifies: matches!(step.op, Op::ForeignKeyJoin { .. }),
                ..JoinKeys::new(&keyed.schema, step.window.is_some())?
            },
            values: [RowCodec::of_types(l.clone())?, RowCodec::of_types(r.clone())?],
            types: [l, r],
        })
    }

    pub(crate) fn encode_values(&self, inputs: &Inputs) -> Result<[Option<Encoded>; 2]> {
        let side = |s: Side| {
            let rows = inputs[s as usize].as_ref();
            rows.map(|r| self.values[s as usize].encode(r.value_columns(), r.len())).transpose()
        };
        Ok([side(Side::Left)?, side(Side::Right)?])
    }

    pub(crate) fn encode_keys(&self, inputs: &Inputs) -> Result<[Option<KeyBytes>; 2]> {
        let side = |s: Side| inputs[s as usize].as_ref().map(|r| self.keys.encode(r)).transpose();
        Ok([side(Side::Left)?, side(Side::Right)?])
    }

    /// Records of a stream.
    pub(crate) fn stream(&self, inputs: &Inputs, results: &[Change<'_>]) -> Result<Vec<Rows>> {
        self.rows(inputs, results, false)
    }

    /// Changes of a table.
    pub(crate) fn table(&self, inputs: &Inputs, changes: &[Change<'_>]) -> Result<Vec<Rows>> {
        self.rows(inputs, changes, true)
    }

    /// What a table holds: the results that are there, with their keys, at the later of their times.
    pub(crate) fn snapshot<'a>(
        &self,
        results: impl IntoIterator<Item = (&'a [u8], Joined<'a>)>,
    ) -> Result<Vec<Rows>> {
        let change = |(key, now): (&'a [u8], Joined<'a>)| Change {
            slot: 0,
            key: KeyAt::Stored(key),
            time: now.iter().flatten().flatten().map(|v| v.time).max().unwrap_or_default(),
            trigger: (Side::Left, 0),
            now,
            before: None,
        };
        let results: Vec<Change<'_>> =
            results.into_iter().filter(|(_, now)| now.is_some()).map(change).collect();
        let mut rows = self.stream(&[None, None], &results)?;
        for rows in &mut rows {
            rows.triggers = TriggersBuilder::untriggered(rows.len());
        }
        Ok(rows)
    }

    fn rows(&self, inputs: &Inputs, results: &[Change<'_>], table: bool) -> Result<Vec<Rows>> {
        if results.is_empty() {
            return Ok(vec![]);
        }
        let mut columns = self.key_columns(inputs, results)?;
        columns.extend(self.value_columns(inputs, results.iter().map(|c| c.now))?);
        let mut triggers = TriggersBuilder::default();
        for (side, row) in results.iter().map(|c| c.trigger) {
            if let Some(rows) = &inputs[side as usize] {
                triggers.push(&rows.triggers, row);
            }
        }
        let old = if table {
            Some(OldValues {
                columns: self.value_columns(inputs, results.iter().map(|c| c.before))?,
                present: BooleanBuffer::collect_bool(results.len(), |i| {
                    results[i].before.is_some()
                }),
            })
        } else {
            None
        };
        let present = results
            .iter()
            .any(|c| c.now.is_none())
            .then(|| BooleanBuffer::collect_bool(results.len(), |i| results[i].now.is_some()));
        Ok(vec![Rows {
            columns: batch(&self.schema, columns, results.len())?,
            key_len: self.key_len,
            times: results.iter().map(|c| c.time).collect::<Vec<_>>().into(),
            windows: self.windows(inputs, results)?,
            present,
            old,
            triggers: triggers.finish(),
        }])
    }

    fn windows(&self, inputs: &Inputs, results: &[Change<'_>]) -> Result<Option<Windows>> {
        if !self.keys.is_windowed() {
            return Ok(None);
        }
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for change in results {
            let window = match change.key {
                KeyAt::Stored(key) => self.keys.split(key)?.1,
                KeyAt::Row(side, row) => inputs[side as usize]
                    .as_ref()
                    .and_then(|r| r.windows.as_ref())
                    .map(|w| (w.starts[row], w.ends[row])),
            };
            let (start, end) = window.unwrap_or_default();
            starts.push(start);
            ends.push(end);
        }
        Ok(Some(Windows { starts: starts.into(), ends: ends.into() }))
    }

    fn key_columns(&self, inputs: &Inputs, results: &[Change<'_>]) -> Result<Vec<ArrayRef>> {
        let mut stored = Stored::default();
        let places: Vec<(usize, usize)> = results
            .iter()
            .map(|change| match change.key {
                KeyAt::Row(side, row) => (side as usize, row),
                KeyAt::Stored(key) => (2, stored.place(key)),
            })
            .collect();
        let decoded = self.keys.decode(&stored.rows)?;
        // A foreign-key join's right side has another key; no result takes it.
        let side = |s: usize, i: usize| inputs[s].as_ref()?.key_columns().get(i).cloned();
        (0..self.key_len)
            .map(|i| choose([side(0, i), side(1, i), decoded.get(i).cloned()], &places))
            .collect()
    }

    /// The value columns of both sides; NULL where a row is not there.
    fn value_columns<'a>(
        &self,
        inputs: &Inputs,
        results: impl Iterator<Item = Joined<'a>> + Clone,
    ) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        for side in 0..2 {
            let mut stored = Stored::default();
            let places: Vec<(usize, usize)> = results
                .clone()
                .map(|joined| match joined.and_then(|j| j[side]) {
                    None => (2, 0),
                    Some(Version { row: Some(row), .. }) => (0, row as usize),
                    Some(version) => (1, stored.place(version.bytes)),
                })
                .collect();
            let decoded = self.values[side].decode(stored.rows.iter().copied())?;
            for (i, ty) in self.types[side].iter().enumerate() {
                let rows = inputs[side].as_ref().map(|r| r.value_columns()[i].clone());
                let null = new_null_array(ty, 1);
                columns.push(choose([rows, decoded.get(i).cloned(), Some(null)], &places)?);
            }
        }
        Ok(columns)
    }
}

/// Encoded rows to decode, each once.
#[derive(Default)]
struct Stored<'a> {
    rows: Vec<&'a [u8]>,
    /// By address: equal rows at several places are decoded several times, which is no harm.
    places: HashMap<(usize, usize), usize, RandomState>,
}

impl<'a> Stored<'a> {
    fn place(&mut self, bytes: &'a [u8]) -> usize {
        let next = self.rows.len();
        let place = *self.places.entry((bytes.as_ptr() as usize, bytes.len())).or_insert(next);
        if place == next {
            self.rows.push(bytes);
        }
        place
    }
}

/// The values at `places`: which of `sources`, and which row of it.
fn choose(sources: [Option<ArrayRef>; 3], places: &[(usize, usize)]) -> Result<ArrayRef> {
    if let Some((first, _)) = places.first()
        && places.iter().all(|(source, _)| source == first)
        && let Some(source) = &sources[*first]
    {
        let places: UInt32Array = places.iter().map(|(_, row)| *row as u32).collect();
        return Ok(take(source.as_ref(), &places, None)?);
    }
    let mut used = [false; 3];
    places.iter().for_each(|(source, _)| used[*source] = true);
    let mut number = [0; 3];
    let mut arrays = Vec::with_capacity(3);
    for (i, source) in sources.iter().enumerate().filter(|(i, _)| used[*i]) {
        number[i] = arrays.len();
        arrays.extend(source.as_deref());
    }
    let places: Vec<(usize, usize)> = places.iter().map(|(s, row)| (number[*s], *row)).collect();
    Ok(interleave(&arrays, &places)?)
}

/// Small numbers for the distinct keys of an epoch.
#[derive(Default)]
pub(crate) struct Slots<'a> {
    numbers: HashMap<&'a [u8], usize, RandomState>,
    pub(crate) keys: Vec<&'a [u8]>,
}

impl<'a> Slots<'a> {
    pub(crate) fn number(&mut self, key: &'a [u8]) -> usize {
        let next = self.keys.len();
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.keys.push(key);
        }
        number
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<usize> {
        self.numbers.get(key).copied()
    }
}
