//! Aggregate and table functions at their edges (`reference/ksqldb.md` 2.2, 2.3), through the planner,
//! a dataflow and the formats.

use millstream_sql::expr::functions::{Example, FunctionKind};
use millstream_tests::reference::examples;

/// Columns, rows, call, result.
type Case = (&'static str, &'static [&'static str], &'static str, &'static str);

fn check(kind: FunctionKind, cases: &[Case]) {
    let mut wrong = vec![];
    for (columns, rows, call, gives) in cases {
        let got = examples::run(kind, &Example::over(columns, rows, call, gives));
        let got = got.unwrap_or_else(|reason| format!("error: {reason}"));
        let same = match gives.strip_prefix("error: ") {
            Some(part) => got.starts_with("error: ") && got.contains(part),
            None => got == *gives,
        };
        if !same {
            wrong.push(format!(
                "{call} over {columns} {rows:?}\n  gives    {got}\n  expected {gives}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn aggregates_at_their_edges() {
    check(
        FunctionKind::Aggregate,
        &[
            ("V INT", &["NULL"], "AVG(V)", "0.0"),
            ("V INT", &["2147483647", "1"], "AVG(V)", "-1.073741824E9"),
            ("V BIGINT", &["2147483647", "1"], "AVG(V)", "1.073741824E9"),
            ("V DECIMAL(4, 2)", &["1.00"], "AVG(V)", "error: no variant"),
            ("V INT", &["2147483647", "1"], "SUM(V)", "-2147483648"),
            ("V BIGINT", &["9223372036854775807", "1"], "SUM(V)", "-9223372036854775808"),
            ("V INT", &["NULL", "NULL"], "SUM(V)", "0"),
            ("V DOUBLE", &["0.1", "0.2"], "SUM(V)", "0.30000000000000004"),
            ("V DECIMAL(3, 1)", &["0.5", "NULL", "1.5"], "SUM(V)", "2.0"),
            ("V DECIMAL(3, 1)", &["99.9", "0.1"], "SUM(V)", "error: "),
            ("V STRING", &["'a'"], "SUM(V)", "error: no variant"),
            ("V INT", &["NULL", "NULL"], "COUNT(V)", "0"),
            ("V INT", &["NULL", "NULL"], "COUNT(*)", "2"),
            ("V INT", &["NULL"], "MIN(V)", "NULL"),
            ("V STRING", &["'a'", "'B'", "NULL"], "MIN(V)", "'B'"),
            ("V STRING", &["'\u{FFFD}'", "'\u{1F600}'"], "MAX(V)", "'\u{FFFD}'"),
            ("V BYTES", &["TO_BYTES('7f', 'hex')", "TO_BYTES('80', 'hex')"], "MAX(V)", "'fw=='"),
            ("V TIME", &["'10:00:00'", "'09:00:00'"], "MAX(V)", "'10:00'"),
            ("V DECIMAL(5, 2)", &["1.50", "10.00"], "MAX(V)", "10.00"),
            ("V BOOLEAN", &["TRUE"], "MAX(V)", "error: no variant"),
            ("V INT", &["NULL", "NULL"], "ATTR(V)", "NULL"),
            ("V INT", &["1", "NULL"], "ATTR(V)", "NULL"),
            ("V ARRAY<INT>", &["ARRAY[1]", "ARRAY[1]"], "ATTR(V)", "ARRAY[1]"),
            ("V INT", &["NULL", "1", "NULL"], "COLLECT_SET(V)", "ARRAY[NULL, 1]"),
            (
                "V STRUCT<F INT>",
                &["STRUCT(F := 1)", "STRUCT(F := 1)"],
                "COLLECT_SET(V)",
                "ARRAY[STRUCT(F := 1)]",
            ),
            ("V MAP<STRING, INT>", &["MAP('a' := 1)"], "COLLECT_LIST(V)", "ARRAY[MAP('a' := 1)]"),
            ("V STRING", &["'a'", "NULL", "'a'"], "COUNT_DISTINCT(V)", "1"),
            ("V STRING", &["'a'", "NULL", "'a'"], "HISTOGRAM(V)", "MAP('a' := 2)"),
            ("V INT", &["1"], "HISTOGRAM(V)", "error: no variant"),
            ("V INT", &["1", "NULL", "3"], "EARLIEST_BY_OFFSET(V, 5)", "ARRAY[1, 3]"),
            ("V INT", &["1", "NULL", "3"], "EARLIEST_BY_OFFSET(V, 2, FALSE)", "ARRAY[1, NULL]"),
            ("V INT", &["1", "NULL", "3"], "LATEST_BY_OFFSET(V, 2, FALSE)", "ARRAY[NULL, 3]"),
            ("V INT", &["NULL"], "LATEST_BY_OFFSET(V)", "NULL"),
            ("V INT", &["NULL"], "LATEST_BY_OFFSET(V, 2)", "ARRAY[]"),
            ("V INT", &["1"], "LATEST_BY_OFFSET(V, V)", "error: constant"),
            ("V INT", &["5"], "STDDEV_SAMPLE(V)", "0.0"),
            ("V INT", &["5"], "STDDEV_SAMP(V)", "0.0"),
            ("V DOUBLE", &["1.0", "2.0", "NULL", "3.0"], "STDDEV_SAMPLE(V)", "1.0"),
            ("X INT, Y INT", &["1, 1"], "CORRELATION(X, Y)", "NaN"),
            ("X INT, Y DOUBLE", &["1, 3.0", "NULL, 9.0", "2, 2.0"], "CORRELATION(X, Y)", "-1.0"),
            ("V ARRAY<INT>", &["ARRAY[2147483647, 1]"], "SUM_LIST(V)", "-2147483648"),
            ("V ARRAY<INT>", &["NULL", "ARRAY[1, NULL]"], "SUM_LIST(V)", "1"),
            ("V INT", &["1", "NULL", "3"], "TOPK(V, 5)", "ARRAY[3, 1]"),
            ("V STRING", &["'b'", "'a'", "'b'"], "TOPK(V, 2)", "ARRAY['b', 'b']"),
            ("V DOUBLE", &["1.5", "2.5"], "TOPK(V, 1)", "ARRAY[2.5]"),
            (
                "V DATE",
                &["'2024-01-01'", "'2023-01-01'"],
                "TOPKDISTINCT(V, 1)",
                "ARRAY['2024-01-01']",
            ),
            ("V DECIMAL(3, 1)", &["1.5", "1.5", "2.0"], "TOPKDISTINCT(V, 9)", "ARRAY[2.0, 1.5]"),
            (
                "V INT, W STRING",
                &["1, 'a'", "1, 'b'", "NULL, 'c'"],
                "TOPK(V, W, 1)",
                "ARRAY[STRUCT(sort_col := 1, col0 := 'a')]",
            ),
            ("V INT", &["1", "3"], "SUM(V) + COUNT(*)", "6"),
            ("V INT", &["1", "3"], "SUM(COUNT(V))", "error: aggregate"),
        ],
    );
}

#[test]
fn table_functions_at_their_edges() {
    check(
        FunctionKind::Table,
        &[
            ("V ARRAY<INT>", &["ARRAY[1, NULL]", "NULL", "ARRAY[2]"], "EXPLODE(V)", "1; NULL; 2"),
            ("V ARRAY<ARRAY<INT>>", &["ARRAY[ARRAY[1, 2]]"], "EXPLODE(V)", "ARRAY[1, 2]"),
            ("V INT", &["1"], "EXPLODE(V)", "error: ARRAY"),
            ("V INT", &["7"], "EXPLODE(GENERATE_SERIES(1, 3)) * V", "7; 14; 21"),
            (
                "V ARRAY<INT>",
                &["ARRAY[1, NULL]"],
                "CUBE_EXPLODE(V)",
                "ARRAY[NULL, NULL]; ARRAY[1, NULL]",
            ),
            ("V INT", &["1"], "CUBE_EXPLODE(GENERATE_SERIES(1, 21))", "error: 20"),
        ],
    );
}
