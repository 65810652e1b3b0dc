//! CREATE: streams and tables, declared or by a query, types and connectors; also the parts that
//! other statements share: column lists and WITH.

use std::collections::HashSet;

use super::ast::{
    ColumnDef, ColumnRole, ConnectorKind, CreateAs, CreateSource, Name, Properties, Property,
    RelationKind, Statement,
};
use super::cursor::Cursor;
use super::lexer::Kind;
use super::query::read_query;
use super::types::{duplicate, read_type};
use crate::error::{ErrorKind, Result, Span, SqlError};
use crate::types::{HeaderColumn, SqlType, StructField};

/// What stands between CREATE and the name.
#[derive(Clone, Copy)]
struct Flags {
    or_replace: bool,
    source: bool,
    start: usize,
}

/// Behind CREATE.
pub(super) fn read_create(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let start = cursor.peek().span.start;
    if cursor.eat_word("TYPE") {
        return read_create_type(cursor);
    }
    if let Some(kind) = read_connector_kind(cursor) {
        return read_create_connector(cursor, kind);
    }
    let or_replace = cursor.eat_words(&["OR", "REPLACE"]);
    let source = cursor.eat_word("SOURCE");
    match read_relation_kind(cursor) {
        Some(kind) => read_create_relation(cursor, kind, Flags { or_replace, source, start }),
        None if or_replace || source => Err(cursor.expected("STREAM or TABLE")),
        None => Err(cursor.expected("[OR REPLACE] [SOURCE] STREAM or TABLE, TYPE, or CONNECTOR")),
    }
}

/// `STREAM` or `TABLE`.
pub(super) fn read_relation_kind(cursor: &mut Cursor<'_>) -> Option<RelationKind> {
    if cursor.eat_word("STREAM") {
        Some(RelationKind::Stream)
    } else {
        cursor.eat_word("TABLE").then_some(RelationKind::Table)
    }
}

fn read_connector_kind(cursor: &mut Cursor<'_>) -> Option<ConnectorKind> {
    if cursor.eat_words(&["SOURCE", "CONNECTOR"]) {
        Some(ConnectorKind::Source)
    } else {
        cursor.eat_words(&["SINK", "CONNECTOR"]).then_some(ConnectorKind::Sink)
    }
}

fn read_create_type(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let if_not_exists = cursor.eat_words(&["IF", "NOT", "EXISTS"]);
    let name = cursor.name("a name for the type")?;
    cursor.expect_word("AS")?;
    Ok(Statement::CreateType { name, if_not_exists, ty: read_type(cursor)? })
}

fn read_create_connector(cursor: &mut Cursor<'_>, kind: ConnectorKind) -> Result<Statement> {
    let if_not_exists = cursor.eat_words(&["IF", "NOT", "EXISTS"]);
    let name = cursor.name("a name for the connector")?;
    cursor.expect_word("WITH")?;
    let properties = read_properties(cursor, Names::AsWritten)?;
    Ok(Statement::CreateConnector { kind, if_not_exists, name, properties })
}

fn read_create_relation(
    cursor: &mut Cursor<'_>,
    kind: RelationKind,
    flags: Flags,
) -> Result<Statement> {
    let Flags { or_replace, source, start } = flags;
    let if_not_exists = cursor.eat_words(&["IF", "NOT", "EXISTS"]);
    let name = read_new_name(cursor)?;
    let declared = cursor.at_symbol("(");
    let columns = if declared { read_columns(cursor, kind)? } else { vec![] };
    let properties = read_optional_properties(cursor)?;
    if !cursor.at_word("AS") {
        return Ok(Statement::CreateSource(CreateSource {
            kind,
            or_replace,
            if_not_exists,
            source,
            name,
            columns,
            properties,
        }));
    }
    if declared || source {
        let what = if source { "a SOURCE" } else { "a list of columns" };
        return Err(SqlError::new(
            ErrorKind::Syntax,
            format!("AS SELECT does not go with {what}"),
            "Leave one of the two out; the query says which columns there are.",
        )
        .at(Some(Span { start, end: cursor.peek().span.end })));
    }
    cursor.expect_word("AS")?;
    let query = read_query(cursor)?;
    Ok(Statement::CreateAs(CreateAs { kind, or_replace, if_not_exists, name, properties, query }))
}

/// The name of a new stream or table: `[A-Za-z0-9_-]`, since topics and query ids are made of it.
fn read_new_name(cursor: &mut Cursor<'_>) -> Result<Name> {
    let name = cursor.name("a name for the stream or table")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.text.is_empty() && name.text.chars().all(allowed) {
        return Ok(name);
    }
    Err(SqlError::new(
        ErrorKind::Syntax,
        format!("\"{}\" cannot be the name of a stream or table", name.text),
        "Use letters, digits, \"_\" and \"-\" only.",
    )
    .at(name.span))
}

/// `(name type [KEY | PRIMARY KEY | HEADERS | HEADER('k')], …)`.
fn read_columns(cursor: &mut Cursor<'_>, kind: RelationKind) -> Result<Vec<ColumnDef>> {
    cursor.expect_symbol("(")?;
    let mut names = HashSet::new();
    let columns = cursor.list(|cursor| {
        let name = cursor.name("a column name")?;
        if !names.insert(name.text.clone()) {
            return Err(duplicate("column", &name.text, name.span));
        }
        let ty = read_type(cursor)?;
        let role = read_role(cursor, kind)?;
        let header = match role {
            ColumnRole::Value => read_header(cursor, &ty)?,
            ColumnRole::Key | ColumnRole::PrimaryKey => None,
        };
        Ok(ColumnDef { name, ty, role, header })
    })?;
    cursor.expect_symbol(")")?;
    Ok(columns)
}

fn read_role(cursor: &mut Cursor<'_>, kind: RelationKind) -> Result<ColumnRole> {
    let start = cursor.peek().span.start;
    let role = if cursor.eat_words(&["PRIMARY", "KEY"]) {
        ColumnRole::PrimaryKey
    } else if cursor.eat_word("KEY") {
        ColumnRole::Key
    } else {
        ColumnRole::Value
    };
    let (message, remedy) = match (kind, role) {
        (RelationKind::Stream, ColumnRole::PrimaryKey) => {
            ("a stream has no PRIMARY KEY", "Write KEY.")
        }
        (RelationKind::Table, ColumnRole::Key) => {
            ("a table's key is a PRIMARY KEY", "Write PRIMARY KEY.")
        }
        _ => return Ok(role),
    };
    let span = Some(cursor.span_since(start));
    Err(SqlError::new(ErrorKind::WrongKeyKeyword, message, remedy).at(span))
}

fn read_header(cursor: &mut Cursor<'_>, ty: &SqlType) -> Result<Option<HeaderColumn>> {
    let start = cursor.peek().span.start;
    let (header, wanted) = if cursor.eat_word("HEADERS") {
        let field = |name: &str, ty| StructField { name: name.into(), ty };
        let pair = vec![field("KEY", SqlType::String), field("VALUE", SqlType::Bytes)];
        (HeaderColumn::All, SqlType::array(SqlType::Struct(pair)))
    } else if cursor.eat_word("HEADER") {
        cursor.expect_symbol("(")?;
        let key = cursor.text("the header's key")?.text.clone();
        cursor.expect_symbol(")")?;
        (HeaderColumn::Key(key), SqlType::Bytes)
    } else {
        return Ok(None);
    };
    if *ty == wanted {
        return Ok(Some(header));
    }
    let message = format!("a column of this kind of header has the type {wanted}, not {ty}");
    Err(SqlError::new(ErrorKind::InvalidHeaderType, message, format!("Declare it {wanted}."))
        .at(Some(cursor.span_since(start))))
}

/// `WITH (…)`, if it is there.
pub(super) fn read_optional_properties(cursor: &mut Cursor<'_>) -> Result<Properties> {
    if cursor.eat_word("WITH") {
        read_properties(cursor, Names::Upper)
    } else {
        Ok(Properties::default())
    }
}

/// Whether the names of properties ignore case: ours do, those of connectors do not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Upper,
    AsWritten,
}

/// `(name = literal, …)`.
fn read_properties(cursor: &mut Cursor<'_>, case: Names) -> Result<Properties> {
    cursor.expect_symbol("(")?;
    let mut names = HashSet::new();
    let properties = cursor.list(|cursor| {
        let property = read_property(cursor, case)?;
        if names.insert(property.name.clone()) {
            return Ok(property);
        }
        Err(SqlError::new(
            ErrorKind::ConflictingProperties,
            format!("the property {} is given twice", property.name),
            "Keep one of them.",
        )
        .at(property.span))
    })?;
    cursor.expect_symbol(")")?;
    Ok(Properties(properties))
}

fn read_property(cursor: &mut Cursor<'_>, case: Names) -> Result<Property> {
    let token = cursor.peek();
    let start = token.span.start;
    let mut name = match token.kind {
        Kind::Text => cursor.next().text.clone(),
        Kind::Word if case == Names::AsWritten => {
            cursor.name("a property")?;
            cursor.raw(token.span).to_owned()
        }
        _ => cursor.name("a property")?.text,
    };
    if case == Names::Upper {
        name.make_ascii_uppercase();
    }
    cursor.expect_symbol("=")?;
    let sign = if cursor.eat_symbol("-") { "-" } else { "" };
    let literal = cursor.peek();
    let quoted = literal.kind == Kind::Text;
    match literal.kind {
        Kind::Integer | Kind::Decimal | Kind::Double => {}
        Kind::Text if sign.is_empty() => {}
        Kind::Word if sign.is_empty() && is_literal_word(&literal.text) => {}
        _ => return Err(cursor.expected("a literal: a string, a number, TRUE, FALSE or NULL")),
    }
    cursor.next();
    let value = format!("{sign}{}", literal.text);
    let span = Some(cursor.span_since(start));
    Ok(Property { name, value, quoted, span })
}

fn is_literal_word(word: &str) -> bool {
    word == "TRUE" || word == "FALSE" || word == "NULL"
}

/// `ADD [COLUMN] name type`, one column of ALTER.
pub(super) fn read_added_column(cursor: &mut Cursor<'_>) -> Result<ColumnDef> {
    cursor.expect_word("ADD")?;
    // `COLUMN` may also be the column's name: then a type follows, not a name and a type.
    if cursor.at_word("COLUMN") && Cursor::is_identifier(cursor.peek_nth(1)) {
        let alone = cursor.peek_nth(2);
        let typed = alone.kind != Kind::End && !alone.is_symbol(",") && !alone.is_symbol("<");
        if typed {
            cursor.next();
        }
    }
    let name = cursor.name("a column name")?;
    let ty = read_type(cursor)?;
    Ok(ColumnDef { name, ty, role: ColumnRole::Value, header: None })
}
