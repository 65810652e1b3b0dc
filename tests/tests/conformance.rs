//! The conformance runner is itself tested: a right case passes, and each single thing that is
//! altered in it makes it fail. The case files are our own, in `tests/conformance/own`.

use std::path::Path;

use millstream_tests::conformance::case::{Case, load_dir};
use millstream_tests::conformance::json::Json;
use millstream_tests::conformance::runner::{Outcome, run_one};

fn cases() -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/own");
    load_dir(&dir).expect("our own case files are well-formed")
}

fn case(name: &str) -> Case {
    let found = cases().into_iter().find(|c| c.name == name);
    found.unwrap_or_else(|| panic!("no case is called {name}"))
}

/// Alters a case that passes, and wants it to fail with a reason that says so.
#[track_caller]
fn must_fail(name: &str, alter: impl FnOnce(&mut Case), reason: &str) {
    let mut case = case(name);
    alter(&mut case);
    match run_one(&case) {
        Outcome::Wrong(why) | Outcome::Refused(why) => {
            assert!(why.contains(reason), "{why:?} does not name {reason:?}")
        }
        other => panic!("an altered case gave {other:?}"),
    }
}

const PAYMENTS: &str = "filtered payments keep key, time and headers";
const VISITS: &str = "counts per minute carry their window - JSON";
const CHAIN: &str = "a query over a query, fed by INSERT VALUES";

#[test]
fn right_cases_pass() {
    for case in cases() {
        assert_eq!(run_one(&case), Outcome::Passed, "{}/{}", case.file, case.name);
    }
}

#[test]
fn another_key_fails() {
    must_fail(PAYMENTS, |c| c.outputs[1].key = Json::String("cy".into()), "key");
    must_fail(VISITS, |c| c.outputs[0].key = Json::Number("7.5".into()), "key");
}

#[test]
fn another_value_fails() {
    let altered = r#"{"AMOUNT": 250.50, "NOTE": "rent"}"#;
    must_fail(PAYMENTS, |c| c.outputs[0].value = Json::parse(altered).unwrap(), "value");
    let short = r#"{"AMOUNT": 100.25}"#;
    must_fail(PAYMENTS, |c| c.outputs[1].value = Json::parse(short).unwrap(), "value");
    must_fail(PAYMENTS, |c| c.outputs[0].value = Json::Null, "value");
    must_fail(CHAIN, |c| c.outputs[2].value = Json::parse(r#"{"PRICE": 61}"#).unwrap(), "value");
}

#[test]
fn another_timestamp_fails() {
    must_fail(PAYMENTS, |c| c.outputs[0].timestamp = Some(12), "timestamp");
}

#[test]
fn another_window_fails() {
    let window = |c: &mut Case| c.outputs[2].window.as_mut().expect("it has one").end += 1;
    must_fail(VISITS, window, "window");
    must_fail(VISITS, |c| c.outputs[0].window = None, "window");
    let session = |c: &mut Case| c.outputs[0].window.as_mut().expect("it has one").session = true;
    must_fail(VISITS, session, "window");
}

#[test]
fn other_headers_fail() {
    must_fail(PAYMENTS, |c| c.outputs[0].headers = Some(vec![]), "headers");
    must_fail(PAYMENTS, |c| c.outputs[1].headers = Some(vec![("trace".into(), None)]), "headers");
}

#[test]
fn another_order_fails() {
    must_fail(VISITS, |c| c.outputs.swap(0, 1), "value");
}

#[test]
fn another_count_fails() {
    must_fail(PAYMENTS, |c| c.outputs.truncate(1), "records instead of");
    must_fail(PAYMENTS, |c| c.outputs.push(c.outputs[1].clone()), "records instead of");
    must_fail(PAYMENTS, |c| c.inputs.truncate(2), "records instead of");
}

#[test]
fn another_catalog_fails() {
    let with = |post: &'static str| move |c: &mut Case| c.post = Some(Json::parse(post).unwrap());
    for (post, reason) in [
        (r#"{"sources": [{"name": "BIG", "type": "table"}]}"#, "type"),
        (r#"{"sources": [{"name": "big", "type": "stream"}]}"#, "catalog"),
        (
            r#"{"sources": [{"name": "BIG", "schema": "account STRING KEY, amount DOUBLE"}]}"#,
            "schema",
        ),
        (r#"{"sources": [{"name": "BIG", "valueFormat": "AVRO"}]}"#, "valueFormat"),
        (r#"{"topics": {"topics": [{"name": "SMALL"}]}}"#, "SMALL"),
        (r#"{"topics": {"blacklist": ".*IG"}}"#, "must not exist"),
    ] {
        must_fail(PAYMENTS, with(post), reason);
    }
}

#[test]
fn a_rejection_must_come_last_and_for_the_right_reason() {
    let name = "a column that is not there";
    must_fail(name, |c| c.error_kind = Some("unknown-source".into()), "instead of");
    must_fail(name, |c| c.error_kind = None, "error_kinds.json");
    must_fail(name, |c| c.error_kind = Some("unsupported".into()), "instead of");
    must_fail(name, |c| c.statements.swap(0, 1), "statement 1");
    let accepted = |c: &mut Case| c.statements[1] = c.statements[1].replace("prize", "price");
    must_fail(name, accepted, "accepted");
}

/// `docs/traps.md` and the cases name each other, and the other tests it names are there.
#[test]
fn every_semantic_trap_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &Path| std::fs::read_to_string(path).expect("a file that can be read");
    let cases = cases();
    let number_of = |case: &Case| case.name.strip_prefix("trap ")?.split(':').next()?.parse().ok();
    let mut tested: Vec<usize> =
        cases.iter().filter(|c| c.file == "traps").filter_map(number_of).collect();
    let mut listed = Vec::new();
    for line in read(&root.join("docs/traps.md")).lines() {
        let cells: Vec<&str> = line.split(" | ").collect();
        let [number, _, test] = cells.as_slice() else { continue };
        let Ok(number) = number.trim_start_matches("| ").parse::<usize>() else { continue };
        listed.push(number);
        match test.trim_end_matches(" |").trim_matches('`') {
            "traps" => assert!(tested.contains(&number), "no case for trap {number}"),
            test => {
                let (file, function) = test.split_once("::").expect("file::function");
                let text = read(&root.join(file));
                assert!(text.contains(&format!("fn {function}(")), "{file} has no {function}");
            }
        }
    }
    assert_eq!(listed, (1..=46).collect::<Vec<_>>());
    tested.retain(|n| !listed.contains(n));
    assert!(tested.is_empty(), "docs/traps.md does not list {tested:?}");
}
