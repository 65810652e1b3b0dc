//! Names the user did not give: `KSQL_COL_0`, struct fields, reserved names.
//!
//! Rules of `reference/ksqldb.md` 1.6.

use std::collections::{HashMap, HashSet};

use crate::error::{ErrorKind, Result, Span, SqlError};

/// Pseudo columns and window bounds: no column may bear these names.
pub(super) const RESERVED: &[&str] =
    &["ROWTIME", "ROWPARTITION", "ROWOFFSET", "WINDOWSTART", "WINDOWEND"];

pub(super) fn check_not_reserved(name: &str, span: Option<Span>) -> Result<()> {
    if RESERVED.contains(&name) {
        return Err(SqlError::new(
            ErrorKind::ReservedColumnName,
            format!("{name} is the name of a pseudo column"),
            format!("Give it another name, as in {name} AS MY_{name}."),
        )
        .at(span));
    }
    Ok(())
}

/// Refuses a second column of the same name.
pub(super) fn check_distinct<'a>(
    names: impl IntoIterator<Item = (&'a str, Option<Span>)>,
) -> Result<()> {
    let mut seen = HashSet::new();
    for (name, span) in names {
        if !seen.insert(name) {
            return Err(SqlError::new(
                ErrorKind::DuplicateName,
                format!("two columns are called {name}"),
                "Rename one of them.",
            )
            .at(span));
        }
    }
    Ok(())
}

/// Hands out names for columns without one; never one that a source column bears.
#[derive(Debug, Default)]
pub(super) struct NameSource {
    used: HashSet<String>,
    next: usize,
    fields: HashMap<String, usize>,
}

impl NameSource {
    pub(super) fn new<'a>(source_columns: impl IntoIterator<Item = &'a str>) -> Self {
        Self { used: source_columns.into_iter().map(str::to_owned).collect(), ..Self::default() }
    }

    /// `KSQL_COL_n`, the next n that is free.
    pub(super) fn generated(&mut self) -> String {
        loop {
            let name = format!("KSQL_COL_{}", self.next);
            self.next += 1;
            if !self.used.contains(&name) {
                return name;
            }
        }
    }

    /// The field's own name the first time, then `FIELD_1`, `FIELD_2`.
    pub(super) fn field(&mut self, field: &str) -> String {
        let count = self.fields.entry(field.to_owned()).or_insert(0);
        loop {
            let name = if *count == 0 { field.to_owned() } else { format!("{field}_{count}") };
            *count += 1;
            if !self.used.contains(&name) {
                return name;
            }
        }
    }
}

/// `ROWKEY`, or `ROWKEY_1` … if a source has such columns: the key of a join no column stands for.
pub(super) fn synthetic_key(taken: &HashSet<String>) -> String {
    let mut name = "ROWKEY".to_owned();
    let mut n = 0;
    while taken.contains(&name) {
        n += 1;
        name = format!("ROWKEY_{n}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_avoid_those_of_sources() {
        let mut names = NameSource::new(["KSQL_COL_1", "CITY"]);
        assert_eq!(names.generated(), "KSQL_COL_0");
        assert_eq!(names.generated(), "KSQL_COL_2");
        assert_eq!(names.field("CITY"), "CITY_1");
        assert_eq!(names.field("CITY"), "CITY_2");
        assert_eq!(names.field("ZIP"), "ZIP");
        assert_eq!(names.field("ZIP"), "ZIP_1");
        assert_eq!(synthetic_key(&HashSet::new()), "ROWKEY");
        let taken = ["ROWKEY", "ROWKEY_1"].map(str::to_owned).into_iter().collect();
        assert_eq!(synthetic_key(&taken), "ROWKEY_2");
    }
}
