//! The SELECT list: stars expanded, expressions bound, names given.
//!
//! Naming rules of `reference/ksqldb.md` 1.6.

use sqlparser::ast::{AccessExpr, Expr as Ast};

use crate::error::{ErrorKind, Result, Span, SqlError};
use crate::expr::{self, Expr};
use crate::plan::names::{self, NameSource};
use crate::plan::scope::{Clause, ClauseScope};
use crate::plan::universe::{ColumnId, Origin, SourceColumns, Universe};
use crate::syntax::ast::SelectItem;
use crate::types::SqlType;

/// One selected column, over the universe.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub name: String,
    pub expr: Expr,
    pub ty: SqlType,
    pub span: Option<Span>,
}

/// What a star stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stars {
    /// Key, then value.
    Plain,
    /// Of a query with PARTITION BY: value, then key. Over a join ksqlDB gives the pseudo columns
    /// too; clients see that order.
    Partitioned,
    /// For a client: the window bounds belong to a windowed key.
    Client,
}

/// Binds and names the SELECT list. A `*` of a query with PARTITION BY includes the expressions of
/// `partition`.
pub(super) fn items(
    list: &[SelectItem],
    universe: &Universe,
    names: &mut NameSource,
    clause: Clause,
    stars: Stars,
    partition: &[Expr],
) -> Result<Vec<Item>> {
    let scope = ClauseScope::new(universe, clause);
    let mut items = Vec::with_capacity(list.len());
    for item in list {
        match item {
            SelectItem::Star(span) => {
                for expr in partition.iter().filter(|p| !is_stored(p, universe)) {
                    let (name, ty) = (key_name(expr, &[], names), expr.typed()?);
                    items.push(Item { name, expr: expr.clone(), ty, span: *span });
                }
                for key in universe.join_key_ids() {
                    items.push(column(universe, key, *span)?);
                }
                for source in 0..universe.sources.len() {
                    items.extend(star(universe, source, stars, *span)?);
                }
            }
            SelectItem::QualifiedStar(name) => {
                let source = universe
                    .source_named(&name.text, universe.sources.len())
                    .map_err(|e| e.at(name.span))?;
                items.extend(star(universe, source, stars, name.span)?);
            }
            SelectItem::StructStar(ast) => items.extend(struct_star(ast, &scope, names)?),
            SelectItem::Expr { expr: ast, alias } => {
                let span = crate::syntax::span_of(ast);
                let expr = expr::bind(ast, &scope).map_err(|e| e.at(span))?;
                let ty = expr.typed().map_err(|e| e.at(span))?;
                let name = match alias {
                    Some(alias) => alias.text.clone(),
                    None => default_name(ast, universe, names),
                };
                let span = alias.as_ref().and_then(|a| a.span).or(span);
                items.push(Item { name, expr, ty, span });
            }
        }
    }
    Ok(items)
}

fn is_stored(expr: &Expr, universe: &Universe) -> bool {
    match expr {
        Expr::Column { index, .. } => {
            matches!(universe.column(*index).origin, Origin::Stored { .. })
        }
        _ => false,
    }
}

/// Refuses reserved names for selected columns, before anything is looked up.
pub(super) fn check_reserved(list: &[SelectItem], universe: &Universe) -> Result<()> {
    for item in list {
        let SelectItem::Expr { expr: ast, alias } = item else { continue };
        match (alias, ast) {
            (Some(alias), _) => names::check_not_reserved(&alias.text, alias.span)?,
            (None, Ast::Identifier(_) | Ast::CompoundIdentifier(_)) => {
                let name = default_name(ast, universe, &mut NameSource::default());
                names::check_not_reserved(&name, crate::syntax::span_of(ast))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn column(universe: &Universe, id: ColumnId, span: Option<Span>) -> Result<Item> {
    let expr = universe.expr(id);
    Ok(Item { name: universe.step_name(id), ty: expr.typed()?, expr, span })
}

/// All columns of one source.
fn star(universe: &Universe, source: usize, stars: Stars, span: Option<Span>) -> Result<Vec<Item>> {
    let SourceColumns { key, values, pseudo } = universe.source_columns(source);
    let bounds = pseudo.get(3..).unwrap_or_default().to_vec();
    let ids: Vec<ColumnId> = match stars {
        Stars::Plain => [key, values].concat(),
        Stars::Partitioned if universe.is_join() => [values, pseudo, key].concat(),
        Stars::Partitioned => [values, key].concat(),
        Stars::Client => [key, bounds, values].concat(),
    };
    ids.into_iter().map(|id| column(universe, id, span)).collect()
}

fn struct_star(ast: &Ast, scope: &ClauseScope<'_>, names: &mut NameSource) -> Result<Vec<Item>> {
    let span = crate::syntax::span_of(ast);
    let operand = expr::bind(ast, scope).map_err(|e| e.at(span))?;
    let Some(SqlType::Struct(fields)) = operand.ty() else {
        return Err(SqlError::new(
            ErrorKind::UnknownColumn,
            format!("{operand} is no STRUCT, so it has no fields to list"),
            "Use ->* on a column of type STRUCT only.",
        )
        .at(span));
    };
    let field = |f: crate::types::StructField| Item {
        name: names.field(&f.name),
        expr: Expr::Field { operand: Box::new(operand.clone()), name: f.name, ty: f.ty.clone() },
        ty: f.ty,
        span,
    };
    Ok(fields.into_iter().map(field).collect())
}

fn default_name(ast: &Ast, universe: &Universe, names: &mut NameSource) -> String {
    match ast {
        Ast::Identifier(ident) => ident.value.clone(),
        Ast::CompoundIdentifier(parts) => match parts.as_slice() {
            [source, column] if universe.is_clashing(&column.value) => {
                format!("{}_{}", source.value, column.value)
            }
            [.., column] => column.value.clone(),
            [] => names.generated(),
        },
        Ast::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(AccessExpr::Dot(Ast::Identifier(field))) => names.field(&field.value),
            _ => names.generated(),
        },
        _ => names.generated(),
    }
}

/// A name for a grouping or partitioning expression in the steps before the projection: the column's,
/// else that of the item which selects it.
pub(super) fn key_name(expr: &Expr, items: &[Item], names: &mut NameSource) -> String {
    if let Expr::Column { name, .. } = expr {
        return name.clone();
    }
    match (items.iter().find(|i| i.expr == *expr), expr) {
        (Some(item), _) => item.name.clone(),
        (None, Expr::Field { name, .. }) => names.field(name),
        (None, _) => names.generated(),
    }
}
