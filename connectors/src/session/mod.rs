//! The life of a statement, from text to running query.
//!
//! ```text
//! text ─► split ─► variables ─► parse ─► plan ─┬► DDL:    topic ─► journal ─► catalog ─► queries  (ddl.rs)
//!                                             ├► INSERT VALUES: one durable record        (insert.rs)
//!                                             ├► SHOW, DESCRIBE, EXPLAIN     (show.rs, explain.rs)
//!                                             └► SELECT, PRINT     (pull.rs, push.rs, print.rs)
//! ```
//!
//! A [`Node`] is everything that runs: log, catalog, engine. A [`Session`] is one client's view of it:
//! properties and variables. All calls block; the server calls them from threads that may.
//!
//! Invariants: a statement that is refused has changed nothing; a catalog change is in the journal
//! before anybody sees it; DDL statements happen one after another.

pub mod answer;
mod ddl;
mod explain;
mod functions;
mod insert;
pub mod json;
mod node;
mod print;
mod pull;
mod push;
mod record;
mod scope;
mod show;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use millstream_sql::error::{ErrorKind, Result, Span, SqlError};
use millstream_sql::plan::{Plan, PlanConfig, PullPlan, plan};
use millstream_sql::syntax::ast::{
    ExplainTarget, ParsedStatement, QueryTarget, RelationKind, Statement,
};
use millstream_sql::syntax::{parse_statement, split_statements};
use millstream_sql::types::{Column, SqlType};

pub use answer::{Answer, Entity, StatementError, Warning};
pub use node::{Health, Node, NodeConfig, NodeError, Place};
pub use print::{LineReceiver, PrintEvent, PrintLines};
pub use push::{PushEvent, PushRows, RowReceiver};

use crate::metrics::Metrics;
use record::LiveTopics;
use scope::Scope;

/// What a request brings beside its text; both last for the request.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    pub properties: BTreeMap<String, String>,
    pub variables: BTreeMap<String, String>,
}

/// What the statements of a request came to.
#[derive(Clone, Debug)]
pub struct Executed {
    /// One for each statement that answers something, up to the one that failed.
    pub answers: Vec<Answer>,
    pub error: Option<StatementError>,
}

/// The rows of a query.
pub enum QueryAnswer {
    Pull(PullRows),
    Push(PushRows),
    Print(PrintLines),
}

/// A column of a query's result, in the order of the rows' columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    pub name: String,
    pub ty: SqlType,
    /// Whether clients are told that it is part of the key.
    pub key: bool,
}

impl ResultColumn {
    fn new(column: &Column, key: bool) -> Self {
        Self { name: column.name.clone(), ty: column.ty.clone(), key }
    }
}

/// All rows of a pull query.
#[derive(Clone, Debug)]
pub struct PullRows {
    pub query_id: String,
    pub columns: Vec<ResultColumn>,
    pub batches: Vec<RecordBatch>,
    /// The epoch whose state was read; 0 for a read of a stream.
    pub epoch: u64,
    /// A read of a stream that ended at the query's LIMIT.
    pub limit_reached: bool,
}

/// Ends a push query or PRINT from any thread.
#[derive(Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// One client's properties and variables over a node. Cheap to make.
pub struct Session {
    node: Arc<Node>,
    scope: Scope,
}

impl Session {
    fn new(node: Arc<Node>) -> Session {
        let scope = Scope { properties: node.default_properties().clone(), ..Scope::default() };
        Session { node, scope }
    }

    /// Executes the statements of a text in order and stops at the first that fails. SET and DEFINE
    /// last for the session, what `ctx` brings for this call.
    pub fn execute(&mut self, text: &str, ctx: &RequestContext) -> Executed {
        let mut executed = Executed { answers: Vec::new(), error: None };
        let fail = |error, statement: &str| StatementError { error, statement: statement.to_owned() };
        let mut scope = match self.request_scope(ctx) {
            Ok(scope) => scope,
            Err(error) => return Executed { error: Some(fail(error, text)), ..executed },
        };
        let pieces = match split_statements(text) {
            Ok(pieces) => pieces,
            Err(error) => return Executed { error: Some(fail(error, text)), ..executed },
        };
        for piece in pieces {
            Metrics::count(&self.node.metrics().statements);
            match self.statement(piece.text, &mut scope) {
                Ok(Some(answer)) => executed.answers.push(answer),
                Ok(None) => {}
                Err(error) => {
                    Metrics::count(&self.node.metrics().statement_errors);
                    executed.error = Some(error);
                    break;
                }
            }
        }
        executed
    }

    /// Starts one SELECT or PRINT.
    ///
    /// # Errors
    /// When the text is anything else, or is refused.
    pub fn query(
        &mut self,
        text: &str,
        ctx: &RequestContext,
    ) -> std::result::Result<QueryAnswer, StatementError> {
        let fail = |error, statement: &str| StatementError { error, statement: statement.to_owned() };
        let scope = self.request_scope(ctx).map_err(|e| fail(e, text))?;
        let pieces = split_statements(text).map_err(|e| fail(e, text))?;
        let [piece] = pieces.as_slice() else {
            let message = format!("a query request holds one statement, not {}", pieces.len());
            let remedy = "Send the others to /ksql.";
            return Err(fail(SqlError::new(ErrorKind::Syntax, message, remedy), text));
        };
        let parsed = self.parse(piece.text, &scope)?;
        self.start_query(&parsed, &scope).map_err(|e| fail(e.at(subject(&parsed)), &parsed.text))
    }

    fn request_scope(&self, ctx: &RequestContext) -> Result<Scope> {
        let mut scope = self.scope.clone();
        for (name, value) in &ctx.properties {
            scope.set(name, value)?;
        }
        for (name, value) in &ctx.variables {
            scope.variables.define(name, value);
        }
        Ok(scope)
    }

    fn parse(
        &self,
        text: &str,
        scope: &Scope,
    ) -> std::result::Result<ParsedStatement, StatementError> {
        let fail = |error, statement: &str| StatementError { error, statement: statement.to_owned() };
        let text = match scope.substitutes() {
            true => scope.variables.substitute(text).map_err(|e| fail(e, text))?,
            false => text.to_owned(),
        };
        let catalog = self.node.catalog();
        let types = |name: &str| -> Option<SqlType> { catalog.custom_type(name).cloned() };
        parse_statement(&text, &types).map_err(|e| fail(e, &text))
    }

    fn statement(
        &mut self,
        text: &str,
        scope: &mut Scope,
    ) -> std::result::Result<Option<Answer>, StatementError> {
        let parsed = self.parse(text, scope)?;
        let shown = format!("{};", parsed.text);
        match self.perform(&parsed, scope) {
            Ok(entity) => Ok(entity.map(|entity| Answer::new(&shown, entity))),
            Err(error) => {
                Err(StatementError { error: error.at(subject(&parsed)), statement: parsed.text })
            }
        }
    }

    fn perform(&mut self, parsed: &ParsedStatement, scope: &mut Scope) -> Result<Option<Entity>> {
        match &parsed.statement {
            Statement::Query(_) | Statement::Print { .. } => Err(SqlError::new(
                ErrorKind::QueryWithoutRows,
                "SELECT and PRINT have rows, not an answer",
                "Send them to /query-stream or /query.",
            )),
            Statement::Set { name, value } => {
                scope.set(name, value)?;
                self.scope.set(name, value).map(|()| None)
            }
            Statement::Unset { name } => {
                scope.unset(name);
                self.scope.unset(name);
                Ok(None)
            }
            Statement::Define { name, value } => {
                scope.variables.define(name, value);
                self.scope.variables.define(name, value);
                Ok(None)
            }
            Statement::Undefine { name } => {
                scope.variables.undefine(name);
                self.scope.variables.undefine(name);
                Ok(None)
            }
            Statement::Show(show) => show::show(&self.node, show, scope).map(Some),
            Statement::Describe { name, extended } => {
                show::describe(&self.node, &name.text, *extended).map(Some)
            }
            Statement::DescribeAll { kind, extended } => {
                Ok(Some(show::describe_all(&self.node, *kind, *extended)))
            }
            Statement::DescribeFunction { name } => {
                functions::describe(self.node.catalog().functions(), name).map(Some)
            }
            Statement::Explain(target) => explain::explain(&self.node, target, scope).map(Some),
            Statement::AssertTopic { not_exists, topic, properties, timeout_ms } => {
                show::assert_topic(&self.node, *not_exists, topic, properties, *timeout_ms).map(Some)
            }
            Statement::InsertValues { .. } => {
                let catalog = self.node.catalog();
                let config = PlanConfig::from_properties(&scope.properties)?;
                let env = LiveTopics::new(self.node.broker());
                match plan(parsed, &catalog, &config, &env)? {
                    Plan::InsertValues(plan) => insert::insert(&plan, &catalog, self.node.log())?,
                    other => return Err(unexpected(&other)),
                }
                Ok(None)
            }
            Statement::Terminate(QueryTarget::Id(id)) if transient(id).is_some() => {
                let query_id = transient(id).unwrap_or_default();
                let was_terminated = self.node.terminate_transient(&query_id);
                Ok(Some(Entity::TerminateQuery { query_id, was_terminated }))
            }
            _ => ddl::perform(&self.node, parsed, &scope.properties).map(Some),
        }
    }

    fn start_query(&self, parsed: &ParsedStatement, scope: &Scope) -> Result<QueryAnswer> {
        if let Statement::Print { topic, from_beginning, interval, limit } = &parsed.statement {
            let broker = self.node.broker();
            let lines = print::print(broker, topic, *from_beginning, *interval, *limit)?;
            return Ok(QueryAnswer::Print(lines));
        }
        let catalog = self.node.catalog();
        let config = PlanConfig::from_properties(&scope.properties)?;
        match plan(parsed, &catalog, &config, &LiveTopics::new(self.node.broker()))? {
            Plan::Pull(plan) => self.pull(&plan).map(QueryAnswer::Pull),
            Plan::Push(plan) => {
                Metrics::count(&self.node.metrics().push_queries);
                push::start(&self.node, plan, &scope.properties).map(QueryAnswer::Push)
            }
            _ => Err(SqlError::new(
                ErrorKind::Syntax,
                "this statement is no query",
                "Send it to /ksql.",
            )),
        }
    }

    fn pull(&self, plan: &PullPlan) -> Result<PullRows> {
        Metrics::count(&self.node.metrics().pull_queries);
        let query_id = self.node.transient_id(&plan.relation);
        let catalog = self.node.catalog();
        let (batches, epoch) = match plan.kind {
            RelationKind::Table => {
                let snapshot = self.node.pull(plan)?;
                (vec![snapshot.rows], snapshot.epoch)
            }
            RelationKind::Stream => {
                let relation = catalog.relation(&plan.relation).cloned();
                let relation = relation.ok_or_else(|| node_error("the relation was dropped"))?;
                (pull::read_stream(plan, &relation, self.node.log())?, 0)
            }
        };
        // A stream has no key that rows could be looked up by, so none is shown.
        let is_table = plan.kind == RelationKind::Table;
        let columns = plan.result_columns().map(|(c, key)| ResultColumn::new(c, key && is_table));
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let limit_reached = !is_table && plan.limit.is_some_and(|limit| rows as u64 >= limit);
        Ok(PullRows { query_id, columns: columns.collect(), batches, epoch, limit_reached })
    }
}

/// Where a statement names what it is about: the place of an error that has none of its own.
fn subject(parsed: &ParsedStatement) -> Option<Span> {
    let name = match &parsed.statement {
        Statement::Describe { name, .. } => return name.span,
        Statement::Terminate(QueryTarget::Id(id))
        | Statement::Pause(QueryTarget::Id(id))
        | Statement::Resume(QueryTarget::Id(id))
        | Statement::Explain(ExplainTarget::Query(id)) => id,
        Statement::DescribeFunction { name } | Statement::Set { name, .. } => name,
        Statement::Print { topic, .. } | Statement::AssertTopic { topic, .. } => topic,
        _ => return None,
    };
    // ASCII upper case keeps every byte where it is.
    let start = parsed.text.to_ascii_uppercase().rfind(&name.to_ascii_uppercase())?;
    Some(Span { start, end: start + name.len() })
}

/// The id of a transient query as it was given out: what is not quoted in a statement came in upper
/// case.
fn transient(id: &str) -> Option<String> {
    const PREFIX: &str = "transient_";
    let (prefix, rest) = id.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then(|| format!("{PREFIX}{rest}"))
}

/// Something of the node itself failed; no other statement would have done better.
fn node_error(reason: impl Into<String>) -> SqlError {
    SqlError::new(
        ErrorKind::NodeFailed,
        reason,
        "See the server's log; /healthcheck tells whether it still works.",
    )
}

/// A statement that is understood but has nothing behind it. Its properties stay out of the message:
/// those of a connector hold secrets.
fn unexpected(plan: &Plan) -> SqlError {
    match plan {
        Plan::Session(
            Statement::CreateConnector { .. }
            | Statement::DropConnector { .. }
            | Statement::DescribeConnector { .. },
        ) => SqlError::unsupported("connectors are not built into this version"),
        _ => SqlError::unsupported("this statement cannot be used here"),
    }
}
