//! Statements in one line each, for the tests to compare.

use std::fmt::Write as _;

use crate::syntax::ast::*;
use crate::syntax::expr_text;
use crate::types::{HeaderColumn, quote};

pub(super) fn outline(statement: &Statement) -> String {
    match statement {
        Statement::CreateSource(s) => {
            let columns: Vec<String> = s.columns.iter().map(column).collect();
            let source = if s.source { " source" } else { "" };
            let head = head(s.kind, s.or_replace, s.if_not_exists, &s.name);
            format!("create{source}{head} ({}){}", columns.join(", "), with(&s.properties))
        }
        Statement::CreateAs(s) => {
            let head = head(s.kind, s.or_replace, s.if_not_exists, &s.name);
            format!("create{head}{} as {}", with(&s.properties), query(&s.query))
        }
        Statement::InsertSelect { target, properties, query: q } => {
            format!("insert {}{} {}", name(target), with(properties), query(q))
        }
        Statement::InsertValues { target, columns, values } => {
            let columns: Vec<String> = columns.iter().map(name).collect();
            let values: Vec<String> = values.iter().map(expr_text).collect();
            format!(
                "insert {} ({}) values ({})",
                name(target),
                columns.join(", "),
                values.join(", ")
            )
        }
        Statement::Query(q) => query(q),
        Statement::CreateType { name: n, if_not_exists, ty } => {
            format!("type {} if_not_exists={if_not_exists} {ty}", name(n))
        }
        Statement::CreateConnector { kind, if_not_exists, name: n, properties } => {
            format!(
                "{kind:?} connector {} if_not_exists={if_not_exists}{}",
                name(n),
                with(properties)
            )
        }
        Statement::AlterAdd { kind, name: n, columns } => {
            let columns: Vec<String> = columns.iter().map(column).collect();
            format!("alter {kind:?} {} add {}", name(n), columns.join(", "))
        }
        Statement::Explain(ExplainTarget::Statement(inner)) => {
            format!("explain [{}] {}", inner.text, outline(&inner.statement))
        }
        Statement::AssertTopic { not_exists, topic, properties, timeout_ms } => {
            format!(
                "assert topic {topic} not_exists={not_exists}{} {timeout_ms:?}",
                with(properties)
            )
        }
        Statement::Drop { kind, if_exists, name: n, delete_topic, cascade } => {
            format!(
                "drop {kind:?} {} if_exists={if_exists} delete_topic={delete_topic}{}",
                name(n),
                if *cascade { " cascade" } else { "" }
            )
        }
        Statement::DropType { name: n, if_exists } => {
            format!("drop type {} if_exists={if_exists}", name(n))
        }
        Statement::DropConnector { name: n, if_exists } => {
            format!("drop connector {} if_exists={if_exists}", name(n))
        }
        Statement::Describe { name: n, extended } => {
            format!("describe {} extended={extended}", name(n))
        }
        Statement::DescribeConnector { name: n } => format!("describe connector {}", name(n)),
        plain => format!("{plain:?}"),
    }
}

fn name(name: &Name) -> String {
    quote(&name.text)
}

fn head(kind: RelationKind, or_replace: bool, if_not_exists: bool, n: &Name) -> String {
    let replace = if or_replace { " or replace" } else { "" };
    let exists = if if_not_exists { " if not exists" } else { "" };
    format!("{replace}{exists} {kind:?} {}", name(n))
}

fn column(column: &ColumnDef) -> String {
    let role = match column.role {
        ColumnRole::Value => "",
        ColumnRole::Key => " key",
        ColumnRole::PrimaryKey => " primary key",
    };
    let header = match &column.header {
        None => String::new(),
        Some(HeaderColumn::All) => " headers".into(),
        Some(HeaderColumn::Key(key)) => format!(" header {key}"),
    };
    format!("{} {}{role}{header}", name(&column.name), column.ty)
}

fn with(properties: &Properties) -> String {
    if properties.0.is_empty() {
        return String::new();
    }
    let text = |p: &Property| {
        let quote = if p.quoted { "'" } else { "" };
        format!("{}={quote}{}{quote}", p.name, p.value)
    };
    let all: Vec<String> = properties.0.iter().map(text).collect();
    format!(" with ({})", all.join(", "))
}

fn query(query: &Query) -> String {
    let items: Vec<String> = query.items.iter().map(item).collect();
    let mut out = format!("select {} from {}", items.join(", "), source(&query.from));
    for join in &query.joins {
        let _ = write!(out, " {:?} join {}", join.kind, source(&join.source));
        if let Some(w) = join.within {
            let _ = write!(out, " within {}..{} grace {:?}", w.before_ms, w.after_ms, w.grace_ms);
        }
        let _ = write!(out, " on {}", expr_text(&join.on));
    }
    if let Some(w) = query.window {
        let _ = write!(
            out,
            " window {:?} retention {:?} grace {:?}",
            w.kind, w.retention_ms, w.grace_ms
        );
    }
    let one = |expr: &Option<sqlparser::ast::Expr>| expr.iter().map(expr_text).collect::<Vec<_>>();
    let many = |exprs: &[sqlparser::ast::Expr]| exprs.iter().map(expr_text).collect::<Vec<_>>();
    for (clause, exprs) in [
        ("where", one(&query.filter)),
        ("group by", many(&query.group_by)),
        ("partition by", many(&query.partition_by)),
        ("having", one(&query.having)),
    ] {
        if !exprs.is_empty() {
            let _ = write!(out, " {clause} {}", exprs.join(", "));
        }
    }
    if let Some(emit) = query.emit {
        let _ = write!(out, " emit {emit:?}");
    }
    if let Some(limit) = query.limit {
        let _ = write!(out, " limit {limit}");
    }
    out
}

fn item(item: &SelectItem) -> String {
    match item {
        SelectItem::Star(_) => "*".into(),
        SelectItem::QualifiedStar(source) => format!("{}.*", name(source)),
        SelectItem::StructStar(base) => format!("{}->*", expr_text(base)),
        SelectItem::Expr { expr, alias: None } => expr_text(expr),
        SelectItem::Expr { expr, alias: Some(alias) } => {
            format!("{} as {}", expr_text(expr), name(alias))
        }
    }
}

fn source(source: &SourceRef) -> String {
    format!("{} {}", name(&source.name), name(&source.alias))
}
