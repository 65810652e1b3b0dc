//! Walking and rewriting typed expressions.

use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::Expr;
use crate::types::SqlType;

impl Expr {
    /// The expression's type; `None` for an untyped NULL and for a lambda.
    pub fn ty(&self) -> Option<SqlType> {
        match self {
            Expr::Column { ty, .. }
            | Expr::Call { ty, .. }
            | Expr::Arithmetic { ty, .. }
            | Expr::Case { ty, .. }
            | Expr::Cast { ty, .. }
            | Expr::Field { ty, .. }
            | Expr::Element { ty, .. }
            | Expr::Array { ty, .. }
            | Expr::Map { ty, .. }
            | Expr::Struct { ty, .. }
            | Expr::LambdaParam { ty, .. } => Some(ty.clone()),
            Expr::Literal { ty, .. } => ty.clone(),
            Expr::Negate(operand) => operand.ty(),
            Expr::Compare { .. }
            | Expr::Logical { .. }
            | Expr::Not(_)
            | Expr::IsNull { .. }
            | Expr::Like { .. }
            | Expr::In { .. } => Some(SqlType::Boolean),
            Expr::Lambda { .. } => None,
        }
    }

    /// The type where one is needed, as for a result column; refuses an untyped NULL.
    pub fn typed(&self) -> Result<SqlType> {
        self.ty().ok_or_else(|| {
            SqlError::new(
                ErrorKind::UntypedNull,
                format!("{self} has no type"),
                "Cast it to the type wanted, as in CAST(NULL AS STRING).",
            )
        })
    }

    /// Whether the expression is the literal NULL.
    pub fn is_null_literal(&self) -> bool {
        match self {
            Expr::Literal { value, .. } => value.is_null(),
            _ => false,
        }
    }

    /// The direct subexpressions, in the order of their evaluation.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Column { .. } | Expr::Literal { .. } | Expr::LambdaParam { .. } => vec![],
            Expr::Call { args, .. } => args.iter().collect(),
            Expr::Arithmetic { left, right, .. }
            | Expr::Compare { left, right, .. }
            | Expr::Logical { left, right, .. } => vec![left, right],
            Expr::Negate(operand)
            | Expr::Not(operand)
            | Expr::IsNull { operand, .. }
            | Expr::Cast { operand, .. }
            | Expr::Field { operand, .. } => vec![operand],
            Expr::Like { operand, pattern, .. } => vec![operand, pattern],
            Expr::In { operand, list, .. } => {
                std::iter::once(operand.as_ref()).chain(list).collect()
            }
            Expr::Case { branches, otherwise, .. } => branches
                .iter()
                .flat_map(|(when, then)| [when, then])
                .chain(otherwise.as_deref())
                .collect(),
            Expr::Element { operand, index, .. } => vec![operand, index],
            Expr::Array { items, .. } => items.iter().collect(),
            Expr::Map { entries, .. } => entries.iter().flat_map(|(k, v)| [k, v]).collect(),
            Expr::Struct { fields, .. } => fields.iter().map(|(_, v)| v).collect(),
            Expr::Lambda { body, .. } => vec![body],
        }
    }

    /// Calls `visit` for this expression and all below it, parents first.
    pub fn walk(&self, visit: &mut dyn FnMut(&Expr)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }

    /// The indices of the input columns used, ascending, each once.
    pub fn columns(&self) -> Vec<usize> {
        let mut found = Vec::new();
        self.walk(&mut |e| {
            if let Expr::Column { index, .. } = e {
                found.push(*index);
            }
        });
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The same expression over an input whose columns are numbered differently.
    #[must_use]
    pub fn map_columns(&self, f: &dyn Fn(usize) -> usize) -> Expr {
        self.rewrite(&mut |e| match e {
            Expr::Column { index, name, ty } => {
                Some(Expr::Column { index: f(*index), name: name.clone(), ty: ty.clone() })
            }
            _ => None,
        })
    }

    /// The same expression with every part for which `replace` gives something replaced by that;
    /// asked parents first, what was put in is not looked into.
    #[must_use]
    pub fn rewrite(&self, replace: &mut dyn FnMut(&Expr) -> Option<Expr>) -> Expr {
        if let Some(new) = replace(self) {
            return new;
        }
        match self {
            Expr::Column { .. } | Expr::Literal { .. } | Expr::LambdaParam { .. } => self.clone(),
            Expr::Call { function, args, ty } => Expr::Call {
                function: function.clone(),
                args: args.iter().map(|a| a.rewrite(replace)).collect(),
                ty: ty.clone(),
            },
            Expr::Arithmetic { op, left, right, ty } => Expr::Arithmetic {
                op: *op,
                left: Box::new(left.rewrite(replace)),
                right: Box::new(right.rewrite(replace)),
                ty: ty.clone(),
            },
            Expr::Negate(operand) => Expr::Negate(Box::new(operand.rewrite(replace))),
            Expr::Compare { op, left, right } => Expr::Compare {
                op: *op,
                left: Box::new(left.rewrite(replace)),
                right: Box::new(right.rewrite(replace)),
            },
            Expr::Logical { and, left, right } => Expr::Logical {
                and: *and,
                left: Box::new(left.rewrite(replace)),
                right: Box::new(right.rewrite(replace)),
            },
            Expr::Not(operand) => Expr::Not(Box::new(operand.rewrite(replace))),
            Expr::IsNull { operand, negated } => {
                Expr::IsNull { operand: Box::new(operand.rewrite(replace)), negated: *negated }
            }
            Expr::Like { operand, pattern, escape, negated } => Expr::Like {
                operand: Box::new(operand.rewrite(replace)),
                pattern: Box::new(pattern.rewrite(replace)),
                escape: *escape,
                negated: *negated,
            },
            Expr::In { operand, list, negated } => Expr::In {
                operand: Box::new(operand.rewrite(replace)),
                list: list.iter().map(|i| i.rewrite(replace)).collect(),
                negated: *negated,
            },
            Expr::Case { branches, otherwise, ty } => Expr::Case {
                branches: branches
                    .iter()
                    .map(|(when, then)| (when.rewrite(replace), then.rewrite(replace)))
                    .collect(),
                otherwise: otherwise.as_ref().map(|o| Box::new(o.rewrite(replace))),
                ty: ty.clone(),
            },
            Expr::Cast { operand, ty } => {
                Expr::Cast { operand: Box::new(operand.rewrite(replace)), ty: ty.clone() }
            }
            Expr::Field { operand, name, ty } => Expr::Field {
                operand: Box::new(operand.rewrite(replace)),
                name: name.clone(),
                ty: ty.clone(),
            },
            Expr::Element { operand, index, ty } => Expr::Element {
                operand: Box::new(operand.rewrite(replace)),
                index: Box::new(index.rewrite(replace)),
                ty: ty.clone(),
            },
            Expr::Array { items, ty } => Expr::Array {
                items: items.iter().map(|i| i.rewrite(replace)).collect(),
                ty: ty.clone(),
            },
            Expr::Map { entries, ty } => Expr::Map {
                entries: entries
                    .iter()
                    .map(|(k, v)| (k.rewrite(replace), v.rewrite(replace)))
                    .collect(),
                ty: ty.clone(),
            },
            Expr::Struct { fields, ty } => Expr::Struct {
                fields: fields.iter().map(|(n, v)| (n.clone(), v.rewrite(replace))).collect(),
                ty: ty.clone(),
            },
            Expr::Lambda { params, body } => {
                Expr::Lambda { params: params.clone(), body: Box::new(body.rewrite(replace)) }
            }
        }
    }
}
