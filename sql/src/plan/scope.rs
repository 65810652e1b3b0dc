//! Which names an expression may use, by the clause it stands in.
//!
//! The binder asks for every name, and before every call whether the planner takes it: aggregates
//! and table functions become columns of the [`Universe`], which a step will make.

use sqlparser::ast::{Expr as Ast, FunctionArg, FunctionArgExpr, FunctionArguments};

use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::aggregate::AggregateInfo;
use crate::expr::{self, Expr, Functions, Scope, resolve_aggregate, resolve_table_function};
use crate::plan::universe::Universe;

/// Where in the query an expression stands; decides what may be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clause {
    Select,
    Where,
    GroupBy,
    PartitionBy,
    Having,
    On,
    AggregateArgument,
    TableArgument,
    Pull,
}

impl Clause {
    fn name(self) -> &'static str {
        match self {
            Clause::Select => "the SELECT list",
            Clause::Where => "WHERE",
            Clause::GroupBy => "GROUP BY",
            Clause::PartitionBy => "PARTITION BY",
            Clause::Having => "HAVING",
            Clause::On => "ON",
            Clause::AggregateArgument => "an aggregate's arguments",
            Clause::TableArgument => "a table function's arguments",
            Clause::Pull => "a pull query",
        }
    }
}

/// The names that one clause may use.
pub(super) struct ClauseScope<'a> {
    pub universe: &'a Universe,
    /// How many of the sources are in scope: in ON only those joined so far.
    pub visible: usize,
    pub clause: Clause,
}

impl<'a> ClauseScope<'a> {
    pub(super) fn new(universe: &'a Universe, clause: Clause) -> Self {
        Self { universe, visible: universe.sources.len(), clause }
    }

    fn window_bound(&self, name: &str) -> Result<Option<Expr>> {
        let Some(id) = self.universe.window_bound(name) else { return Ok(None) };
        match self.clause {
            Clause::Select => {
                self.universe.use_bounds();
                Ok(Some(self.universe.expr(id)))
            }
            Clause::Having | Clause::GroupBy | Clause::AggregateArgument
                if !self.universe.sources.iter().any(|s| s.relation.window.is_some()) =>
            {
                Err(SqlError::new(
                    ErrorKind::MisplacedWindowBounds,
                    format!("{name} cannot be used in {}", self.clause.name()),
                    "Use it in the SELECT list only; filter in a query over the result.",
                ))
            }
            _ => Ok(None),
        }
    }

    fn aggregate(&self, info: &AggregateInfo, args: &[FunctionArg]) -> Result<Expr> {
        let name = &info.about.name;
        match self.clause {
            Clause::Select | Clause::Having => {}
            _ => return Err(misplaced_aggregate(name, self.clause)),
        }
        let inner = ClauseScope { clause: Clause::AggregateArgument, ..*self };
        let call = resolve_aggregate(info, &inner.arguments(name, args)?)?;
        Ok(self.universe.expr(self.universe.add_aggregate(call)))
    }

    fn table_function(&self, name: &str, args: &[FunctionArg]) -> Result<Expr> {
        let misplaced = |message: String| {
            SqlError::new(
                ErrorKind::MisplacedTableFunction,
                message,
                "Apply it in the SELECT list of an earlier query over a stream.",
            )
        };
        if self.clause == Clause::TableArgument {
            return Err(misplaced(format!("{name} is inside another table function")));
        }
        if self.clause != Clause::Select {
            return Err(misplaced(format!("{name} cannot be used in {}", self.clause.name())));
        }
        let inner = ClauseScope { clause: Clause::TableArgument, ..*self };
        let call = resolve_table_function(name, inner.arguments(name, args)?, self)?;
        Ok(self.universe.expr(self.universe.add_table_call(call)))
    }

    fn arguments(&self, name: &str, args: &[FunctionArg]) -> Result<Vec<Expr>> {
        let mut bound = Vec::with_capacity(args.len());
        for arg in args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => bound.push(expr::bind(e, self)?),
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if name == "COUNT" => {}
                other => {
                    return Err(SqlError::new(
                        ErrorKind::FunctionArgumentsMismatch,
                        format!("{name} does not take {other}"),
                        "Give it a column or an expression.",
                    ));
                }
            }
        }
        Ok(bound)
    }
}

fn misplaced_aggregate(name: &str, clause: Clause) -> SqlError {
    SqlError::new(
        ErrorKind::MisplacedAggregate,
        format!("{name} is an aggregate and cannot be used in {}", clause.name()),
        "Compute it in an earlier query, and use its result here.",
    )
}

impl Scope for ClauseScope<'_> {
    fn resolve(&self, qualifier: Option<&str>, name: &str) -> Result<Expr> {
        if qualifier.is_none()
            && let Some(bound) = self.window_bound(name)?
        {
            return Ok(bound);
        }
        let found = self.universe.resolve(qualifier, name, self.visible)?;
        if self.clause == Clause::Pull && ["ROWPARTITION", "ROWOFFSET"].contains(&name) {
            return Err(SqlError::new(
                ErrorKind::PullQueryPseudoColumn,
                format!("{name} is not known to a pull query"),
                "Leave it out, or add EMIT CHANGES.",
            ));
        }
        Ok(found)
    }

    fn substitute(&self, ast: &Ast) -> Result<Option<Expr>> {
        let Ast::Function(function) = ast else { return Ok(None) };
        let FunctionArguments::List(list) = &function.args else { return Ok(None) };
        let name = function.name.to_string().to_uppercase();
        let at = |e: SqlError| e.at(crate::syntax::span_of(ast));
        if let Some(info) = self.functions().aggregate(&name) {
            return self.aggregate(info, &list.args).map(Some).map_err(at);
        }
        if self.functions().is_table_function(&name) {
            return self.table_function(&name, &list.args).map(Some).map_err(at);
        }
        Ok(None)
    }

    fn functions(&self) -> &Functions {
        &self.universe.functions
    }

    fn locate(&self, span: sqlparser::tokenizer::Span) -> Option<crate::error::Span> {
        let byte =
            |at: sqlparser::tokenizer::Location| usize::try_from(at.column.checked_sub(1)?).ok();
        let (start, end) = (byte(span.start)?, byte(span.end)?);
        (start <= end).then_some(crate::error::Span { start, end })
    }
}
