//! Typed expressions to a tree of vectorised operations.
//!
//! Parts without columns, parameters and volatile calls are computed here, once, and become
//! constants, unless they fail: then each row of the data has to report it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;

use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::eval::arithmetic::{ArithmeticNode, NegateNode};
use crate::expr::eval::cast::{self, CastNode};
use crate::expr::eval::compare::{CompareNode, ConstantSet, InNode};
use crate::expr::eval::construct::{
    ArrayNode, EntryNode, FieldNode, ItemNode, MapNode, StructNode,
};
use crate::expr::eval::like::LikeNode;
use crate::expr::eval::logic::{CaseNode, IsNullNode, LogicalNode, NotNode};
use crate::expr::eval::{ColumnNode, Input, LiteralNode, NodeRef, Run};
use crate::expr::functions::{self, CallNode, LambdaBody};
use crate::expr::{EvalContext, Expr, RowErrors, value};
use crate::types::{Schema, SqlType};

/// An expression ready to run over batches that have the schema it was compiled for.
#[derive(Debug)]
pub struct Compiled {
    root: NodeRef,
    ty: DataType,
}

/// Prepares `expr` for batches with the columns of `input`, in the order of `input.columns()`.
pub fn compile(expr: &Expr, input: &Schema) -> Result<Compiled> {
    let ty = expr.ty().unwrap_or(SqlType::String).to_arrow();
    let scope = Slots { columns: input.len(), captured: None, params: vec![] };
    Ok(Compiled { root: node(expr, &scope)?, ty })
}

impl Compiled {
    pub(crate) fn root(&self) -> &NodeRef {
        &self.root
    }

    /// The expression's value for every row of `batch`: an array of as many rows, of the Arrow type
    /// of the expression's SQL type. Rows that fail are NULL and listed in `errors`. Never fails.
    pub fn evaluate(
        &self,
        batch: &RecordBatch,
        ctx: &EvalContext,
        errors: &mut RowErrors,
    ) -> ArrayRef {
        let rows = batch.num_rows();
        let input = Input { columns: batch.columns(), rows };
        let value = self.root.eval(&input, &mut Run { ctx, errors });
        let array = value.into_array(rows);
        debug_assert_eq!(array.data_type(), &self.ty);
        array
    }

    /// The rows of `batch` for which a BOOLEAN expression is TRUE. NULL and failure count as FALSE.
    pub fn filter(
        &self,
        batch: &RecordBatch,
        ctx: &EvalContext,
        errors: &mut RowErrors,
    ) -> BooleanBuffer {
        let answer = self.evaluate(batch, ctx, errors);
        let Some(answer) = answer.as_boolean_opt() else {
            return BooleanBuffer::new_unset(batch.num_rows());
        };
        match Array::nulls(answer) {
            None => answer.values().clone(),
            Some(nulls) => answer.values() & nulls.inner(),
        }
    }
}

/// Where columns and lambda parameters are found in the [`Input`].
struct Slots {
    columns: usize,
    /// Inside a lambda: which outer slots its input starts with; column `c` is at the place of its
    /// outer slot in this list.
    captured: Option<Vec<usize>>,
    /// Visible parameters, innermost last, with their slots.
    params: Vec<(String, usize)>,
}

impl Slots {
    fn column(&self, slot: usize) -> Option<usize> {
        match &self.captured {
            None => (slot < self.columns).then_some(slot),
            Some(captured) => captured.iter().position(|c| *c == slot),
        }
    }

    fn param(&self, name: &str) -> Option<usize> {
        self.params.iter().rev().find(|(n, _)| n == name).map(|(_, slot)| *slot)
    }
}

fn broken(what: String) -> SqlError {
    SqlError::new(ErrorKind::UnknownColumn, what, "This is a fault of Millstream; report it.")
}

fn node(expr: &Expr, slots: &Slots) -> Result<NodeRef> {
    let below = |e: &Expr| node(e, slots);
    let all = |es: &[Expr]| es.iter().map(below).collect::<Result<Vec<_>>>();
    let made: NodeRef = match expr {
        Expr::Column { index, name, .. } => {
            let slot = slots
                .column(*index)
                .ok_or_else(|| broken(format!("column {name} is not in the step's input")))?;
            return Ok(Arc::new(ColumnNode(slot)));
        }
        Expr::LambdaParam { name, .. } => {
            let slot = slots
                .param(name)
                .ok_or_else(|| broken(format!("{name} is no parameter of a lambda around it")))?;
            return Ok(Arc::new(ColumnNode(slot)));
        }
        Expr::Literal { value, ty } => {
            let ty = ty.clone().unwrap_or(SqlType::String);
            return Ok(Arc::new(LiteralNode(value::literal_array(value, &ty)?)));
        }
        Expr::Call { function, args, ty } => {
            let variant = functions::resolve_compiled(function, args, ty)?;
            let mut values = Vec::with_capacity(args.len());
            let mut lambdas = vec![];
            for arg in args {
                match arg {
                    Expr::Lambda { params, body } => lambdas.push(lambda(params, body, slots)?),
                    _ => values.push(below(arg)?),
                }
            }
            Arc::new(CallNode::new(function.clone(), variant, values, lambdas, ty.clone()))
        }
        Expr::Arithmetic { op, left, right, ty } => Arc::new(ArithmeticNode {
            op: *op,
            left: below(left)?,
            right: below(right)?,
            ty: ty.clone(),
        }),
        Expr::Negate(operand) => Arc::new(NegateNode(below(operand)?)),
        Expr::Compare { op, left, right } => {
            Arc::new(CompareNode { op: *op, left: below(left)?, right: below(right)? })
        }
        Expr::Logical { and, left, right } => {
            Arc::new(LogicalNode { and: *and, left: below(left)?, right: below(right)? })
        }
        Expr::Not(operand) => Arc::new(NotNode(below(operand)?)),
        Expr::IsNull { operand, negated } => {
            Arc::new(IsNullNode { operand: below(operand)?, negated: *negated })
        }
        Expr::Like { operand, pattern, escape, negated } => Arc::new(LikeNode {
            operand: below(operand)?,
            pattern: below(pattern)?,
            escape: *escape,
            negated: *negated,
        }),
        Expr::In { operand, list, negated } => {
            let constants: Option<Vec<ArrayRef>> = list
                .iter()
                .map(|item| match item {
                    Expr::Literal { value, ty: Some(ty) } => value::literal_array(value, ty).ok(),
                    _ => None,
                })
                .collect();
            Arc::new(InNode {
                operand: below(operand)?,
                list: all(list)?,
                negated: *negated,
                set: constants.and_then(|c| ConstantSet::of(&c)),
            })
        }
        Expr::Case { branches, otherwise, ty } => Arc::new(CaseNode {
            branches: branches
                .iter()
                .map(|(when, then)| Ok((below(when)?, below(then)?)))
                .collect::<Result<_>>()?,
            otherwise: otherwise.as_deref().map(below).transpose()?,
            ty: ty.to_arrow(),
        }),
        Expr::Cast { operand, ty } => {
            let from = operand.ty().unwrap_or_else(|| ty.clone());
            if !cast::supported(&from, ty) {
                return Err(broken(format!("there is no cast from {from} to {ty}")));
            }
            Arc::new(CastNode { operand: below(operand)?, from, to: ty.clone() })
        }
        Expr::Field { operand, name, .. } => {
            let index = match operand.ty() {
                Some(SqlType::Struct(fields)) => fields.iter().position(|f| f.name == *name),
                _ => None,
            };
            let index = index.ok_or_else(|| broken(format!("{operand} has no field {name}")))?;
            Arc::new(FieldNode { operand: below(operand)?, index })
        }
        Expr::Element { operand, index, .. } => match operand.ty() {
            Some(SqlType::Map(..)) => {
                Arc::new(EntryNode { operand: below(operand)?, key: below(index)? })
            }
            _ => Arc::new(ItemNode { operand: below(operand)?, index: below(index)? }),
        },
        Expr::Array { items, ty } => match ty.to_arrow() {
            DataType::List(field) => Arc::new(ArrayNode { items: all(items)?, field }),
            other => return Err(broken(format!("an array of type {other}"))),
        },
        Expr::Map { entries, ty } => match ty.to_arrow() {
            DataType::Map(field, _) => Arc::new(MapNode {
                entries: entries
                    .iter()
                    .map(|(k, v)| Ok((below(k)?, below(v)?)))
                    .collect::<Result<_>>()?,
                field,
            }),
            other => return Err(broken(format!("a map of type {other}"))),
        },
        Expr::Struct { fields, ty } => match ty.to_arrow() {
            DataType::Struct(types) => Arc::new(StructNode {
                values: fields.iter().map(|(_, v)| below(v)).collect::<Result<_>>()?,
                fields: types,
            }),
            other => return Err(broken(format!("a struct of type {other}"))),
        },
        Expr::Lambda { .. } => {
            return Err(broken("a lambda stands where a value is needed".into()));
        }
    };
    Ok(folded(expr, made))
}

/// The node, or its value if that can never change.
fn folded(expr: &Expr, made: NodeRef) -> NodeRef {
    let mut constant = true;
    expr.walk(&mut |e| match e {
        Expr::Column { .. } | Expr::LambdaParam { .. } | Expr::Lambda { .. } => constant = false,
        Expr::Call { function, .. } if function.volatile => constant = false,
        _ => {}
    });
    if !constant {
        return made;
    }
    let (ctx, mut errors) = (EvalContext::default(), RowErrors::default());
    let input = Input { columns: &[], rows: 1 };
    let value = made.eval(&input, &mut Run { ctx: &ctx, errors: &mut errors });
    if errors.0.is_empty() { Arc::new(LiteralNode(value.array)) } else { made }
}

fn lambda(params: &[(String, SqlType)], body: &Expr, outer: &Slots) -> Result<LambdaBody> {
    // The lambda's input: captured outer slots, then its parameters.
    let mut captures: Vec<usize> = Vec::new();
    let mut capture = |slot: Option<usize>| {
        if let Some(slot) = slot
            && !captures.contains(&slot)
        {
            captures.push(slot);
        }
    };
    let own = |name: &String| params.iter().any(|(n, _)| n == name);
    body.walk(&mut |e| match e {
        Expr::Column { index, .. } => capture(outer.column(*index)),
        Expr::LambdaParam { name, .. } if !own(name) => capture(outer.param(name)),
        _ => {}
    });
    // Column numbers stay those of the step; map each to its place among the captures.
    let mut captured = vec![usize::MAX; captures.len()];
    body.walk(&mut |e| {
        if let Expr::Column { index, .. } = e
            && let Some(slot) = outer.column(*index)
            && let Some(place) = captures.iter().position(|c| *c == slot)
        {
            captured[place] = *index;
        }
    });
    let mut visible: Vec<(String, usize)> = outer
        .params
        .iter()
        .filter_map(|(name, slot)| {
            let place = captures.iter().position(|c| c == slot)?;
            Some((name.clone(), place))
        })
        .collect();
    visible
        .extend(params.iter().enumerate().map(|(i, (name, _))| (name.clone(), captures.len() + i)));
    let inner = Slots { columns: outer.columns, captured: Some(captured), params: visible };
    Ok(LambdaBody { captures, body: node(body, &inner)? })
}
