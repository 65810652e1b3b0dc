//! Runs the examples of functions: through the planner, a dataflow and the formats, as a persistent
//! query would be.

use millstream_sql::expr::functions::{Example, FunctionKind};
use millstream_sql::expr::literal::literal_text;

use crate::conformance::dataflow::Query;
use crate::conformance::world::World;

/// What the example's call gives, as the example would write it; a failure of a row is its text.
///
/// # Errors
/// When a statement is refused, or nothing comes out.
pub fn run(kind: FunctionKind, example: &Example) -> Result<String, String> {
    let mut world = World::empty();
    let mut execute = |sql: &str| world.execute(sql).map_err(|e| format!("{sql}: {e}"));
    let columns = if example.columns.is_empty() { "V INT" } else { &example.columns };
    execute(&format!(
        "CREATE STREAM EXAMPLE (ONE INT KEY, {columns}) WITH (kafka_topic = 'EXAMPLE', \
         partitions = 1, key_format = 'KAFKA', value_format = 'JSON');"
    ))?;
    let call = &example.call;
    execute(&match kind {
        FunctionKind::Aggregate => {
            format!("CREATE TABLE RESULT AS SELECT ONE, {call} AS R FROM EXAMPLE GROUP BY ONE;")
        }
        _ => format!("CREATE STREAM RESULT AS SELECT ONE, {call} AS R FROM EXAMPLE;"),
    })?;
    let rows = if example.rows.is_empty() { &["1".to_owned()][..] } else { &example.rows };
    for row in rows {
        execute(&format!("INSERT INTO EXAMPLE VALUES (1, {row});"))?;
    }
    let plan = world.queries.first().ok_or("no query was made")?;
    let mut query = Query::start(plan).map_err(|e| e.to_string())?;
    let mut results = vec![];
    for record in world.topics.records("EXAMPLE") {
        let sinks = query.step("EXAMPLE", record).map_err(|e| e.to_string())?;
        for rows in sinks.iter().flat_map(|(_, rows)| rows) {
            let value = rows.value_columns().first().ok_or("a row without a value")?;
            results.extend((0..rows.len()).map(|row| literal_text(value, row)));
        }
    }
    if let Some(reason) = query.reported.first() {
        return Err(format!("{call}: {reason}"));
    }
    match kind {
        FunctionKind::Table => Ok(results.join("; ")),
        _ => results.pop().ok_or_else(|| format!("{call} gave nothing")),
    }
}
