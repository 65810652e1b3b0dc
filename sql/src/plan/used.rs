//! Which columns of a source a dataflow looks at: what a decoder may leave out.

use super::{Dataflow, Op, StepId};
use crate::expr::Expr;

impl Dataflow {
    /// For each column of a Source step's relation, whether anything depends on its values. Where that
    /// is not plain to see (tables, joins) every column counts as used.
    pub fn columns_used(&self, source: StepId) -> Vec<bool> {
        let mut used: Vec<Vec<bool>> =
            self.steps.iter().map(|step| vec![false; step.schema.len()]).collect();
        for (id, step) in self.steps.iter().enumerate().rev() {
            let out = std::mem::take(&mut used[id]);
            let mut mark = |input: StepId, columns: &mut dyn Iterator<Item = usize>| {
                for column in columns {
                    if let Some(used) = used[input].get_mut(column) {
                        *used = true;
                    }
                }
            };
            let exprs = |exprs: &[Expr]| -> Vec<usize> { exprs.iter().flat_map(Expr::columns).collect() };
            let passed = (0..out.len()).filter(|i| out[*i]);
            match (&step.op, step.inputs.as_slice()) {
                (Op::Filter { predicate }, [input]) => {
                    mark(*input, &mut passed.chain(predicate.columns()));
                }
                (Op::Project { key, values }, [input]) => {
                    mark(*input, &mut key.iter().copied().chain(exprs(values)));
                }
                (Op::SelectKey { key, .. }, [input]) => {
                    // Value columns stay, behind the new key.
                    let old_key = self.steps[*input].schema.key.len();
                    let values = passed.filter(|i| *i >= key.len()).map(|i| i - key.len() + old_key);
                    mark(*input, &mut values.chain(exprs(key)));
                }
                (Op::FlatMap { calls }, [input]) => {
                    let args = calls.iter().flat_map(|call| call.arg.columns());
                    mark(*input, &mut passed.chain(args));
                }
                (Op::Aggregate(aggregate), [input]) => {
                    let args = aggregate.calls.iter().flat_map(|call| exprs(&call.args));
                    mark(*input, &mut exprs(&aggregate.group).into_iter().chain(args));
                }
                (_, inputs) => {
                    for input in inputs {
                        mark(*input, &mut (0..self.steps[*input].schema.len()));
                    }
                }
            }
            if id == source {
                return self.source_columns_used(source, out);
            }
        }
        Vec::new()
    }

    fn source_columns_used(&self, source: StepId, mut used: Vec<bool>) -> Vec<bool> {
        let Op::Source(plan) = &self.steps[source].op else { return Vec::new() };
        used.resize(plan.schema.len(), true);
        let time = plan.timestamp.as_ref().map(|t| t.column.as_str());
        let columns = plan.schema.columns().enumerate();
        for (i, column) in columns {
            let key = i < plan.schema.key.len();
            used[i] |= plan.materialize || key || time == Some(column.name.as_str());
        }
        used
    }
}
