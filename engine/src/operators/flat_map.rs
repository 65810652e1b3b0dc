//! Table functions: each row becomes as many as the longest of their results.
//!
//! Emits the row's columns and one value of each call, shorter results padded with NULL; nothing for a
//! row whose results are all empty, and nothing for a row with a NULL value.
//!
//! State: none.

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use millstream_sql::expr::{RowErrors, TableCall, TableFunction};
use millstream_sql::types::Schema;

use super::Exprs;
use crate::error::{EngineError, Result};
use crate::operator::{Ctx, Operator};
use crate::rows::{Rows, batch};

/// Above this many elements CUBE_EXPLODE's 2^n rows are refused: the row is reported.
const LARGEST_CUBE: usize = 20;

pub(crate) struct FlatMap {
    functions: Vec<TableFunction>,
    args: Exprs,
    schema: SchemaRef,
}

/// The results of one call: for each row a range of `values`.
struct Results {
    values: ArrayRef,
    /// First place and count.
    ranges: Vec<(usize, usize)>,
}

impl FlatMap {
    pub(crate) fn new(calls: &[TableCall], input: &Schema, output: &Schema) -> Result<Self> {
        let args = Exprs::new(calls.iter().map(|c| &c.arg), input)?;
        let functions = calls.iter().map(|c| c.function).collect();
        Ok(FlatMap { functions, args, schema: output.to_arrow() })
    }

    fn map(&self, rows: &Rows, ctx: &mut Ctx<'_>) -> Result<Rows> {
        let mut errors = RowErrors::default();
        let args =
            self.args.evaluate(&rows.columns, rows.present.as_ref(), &ctx.eval(), &mut errors)?;
        ctx.report(errors, &rows.triggers);
        let mut results = Vec::with_capacity(args.len());
        for (function, arg) in self.functions.iter().zip(&args) {
            let lists = arg.as_list_opt::<i32>().ok_or_else(|| {
                EngineError::Shape("the argument of a table function is no array".into())
            })?;
            results.push(match function {
                TableFunction::Explode => explode(lists),
                TableFunction::CubeExplode => cube(lists, rows, ctx)?,
            });
        }
        let mut from: Vec<u32> = Vec::new();
        let mut places: Vec<Vec<Option<u32>>> = vec![Vec::new(); results.len()];
        for row in 0..rows.len() {
            let longest = results.iter().map(|r| r.ranges[row].1).max().unwrap_or(0);
            for i in 0..longest {
                from.push(row as u32);
                for (result, places) in results.iter().zip(&mut places) {
                    let (first, count) = result.ranges[row];
                    places.push((i < count).then_some((first + i) as u32));
                }
            }
        }
        let repeated = rows.take(&from)?;
        let mut columns = repeated.columns.columns().to_vec();
        for (result, places) in results.iter().zip(places) {
            columns.push(take(result.values.as_ref(), &UInt32Array::from(places), None)?);
        }
        Ok(Rows {
            columns: batch(&self.schema, columns, from.len())?,
            present: None,
            ..repeated
        })
    }
}

fn explode(lists: &ListArray) -> Results {
    let ranges = (0..lists.len())
        .map(|row| {
            let first = lists.value_offsets()[row] as usize;
            let count = if lists.is_null(row) { 0 } else { lists.value_length(row) as usize };
            (first, count)
        })
        .collect();
    Results { values: lists.values().clone(), ranges }
}

/// All combinations of a list's elements, each either there or NULL, the last element varying first;
/// an element that is NULL already does not double them.
fn cube(lists: &ListArray, rows: &Rows, ctx: &mut Ctx<'_>) -> Result<Results> {
    let mut places: Vec<Option<u32>> = Vec::new();
    let mut lengths: Vec<usize> = Vec::new();
    let mut ranges = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        let first = lists.value_offsets()[row] as usize;
        let count = if lists.is_null(row) { 0 } else { lists.value_length(row) as usize };
        let start = lengths.len();
        if count > LARGEST_CUBE {
            let reason = format!("CUBE_EXPLODE of {count} columns; at most {LARGEST_CUBE}");
            ctx.report_row(reason, &rows.triggers, row);
        } else if !lists.is_null(row) {
            let there = |i: usize| lists.values().is_valid(first + i);
            let nullable: u32 =
                (0..count).filter(|&i| there(i)).map(|i| 1 << (count - 1 - i)).sum();
            for mask in (0..1u32 << count).filter(|mask| mask & !nullable == 0) {
                for i in 0..count {
                    let set = mask & (1 << (count - 1 - i)) != 0;
                    places.push(set.then_some((first + i) as u32));
                }
                lengths.push(count);
            }
        }
        ranges.push((start, lengths.len() - start));
    }
    let DataType::List(item) = lists.data_type() else {
        return Err(EngineError::Shape("CUBE_EXPLODE of no array".into()));
    };
    let values = take(lists.values().as_ref(), &UInt32Array::from(places), None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let combined = ListArray::new(item.clone(), offsets, values, None);
    Ok(Results { values: std::sync::Arc::new(combined), ranges })
}

impl Operator for FlatMap {
    fn step(&mut self, inputs: &[&[Rows]], ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let mut out = Vec::new();
        for rows in inputs[0] {
            let mapped = self.map(rows, ctx)?;
            if !mapped.is_empty() {
                out.push(mapped);
            }
        }
        Ok(out)
    }
}
