//! The set of functions that a catalog knows.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::{Described, Function, FunctionKind, FunctionRef, Library};
use crate::expr::aggregate::{self, AggregateInfo};
use crate::expr::table::{self, TableInfo};

/// The functions a statement may call, by name. A value: a catalog carries one, and `with` makes a
/// larger one of it.
#[derive(Clone, Debug)]
pub struct Functions {
    /// Of one row; those registered as TABLE functions too.
    rows: BTreeMap<String, Arc<Function>>,
    aggregates: BTreeMap<String, Arc<AggregateInfo>>,
    tables: BTreeMap<String, Arc<TableInfo>>,
}

static BUILT_IN: LazyLock<Arc<Functions>> = LazyLock::new(|| {
    let by_name = |f: Function| (f.name().to_owned(), Arc::new(f));
    Arc::new(Functions {
        rows: Library::built_in().into_iter().map(by_name).collect(),
        aggregates: aggregate::built_in()
            .into_iter()
            .map(|a| (a.about.name.clone(), Arc::new(a)))
            .collect(),
        tables: table::built_in()
            .into_iter()
            .map(|t| (t.about.name.clone(), Arc::new(t)))
            .collect(),
    })
});

impl Default for Functions {
    fn default() -> Self {
        (*BUILT_IN).as_ref().clone()
    }
}

impl Functions {
    /// What Millstream brings itself.
    pub fn built_in() -> &'static Arc<Functions> {
        &BUILT_IN
    }

    /// These functions and `more`, which take the place of those with their names.
    #[must_use]
    pub fn with(&self, more: impl IntoIterator<Item = Function>) -> Functions {
        let mut functions = self.clone();
        for function in more {
            let name = function.name().to_owned();
            functions.aggregates.remove(&name);
            functions.tables.remove(&name);
            functions.rows.insert(name, Arc::new(function));
        }
        functions
    }

    /// These functions and the aggregates `more`, which take the place of those with their names.
    #[must_use]
    pub fn with_aggregates(&self, more: impl IntoIterator<Item = AggregateInfo>) -> Functions {
        let mut functions = self.clone();
        for aggregate in more {
            let name = aggregate.about.name.clone();
            functions.rows.remove(&name);
            functions.tables.remove(&name);
            functions.aggregates.insert(name, Arc::new(aggregate));
        }
        functions
    }

    /// The scalar function of that name (upper case).
    pub fn scalar(&self, name: &str) -> Option<FunctionRef> {
        let found = self.rows.get(name)?;
        (found.about.kind == FunctionKind::Scalar).then(|| FunctionRef::new(found.clone()))
    }

    /// The registered function over one row that the table function `name` (upper case) spreads.
    pub(crate) fn table_rows(&self, name: &str) -> Option<FunctionRef> {
        let found = self.rows.get(name)?;
        (found.about.kind == FunctionKind::Table).then(|| FunctionRef::new(found.clone()))
    }

    /// The aggregate function of that name (upper case).
    pub fn aggregate(&self, name: &str) -> Option<&Arc<AggregateInfo>> {
        self.aggregates.get(name)
    }

    /// The built-in table function of that name (upper case).
    pub(crate) fn table(&self, name: &str) -> Option<&Arc<TableInfo>> {
        self.tables.get(name)
    }

    pub fn is_aggregate(&self, name: &str) -> bool {
        self.aggregates.contains_key(name)
    }

    pub fn is_table_function(&self, name: &str) -> bool {
        self.tables.contains_key(name) || self.table_rows(name).is_some()
    }

    /// The scalar functions, by name.
    pub fn scalars(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.rows.values().filter(|f| f.about.kind == FunctionKind::Scalar)
    }

    /// The function of that name (upper case), in words.
    pub fn describe(&self, name: &str) -> Option<Described> {
        if let Some(f) = self.rows.get(name) {
            return Some(f.about.describe(f.variants.iter().map(|v| &v.signature)));
        }
        if let Some(a) = self.aggregates.get(name) {
            return Some(a.about.describe(a.signatures.iter()));
        }
        let table = self.tables.get(name)?;
        Some(table.about.describe(table.signatures.iter()))
    }

    /// Every function in words, by name.
    pub fn all(&self) -> Vec<Described> {
        let names = self.rows.keys().chain(self.aggregates.keys()).chain(self.tables.keys());
        let mut all: Vec<Described> = names.filter_map(|name| self.describe(name)).collect();
        all.sort_by(|a, b| a.about.name.cmp(&b.about.name));
        all
    }
}
