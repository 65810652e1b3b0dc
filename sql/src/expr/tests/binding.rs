//! What is refused, and which types results have.

use super::{check, check_types};
use crate::expr::{bind_predicate, bind_with_expected_type};

#[test]
fn refused() {
    check(&[
        ("NOPE", "error: unknown-column"),
        ("ST->NOPE", "error: unknown-column"),
        ("I->F", "error: unknown-column"),
        ("NOPE(1)", "error: unknown-function"),
        ("COUNT(I)", "error: misplaced-aggregate"),
        ("EXPLODE(A)", "error: misplaced-table-function"),
        ("LEN(I)", "error: function-arguments-mismatch"),
        ("LEN()", "error: function-arguments-mismatch"),
        ("LEN(*)", "error: function-arguments-mismatch"),
        ("DATEADD(DT, 1, DT)", "error: function-arguments-mismatch"),
        ("TRANSFORM(A, (X, Y) => X)", "error: function-arguments-mismatch"),
        ("FILTER(A, X => X + 1)", "error: function-arguments-mismatch"),
        ("ABS(NULL)", "error: ambiguous-function-call"),
        ("LEAST(I, L)", "error: ambiguous-function-call"),
        ("I = 'x'", "error: incomparable-types"),
        ("S > 1", "error: incomparable-types"),
        ("A < A", "error: incomparable-types"),
        ("M > M", "error: incomparable-types"),
        ("B > true", "error: incomparable-types"),
        ("DT = TM", "error: incomparable-types"),
        ("I LIKE 'x'", "error: incomparable-types"),
        ("I IN (1, true)", "error: incomparable-types"),
        ("I IN (S)", "error: incomparable-types"),
        ("CASE WHEN B THEN I ELSE S END", "error: incomparable-types"),
        ("I IN (1, 'one')", "error: literal-not-convertible"),
        ("DT = 'monday'", "error: literal-not-convertible"),
        ("DECIMAL 'x'", "error: literal-not-convertible"),
        ("I = NULL", "error: comparison-with-null"),
        ("NULL IN (1)", "error: comparison-with-null"),
        ("NOT I", "error: predicate-not-boolean"),
        ("I AND B", "error: predicate-not-boolean"),
        ("S * 2", "error: invalid-arithmetic-operand"),
        ("NULL + 1", "error: invalid-arithmetic-operand"),
        ("CAST(S AS ARRAY<INT>)", "error: unsupported-cast"),
        ("CAST(I AS DATE)", "error: unsupported-cast"),
        ("CASE WHEN B THEN NULL END", "error: untyped-null"),
        ("ARRAY[NULL]", "error: untyped-null"),
        ("MAP('a' := NULL)", "error: untyped-null"),
        ("COALESCE(NULL, NULL)", "error: untyped-null"),
        ("ARRAY[]", "error: empty-constructor"),
        ("MAP()", "error: empty-constructor"),
        ("STRUCT(F := 1, F := 2)", "error: duplicate-name"),
        ("9223372036854775808", "error: number-literal-out-of-range"),
        ("1e999", "error: number-literal-out-of-range"),
        ("CASE I WHEN 1 THEN 2 END", "error: unsupported"),
    ]);
}

#[test]
fn types() {
    check_types(&[
        ("1", "INTEGER"),
        ("2147483648", "BIGINT"),
        ("-2147483648", "INTEGER"),
        ("0.005", "DECIMAL(4, 3)"),
        ("10.50", "DECIMAL(4, 2)"),
        ("1e0", "DOUBLE"),
        ("DECIMAL '1.23'", "DECIMAL(3, 2)"),
        ("I + L", "BIGINT"),
        ("I + N", "DECIMAL(14, 3)"),
        ("N * N", "DECIMAL(13, 6)"),
        ("N / N", "DECIMAL(16, 10)"),
        ("N + D", "DOUBLE"),
        ("ROUND(N)", "DECIMAL(3, 0)"),
        ("ROUND(N, 1)", "DECIMAL(6, 3)"),
        ("ROUND(I)", "BIGINT"),
        ("ABS(N)", "DECIMAL(6, 3)"),
        ("GREATEST(N, 1.0)", "DECIMAL(6, 3)"),
        ("GREATEST(I, D)", "DOUBLE"),
        ("COALESCE(I, L)", "BIGINT"),
        ("ARRAY[I, N]", "ARRAY<DECIMAL(13, 3)>"),
        ("ARRAY['2e1', L]", "ARRAY<DECIMAL(19, 0)>"),
        ("ARRAY['2', L]", "ARRAY<BIGINT>"),
        ("TRANSFORM(A, X => CAST(X AS STRING))", "ARRAY<STRING>"),
        ("TRANSFORM(M, (K, V) => LEN(K), (K, V) => D)", "MAP<INTEGER, DOUBLE>"),
        ("ENTRIES(M, true)", "ARRAY<STRUCT<`K` STRING, `V` INTEGER>>"),
    ]);
}

#[test]
fn a_condition_is_boolean() {
    let (scope, _) = super::sample();
    let bound = |text| bind_predicate(&super::parse_expression(text).expect(text), &scope);
    assert!(bound("I > 1").is_ok());
    let refused = bound("I + 1").expect_err("not boolean");
    assert_eq!(refused.kind.code(), "predicate-not-boolean");
    assert!(refused.span.is_some());
}

#[test]
fn insert_values_converts_literals() {
    use crate::types::SqlType::*;
    let (scope, _) = super::sample();
    let d = Decimal { precision: 4, scale: 2 };
    for (text, ty, expected) in [
        ("1", Bigint, Ok("1")),
        ("1", Double, Ok("1.0")),
        ("1", d.clone(), Ok("1.00")),
        ("'1.5'", d.clone(), Ok("1.50")),
        ("1.5", Double, Ok("1.5")),
        ("1.5", Int, Err("literal-not-convertible")),
        ("'7'", Int, Ok("7")),
        ("'x'", Int, Err("literal-not-convertible")),
        ("'2020-01-01'", Date, Ok("Date32(\"2020-01-01\")")),
        ("NULL", String, Ok("null")),
        ("true", Int, Err("literal-not-convertible")),
        ("1", String, Err("literal-not-convertible")),
        ("ARRAY[1, NULL]", crate::types::SqlType::array(Bigint), Ok("ARRAY[1, null]")),
    ] {
        let parsed = super::parse_expression(text).expect(text);
        let got = bind_with_expected_type(&parsed, &scope, &ty);
        match (got, expected) {
            (Ok(expr), Ok(shown)) => {
                assert_eq!(expr.ty(), Some(ty), "{text}");
                if !shown.starts_with("Date32") {
                    assert_eq!(expr.to_string(), shown, "{text}");
                }
            }
            (Err(e), Err(kind)) => assert_eq!(e.kind.code(), kind, "{text}"),
            (got, _) => panic!("{text} as {ty}: {got:?}"),
        }
    }
}
