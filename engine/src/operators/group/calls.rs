//! The calls of one GROUP BY: their arguments, their states, and states as bytes.
//!
//! A group's value in state is `time i64 LE`, then each call's bytes in order.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::BooleanBuffer;
use millstream_sql::expr::{AggregateCall, EvalContext, RowErrors};
use millstream_sql::types::Schema;

use super::accumulator::{Accumulator, AddErrors, Entries, accumulator};
use crate::error::Result;
use crate::operators::Exprs;
use crate::operators::table::{damaged, time_of};
use crate::rows::Millis;

pub(crate) struct Calls {
    calls: Vec<AggregateCall>,
    args: Exprs,
    states: Vec<Box<dyn Accumulator>>,
}

/// The arguments of all calls for one batch.
pub(crate) struct Args(Vec<ArrayRef>);

impl Calls {
    pub(crate) fn new(calls: &[AggregateCall], input: &Schema) -> Result<Self> {
        Ok(Calls {
            args: Exprs::new(calls.iter().flat_map(|c| &c.args), input)?,
            states: calls.iter().map(accumulator).collect::<Result<_>>()?,
            calls: calls.to_vec(),
        })
    }

    pub(crate) fn args(
        &self,
        batch: &RecordBatch,
        present: Option<&BooleanBuffer>,
        eval: &EvalContext,
        errors: &mut RowErrors,
    ) -> Result<Args> {
        Ok(Args(self.args.evaluate(batch, present, eval, errors)?))
    }

    pub(crate) fn grow(&mut self, slots: usize) {
        self.states.iter_mut().for_each(|state| state.grow(slots));
    }

    pub(crate) fn add(&mut self, entries: Entries<'_>, args: &Args, errors: &mut AddErrors) -> Result<()> {
        self.each(args, |state, args| state.add(entries, args, errors))
    }

    pub(crate) fn remove(&mut self, entries: Entries<'_>, args: &Args, errors: &mut AddErrors) -> Result<()> {
        self.each(args, |state, args| state.remove(entries, args, errors))
    }

    fn each(
        &mut self,
        args: &Args,
        mut act: impl FnMut(&mut dyn Accumulator, &[ArrayRef]) -> Result<()>,
    ) -> Result<()> {
        let mut from = 0;
        for (state, call) in self.states.iter_mut().zip(&self.calls) {
            let to = from + call.args.len();
            act(state.as_mut(), &args.0[from..to])?;
            from = to;
        }
        Ok(())
    }

    pub(crate) fn merge(&mut self, into: usize, from: usize) {
        self.states.iter_mut().for_each(|state| state.merge(into, from));
    }

    /// The results of `slots`, one column per call.
    pub(crate) fn finish(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.states.iter().map(|state| state.finish(slots)).collect()
    }

    pub(crate) fn compact(&mut self, keep: &[u32]) {
        self.states.iter_mut().for_each(|state| state.compact(keep));
    }

    pub(crate) fn save(&self, slot: usize, time: Millis, out: &mut Vec<u8>) {
        out.extend_from_slice(&time.to_le_bytes());
        self.states.iter().for_each(|state| state.save(slot, out));
    }

    /// Reads what `save` wrote into a slot that nothing was added to; gives the time.
    pub(crate) fn load(&mut self, slot: usize, value: &[u8]) -> Result<Millis> {
        let time = time_of(value)?;
        let mut at = &value[8..];
        for state in &mut self.states {
            state.load(slot, &mut at).ok_or_else(damaged)?;
        }
        Ok(time)
    }

    /// Times and results of values as they are in state.
    pub(crate) fn read(&self, values: &[Vec<u8>]) -> Result<(Vec<Millis>, Vec<ArrayRef>)> {
        let states = self.calls.iter().map(accumulator).collect::<Result<_>>()?;
        let args = Exprs::none();
        let mut reader = Calls { calls: self.calls.clone(), args, states };
        reader.grow(values.len());
        let mut times = Vec::with_capacity(values.len());
        for (slot, value) in values.iter().enumerate() {
            times.push(reader.load(slot, value)?);
        }
        let all: Vec<u32> = (0..values.len() as u32).collect();
        Ok((times, reader.finish(&all)?))
    }
}
