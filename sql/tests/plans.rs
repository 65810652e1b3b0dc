//! The planner by its texts: a script of SQL, then what EXPLAIN says of its last statement, or the
//! error it is refused with.
//!
//! A file under `plans/` or `plan_errors/` begins with statements that all of its cases share, then
//! has cases: `=== name`, statements, `---`, the expected text. Properties of the session stand in
//! lines `SET 'name' = 'value';` of a case. In `plan_errors/` the first word of a case's name is the
//! error's code. `UPDATE_EXPECT=1 cargo test -p millstream-sql --test plans` rewrites the texts.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use millstream_sql::catalog::Catalog;
use millstream_sql::plan::{Plan, PlanConfig, PlanEnv, explain, explain_pull, plan};
use millstream_sql::syntax::ast::Statement;
use millstream_sql::syntax::{parse_statement, split_statements};
use millstream_sql::{ErrorKind, Result};

/// Every topic exists; its partition count is the number at its name's end, or 4.
struct Topics;

impl PlanEnv for Topics {
    fn partitions(&self, topic: &str) -> Option<u32> {
        if topic == "no_such_topic" {
            return None;
        }
        let digits = topic.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        Some(digits.parse().unwrap_or(4))
    }
}

#[test]
fn plans() {
    check_folder("plans", false);
}

#[test]
fn plan_errors() {
    check_folder("plan_errors", true);
}

fn check_folder(folder: &str, errors: bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let entries = std::fs::read_dir(&folder).expect("the folder of cases is there");
    let mut files: Vec<_> = entries.map(|e| e.expect("a readable entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", folder.display());
    files.iter().for_each(|file| check_file(file, errors));
}

fn check_file(file: &Path, errors: bool) {
    let text = std::fs::read_to_string(file).expect("a readable file");
    let mut parts = text.split("=== ");
    let setup = parts.next().unwrap_or_default();
    let mut actual = setup.to_owned();
    for case in parts {
        let (name, rest) = case.split_once('\n').unwrap_or((case, ""));
        let script = rest.split("---\n").next().unwrap_or_default();
        let got = run(setup, script, errors.then_some(name));
        let _ = write!(actual, "=== {name}\n{}\n---\n{got}\n", script.trim_end());
    }
    let actual = format!("{}\n", actual.trim_end());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(file, actual).expect("a writable file");
    } else {
        assert!(actual == text, "{} should be:\n{actual}", file.display());
    }
}

/// What the last statement of the script gives; all before it must succeed.
fn run(setup: &str, script: &str, error: Option<&str>) -> String {
    let mut catalog = Catalog::default();
    let mut properties = BTreeMap::new();
    let all = format!("{setup}\n{script}");
    let pieces = split_statements(&all).expect("the script can be split");
    let mut last = String::new();
    for (i, piece) in pieces.iter().enumerate() {
        let is_last = i + 1 == pieces.len();
        match step(piece.text, &mut catalog, &mut properties) {
            Ok(text) if is_last && error.is_none() => last = text,
            Ok(text) => assert!(!is_last, "accepted: {}\n{text}", piece.text),
            Err(e) => {
                let rendered = e.render(piece.text);
                assert!(is_last && error.is_some(), "refused: {}\n{rendered}", piece.text);
                let code = error.and_then(|name| name.split(' ').next());
                assert_eq!(Some(e.kind.code()), code, "{rendered}");
                last = rendered;
            }
        }
    }
    last
}

fn step(
    text: &str,
    catalog: &mut Catalog,
    properties: &mut BTreeMap<String, String>,
) -> Result<String> {
    let types = |name: &str| catalog.custom_type(name).cloned();
    let statement = parse_statement(text, &types)?;
    if let Statement::Set { name, value } = &statement.statement {
        properties.insert(name.clone(), value.clone());
        return Ok(String::new());
    }
    let config = PlanConfig::from_properties(properties)?;
    let plan = plan(&statement, catalog, &config, &Topics)?;
    Ok(match plan {
        Plan::Ddl(ddl) => {
            *catalog = catalog.with(&ddl.changes);
            let mut out = format!("{}\n", ddl.message);
            if !ddl.stop.is_empty() {
                let _ = writeln!(out, "stop {}", ddl.stop.join(", "));
            }
            if let Some(topic) = &ddl.create_topic {
                let _ = writeln!(out, "{topic:?}");
            }
            if let Some(topic) = &ddl.delete_topic {
                let _ = writeln!(out, "delete topic {topic}");
            }
            out + &ddl.start.map_or(String::new(), |d| explain(&d, &config))
        }
        Plan::Push(push) => {
            let limit = push.limit.map_or(String::new(), |n| format!("limit {n}\n"));
            limit + &explain(&push.dataflow, &config)
        }
        Plan::Pull(pull) => explain_pull(&pull),
        Plan::InsertValues(insert) => {
            let values: Vec<String> = insert.values.iter().map(ToString::to_string).collect();
            format!("insert into {}: {}\n", insert.relation, values.join(", "))
        }
        Plan::Session(_) => "for the session\n".to_owned(),
        Plan::NoOp { message } => format!("nothing to do: {message}\n"),
    })
}

/// Each kind that planning itself raises has a case.
#[test]
fn every_planning_error_has_a_case() {
    let elsewhere = [
        // Parser and binder.
        ErrorKind::Syntax,
        ErrorKind::NumberLiteralOutOfRange,
        ErrorKind::UnknownFunction,
        ErrorKind::FunctionArgumentsMismatch,
        ErrorKind::AmbiguousFunctionCall,
        ErrorKind::NonLiteralArgument,
        ErrorKind::IncomparableTypes,
        ErrorKind::LiteralNotConvertible,
        ErrorKind::ComparisonWithNull,
        ErrorKind::PredicateNotBoolean,
        ErrorKind::InvalidArithmeticOperand,
        ErrorKind::UnsupportedCast,
        ErrorKind::UntypedNull,
        ErrorKind::EmptyConstructor,
        ErrorKind::InvalidLimit,
        // Registry formats are not built.
        ErrorKind::SchemaIdMismatch,
        ErrorKind::SchemaNotFound,
        // A session carries these out, or not.
        ErrorKind::AssertionFailed,
        ErrorKind::QueryWithoutRows,
        // While a query runs.
        ErrorKind::SerializationFailed,
        ErrorKind::DecimalOverflow,
        ErrorKind::InvalidRecordTimestamp,
        ErrorKind::NodeFailed,
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan_errors");
    let mut cases = String::new();
    for entry in std::fs::read_dir(folder).expect("the folder of cases is there") {
        let path = entry.expect("a readable entry").path();
        cases += &std::fs::read_to_string(path).expect("a readable file");
    }
    let has_case = |k: &ErrorKind| {
        cases
            .lines()
            .any(|l| l.strip_prefix("=== ").is_some_and(|n| n.split(' ').next() == Some(k.code())))
    };
    let missing: Vec<&str> = ErrorKind::ALL
        .iter()
        .filter(|k| !elsewhere.contains(k) && !has_case(k))
        .map(|k| k.code())
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}
