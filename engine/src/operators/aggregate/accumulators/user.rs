//! Aggregates from outside the library: a fold whose state is one value per group.
//!
//! Saved form: the state's arrow-row encoding, with its length before it.

use arrow::array::{ArrayRef, new_empty_array};
use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use millstream_sql::expr::UserAggregate;

use super::{Accumulator, Args, retain_slots};
use crate::codec::RowCodec;
use crate::error::{EngineError, Result};
use crate::state::{put_bytes, take_bytes};

pub(super) struct User {
    function: UserAggregate,
    codec: RowCodec,
    ty: DataType,
    /// `None` stands for the initial state.
    states: Vec<Option<ScalarValue>>,
    new: Vec<ArrayRef>,
    old: Vec<ArrayRef>,
}

impl User {
    /// `ty` is the result's.
    pub(super) fn new(function: UserAggregate, ty: DataType) -> Result<Self> {
        let codec = RowCodec::of_types(vec![function.0.initial().data_type()])?;
        Ok(User { function, codec, ty, states: vec![], new: vec![], old: vec![] })
    }

    fn state(&self, slot: u32) -> ScalarValue {
        self.states[slot as usize].clone().unwrap_or_else(|| self.function.0.initial())
    }

    fn added(&self, row: u32, slot: u32) -> std::result::Result<ScalarValue, String> {
        let args = values(&self.new, row)?;
        self.function.0.add(&self.state(slot), &args)
    }
}

fn values(columns: &[ArrayRef], row: u32) -> std::result::Result<Vec<ScalarValue>, String> {
    let value = |c: &ArrayRef| ScalarValue::try_from_array(c, row as usize);
    columns.iter().map(|c| value(c).map_err(|e| e.to_string())).collect()
}

fn damaged(e: impl std::fmt::Display) -> EngineError {
    EngineError::Shape(format!("a user-defined aggregate: {e}"))
}

impl Accumulator for User {
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.new.clone_from(&args.new);
        self.old.clone_from(&args.old);
        Ok(())
    }

    fn end(&mut self) {
        self.new.clear();
        self.old.clear();
    }

    fn grow(&mut self, slots: usize) {
        self.states.resize(slots, None);
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        for (&row, &slot) in rows.iter().zip(slots) {
            if let Ok(state) = self.added(row, slot) {
                self.states[slot as usize] = Some(state);
            }
        }
    }

    fn subtract(&mut self, rows: &[u32], slots: &[u32]) {
        for (&row, &slot) in rows.iter().zip(slots) {
            let Ok(args) = values(&self.old, row) else { continue };
            let state = self.function.0.subtract(&self.state(slot), &args);
            if let Some(state) = state {
                self.states[slot as usize] = Some(state);
            }
        }
    }

    fn can_refuse(&self) -> bool {
        true
    }

    fn refuses(&self, row: u32, slot: u32) -> Option<String> {
        self.added(row, slot).err()
    }

    fn merge(&mut self, into: u32, from: u32) {
        let merged = self.function.0.merge(&self.state(into), &self.state(from));
        self.states[into as usize] = Some(merged);
        self.states[from as usize] = None;
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        if slots.is_empty() {
            return Ok(new_empty_array(&self.ty));
        }
        let finished = slots.iter().map(|&slot| {
            let value = self.function.0.finish(&self.state(slot));
            if value.data_type() == self.ty { Ok(value) } else { value.cast_to(&self.ty) }
        });
        let finished = finished.collect::<std::result::Result<Vec<_>, _>>().map_err(damaged)?;
        ScalarValue::iter_to_array(finished).map_err(damaged)
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        let column = self.state(slot).to_array().ok();
        let encoded = column.and_then(|column| self.codec.encode(&[column], 1).ok());
        put_bytes(out, encoded.as_ref().map_or(&[], |rows| rows.row(0)));
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        let columns = self.codec.decode([take_bytes(at)?]).ok()?;
        let state = ScalarValue::try_from_array(columns.first()?, 0).ok()?;
        self.states[slot as usize] = Some(state);
        Some(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.states, kept);
    }

    fn heap_bytes(&self) -> usize {
        self.states.iter().flatten().map(ScalarValue::size).sum()
    }
}
