//! EXPLAIN, of a statement or of a running query: the dataflow as a tree.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use millstream_engine::runtime::QueryState;
use millstream_engine::state::StoreSize;
use millstream_sql::catalog::{Catalog, QueryEntry};
use millstream_sql::error::{ErrorKind, Result, SqlError};
use millstream_sql::plan::explain::explain_pull;
use millstream_sql::plan::{Dataflow, Op, Plan, PlanConfig, explain as explain_dataflow, plan};
use millstream_sql::syntax::ast::ExplainTarget;

use super::answer::{Entity, QueryDescription, QueryErrorInfo};
use super::node::Node;
use super::record::LiveTopics;
use super::scope::Scope;
use super::show::{fields, window_name};

/// Answers EXPLAIN.
pub(super) fn explain(node: &Node, target: &ExplainTarget, scope: &Scope) -> Result<Entity> {
    let catalog = node.catalog();
    let query_description = match target {
        ExplainTarget::Query(id) => {
            let query = catalog.query(id).ok_or_else(|| {
                let message = format!("no query has the id {id}");
                SqlError::new(ErrorKind::UnknownQuery, message, "SHOW QUERIES lists what runs.")
            })?;
            describe(node, &catalog, query)
        }
        ExplainTarget::Statement(statement) => {
            let config = PlanConfig::from_properties(&scope.properties)?;
            let env = LiveTopics::new(node.broker());
            let planned = plan(statement, &catalog, &config, &env)?;
            QueryDescription {
                statement_text: statement.text.clone(),
                overridden_properties: scope.properties.clone(),
                ..of_plan(&planned, &config)?
            }
        }
    };
    Ok(Entity::Query { query_description })
}

fn of_plan(plan: &Plan, config: &PlanConfig) -> Result<QueryDescription> {
    match plan {
        Plan::Push(query) => Ok(of_dataflow(&query.dataflow, config)),
        Plan::Ddl(ddl) => ddl.start.as_ref().map(|flow| of_dataflow(flow, config)).ok_or_else(|| {
            let message = "this statement starts no query";
            SqlError::new(ErrorKind::Unsupported, message, "EXPLAIN a query or an AS SELECT.")
        }),
        Plan::Pull(pull) => {
            let text = explain_pull(pull);
            Ok(QueryDescription {
                fields: fields(&pull.schema),
                sources: vec![pull.relation.clone()],
                topology: text.clone(),
                execution_plan: text,
                query_type: "PULL",
                ..QueryDescription::default()
            })
        }
        _ => {
            let message = "this statement starts no query";
            Err(SqlError::new(ErrorKind::Unsupported, message, "EXPLAIN a query or an AS SELECT."))
        }
    }
}

fn of_dataflow(dataflow: &Dataflow, config: &PlanConfig) -> QueryDescription {
    let text = explain_dataflow(dataflow, config);
    let last = dataflow.steps.last();
    let mut described = QueryDescription {
        id: dataflow.query_id.clone(),
        fields: last.map(|step| fields(&step.schema)).unwrap_or_default(),
        window_type: last.and_then(|step| window_name(step.window)),
        topology: text.clone(),
        execution_plan: text,
        query_type: "PERSISTENT",
        ..QueryDescription::default()
    };
    for step in &dataflow.steps {
        match &step.op {
            Op::Source(source) => described.sources.push(source.relation.clone()),
            Op::Sink(sink) => described.sinks.extend(sink.relation.clone()),
            _ => {}
        }
    }
    if described.sinks.is_empty() {
        described.query_type = "PUSH";
    }
    described
}

/// A persistent query with its state.
pub(super) fn describe(node: &Node, catalog: &Catalog, query: &QueryEntry) -> QueryDescription {
    let base = match node.dataflow(&query.id) {
        Some((dataflow, properties)) => {
            let config = PlanConfig::from_properties(&properties).unwrap_or_default();
            QueryDescription { overridden_properties: properties, ..of_dataflow(&dataflow, &config) }
        }
        None => QueryDescription::default(),
    };
    let sizes = node.state_sizes(&query.id).unwrap_or_default();
    let stores = stores_text(&sizes);
    let base = QueryDescription {
        topology: base.topology + &stores,
        execution_plan: base.execution_plan + &stores,
        ..base
    };
    let status = node.query_status(&query.id);
    let state = node.query_state(&query.id);
    let errors = match status.map(|s| s.state) {
        Some(QueryState::Error { reason, .. }) => vec![QueryErrorInfo {
            timestamp: node.log().clock.now_ms(),
            error_message: reason,
            kind: "UNKNOWN",
        }],
        _ => Vec::new(),
    };
    QueryDescription {
        id: query.id.clone(),
        statement_text: query.statement.clone(),
        sources: query.sources.clone(),
        sinks: catalog.relation(&query.sink).map(|r| r.name.clone()).into_iter().collect(),
        ksql_host_query_status: BTreeMap::from([("localhost".to_owned(), state.clone())]),
        query_type: "PERSISTENT",
        query_errors: errors,
        consumer_group_id: format!("_confluent-ksql-{}query_{}", node.service_id(), query.id),
        state,
        ..base
    }
}

/// What the operators of a query hold, a line each; empty when none holds anything of its own.
fn stores_text(sizes: &[StoreSize]) -> String {
    if sizes.is_empty() {
        return String::new();
    }
    let width = sizes.iter().map(|size| size.operator.len()).max().unwrap_or(0);
    let mut out = "state:\n".to_owned();
    for StoreSize { operator, entries, bytes, more } in sizes {
        let least = if *more { "more than " } else { "" };
        let noun = if *entries == 1 { "entry" } else { "entries" };
        let _ = writeln!(out, "    {operator:<width$}  {least}{entries} {noun}, {bytes} bytes");
    }
    out
}
