//! Every statement but CREATE and SELECT, and the choice among all of them by the first word.

use super::ast::{
    ConnectorKind, ExplainTarget, Name, ParsedStatement, QueryTarget, RelationKind, Show, Statement,
};
use super::create::{read_added_column, read_create, read_optional_properties, read_relation_kind};
use super::cursor::Cursor;
use super::expressions::read_value;
use super::lexer::Kind;
use super::query::{read_duration, read_limit, read_query};
use super::types::out_of_range;
use crate::error::{ErrorKind, Result, SqlError};

/// One statement, up to where it ends.
pub(super) fn read_statement(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let token = cursor.peek();
    if token.is_word("SELECT") {
        return read_query(cursor).map(Statement::Query);
    }
    let first = if token.kind == Kind::Word { token.text.as_str() } else { "" };
    let read: fn(&mut Cursor<'_>) -> Result<Statement> = match first {
        "CREATE" => read_create,
        "INSERT" => read_insert,
        "DROP" => read_drop,
        "ALTER" => read_alter,
        "TERMINATE" => |cursor| read_target(cursor).map(Statement::Terminate),
        "PAUSE" => |cursor| read_target(cursor).map(Statement::Pause),
        "RESUME" => |cursor| read_target(cursor).map(Statement::Resume),
        "SHOW" | "LIST" => |cursor| read_show(cursor).map(Statement::Show),
        "DESCRIBE" => read_describe,
        "EXPLAIN" => read_explain,
        "PRINT" => read_print,
        "SET" => read_set,
        "UNSET" => read_unset,
        "DEFINE" => read_define,
        "UNDEFINE" => read_undefine,
        "ASSERT" => read_assert,
        "WITH" => return Err(absent(cursor, "there are no common table expressions")),
        "UPDATE" | "DELETE" => {
            return Err(absent(cursor, "rows are not updated or deleted by SQL"));
        }
        _ => return Err(cursor.expected("a statement")),
    };
    cursor.next();
    read(cursor)
}

fn absent(cursor: &Cursor<'_>, message: &str) -> SqlError {
    SqlError::new(ErrorKind::Syntax, message, "Make a stream or table of it by CREATE … AS SELECT.")
        .at(Some(cursor.peek().span))
}

fn read_insert(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect_word("INTO")?;
    let target = cursor.name("a stream or table")?;
    if cursor.at_word("WITH") || cursor.at_word("SELECT") {
        let properties = read_optional_properties(cursor)?;
        let query = read_query(cursor)?;
        return Ok(Statement::InsertSelect { target, properties, query });
    }
    let mut columns = vec![];
    if cursor.eat_symbol("(") {
        columns = cursor.list(|cursor| cursor.name("a column name"))?;
        cursor.expect_symbol(")")?;
    }
    if !cursor.eat_word("VALUES") {
        return Err(cursor.expected(if columns.is_empty() {
            "SELECT or VALUES"
        } else {
            "VALUES"
        }));
    }
    cursor.expect_symbol("(")?;
    let values = if cursor.at_symbol(")") { vec![] } else { cursor.list(read_value)? };
    cursor.expect_symbol(")")?;
    if cursor.at_symbol(",") {
        return Err(SqlError::new(
            ErrorKind::Syntax,
            "INSERT takes one row",
            "Write a statement for each row.",
        )
        .at(Some(cursor.peek().span)));
    }
    Ok(Statement::InsertValues { target, columns, values })
}

fn read_drop(cursor: &mut Cursor<'_>) -> Result<Statement> {
    if cursor.eat_word("TYPE") {
        let if_exists = cursor.eat_words(&["IF", "EXISTS"]);
        return Ok(Statement::DropType { name: cursor.name("a type")?, if_exists });
    }
    if cursor.eat_word("CONNECTOR") {
        let if_exists = cursor.eat_words(&["IF", "EXISTS"]);
        return Ok(Statement::DropConnector { name: cursor.name("a connector")?, if_exists });
    }
    let Some(kind) = read_relation_kind(cursor) else {
        return Err(cursor.expected("STREAM, TABLE, TYPE or CONNECTOR"));
    };
    let if_exists = cursor.eat_words(&["IF", "EXISTS"]);
    let name = cursor.name("a stream or table")?;
    let cascade = cursor.eat_word("CASCADE");
    let delete_topic = cursor.eat_words(&["DELETE", "TOPIC"]);
    let cascade = cascade || cursor.eat_word("CASCADE");
    Ok(Statement::Drop { kind, if_exists, name, delete_topic, cascade })
}

fn read_alter(cursor: &mut Cursor<'_>) -> Result<Statement> {
    if cursor.at_word("SYSTEM") {
        let error = SqlError::unsupported("ALTER SYSTEM is not available on this server");
        return Err(error.at(Some(cursor.peek().span)));
    }
    let Some(kind) = read_relation_kind(cursor) else {
        return Err(cursor.expected("STREAM or TABLE"));
    };
    let name = cursor.name("a stream or table")?;
    let columns = cursor.list(read_added_column)?;
    Ok(Statement::AlterAdd { kind, name, columns })
}

/// `id` or `ALL`. Query ids are matched in upper case unless quoted.
fn read_target(cursor: &mut Cursor<'_>) -> Result<QueryTarget> {
    if cursor.eat_word("ALL") {
        return Ok(QueryTarget::All);
    }
    Ok(QueryTarget::Id(cursor.name("a query id or ALL")?.text))
}

fn read_show(cursor: &mut Cursor<'_>) -> Result<Show> {
    let all = cursor.at_words(&["ALL", "TOPICS"]) && cursor.eat_word("ALL");
    if cursor.eat_word("TOPICS") {
        return Ok(Show::Topics { all, extended: cursor.eat_word("EXTENDED") });
    }
    if cursor.eat_word("STREAMS") {
        return Ok(Show::Streams { extended: cursor.eat_word("EXTENDED") });
    }
    if cursor.eat_word("TABLES") {
        return Ok(Show::Tables { extended: cursor.eat_word("EXTENDED") });
    }
    if cursor.eat_word("QUERIES") {
        return Ok(Show::Queries { extended: cursor.eat_word("EXTENDED") });
    }
    let plain: &[(&[&str], Show)] = &[
        (&["PROPERTIES"], Show::Properties),
        (&["FUNCTIONS"], Show::Functions),
        (&["VARIABLES"], Show::Variables),
        (&["TYPES"], Show::Types),
        (&["CONNECTOR", "PLUGINS"], Show::ConnectorPlugins),
        (&["CONNECTORS"], Show::Connectors(None)),
        (&["SOURCE", "CONNECTORS"], Show::Connectors(Some(ConnectorKind::Source))),
        (&["SINK", "CONNECTORS"], Show::Connectors(Some(ConnectorKind::Sink))),
    ];
    match plain.iter().find(|(words, _)| cursor.eat_words(words)) {
        Some((_, show)) => Ok(show.clone()),
        None => Err(cursor.expected(
            "STREAMS, TABLES, TOPICS, QUERIES, FUNCTIONS, PROPERTIES, TYPES, VARIABLES or CONNECTORS",
        )),
    }
}

fn read_describe(cursor: &mut Cursor<'_>) -> Result<Statement> {
    // FUNCTION and TABLES are no reserved words: they may be the name of a source as well.
    if cursor.at_word("FUNCTION") && Cursor::is_identifier(cursor.peek_nth(1)) {
        cursor.next();
        return Ok(Statement::DescribeFunction { name: cursor.name("a function")?.text });
    }
    if cursor.eat_word("CONNECTOR") {
        return Ok(Statement::DescribeConnector { name: cursor.name("a connector")? });
    }
    let all = if cursor.eat_word("STREAMS") {
        Some(RelationKind::Stream)
    } else {
        cursor.eat_word("TABLES").then_some(RelationKind::Table)
    };
    if let Some(kind) = all {
        return Ok(Statement::DescribeAll { kind, extended: cursor.eat_word("EXTENDED") });
    }
    let name = cursor.name("a stream or table")?;
    Ok(Statement::Describe { name, extended: cursor.eat_word("EXTENDED") })
}

fn read_explain(cursor: &mut Cursor<'_>) -> Result<Statement> {
    if cursor.at_identifier() && cursor.peek_nth(1).kind == Kind::End {
        return Ok(Statement::Explain(ExplainTarget::Query(cursor.name("a query id")?.text)));
    }
    if cursor.at_word("EXPLAIN") {
        return Err(cursor.expected("a query id, or a statement other than EXPLAIN"));
    }
    let start = cursor.peek().span.start;
    let statement = read_statement(cursor)?;
    let span = cursor.span_since(start);
    let text = cursor.raw(span).to_owned();
    let explained = ParsedStatement { statement, text, span };
    Ok(Statement::Explain(ExplainTarget::Statement(Box::new(explained))))
}

fn read_print(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let topic = read_topic(cursor)?;
    let from_beginning = cursor.eat_words(&["FROM", "BEGINNING"]);
    let mut interval = None;
    if cursor.eat_word("INTERVAL") || cursor.eat_word("SAMPLE") {
        let token = cursor.peek();
        if token.kind != Kind::Integer {
            return Err(cursor.expected("a whole number"));
        }
        cursor.next();
        let parsed = token.text.parse().map_err(|_| out_of_range(&token.text, token.span))?;
        interval = Some(parsed);
    }
    let limit = if cursor.eat_word("LIMIT") { Some(read_limit(cursor)?) } else { None };
    Ok(Statement::Print { topic, from_beginning, interval, limit })
}

/// A topic's name: as written also without quotes, since topics have no upper case rule.
fn read_topic(cursor: &mut Cursor<'_>) -> Result<String> {
    if cursor.peek().kind == Kind::Text {
        return Ok(cursor.next().text.clone());
    }
    let quoted = cursor.peek().kind == Kind::Quoted;
    let Name { text, span } = cursor.name("a topic")?;
    Ok(match span {
        Some(span) if !quoted => cursor.raw(span).to_owned(),
        _ => text,
    })
}

fn read_set(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let name = cursor.text("a property")?.text.clone();
    cursor.expect_symbol("=")?;
    let value = cursor.text("its value")?.text.clone();
    Ok(Statement::Set { name, value })
}

fn read_unset(cursor: &mut Cursor<'_>) -> Result<Statement> {
    Ok(Statement::Unset { name: cursor.text("a property")?.text.clone() })
}

fn read_define(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let name = read_variable(cursor)?;
    cursor.expect_symbol("=")?;
    let value = cursor.text("its value")?.text.clone();
    Ok(Statement::Define { name, value })
}

fn read_undefine(cursor: &mut Cursor<'_>) -> Result<Statement> {
    Ok(Statement::Undefine { name: read_variable(cursor)? })
}

/// A variable's name as written; `variables.rs` ignores its case.
fn read_variable(cursor: &mut Cursor<'_>) -> Result<String> {
    let token = cursor.peek();
    if token.kind != Kind::Word || token.text.contains('@') {
        return Err(cursor.expected("the name of a variable (letters, digits, \"_\")"));
    }
    cursor.next();
    Ok(cursor.raw(token.span).to_owned())
}

fn read_assert(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let not_exists = cursor.eat_words(&["NOT", "EXISTS"]);
    if cursor.at_word("SCHEMA") {
        let error =
            SqlError::unsupported("ASSERT SCHEMA is not available: there is no registry yet");
        return Err(error.at(Some(cursor.peek().span)));
    }
    if !cursor.eat_word("TOPIC") {
        return Err(cursor.expected("TOPIC or SCHEMA"));
    }
    let topic = read_topic(cursor)?;
    let properties = read_optional_properties(cursor)?;
    let timeout_ms = if cursor.eat_word("TIMEOUT") { Some(read_duration(cursor)?) } else { None };
    // A duration is never negative.
    let timeout_ms = timeout_ms.map(i64::unsigned_abs);
    Ok(Statement::AssertTopic { not_exists, topic, properties, timeout_ms })
}
