//! Plans: what a statement will do, as data.
//!
//! [`plan`] is a function of statement and catalog. A query's plan is a [`Dataflow`]: steps in
//! topological order, each with the schema of the rows it yields. The engine turns steps into
//! operators one to one; `explain.rs` prints them. Names in steps follow ksqlDB's, so that the
//! internal topics of a Kafka deployment would bear the names its users know.

mod aggregate;
mod alter;
mod config;
mod create_as;
mod create_source;
mod drop;
pub mod explain;
mod flow;
mod formats;
mod insert;
mod internal_topics;
mod join_steps;
mod joins;
mod keys;
mod magic_time;
mod names;
mod project;
mod properties;
mod pull;
mod query;
mod query_steps;
mod replace;
mod scope;
mod session;
mod suggest;
mod union;
mod used;
mod universe;
mod windows;

pub use config::{NoTopics, PlanConfig, PlanEnv};
pub use explain::{explain, explain_pull};
pub use internal_topics::internal_topics;
pub use properties::CREATE as CREATE_PROPERTIES;

use crate::catalog::{Catalog, CatalogChange, Format, KeyWindow, TimestampColumn};
use crate::error::Result;
use crate::expr::{AggregateCall, Expr, TableCall};
use crate::syntax::ast::{JoinKind, ParsedStatement, RelationKind, Statement, WindowKind};
use crate::types::Schema;

/// What planning may look at: the catalog, the session's properties, and how topics are laid out.
#[derive(Clone, Copy)]
struct Context<'a> {
    catalog: &'a Catalog,
    config: &'a PlanConfig,
    env: &'a dyn PlanEnv,
}

/// Decides what a statement means. The same arguments always give the same plan.
///
/// Errors are [`crate::SqlError`]s of the kinds in `error.rs`; nothing has been changed then.
pub fn plan(
    statement: &ParsedStatement,
    catalog: &Catalog,
    config: &PlanConfig,
    env: &dyn PlanEnv,
) -> Result<Plan> {
    let mut plan = plan_statement(statement, Context { catalog, config, env })?;
    let dataflow = match &mut plan {
        Plan::Ddl(ddl) => ddl.start.as_mut(),
        Plan::Push(query) => Some(&mut query.dataflow),
        _ => None,
    };
    if let Some(dataflow) = dataflow {
        let rekeyed = dataflow.steps.iter().any(|s| matches!(s.op, Op::SelectKey { .. }));
        for step in &mut dataflow.steps {
            match &mut step.op {
                Op::Source(source) => {
                    source.fail_on_invalid_timestamp = config.fail_on_invalid_timestamp;
                }
                Op::Sink(sink) => sink.rekeyed = rekeyed,
                _ => {}
            }
        }
    }
    Ok(plan)
}

fn plan_statement(statement: &ParsedStatement, context: Context<'_>) -> Result<Plan> {
    match &statement.statement {
        // What has no closer place is said of the thing to be created.
        Statement::CreateSource(create) => create_source::plan(create, &statement.text, context)
            .map_err(|e| e.at(create.name.span)),
        Statement::CreateAs(create) => {
            create_as::plan(create, &statement.text, context).map_err(|e| e.at(create.name.span))
        }
        Statement::InsertSelect { target, properties, query } => {
            insert::plan_select(target, properties, query, &statement.text, context)
                .map_err(|e| e.at(target.span))
        }
        Statement::InsertValues { target, columns, values } => {
            insert::plan_values(target, columns, values, context)
        }
        Statement::Query(query) if query.emit.is_some() => create_as::plan_push(query, context),
        Statement::Query(query) => pull::plan(query, context),
        Statement::Drop { kind, if_exists, name, delete_topic, cascade } => {
            drop::plan(*kind, *if_exists, name, (*delete_topic, *cascade), context)
        }
        Statement::AlterAdd { kind, name, columns } => {
            alter::plan(*kind, name, columns, &statement.text, context)
        }
        Statement::CreateType { name, if_not_exists, ty } => {
            session::create_type(name, *if_not_exists, ty, context)
        }
        Statement::DropType { name, if_exists } => session::drop_type(name, *if_exists, context),
        other => session::plan(other, context),
    }
}

/// Index of a step in [`Dataflow::steps`].
pub type StepId = usize;

/// A query's graph. Inputs of a step always have smaller ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataflow {
    /// `CSAS_X_0`, `transient_X_…`.
    pub query_id: String,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// ksqlDB's step name, such as `KsqlTopic`, `WhereFilter`, `Aggregate`, `Join`.
    pub name: String,
    pub op: Op,
    pub inputs: Vec<StepId>,
    /// The rows this step yields: key columns, then value columns.
    pub schema: Schema,
    /// Whether the rows are changes of a table (old and new value) or a stream's records.
    pub relation: RelationKind,
    /// Set when the rows' keys carry a window.
    pub window: Option<KeyWindow>,
}

/// What a step does. Expressions are over the columns of the step's (first) input.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Source(Source),
    /// Keeps rows for which the predicate is TRUE. On a table a row that stops matching becomes a
    /// deletion, one that never matched yields nothing. On a stream rows with a NULL value are dropped.
    Filter {
        predicate: Expr,
    },
    /// New value columns; the key columns stay, in the order of `key` (indices into the input's key).
    /// A NULL value (tombstone) passes through.
    Project {
        key: Vec<usize>,
        values: Vec<Expr>,
    },
    /// New key columns (PARTITION BY, or before a join); value columns stay as they are. A failing
    /// key expression gives a NULL key. `internal` when no user asked for it (join or aggregate).
    SelectKey {
        key: Vec<Expr>,
        internal: bool,
    },
    /// Table functions: appends one value column per call; as many rows as the longest result.
    FlatMap {
        calls: Vec<TableCall>,
    },
    Aggregate(Aggregate),
    StreamStreamJoin(StreamStreamJoin),
    /// Left input a stream, right a table; yields left key, then left values, then right values.
    StreamTableJoin {
        kind: JoinKind,
    },
    /// Both tables on their keys; yields the key, then left values, then right values.
    TableTableJoin {
        kind: JoinKind,
    },
    /// Left table's `foreign_key` (over its columns) is the right table's primary key; yields left
    /// key, then left values, then right values.
    ForeignKeyJoin {
        kind: JoinKind,
        foreign_key: Vec<Expr>,
    },
    /// The rows of all inputs, which are streams of equal types, in the order of their records.
    Union,
    Sink(Sink),
}

/// Reads a relation.
///
/// Its rows: the relation's key columns, then its value columns, then one column per pseudo column
/// in `pseudo`. A column may be renamed for a join (`schema` of the step holds the names to use).
/// A table source is materialised (it yields old values) when `materialize` is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub relation: String,
    pub topic: String,
    pub kind: RelationKind,
    /// The relation's own columns, as its topic holds them.
    pub schema: Schema,
    pub key_format: Format,
    pub value_format: Format,
    pub window: Option<KeyWindow>,
    pub timestamp: Option<TimestampColumn>,
    /// Whether a record whose `timestamp` is no valid time stops the query; else it is left out.
    pub fail_on_invalid_timestamp: bool,
    pub pseudo: Vec<PseudoColumn>,
    pub materialize: bool,
    /// Where the query begins to read it, if it says so itself (`WITH (START = …)`).
    pub start: Option<StartOffset>,
}

/// Where a query that never ran begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartOffset {
    Earliest,
    Latest,
    /// At the first record of this time or later; milliseconds since 1970.
    Time(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PseudoColumn {
    RowTime,
    RowPartition,
    RowOffset,
    WindowStart,
    WindowEnd,
}

/// GROUP BY with aggregates, on a stream (with or without window) or on a table.
///
/// Key columns of the step: the group expressions. Value columns: `carried` group-free columns come
/// first (none today), then one per call, then WINDOWSTART and WINDOWEND when `window_bounds`.
/// A row whose any group expression is NULL or fails is left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    pub group: Vec<Expr>,
    pub calls: Vec<AggregateCall>,
    pub window: Option<AggregateWindow>,
    /// Append BIGINT columns WINDOWSTART and WINDOWEND to the values.
    pub window_bounds: bool,
    pub emit_final: bool,
}

/// All in milliseconds; defaults are filled in by the planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AggregateWindow {
    pub kind: WindowKind,
    pub grace_ms: i64,
    pub retention_ms: i64,
}

/// Both inputs streams with equal key columns; yields the key, left values, right values.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamStreamJoin {
    pub kind: JoinKind,
    pub before_ms: i64,
    pub after_ms: i64,
    /// `None`: no GRACE clause; padded rows are emitted at once (`reference/ksqldb.md` 5.5 no. 29).
    pub grace_ms: Option<i64>,
    /// What else must hold of a pair, over this step's columns: only where a side is padded, for an
    /// inner join has a filter behind it.
    pub residual: Option<Expr>,
}

/// Where results go.
#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    /// `None` for a transient query (rows go to the client) and for SOURCE TABLE (state only).
    pub relation: Option<String>,
    pub topic: Option<String>,
    pub key_format: Format,
    pub value_format: Format,
    pub timestamp: Option<TimestampColumn>,
    /// Whether the query makes its keys itself; else a record without a key stays one.
    pub rekeyed: bool,
}

/// What a statement means, given the catalog.
#[allow(clippy::large_enum_variant)] // There is one at a time, and it does not live long.
#[derive(Clone, Debug)]
pub enum Plan {
    /// DDL and persistent queries: change the catalog, create the topic, start or stop queries.
    Ddl(DdlPlan),
    /// A push query: run until the client leaves or `limit` rows were sent.
    Push(QueryPlan),
    Pull(PullPlan),
    InsertValues(InsertValues),
    /// Statements that only look or set: answered by the session from catalog and runtime.
    Session(crate::syntax::ast::Statement),
    /// IF (NOT) EXISTS found nothing to do; the text says so.
    NoOp {
        message: String,
    },
}

#[derive(Clone, Debug)]
pub struct DdlPlan {
    /// Applied to the catalog in order, journaled as one record.
    pub changes: Vec<CatalogChange>,
    /// The query to start, already with its id.
    pub start: Option<Dataflow>,
    /// Queries to stop before.
    pub stop: Vec<String>,
    /// The topic that must exist before (created when absent).
    pub create_topic: Option<TopicSpec>,
    pub delete_topic: Option<String>,
    /// What to tell the user: `Stream created`, `Created query with ID CSAS_X_0`.
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    /// `None`: as many as the first source's topic has; for a declared source the topic must exist.
    pub partitions: Option<u32>,
    pub replicas: Option<i16>,
    pub retention_ms: Option<i64>,
    pub cleanup: Cleanup,
    /// Topic whose partition count is taken when `partitions` is `None`.
    pub like: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    Delete,
    Compact,
    CompactDelete,
}

/// A push query. The client sees the value columns of the last step, in their order; the key columns
/// are there for the engine (which row of a table changed) and bear names no SQL column can have.
#[derive(Clone, Debug)]
pub struct QueryPlan {
    pub dataflow: Dataflow,
    pub limit: Option<u64>,
}

/// A look into a materialised table, or a finite read of a stream.
#[derive(Clone, Debug)]
pub struct PullPlan {
    pub relation: String,
    pub kind: RelationKind,
    /// The relation's columns and pseudo columns that expressions are over: key, value, then these.
    pub input: Schema,
    pub pseudo: Vec<PseudoColumn>,
    /// Whole-key lookups, if the WHERE clause gives them: one list of key column literals each.
    pub keys: Option<Vec<Vec<Expr>>>,
    /// Bounds on WINDOWSTART and WINDOWEND in milliseconds, inclusive, from the WHERE clause.
    pub window_start: TimeRange,
    pub window_end: TimeRange,
    /// What remains to be checked per row; the whole WHERE clause, to be safe.
    pub filter: Option<Expr>,
    pub items: Vec<(String, Expr)>,
    pub limit: Option<u64>,
    /// The result's columns; key columns marked as clients see them.
    pub schema: Schema,
}

/// Inclusive; `None` is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    pub from_ms: Option<i64>,
    pub to_ms: Option<i64>,
}

/// One row to produce: an expression without columns for each column of the relation, NULL included.
#[derive(Clone, Debug)]
pub struct InsertValues {
    pub relation: String,
    /// Parallel to the relation's `schema.columns()`.
    pub values: Vec<Expr>,
    /// ROWTIME if given.
    pub time: Option<Expr>,
}
