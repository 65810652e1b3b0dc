//! The generated reference: every function is documented whole, every example gives what it says, and
//! `docs/` is what would be written.

use std::collections::BTreeSet;
use std::path::Path;

use millstream_sql::expr::Functions;
use millstream_sql::plan::CREATE_PROPERTIES;
use millstream_sql::syntax::ast::{QueryTarget, Show, Statement};
use millstream_sql::syntax::{NoTypes, parse_statement, split_statements};
use millstream_tests::reference::{examples, pages, statements};

#[test]
fn docs_are_as_generated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for page in pages().expect("the examples run") {
        let there = std::fs::read_to_string(root.join(page.path)).unwrap_or_default();
        assert!(
            there == page.text,
            "{} is stale: cargo run -p millstream-tests --bin reference -- --write",
            page.path
        );
    }
}

#[test]
fn every_function_is_documented_whole() {
    let mut gaps = vec![];
    for function in Functions::built_in().all() {
        let name = &function.about.name;
        if function.about.examples.is_empty() {
            gaps.push(format!("{name}: no example"));
        }
        for variant in &function.variants {
            for argument in &variant.arguments {
                if argument.name.is_empty() || argument.description.is_empty() {
                    gaps.push(format!("{name}: the argument {argument:?}"));
                }
            }
        }
    }
    assert!(gaps.is_empty(), "{}", gaps.join("\n"));
}

#[test]
fn every_example_gives_what_it_says() {
    let mut wrong = vec![];
    for function in Functions::built_in().all() {
        for example in &function.about.examples {
            match examples::run(function.about.kind, example) {
                Ok(got) if got == example.gives => {}
                Ok(got) => {
                    wrong.push(format!("{} gives {got}, not {}", example.call, example.gives))
                }
                Err(reason) => wrong.push(reason),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a statement is an example of; `None` for those that are not there yet.
fn kind(statement: &Statement) -> Option<&'static str> {
    let of = |target: &QueryTarget, one, all| match target {
        QueryTarget::Id(_) => one,
        QueryTarget::All => all,
    };
    Some(match statement {
        Statement::CreateSource(_) => "CREATE",
        Statement::CreateAs(_) => "CREATE AS",
        Statement::InsertSelect { .. } => "INSERT SELECT",
        Statement::InsertValues { .. } => "INSERT VALUES",
        Statement::Query(_) => "SELECT",
        Statement::Drop { .. } => "DROP",
        Statement::AlterAdd { .. } => "ALTER",
        Statement::CreateType { .. } => "CREATE TYPE",
        Statement::DropType { .. } => "DROP TYPE",
        Statement::Terminate(target) => of(target, "TERMINATE", "TERMINATE ALL"),
        Statement::Pause(_) => "PAUSE",
        Statement::Resume(_) => "RESUME",
        Statement::Show(Show::Streams { .. }) => "SHOW STREAMS",
        Statement::Show(Show::Tables { .. }) => "SHOW TABLES",
        Statement::Show(Show::Topics { .. }) => "SHOW TOPICS",
        Statement::Show(Show::Queries { .. }) => "SHOW QUERIES",
        Statement::Show(Show::Properties) => "SHOW PROPERTIES",
        Statement::Show(Show::Functions) => "SHOW FUNCTIONS",
        Statement::Show(Show::Variables) => "SHOW VARIABLES",
        Statement::Show(Show::Types) => "SHOW TYPES",
        Statement::Describe { .. } => "DESCRIBE",
        Statement::DescribeAll { .. } => "DESCRIBE STREAMS",
        Statement::DescribeFunction { .. } => "DESCRIBE FUNCTION",
        Statement::Explain(_) => "EXPLAIN",
        Statement::Print { .. } => "PRINT",
        Statement::Set { .. } => "SET",
        Statement::Unset { .. } => "UNSET",
        Statement::Define { .. } => "DEFINE",
        Statement::Undefine { .. } => "UNDEFINE",
        Statement::AssertTopic { .. } => "ASSERT TOPIC",
        Statement::CreateConnector { .. }
        | Statement::DropConnector { .. }
        | Statement::DescribeConnector { .. }
        | Statement::Show(Show::Connectors(_) | Show::ConnectorPlugins) => return None,
    })
}

/// Every kind but SHOW FUNCTIONS, whose answer is docs/functions.md.
const KINDS: &str = "ALTER, ASSERT TOPIC, CREATE, CREATE AS, CREATE TYPE, DEFINE, DESCRIBE, \
    DESCRIBE FUNCTION, DESCRIBE STREAMS, DROP, DROP TYPE, EXPLAIN, INSERT SELECT, INSERT VALUES, PAUSE, \
    PRINT, RESUME, SELECT, SET, SHOW PROPERTIES, SHOW QUERIES, SHOW STREAMS, SHOW TABLES, SHOW TOPICS, \
    SHOW TYPES, SHOW VARIABLES, TERMINATE, TERMINATE ALL, UNDEFINE, UNSET";

#[test]
fn every_statement_and_property_has_an_example_or_an_entry() {
    let run = statements::examples().expect("the examples run");
    let mut kinds = BTreeSet::new();
    for text in &run.statements {
        for piece in split_statements(text).expect("an example is whole") {
            // Some are there to be refused, and variables are not replaced here.
            if let Ok(parsed) = parse_statement(piece.text, &NoTypes) {
                kinds.extend(kind(&parsed.statement));
            }
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>().join(", "), KINDS);
    let wanted = CREATE_PROPERTIES.iter().copied().chain(["QUERY_ID"]);
    let missing: Vec<&str> = wanted.filter(|p| !run.text.contains(&format!("`{p}`"))).collect();
    assert!(missing.is_empty(), "docs/statements.md does not name {missing:?}");
    let phrases = [
        "TUMBLING (",
        "HOPPING (",
        "SESSION (",
        "EMIT FINAL",
        "LEFT JOIN",
        "FULL OUTER JOIN",
        "WITHIN (",
    ];
    for phrase in phrases {
        assert!(run.statements.iter().any(|s| s.contains(phrase)), "no example has {phrase}");
    }
}
