//! Puts the rows of several streams into one (UNION ALL).
//!
//! Takes rows of equal types; gives them the first input's names. Emits each row of each input once, in
//! the order of their triggers: an epoch's records of all sources are in the order of their time.
//!
//! State: none.

use arrow::datatypes::SchemaRef;
use millstream_sql::types::Schema;

use crate::error::Result;
use crate::operator::{Ctx, Operator};
use crate::rows::{Rows, batch};

pub(crate) struct Union {
    output: SchemaRef,
}

impl Union {
    pub(crate) fn new(output: &Schema) -> Self {
        Union { output: output.to_arrow() }
    }
}

impl Operator for Union {
    fn step(&mut self, inputs: &[&[Rows]], _ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let mut parts = Vec::new();
        for rows in inputs.iter().copied().flatten().filter(|rows| !rows.is_empty()) {
            let columns = batch(&self.output, rows.columns.columns().to_vec(), rows.len())?;
            parts.push(Rows { columns, ..rows.clone() });
        }
        Rows::in_order(parts)
    }
}
