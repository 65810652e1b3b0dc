//! The catalog: which relations, types and queries exist. A value.
//!
//! Planning borrows a catalog; the next one is made only by `with(change)` from a change that is
//! already in the journal. The stored form of a change is the statement's text and what was decided
//! for it (query id, topic), so a restart plans it again from the same catalog and gets the same plan.

pub mod format;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use format::{Format, FormatKind};

use crate::expr::Functions;
use crate::syntax::ast::{RelationKind, WindowKind};
use crate::types::{Schema, SqlType};

/// A stream or table.
#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    pub name: String,
    pub kind: RelationKind,
    pub schema: Schema,
    pub topic: String,
    pub key_format: Format,
    pub value_format: Format,
    /// Set when the keys on the wire carry a window.
    pub window: Option<KeyWindow>,
    pub timestamp: Option<TimestampColumn>,
    /// Declared with `SOURCE`: read-only.
    pub source: bool,
    /// The CREATE statement's text.
    pub statement: String,
    /// The query that writes it, for AS SELECT.
    pub created_by: Option<String>,
    pub partitions: Option<u32>,
    pub replicas: Option<i16>,
    /// Topic retention asked for, in milliseconds.
    pub retention_ms: Option<i64>,
}

impl Relation {
    /// Whether a pull query can look into it: the result of a query over a table or aggregate, or a
    /// SOURCE TABLE.
    pub fn is_materialized(&self) -> bool {
        self.kind == RelationKind::Table && (self.created_by.is_some() || self.source)
    }
}

/// How the window is laid behind the key on the wire (`reference/ksqldb.md` 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyWindow {
    /// TUMBLING or HOPPING: key ‖ 8-byte start; `size_ms` is not in the bytes.
    Time { size_ms: i64, hopping: bool },
    /// SESSION: key ‖ 8-byte end ‖ 8-byte start.
    Session,
}

impl From<WindowKind> for KeyWindow {
    fn from(kind: WindowKind) -> Self {
        match kind {
            WindowKind::Tumbling { size_ms } => KeyWindow::Time { size_ms, hopping: false },
            WindowKind::Hopping { size_ms, .. } => KeyWindow::Time { size_ms, hopping: true },
            WindowKind::Session { .. } => KeyWindow::Session,
        }
    }
}

/// `TIMESTAMP` and `TIMESTAMP_FORMAT`: the column that gives a record its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampColumn {
    pub column: String,
    /// A Java `DateTimeFormatter` pattern; set exactly when the column is a STRING.
    pub format: Option<String>,
}

/// What a persistent query is to the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryEntry {
    pub id: String,
    pub statement: String,
    /// The relations it reads.
    pub sources: Vec<String>,
    /// The relation it writes; for `CST_…` (SOURCE TABLE) the table itself.
    pub sink: String,
    pub kind: PersistentKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersistentKind {
    CreateAs,
    Insert,
    /// Materialises a SOURCE TABLE; writes no topic.
    SourceTable,
}

/// The set of relations, custom types and persistent queries, and the functions they may call.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    relations: BTreeMap<String, Arc<Relation>>,
    types: BTreeMap<String, SqlType>,
    queries: BTreeMap<String, Arc<QueryEntry>>,
    /// Not stored: the program brings them.
    functions: CatalogFunctions,
    /// The number the next persistent query gets in its id.
    next_query: u64,
}

/// The built-in functions, unless said otherwise.
#[derive(Clone, Debug)]
struct CatalogFunctions(Arc<Functions>);

impl Default for CatalogFunctions {
    fn default() -> Self {
        CatalogFunctions(Functions::built_in().clone())
    }
}

/// A change of the catalog.
#[derive(Clone, Debug)]
pub enum CatalogChange {
    PutRelation(Relation),
    DropRelation(String),
    PutType(String, SqlType),
    DropType(String),
    PutQuery(QueryEntry),
    DropQuery(String),
    /// Query ids go on from here.
    NextQuery(u64),
}

impl Catalog {
    pub fn relation(&self, name: &str) -> Option<&Arc<Relation>> {
        self.relations.get(name)
    }

    pub fn relations(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.values()
    }

    pub fn custom_type(&self, name: &str) -> Option<&SqlType> {
        self.types.get(name)
    }

    pub fn types(&self) -> impl Iterator<Item = (&String, &SqlType)> {
        self.types.iter()
    }

    pub fn query(&self, id: &str) -> Option<&Arc<QueryEntry>> {
        self.queries.get(id)
    }

    pub fn queries(&self) -> impl Iterator<Item = &Arc<QueryEntry>> {
        self.queries.values()
    }

    pub fn next_query(&self) -> u64 {
        self.next_query
    }

    /// The functions that statements may call.
    pub fn functions(&self) -> &Arc<Functions> {
        &self.functions.0
    }

    /// This catalog with other functions.
    #[must_use]
    pub fn with_functions(&self, functions: Arc<Functions>) -> Catalog {
        Catalog { functions: CatalogFunctions(functions), ..self.clone() }
    }

    /// The catalog after `changes`.
    #[must_use]
    pub fn with<'a>(&self, changes: impl IntoIterator<Item = &'a CatalogChange>) -> Catalog {
        let mut next = self.clone();
        for change in changes {
            next.apply(change);
        }
        next
    }

    fn apply(&mut self, change: &CatalogChange) {
        match change {
            CatalogChange::PutRelation(relation) => {
                self.relations.insert(relation.name.clone(), Arc::new(relation.clone()));
            }
            CatalogChange::DropRelation(name) => {
                self.relations.remove(name);
            }
            CatalogChange::PutType(name, ty) => {
                self.types.insert(name.clone(), ty.clone());
            }
            CatalogChange::DropType(name) => {
                self.types.remove(name);
            }
            CatalogChange::PutQuery(query) => {
                self.queries.insert(query.id.clone(), Arc::new(query.clone()));
            }
            CatalogChange::DropQuery(id) => {
                self.queries.remove(id);
            }
            CatalogChange::NextQuery(n) => self.next_query = *n,
        }
    }
}
