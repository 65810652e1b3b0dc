//! The language by example: texts in the `.txt` files beside this one, and what becomes of them.

mod limits;
mod outline;

use super::*;
use crate::error::{Result, SqlError};
use crate::types::{SqlType, StructField};
use outline::outline;

/// Goes through the blocks of a file: SQL at the margin, then what must become of it, indented by two
/// spaces. `UPDATE_EXPECT=1 cargo test` writes down what becomes of it now.
fn check(file: &str, examples: &str, run: impl Fn(&str) -> String) {
    let (mut sql, mut expected) = (String::new(), String::new());
    let (mut wrong, mut updated) = (String::new(), String::new());
    for line in examples.lines().chain([""]) {
        if let Some(line) = line.strip_prefix("  ") {
            expected = expected + line + "\n";
            continue;
        }
        if !expected.is_empty() {
            let actual = indent(&run(sql.trim_end()));
            if actual != indent(&expected) {
                wrong = wrong + &sql + &actual;
            }
            updated += &actual;
            (sql, expected) = (String::new(), String::new());
        }
        updated = updated + line + "\n";
        if !line.starts_with('#') && !line.is_empty() {
            sql = sql + line + "\n";
        }
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let path = format!("{}/src/syntax/tests/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, updated.trim_end().to_owned() + "\n").unwrap();
    } else {
        assert!(wrong.is_empty(), "in {file}, these came out otherwise:\n{wrong}");
    }
}

fn indent(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("  {line}\n")).collect()
}

/// One custom type, `ADDRESS`.
fn address(name: &str) -> Option<SqlType> {
    let city = StructField { name: "CITY".into(), ty: SqlType::String };
    (name == "ADDRESS").then(|| SqlType::Struct(vec![city]))
}

#[test]
fn statements() {
    check("statements.txt", include_str!("statements.txt"), |sql| {
        match parse_statements(sql, &address) {
            Ok(parsed) => parsed.iter().map(|p| outline(&p.statement) + "\n").collect(),
            Err(error) => error.render(sql),
        }
    });
}

#[test]
fn refusals() {
    check("refusals.txt", include_str!("refusals.txt"), |sql| {
        match parse_statements(sql, &address) {
            Ok(parsed) => format!("accepted: {}", parsed.len()),
            Err(error) => pointed(sql, &error),
        }
    });
}

/// The place, what stands there, and what is said about it.
fn pointed(sql: &str, error: &SqlError) -> String {
    match error.span {
        Some(span) => format!("at {} `{}`: {error}", span.start, &sql[span.start..span.end]),
        None => error.to_string(),
    }
}

/// Printed, an expression shows its whole structure, and reads back as the same one.
#[test]
fn expressions() {
    check("expressions.txt", include_str!("expressions.txt"), |sql| {
        let printed = |sql: &str| -> Result<String> { Ok(expr_text(&parse_expression(sql)?)) };
        match printed(sql) {
            Ok(first) => {
                assert_eq!(printed(&first).as_ref(), Ok(&first), "{sql}");
                first
            }
            Err(error) => pointed(sql, &error),
        }
    });
}

#[test]
fn types() {
    let cases = [
        ("int", "INTEGER"),
        ("varchar(255)", "STRING"),
        ("decimal(4, 2)", "DECIMAL(4, 2)"),
        ("ARRAY<MAP<STRING, ARRAY<BIGINT>>>", "ARRAY<MAP<STRING, ARRAY<BIGINT>>>"),
        ("INT ARRAY ARRAY", "ARRAY<ARRAY<INTEGER>>"),
        ("STRUCT<a INT, `b c` STRUCT<d BYTES>>", "STRUCT<`A` INTEGER, `b c` STRUCT<`D` BYTES>>"),
        ("STRUCT<>", "STRUCT<>"),
        ("struct < >", "STRUCT<>"),
        ("ARRAY<address>", "ARRAY<STRUCT<`CITY` STRING>>"),
        ("TIMESTAMP ARRAY", "ARRAY<TIMESTAMP>"),
    ];
    for (text, expected) in cases {
        let ty =
            types::parse_type_with(text, &address).unwrap_or_else(|e| panic!("{}", e.render(text)));
        assert_eq!(ty.to_string(), expected);
        assert_eq!(parse_type(expected), Ok(ty), "the printed form reads back");
    }
}

#[test]
fn a_created_type_is_known_to_the_statements_behind_it() {
    let text =
        "CREATE TYPE t AS INT ARRAY; CREATE STREAM s (a t); DROP TYPE t; CREATE STREAM u (a t);";
    let error = parse_statements(text, &NoTypes).unwrap_err();
    assert_eq!(&text[error.span.unwrap().start..], "t);", "only the last use is refused");
}

#[test]
fn spans_are_offsets_into_the_whole_text() {
    let text = "-- Ä first\nSHOW TOPICS; /* ; */\n SELECT 'ö', `ü` + f(x) FROM a;";
    let parsed = parse_statements(text, &NoTypes).unwrap();
    let texts: Vec<&str> = parsed.iter().map(|p| &text[p.span.start..p.span.end]).collect();
    assert_eq!(texts, ["SHOW TOPICS", "SELECT 'ö', `ü` + f(x) FROM a"]);
    let ast::Statement::Query(query) = &parsed[1].statement else { panic!("not a query") };
    let ast::SelectItem::Expr { expr, .. } = &query.items[1] else { panic!("not an expression") };
    let span = span_of(expr).unwrap();
    assert_eq!(&text[span.start..span.end], "`ü` + f(x");
}

#[test]
fn split_leaves_semicolons_in_quotes_and_comments_alone() {
    let text = "SET 'a;'='b'; -- ;\n;; PRINT `x;y`; /* ; */";
    let pieces = split_statements(text).unwrap();
    let texts: Vec<&str> = pieces.iter().map(|p| p.text).collect();
    assert_eq!(texts, ["SET 'a;'='b'", "PRINT `x;y`"]);
    assert!(pieces.iter().all(|p| &text[p.span.start..p.span.end] == p.text));
    for (text, complete) in
        [("", true), ("SHOW", false), ("SHOW TYPES; ", true), ("SET 'a;", false)]
    {
        assert_eq!(is_complete(text), complete, "{text}");
    }
}

#[test]
fn variables() {
    let mut variables = Variables::default();
    variables.define("Name", "orders");
    variables.define("text", "'it''s'");
    variables.define("n", "-5");
    variables.define("evil", "x; DROP STREAM y");
    variables.define("quote", "a`b'c");
    variables.define("gap", " x");
    let cases = [
        ("SELECT ${NAME} FROM ${name};", Ok("SELECT orders FROM orders;")),
        ("INSERT INTO s VALUES (${text}, ${n});", Ok("INSERT INTO s VALUES ('it''s', -5);")),
        ("SET 'a'='x ${evil} ${quote}';", Ok("SET 'a'='x x; DROP STREAM y a`b''c';")),
        ("SET 'a'='$${name} ${other}';", Ok("SET 'a'='${name} ${other}';")),
        ("PRINT `${name}s`;", Ok("PRINT `orderss`;")),
        ("-- ${evil}\nPRINT ${name};", Ok("-- ${evil}\nPRINT orders;")),
        ("PRINT ${other};", Ok("PRINT ${other};")),
        ("PRINT ${evil};", Err("${evil}")),
        ("PRINT ${gap};", Err("${gap}")),
        ("PRINT `${quote}`;", Err("${quote}")),
    ];
    for (text, expected) in cases {
        match (variables.substitute(text), expected) {
            (Ok(out), Ok(expected)) => assert_eq!(out, expected),
            (Err(error), Err(place)) => {
                let span = error.span.unwrap();
                assert_eq!(&text[span.start..span.end], place);
            }
            (out, _) => panic!("{text}: {out:?}"),
        }
    }
    assert!(variables.undefine("NAME") && variables.get("name").is_none());
    assert_eq!(variables.iter().next(), Some(("evil", "x; DROP STREAM y")));
}
