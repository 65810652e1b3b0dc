//! The topics that a deployment on Kafka would need inside a query, named as ksqlDB names them.
//!
//! Rows must go through a topic where they are keyed anew (GROUP BY, a join not on the key), and where
//! two joined sides write equal keys as different bytes: in different formats, or in one whose keys
//! hold a schema id. Rules: `reference/ksqldb.md` 5.5 no. 33 and 5.6. In one process nothing moves.

use crate::catalog::FormatKind;
use crate::expr::Expr;
use crate::plan::{Dataflow, Op, PlanConfig, Step, StepId};
use crate::syntax::ast::RelationKind;

/// All internal topics of a query.
pub fn internal_topics(dataflow: &Dataflow, config: &PlanConfig) -> Vec<String> {
    (0..dataflow.steps.len()).flat_map(|id| before(dataflow, id, config)).collect()
}

/// The topics through which a step's input comes.
pub(super) fn before(dataflow: &Dataflow, id: StepId, config: &PlanConfig) -> Vec<String> {
    let step = &dataflow.steps[id];
    let parts = match &step.op {
        Op::Aggregate(aggregate) => aggregate_part(dataflow, step, &aggregate.group),
        Op::StreamStreamJoin(_) | Op::StreamTableJoin { .. } | Op::TableTableJoin { .. } => {
            join_parts(dataflow, step, config.default_key_format)
        }
        _ => vec![],
    };
    let (service, query) = (&config.service_id, &dataflow.query_id);
    let name = |part| format!("_confluent-ksql-{service}query_{query}-{part}-repartition");
    parts.into_iter().map(name).collect()
}

/// Grouping a stream by its whole key moves nothing; a table's changes always move.
fn aggregate_part(dataflow: &Dataflow, step: &Step, group: &[Expr]) -> Vec<String> {
    let Some(input) = step.inputs.first().map(|i| &dataflow.steps[*i]) else { return vec![] };
    let is_key = |(i, g): (usize, &Expr)| matches!(g, Expr::Column { index, .. } if *index == i);
    let same = group.len() == input.schema.key.len() && group.iter().enumerate().all(is_key);
    if same && input.relation == RelationKind::Stream {
        return vec![];
    }
    vec![format!("{}-GroupBy", step.name)]
}

fn join_parts(dataflow: &Dataflow, step: &Step, default: FormatKind) -> Vec<String> {
    let [left, right] = step.inputs.as_slice() else { return vec![] };
    let sides = [Side::of(dataflow, *left, default), Side::of(dataflow, *right, default)];
    let format = chosen(&sides, default);
    let both_streams = matches!(step.op, Op::StreamStreamJoin(_));
    let mut parts = Vec::new();
    for (side, (input, word)) in sides.iter().zip([(left, "left"), (right, "right")]) {
        if !side.rekeyed && side.format == format && !format.uses_registry() {
            continue;
        }
        parts.push(if dataflow.steps[*input].relation == RelationKind::Table {
            let prefix = step.name.strip_suffix("Join").unwrap_or_default();
            let side = if word == "left" { "Left" } else { "Right" };
            format!("{prefix}{side}SourceKeyed-SelectKey")
        } else if both_streams {
            format!("{}-{word}", step.name)
        } else {
            step.name.clone()
        });
    }
    parts
}

/// How one side of a join is keyed.
struct Side {
    format: FormatKind,
    rekeyed: bool,
}

impl Side {
    fn of(dataflow: &Dataflow, id: StepId, default: FormatKind) -> Side {
        let step = &dataflow.steps[id];
        let input = |n: usize| {
            let input = step.inputs.get(n).copied();
            input.map_or(Side { format: default, rekeyed: false }, |i| {
                Side::of(dataflow, i, default)
            })
        };
        match &step.op {
            Op::Source(source) => Side { format: source.key_format.kind, rekeyed: false },
            Op::SelectKey { .. } => Side { rekeyed: true, ..input(0) },
            Op::StreamStreamJoin(_) | Op::StreamTableJoin { .. } | Op::TableTableJoin { .. } => {
                Side { format: chosen(&[input(0), input(1)], default), rekeyed: false }
            }
            _ => input(0),
        }
    }
}

/// The key format both sides of a join are brought to.
fn chosen(sides: &[Side; 2], default: FormatKind) -> FormatKind {
    let kept = sides.iter().find(|s| !s.rekeyed);
    let real = || sides.iter().find(|s| s.format != FormatKind::None);
    kept.or_else(real).map_or(default, |s| s.format)
}
