//! Record time from a column: the `TIMESTAMP` and `TIMESTAMP_FORMAT` properties.
//!
//! Used by Source (what a record's time is) and Sink (what time a result is written with); the column
//! is a BIGINT of milliseconds, a TIMESTAMP, or a STRING with a Java pattern. A value that is NULL,
//! negative or does not match gives no time, and the row is dropped (`reference/ksqldb.md` 5.3 no. 21).

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, TimestampMillisecondType};
use datafusion_common::ScalarValue;
use millstream_sql::catalog::TimestampColumn;
use millstream_sql::expr::{Compiled, EvalContext, Expr, Functions, RowErrors, compile};
use millstream_sql::types::{Schema, SqlType};

use super::fixed_time::FixedPattern;
use crate::error::{EngineError, Result};
use crate::rows::Millis;

/// Reads times from a column of one schema.
#[derive(Debug)]
pub struct RecordTime {
    column: String,
    index: usize,
    compiled: Compiled,
    fixed: Option<FixedPattern>,
}

impl RecordTime {
    /// # Errors
    /// When the schema has no such column, or one of another type.
    pub fn new(timestamp: &TimestampColumn, schema: &Schema) -> Result<Self> {
        let name = &timestamp.column;
        let index = schema
            .index_of(name)
            .ok_or_else(|| EngineError::Shape(format!("no column {name} to take the time from")))?;
        let ty = schema.columns().nth(index).map(|c| c.ty.clone()).unwrap_or(SqlType::Bigint);
        let column = Expr::Column { index, name: name.clone(), ty };
        let expr = match &timestamp.format {
            None => column,
            Some(format) => {
                let format = Expr::Literal {
                    value: ScalarValue::Utf8View(Some(format.clone())),
                    ty: Some(SqlType::String),
                };
                let function = Functions::built_in().scalar("PARSE_TIMESTAMP");
                let function = function
                    .ok_or_else(|| EngineError::Shape("no function PARSE_TIMESTAMP".into()))?;
                Expr::Call { function, args: vec![column, format], ty: SqlType::Timestamp }
            }
        };
        let fixed = timestamp.format.as_deref().and_then(FixedPattern::new);
        Ok(RecordTime { column: name.clone(), index, compiled: compile(&expr, schema)?, fixed })
    }

    /// The time of each row, or why it has none.
    pub fn times(
        &self,
        batch: &RecordBatch,
        eval: &EvalContext,
    ) -> Vec<std::result::Result<Millis, String>> {
        if let Some(times) = self.fixed_times(batch) {
            return times;
        }
        let mut errors = RowErrors::default();
        let values = self.compiled.evaluate(batch, eval, &mut errors);
        let value = |row: usize| match values.data_type() {
            _ if values.is_null(row) => None,
            DataType::Int64 => Some(values.as_primitive::<Int64Type>().value(row)),
            DataType::Timestamp(..) => {
                Some(values.as_primitive::<TimestampMillisecondType>().value(row))
            }
            _ => None,
        };
        let mut times: Vec<_> = (0..batch.num_rows())
            .map(|row| match value(row) {
                Some(time) if time >= 0 => Ok(time),
                Some(time) => {
                    Err(format!("the time in column {} is negative: {time}", self.column))
                }
                None => Err(format!("column {} holds no time", self.column)),
            })
            .collect();
        for error in errors.0 {
            times[error.row] = Err(error.message.into_owned());
        }
        times
    }

    /// All rows' times, if every text is of the fixed pattern.
    fn fixed_times(&self, batch: &RecordBatch) -> Option<Vec<std::result::Result<Millis, String>>> {
        let pattern = self.fixed.as_ref()?;
        let texts = batch.columns().get(self.index)?.as_string_view_opt()?;
        let time = |text: Option<&str>| Some(Ok(pattern.parse(text?).filter(|time| *time >= 0)?));
        texts.iter().map(time).collect()
    }
}
