//! Joins each record of a stream with the row its key has in a table.
//!
//! Emits for stream rows only, at their time: the table's row as it is at the stream row's place in
//! the epoch's order; INNER nothing where there is none, LEFT a row padded with NULLs. Stream rows with
//! a NULL key or value are ignored. A row of the table emits nothing.
//!
//! State: `key` → `time i64 LE ‖ value columns as arrow-row bytes`; `key` as [`JoinKeys`] says.
//!
//! Invariant: after an epoch the state holds the last present value of each key, and nothing else.
//!
//! [`JoinKeys`]: super::rows::JoinKeys

use millstream_sql::plan::Step;
use millstream_sql::syntax::ast::JoinKind;

use super::rows::{Change, JoinRows, KeyAt, Side, Slots, Version, gather, is_padded, merged};
use crate::error::Result;
use crate::operator::{Ctx, Operator};
use crate::rows::Rows;
use crate::state::StateStore;

pub(crate) struct StreamTableJoin {
    kind: JoinKind,
    rows: JoinRows,
    state: StateStore,
}

impl StreamTableJoin {
    pub(crate) fn new(
        kind: JoinKind,
        [step, left, right]: [&Step; 3],
        state: StateStore,
    ) -> Result<Self> {
        Ok(StreamTableJoin { kind, rows: JoinRows::new(step, left, right, left)?, state })
    }
}

impl Operator for StreamTableJoin {
    fn step(&mut self, inputs: &[&[Rows]], _ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let inputs = gather(inputs)?;
        let keys = self.rows.encode_keys(&inputs)?;
        let key = |side: Side, row: usize| keys[side as usize].as_ref().and_then(|k| k.get(row));
        // Only keys of stream rows have to be known.
        let mut slots = Slots::default();
        if let Some(stream) = &inputs[0] {
            for row in (0..stream.len()).filter(|&row| stream.is_present(row)) {
                if let Some(key) = key(Side::Left, row) {
                    slots.number(key);
                }
            }
        }
        let stored = self.state.multi_get(&slots.keys)?;
        let mut table: Vec<Option<Version<'_>>> =
            stored.iter().map(Version::maybe_stored).collect::<Result<_>>()?;
        let values = match &inputs[1] {
            Some(rows) => Some(self.rows.values[1].encode(rows.value_columns(), rows.len())?),
            None => None,
        };
        let mut results = Vec::new();
        for (side, row) in merged(&inputs) {
            let (Some(key), Some(rows)) = (key(side, row), &inputs[side as usize]) else {
                continue;
            };
            let slot = slots.find(key);
            if side == Side::Right {
                let version = values.as_ref().filter(|_| rows.is_present(row)).map(|v| Version {
                    time: rows.times[row],
                    bytes: v.row(row),
                    row: Some(row as u32),
                });
                if let Some(slot) = slot {
                    table[slot] = version;
                }
                match version {
                    Some(version) => self.state.put(key, &version.to_state()),
                    None => self.state.delete(key),
                }
                continue;
            }
            let Some(slot) = slot.filter(|_| rows.is_present(row)) else { continue };
            let found = table[slot];
            if found.is_some() || is_padded(self.kind, Side::Left) {
                let own = Version { time: rows.times[row], bytes: &[], row: Some(row as u32) };
                results.push(Change {
                    slot,
                    key: KeyAt::Row(side, row),
                    time: own.time,
                    trigger: (side, row),
                    now: Some([Some(own), found]),
                    before: None,
                });
            }
        }
        self.rows.stream(&inputs, &results)
    }

    fn state(&mut self) -> Option<&mut StateStore> {
        Some(&mut self.state)
    }
}
