//! The columns of one query, each with a number.
//!
//! Every column that any step of a query may ever hold has one number in the query's [`Universe`]:
//! the sources' columns and pseudo columns first, then what planning adds (join keys, aggregates,
//! table functions, window bounds). All clauses are bound once, over these numbers; `flow.rs` later
//! puts the place of the column in a step's rows in place of the number.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::catalog::Relation;
use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::{AggregateCall, Expr, Functions, TableCall};
use crate::plan::PseudoColumn;
use crate::plan::suggest::did_you_mean;
use crate::syntax::ast::Name;
use crate::types::SqlType;

impl PseudoColumn {
    /// Those every source has.
    const ALWAYS: [PseudoColumn; 3] =
        [PseudoColumn::RowTime, PseudoColumn::RowPartition, PseudoColumn::RowOffset];
    /// Those of a source with windowed keys.
    const WINDOWED: [PseudoColumn; 2] = [PseudoColumn::WindowStart, PseudoColumn::WindowEnd];

    pub fn name(self) -> &'static str {
        match self {
            PseudoColumn::RowTime => "ROWTIME",
            PseudoColumn::RowPartition => "ROWPARTITION",
            PseudoColumn::RowOffset => "ROWOFFSET",
            PseudoColumn::WindowStart => "WINDOWSTART",
            PseudoColumn::WindowEnd => "WINDOWEND",
        }
    }

    pub fn ty(self) -> SqlType {
        match self {
            PseudoColumn::RowPartition => SqlType::Int,
            PseudoColumn::RowTime
            | PseudoColumn::RowOffset
            | PseudoColumn::WindowStart
            | PseudoColumn::WindowEnd => SqlType::Bigint,
        }
    }

    /// The pseudo columns of a source.
    pub(super) fn of(relation: &Relation) -> Vec<PseudoColumn> {
        let mut all = PseudoColumn::ALWAYS.to_vec();
        if relation.window.is_some() {
            all.extend(PseudoColumn::WINDOWED);
        }
        all
    }
}

/// Number of a column in the [`Universe`].
pub(super) type ColumnId = usize;

/// Where a column comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The n-th of the relation's `schema.columns()`.
    Stored {
        source: usize,
        index: usize,
    },
    Pseudo {
        source: usize,
        pseudo: PseudoColumn,
    },
    /// Made by a step: a join key, an aggregate, a table function's value, a window bound.
    Made,
}

#[derive(Clone, Debug)]
pub(super) struct UniverseColumn {
    pub name: String,
    pub ty: SqlType,
    pub origin: Origin,
}

/// A source of the query, with the number of its first column.
#[derive(Clone, Debug)]
pub(super) struct SourceEntry {
    pub alias: Name,
    pub relation: Arc<Relation>,
    first: ColumnId,
}

/// All columns of one query.
#[derive(Debug)]
pub(super) struct Universe {
    pub sources: Vec<SourceEntry>,
    /// What expressions may call.
    pub functions: Arc<Functions>,
    columns: RefCell<Vec<UniverseColumn>>,
    /// The synthetic key columns of the join made last.
    join_keys: RefCell<Vec<ColumnId>>,
    aggregates: RefCell<Vec<(ColumnId, AggregateCall)>>,
    table_calls: RefCell<Vec<(ColumnId, TableCall)>>,
    /// Numbers of WINDOWSTART and WINDOWEND, when the query has a window.
    bounds: Cell<Option<(ColumnId, ColumnId)>>,
    /// Whether an expression asked for the query's window bounds.
    bounds_used: Cell<bool>,
}

impl Universe {
    pub(super) fn new(sources: Vec<(Name, Arc<Relation>)>, functions: &Arc<Functions>) -> Self {
        let mut columns = Vec::new();
        let mut entries = Vec::new();
        for (source, (alias, relation)) in sources.into_iter().enumerate() {
            let first = columns.len();
            columns.extend(relation.schema.columns().enumerate().map(|(index, c)| {
                UniverseColumn {
                    name: c.name.clone(),
                    ty: c.ty.clone(),
                    origin: Origin::Stored { source, index },
                }
            }));
            columns.extend(PseudoColumn::of(&relation).into_iter().map(|pseudo| UniverseColumn {
                name: pseudo.name().to_owned(),
                ty: pseudo.ty(),
                origin: Origin::Pseudo { source, pseudo },
            }));
            entries.push(SourceEntry { alias, relation, first });
        }
        Self {
            sources: entries,
            functions: functions.clone(),
            columns: RefCell::new(columns),
            join_keys: RefCell::default(),
            aggregates: RefCell::default(),
            table_calls: RefCell::default(),
            bounds: Cell::new(None),
            bounds_used: Cell::new(false),
        }
    }

    pub(super) fn is_join(&self) -> bool {
        self.sources.len() > 1
    }

    pub(super) fn column(&self, id: ColumnId) -> UniverseColumn {
        self.columns.borrow()[id].clone()
    }

    /// The source a column belongs to; `None` for one that a step makes.
    pub(super) fn source_of(&self, id: ColumnId) -> Option<usize> {
        match self.columns.borrow()[id].origin {
            Origin::Stored { source, .. } | Origin::Pseudo { source, .. } => Some(source),
            Origin::Made => None,
        }
    }

    /// A new column that a step will make.
    pub(super) fn add(&self, name: &str, ty: SqlType) -> ColumnId {
        let mut columns = self.columns.borrow_mut();
        columns.push(UniverseColumn { name: name.to_owned(), ty, origin: Origin::Made });
        columns.len() - 1
    }

    /// The synthetic key columns of the join made last.
    pub(super) fn join_key_ids(&self) -> Vec<ColumnId> {
        self.join_keys.borrow().clone()
    }

    /// Declares which key columns of the join made last are columns of its own.
    pub(super) fn set_join_keys(&self, keys: Vec<ColumnId>) {
        *self.join_keys.borrow_mut() = keys;
    }

    /// Makes WINDOWSTART and WINDOWEND nameable in the SELECT list.
    pub(super) fn offer_window_bounds(&self) {
        let start = self.add("WINDOWSTART", SqlType::Bigint);
        let end = self.add("WINDOWEND", SqlType::Bigint);
        self.bounds.set(Some((start, end)));
    }

    /// The column of a bound of the query's own window, if it has one and `name` is a bound's.
    pub(super) fn window_bound(&self, name: &str) -> Option<ColumnId> {
        let (start, end) = self.bounds.get()?;
        match name {
            "WINDOWSTART" => Some(start),
            "WINDOWEND" => Some(end),
            _ => None,
        }
    }

    /// Notes that an expression uses the window bounds.
    pub(super) fn use_bounds(&self) {
        self.bounds_used.set(true);
    }

    /// The column of an aggregate call; equal calls share one.
    pub(super) fn add_aggregate(&self, call: AggregateCall) -> ColumnId {
        let mut calls = self.aggregates.borrow_mut();
        if let Some((id, _)) = calls.iter().find(|(_, c)| *c == call) {
            return *id;
        }
        let id = self.add(&format!("KSQL_AGG_VARIABLE_{}", calls.len()), call.ty.clone());
        calls.push((id, call));
        id
    }

    /// The column of a table function call.
    pub(super) fn add_table_call(&self, call: TableCall) -> ColumnId {
        let mut calls = self.table_calls.borrow_mut();
        let id = self.add(&format!("KSQL_SYNTH_{}", calls.len()), call.ty.clone());
        calls.push((id, call));
        id
    }

    /// The window bounds' numbers, if an expression uses them.
    pub(super) fn used_bounds(&self) -> Option<(ColumnId, ColumnId)> {
        if self.bounds_used.get() { self.bounds.get() } else { None }
    }

    pub(super) fn aggregates(&self) -> Vec<(ColumnId, AggregateCall)> {
        self.aggregates.borrow().clone()
    }

    pub(super) fn table_calls(&self) -> Vec<(ColumnId, TableCall)> {
        self.table_calls.borrow().clone()
    }

    /// The expression that is just this column. In a join its name says whose it is.
    pub(super) fn expr(&self, id: ColumnId) -> Expr {
        let column = self.column(id);
        Expr::Column { index: id, name: self.step_name(id), ty: column.ty }
    }

    /// The column's name in the rows of a step: `ALIAS_COLUMN` in a join.
    pub(super) fn step_name(&self, id: ColumnId) -> String {
        let column = self.column(id);
        match self.source_of(id) {
            Some(source) if self.is_join() => {
                format!("{}_{}", self.sources[source].alias.text, column.name)
            }
            _ => column.name,
        }
    }

    /// The expression as the user would write it: `ALIAS.COLUMN` in a join.
    pub(super) fn text(&self, expr: &Expr) -> String {
        if !self.is_join() {
            return expr.to_string();
        }
        let dotted = |id: ColumnId| {
            let source = self.source_of(id)?;
            Some(format!("{}.{}", self.sources[source].alias.text, self.column(id).name))
        };
        let renamed = expr.rewrite(&mut |e| match e {
            Expr::Column { index, ty, .. } => {
                Some(Expr::Column { index: *index, name: dotted(*index)?, ty: ty.clone() })
            }
            _ => None,
        });
        // The printer quotes a name with a dot in it; here the dot is the separator.
        let ids = expr.columns();
        ids.into_iter().filter_map(dotted).fold(renamed.to_string(), |text, name| {
            text.replace(&crate::types::quote(&name), &name)
        })
    }

    /// Numbers of a source's key columns, value columns, and pseudo columns.
    pub(super) fn source_columns(&self, source: usize) -> SourceColumns {
        let entry = &self.sources[source];
        let schema = &entry.relation.schema;
        let values = entry.first + schema.key.len();
        let pseudo = entry.first + schema.len();
        SourceColumns {
            key: (entry.first..values).collect(),
            values: (values..pseudo).collect(),
            pseudo: (pseudo..pseudo + PseudoColumn::of(&entry.relation).len()).collect(),
        }
    }

    /// Whether more than one source has a column of this name.
    pub(super) fn is_clashing(&self, name: &str) -> bool {
        let has = |s: &SourceEntry| self.find_in(s, name).is_some();
        self.sources.iter().filter(|s| has(s)).count() > 1
    }

    fn find_in(&self, source: &SourceEntry, name: &str) -> Option<ColumnId> {
        let len = source.relation.schema.len() + PseudoColumn::of(&source.relation).len();
        let columns = self.columns.borrow();
        (source.first..source.first + len).find(|id| columns[*id].name == name)
    }

    /// The source of this alias among the first `visible`.
    pub(super) fn source_named(&self, alias: &str, visible: usize) -> Result<usize> {
        let sources = &self.sources[..visible];
        sources.iter().position(|s| s.alias.text == alias).ok_or_else(|| {
            let aliases = sources.iter().map(|s| s.alias.text.as_str());
            let all = aliases.clone().collect::<Vec<_>>().join(", ");
            SqlError::new(
                ErrorKind::UnknownSourceAlias,
                format!("no source in FROM is called {alias}"),
                did_you_mean(alias, aliases, &format!("Use one of {all}.")),
            )
        })
    }

    /// The column of that name in the first `visible` sources, or why there is none.
    pub(super) fn resolve(
        &self,
        qualifier: Option<&str>,
        name: &str,
        visible: usize,
    ) -> Result<Expr> {
        if let Some(alias) = qualifier {
            let source = &self.sources[self.source_named(alias, visible)?];
            return match self.find_in(source, name) {
                Some(id) => Ok(self.expr(id)),
                None => Err(self.unknown_column(name, std::slice::from_ref(source))),
            };
        }
        let made = self.join_keys.borrow().iter().copied().find(|id| self.column(*id).name == name);
        if let Some(id) = made {
            return Ok(self.expr(id));
        }
        let sources = &self.sources[..visible];
        let mut found = sources.iter().filter_map(|s| Some((s, self.find_in(s, name)?)));
        match (found.next(), found.next()) {
            (None, _) => Err(self.unknown_column(name, sources)),
            (Some((_, id)), None) => Ok(self.expr(id)),
            (Some((a, _)), Some((b, _))) => Err(SqlError::new(
                ErrorKind::AmbiguousColumn,
                format!("{name} is a column of several sources"),
                format!("Write {}.{name} or {}.{name}.", a.alias.text, b.alias.text),
            )),
        }
    }

    fn unknown_column(&self, name: &str, sources: &[SourceEntry]) -> SqlError {
        let names: Vec<&str> = sources
            .iter()
            .flat_map(|s| s.relation.schema.columns())
            .map(|c| c.name.as_str())
            .collect();
        let owner = match sources {
            [one] => one.relation.name.clone(),
            _ => "any source of this query".to_owned(),
        };
        SqlError::new(
            ErrorKind::UnknownColumn,
            format!("{name} is no column of {owner}"),
            did_you_mean(name, names, "Only columns of the sources in FROM can be named here."),
        )
    }
}

/// Numbers of the columns of one source.
#[derive(Clone, Debug)]
pub(super) struct SourceColumns {
    pub key: Vec<ColumnId>,
    pub values: Vec<ColumnId>,
    pub pseudo: Vec<ColumnId>,
}
