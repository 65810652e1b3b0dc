//! Every variant of every function with edge values: nothing panics, every row has a value, NULL or
//! an error.

use super::{outcome, sample};
use crate::expr::functions::{Functions, Param};
use crate::types::SqlType;

fn edges(param: &Param) -> Vec<&'static str> {
    match param {
        Param::Type(SqlType::Int) => vec!["I", "0", "-1", "2147483647", "-2147483648"],
        Param::Type(SqlType::Bigint) => vec!["L", "-9223372036854775808", "9223372036854775807"],
        Param::Type(SqlType::Double) => vec!["D", "-1.7e308", "SQRT(-1)", "LN(0)", "1e-320"],
        Param::Type(SqlType::String) => {
            vec!["S", "'é😀 x'", "'[(\\'", "'yyyy-MM-dd''T''[HH'", "'$.a[0]'", "'[1,{\"a\":2}]'"]
        }
        Param::Type(SqlType::Bytes) => vec!["Y", "TO_BYTES('ff00', 'hex')"],
        Param::Type(SqlType::Boolean) => vec!["B", "true"],
        Param::Type(SqlType::Date) => vec!["DT", "FROM_DAYS(2147483647)", "FROM_DAYS(-2147483648)"],
        Param::Type(SqlType::Time) => vec!["TM", "CAST('23:59:59.999' AS TIME)"],
        Param::Type(SqlType::Timestamp) => {
            vec!["TS", "FROM_UNIXTIME(L)", "FROM_UNIXTIME(-9223372036854775808)"]
        }
        Param::Type(_) => vec!["NULL"],
        Param::Decimal => {
            vec!["N", "-9999999999.99999", "DECIMAL '0.0000000000000000000000000001'"]
        }
        Param::Number => vec!["I", "D", "N", "-9223372036854775808"],
        Param::Generic('R') => vec!["I"],
        Param::Generic(_) => vec!["I", "NULL", "-1"],
        Param::Any => vec!["I", "S"],
        Param::Unit => vec!["DAYS", "MILLISECOND"],
        Param::Array(item) => match item.as_ref() {
            Param::Type(SqlType::String) => vec!["ARRAY['a', NULL, S]", "SPLIT(S, '')"],
            _ => vec!["A", "ARRAY[I, NULL, 2147483647]"],
        },
        Param::Map(..) => vec!["M", "MAP(S := I, 'x' := NULL)"],
        Param::Struct(_) => vec!["ST"],
        Param::Lambda(params, result) => match (params.len(), result.as_ref()) {
            (1, Param::Type(SqlType::Boolean)) => vec!["X => X > I", "X => NOT (X + 1 > 0)"],
            (1, _) => vec!["X => X + 1", "X => ARRAY[X, I]"],
            (2, Param::Type(SqlType::Boolean)) => vec!["(X, Y) => X > S", "(X, Y) => Y / 0 > 1"],
            (2, Param::Generic('R')) if matches!(params[0], Param::Generic('R')) => {
                vec!["(X, Y) => X + Y", "(X, Y) => X / Y"]
            }
            (2, _) => vec!["(X, Y) => X", "(X, Y) => Y / (Y - 1)", "(X, Y) => S"],
            _ => vec!["(X, Y, Z) => X + Z", "(X, Y, Z) => LEN(Y)"],
        },
    }
}

/// All combinations, thinned to at most about `limit`.
fn combinations(choices: &[Vec<&'static str>], limit: usize) -> Vec<String> {
    let total: usize = choices.iter().map(Vec::len).product();
    let step = (total / limit).max(1) | 1;
    (0..total)
        .step_by(step)
        .map(|mut n| {
            let mut picked = vec![];
            for options in choices {
                picked.push(options[n % options.len()]);
                n /= options.len();
            }
            picked.join(", ")
        })
        .collect()
}

#[test]
fn no_function_panics_on_edges() {
    let (scope, batch) = sample();
    let mut calls = 0;
    for function in Functions::built_in().scalars() {
        let mut reached = false;
        for variant in &function.variants {
            let mut choices: Vec<Vec<&str>> = vec![];
            for parameter in &variant.signature.params {
                choices.push(edges(&parameter.param));
                if parameter.variadic {
                    choices.push(edges(&parameter.param));
                }
            }
            for args in combinations(&choices, 300) {
                let got = outcome(&format!("{}({args})", function.name()), &scope, &batch);
                reached |= !got.starts_with("error:");
                calls += 1;
            }
        }
        assert!(reached, "no call of {} was accepted", function.name());
    }
    assert!(calls > 2000, "{calls}");
}

#[test]
fn no_operator_panics_on_edges() {
    let (scope, batch) = sample();
    let values = [
        "I",
        "L",
        "D",
        "N",
        "S",
        "B",
        "Y",
        "DT",
        "TM",
        "TS",
        "A",
        "M",
        "ST",
        "NULL",
        "'x'",
        "'7'",
        "'1970-01-01'",
        "0",
        "-1",
        "-2147483648",
        "9223372036854775807",
        "0.0",
        "-99999999999999999999.9",
        "1e308",
        "LN(0)",
        "ARRAY[NULL, '1']",
        "STRUCT(F := 1, G := NULL)",
        "MAP('x' := 1)",
    ];
    let types = [
        "BOOLEAN",
        "INT",
        "BIGINT",
        "DOUBLE",
        "DECIMAL(3, 1)",
        "DECIMAL(60, 20)",
        "STRING",
        "BYTES",
        "DATE",
        "TIME",
        "TIMESTAMP",
        "ARRAY<STRING>",
        "MAP<STRING, DOUBLE>",
        "STRUCT<F STRING>",
    ];
    for a in values {
        for ty in types {
            outcome(&format!("CAST({a} AS {ty})"), &scope, &batch);
        }
        for b in values {
            for op in
                ["+", "-", "*", "/", "%", "=", "<>", "<", ">=", "IS DISTINCT FROM", "AND", "||"]
            {
                outcome(&format!("{a} {op} {b}"), &scope, &batch);
            }
            for text in [
                format!("{a} IN ({b}, NULL)"),
                format!("{a} BETWEEN {b} AND {a}"),
                format!("CASE WHEN B THEN {a} WHEN NOT B THEN {b} END"),
                format!("ARRAY[{a}, {b}]"),
                format!("MAP({a} := {b}, {b} := {a})"),
                format!("{a}[{b}]"),
                format!("{a} LIKE {b}"),
                format!("COALESCE({a}, {b})"),
                format!("-{a} + {b}"),
            ] {
                outcome(&text, &scope, &batch);
            }
        }
    }
}
