//! Statements as written, before any name is looked up.
//!
//! Scalar expressions are `sqlparser::ast::Expr`; `dialect.rs` says which construct becomes which tree.
//!
//! Identifiers are already normalised: upper case unless they were quoted.

use sqlparser::ast::Expr;

use crate::error::Span;
use crate::types::{HeaderColumn, SqlType};

/// A statement with its place in the text.
#[derive(Clone, Debug)]
pub struct ParsedStatement {
    pub statement: Statement,
    /// The statement's own text, variables substituted, without the semicolon.
    pub text: String,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    Stream,
    Table,
}

#[derive(Clone, Debug)]
pub enum Statement {
    CreateSource(CreateSource),
    CreateAs(CreateAs),
    InsertSelect {
        target: Name,
        properties: Properties,
        query: Query,
    },
    InsertValues {
        target: Name,
        columns: Vec<Name>,
        values: Vec<Expr>,
    },
    Query(Query),
    Drop {
        kind: RelationKind,
        if_exists: bool,
        name: Name,
        delete_topic: bool,
        /// `CASCADE`: with all that is made from it.
        cascade: bool,
    },
    AlterAdd {
        kind: RelationKind,
        name: Name,
        columns: Vec<ColumnDef>,
    },
    CreateConnector {
        kind: ConnectorKind,
        if_not_exists: bool,
        name: Name,
        properties: Properties,
    },
    DropConnector {
        name: Name,
        if_exists: bool,
    },
    DescribeConnector {
        name: Name,
    },
    CreateType {
        name: Name,
        if_not_exists: bool,
        ty: SqlType,
    },
    DropType {
        name: Name,
        if_exists: bool,
    },
    Terminate(QueryTarget),
    Pause(QueryTarget),
    Resume(QueryTarget),
    Show(Show),
    Describe {
        name: Name,
        extended: bool,
    },
    /// `DESCRIBE STREAMS`, `DESCRIBE TABLES`: every relation of the kind.
    DescribeAll {
        kind: RelationKind,
        extended: bool,
    },
    DescribeFunction {
        name: String,
    },
    Explain(ExplainTarget),
    Print {
        topic: String,
        from_beginning: bool,
        interval: Option<u64>,
        limit: Option<u64>,
    },
    Set {
        name: String,
        value: String,
    },
    Unset {
        name: String,
    },
    Define {
        name: String,
        value: String,
    },
    Undefine {
        name: String,
    },
    AssertTopic {
        not_exists: bool,
        topic: String,
        properties: Properties,
        timeout_ms: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectorKind {
    Source,
    Sink,
}

#[derive(Clone, Debug)]
pub enum QueryTarget {
    All,
    Id(String),
}

#[derive(Clone, Debug)]
pub enum ExplainTarget {
    Statement(Box<ParsedStatement>),
    Query(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show {
    Streams {
        extended: bool,
    },
    Tables {
        extended: bool,
    },
    Topics {
        all: bool,
        extended: bool,
    },
    Queries {
        extended: bool,
    },
    Properties,
    Functions,
    Variables,
    Types,
    /// `None`: both kinds.
    Connectors(Option<ConnectorKind>),
    ConnectorPlugins,
}

/// An identifier and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub text: String,
    pub span: Option<Span>,
}

/// `WITH (name = literal, …)`, in order as written; names upper case, those of connectors as written.
#[derive(Clone, Debug, Default)]
pub struct Properties(pub Vec<Property>);

#[derive(Clone, Debug)]
pub struct Property {
    pub name: String,
    /// The literal's text: quotes removed, numbers and booleans as written.
    pub value: String,
    /// Whether it was written as a string literal.
    pub quoted: bool,
    pub span: Option<Span>,
}

impl Properties {
    pub fn get(&self, name: &str) -> Option<&Property> {
        self.0.iter().find(|p| p.name == name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnRole {
    Value,
    /// `KEY`
    Key,
    /// `PRIMARY KEY`
    PrimaryKey,
}

#[derive(Clone, Debug)]
pub struct ColumnDef {
    pub name: Name,
    pub ty: SqlType,
    pub role: ColumnRole,
    pub header: Option<HeaderColumn>,
}

#[derive(Clone, Debug)]
pub struct CreateSource {
    pub kind: RelationKind,
    pub or_replace: bool,
    pub if_not_exists: bool,
    /// `SOURCE`: read-only.
    pub source: bool,
    pub name: Name,
    pub columns: Vec<ColumnDef>,
    pub properties: Properties,
}

#[derive(Clone, Debug)]
pub struct CreateAs {
    pub kind: RelationKind,
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub name: Name,
    pub properties: Properties,
    pub query: Query,
}

#[derive(Clone, Debug)]
pub struct Query {
    pub items: Vec<SelectItem>,
    pub from: SourceRef,
    pub joins: Vec<Join>,
    pub window: Option<Window>,
    pub filter: Option<Expr>,
    pub group_by: Vec<Expr>,
    pub partition_by: Vec<Expr>,
    pub having: Option<Expr>,
    /// Of the whole query, like `limit`.
    pub emit: Option<Emit>,
    pub limit: Option<u64>,
    /// The SELECTs behind UNION ALL.
    pub unions: Vec<Query>,
}

#[derive(Clone, Debug)]
pub enum SelectItem {
    /// `*`
    Star(Option<Span>),
    /// `source.*`
    QualifiedStar(Name),
    /// `struct->*`
    StructStar(Expr),
    Expr {
        expr: Expr,
        alias: Option<Name>,
    },
}

/// A named source; `alias` is the name itself when none was given.
#[derive(Clone, Debug)]
pub struct SourceRef {
    pub name: Name,
    pub alias: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

#[derive(Clone, Debug)]
pub struct Join {
    pub kind: JoinKind,
    pub source: SourceRef,
    pub within: Option<Within>,
    pub on: Expr,
    pub span: Option<Span>,
}

/// `WITHIN (before, after) GRACE PERIOD grace`; a single duration sets both. Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    pub before_ms: i64,
    pub after_ms: i64,
    pub grace_ms: Option<i64>,
}

/// The window clause; milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    pub kind: WindowKind,
    pub retention_ms: Option<i64>,
    pub grace_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WindowKind {
    Tumbling { size_ms: i64 },
    Hopping { size_ms: i64, advance_ms: i64 },
    Session { gap_ms: i64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    Changes,
    Final,
}
