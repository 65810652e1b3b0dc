//! SQL types, columns and schemas, and the Arrow types that carry them.
//!
//! Every column is nullable. STRING is Arrow's `Utf8View`, so that decoded text can stay a view into
//! the bytes it came from; BYTES is `Binary`; TIMESTAMP is milliseconds without a zone, DATE days,
//! TIME milliseconds of the day. `Display` gives ksqlDB's spelling, which clients read.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Fields, Schema as ArrowSchema, TimeUnit};

/// A SQL type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SqlType {
    Boolean,
    Int,
    Bigint,
    Double,
    /// `DECIMAL(precision, scale)`: 1 ≤ precision, 0 ≤ scale ≤ precision.
    Decimal { precision: u8, scale: u8 },
    String,
    Bytes,
    Date,
    Time,
    Timestamp,
    Array(Box<SqlType>),
    Map(Box<SqlType>, Box<SqlType>),
    Struct(Vec<StructField>),
}

/// A field of a STRUCT; the name as stored (upper case unless quoted).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StructField {
    pub name: String,
    pub ty: SqlType,
}

impl SqlType {
    pub fn array(item: SqlType) -> Self {
        SqlType::Array(Box::new(item))
    }

    pub fn map(key: SqlType, value: SqlType) -> Self {
        SqlType::Map(Box::new(key), Box::new(value))
    }

    pub fn is_numeric(&self) -> bool {
        use SqlType::{Bigint, Decimal, Double, Int};
        match self {
            Int | Bigint | Double | Decimal { .. } => true,
            _ => false,
        }
    }

    /// Whether the type is a map or holds one anywhere: such a type cannot be a key.
    pub fn contains_map(&self) -> bool {
        match self {
            SqlType::Map(..) => true,
            SqlType::Array(item) => item.contains_map(),
            SqlType::Struct(fields) => fields.iter().any(|f| f.ty.contains_map()),
            _ => false,
        }
    }

    /// The Arrow type that carries it.
    pub fn to_arrow(&self) -> DataType {
        match self {
            SqlType::Boolean => DataType::Boolean,
            SqlType::Int => DataType::Int32,
            SqlType::Bigint => DataType::Int64,
            SqlType::Double => DataType::Float64,
            SqlType::Decimal { precision, scale } if *precision <= 38 => {
                DataType::Decimal128(*precision, *scale as i8)
            }
            SqlType::Decimal { precision, scale } => {
                DataType::Decimal256((*precision).min(76), *scale as i8)
            }
            SqlType::String => DataType::Utf8View,
            SqlType::Bytes => DataType::Binary,
            SqlType::Date => DataType::Date32,
            SqlType::Time => DataType::Time32(TimeUnit::Millisecond),
            SqlType::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, None),
            SqlType::Array(item) => {
                DataType::List(Arc::new(ArrowField::new("item", item.to_arrow(), true)))
            }
            SqlType::Map(key, value) => {
                let entries = Fields::from(vec![
                    ArrowField::new("keys", key.to_arrow(), false),
                    ArrowField::new("values", value.to_arrow(), true),
                ]);
                let entries = ArrowField::new("entries", DataType::Struct(entries), false);
                DataType::Map(Arc::new(entries), false)
            }
            SqlType::Struct(fields) => DataType::Struct(
                fields.iter().map(|f| ArrowField::new(&f.name, f.ty.to_arrow(), true)).collect(),
            ),
        }
    }
}

/// A name as ksqlDB prints it in schemas: always in back quotes, a back quote doubled.
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlType::Boolean => f.write_str("BOOLEAN"),
            SqlType::Int => f.write_str("INTEGER"),
            SqlType::Bigint => f.write_str("BIGINT"),
            SqlType::Double => f.write_str("DOUBLE"),
            SqlType::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            SqlType::String => f.write_str("STRING"),
            SqlType::Bytes => f.write_str("BYTES"),
            SqlType::Date => f.write_str("DATE"),
            SqlType::Time => f.write_str("TIME"),
            SqlType::Timestamp => f.write_str("TIMESTAMP"),
            SqlType::Array(item) => write!(f, "ARRAY<{item}>"),
            SqlType::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            SqlType::Struct(fields) => {
                f.write_str("STRUCT<")?;
                for (i, field) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{} {}", quote(&field.name), field.ty)?;
                }
                f.write_str(">")
            }
        }
    }
}

/// Which part of the record's headers a header column shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderColumn {
    /// `HEADERS`: all of them, as `ARRAY<STRUCT<KEY STRING, VALUE BYTES>>`.
    All,
    /// `HEADER('k')`: the last one with this key, as BYTES.
    Key(String),
}

/// A column of a relation or of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub ty: SqlType,
    /// Set for header columns of a declared source; they are value columns otherwise.
    pub header: Option<HeaderColumn>,
}

impl Column {
    pub fn new(name: impl Into<String>, ty: SqlType) -> Self {
        Self { name: name.into(), ty, header: None }
    }
}

/// The columns of a relation or step: key columns first, then value columns, as its rows carry them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    pub key: Vec<Column>,
    pub value: Vec<Column>,
}

impl Schema {
    /// Key columns, then value columns: the order of a row's columns.
    pub fn columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().chain(&self.value)
    }

    pub fn len(&self) -> usize {
        self.key.len() + self.value.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The place of a column among `columns()`.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.columns().position(|c| c.name == name)
    }

    pub fn to_arrow(&self) -> Arc<ArrowSchema> {
        let fields: Fields =
            self.columns().map(|c| ArrowField::new(&c.name, c.ty.to_arrow(), true)).collect();
        Arc::new(ArrowSchema::new(fields))
    }

    /// ksqlDB's text of a schema. `key_word` is `KEY` for streams, `PRIMARY KEY` for declared tables
    /// in DDL; in schema texts ksqlDB writes `KEY` for both.
    pub fn describe(&self, key_word: &str) -> String {
        let mut parts = Vec::with_capacity(self.len());
        for column in &self.key {
            parts.push(format!("{} {} {key_word}", quote(&column.name), column.ty));
        }
        for column in &self.value {
            let header = match &column.header {
                None => String::new(),
                Some(HeaderColumn::All) => " HEADERS".into(),
                Some(HeaderColumn::Key(k)) => format!(" HEADER('{k}')"),
            };
            parts.push(format!("{} {}{header}", quote(&column.name), column.ty));
        }
        parts.join(", ")
    }
}
