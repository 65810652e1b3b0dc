//! Whether what came out is what a case expects (`ExpectedRecordComparator` of ksqlDB).
//!
//! The expected JSON node decides how the actual value is looked at. Numbers are compared exactly,
//! with their scale: `10` expected is not `10.0` (the other way round it is, as INT columns show). Only binary doubles, and everything when the case says
//! `use.exact.numeric.comparison=false`, get a tolerance.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bigdecimal::BigDecimal;

use super::case::{Record, Window};
use super::json::Json;

/// What a record's key or value turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Actual {
    /// From formats whose text is read back: JSON, and DELIMITED as one string.
    Json(Json),
    /// From formats with binary doubles.
    Double(f64),
    Bytes(Vec<u8>),
}

impl std::fmt::Display for Actual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Actual::Json(json) => json.fmt(f),
            Actual::Double(d) => write!(f, "{d:?}"),
            Actual::Bytes(b) => write!(f, "base64 {}", BASE64.encode(b)),
        }
    }
}

/// A record that came out, opened as far as comparison needs.
#[derive(Clone, Debug)]
pub struct ActualRecord {
    pub key: Actual,
    pub value: Actual,
    pub window: Option<Window>,
    pub timestamp: i64,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// False: numbers of text formats are compared as doubles, with a tolerance.
    pub exact_numbers: bool,
    /// The case writes by INSERT VALUES only: an expected time of 0 means any.
    pub zero_time_is_any: bool,
}

/// The first difference between what a topic holds and what it should hold.
pub fn difference(
    topic: &str,
    expected: &[&Record],
    actual: &[ActualRecord],
    rules: Rules,
) -> Option<String> {
    for (i, (expected, actual)) in expected.iter().zip(actual).enumerate() {
        if let Some(what) = record_difference(expected, actual, rules) {
            return Some(format!("{topic} record {i}: {what}"));
        }
    }
    if expected.len() == actual.len() {
        return None;
    }
    let count = format!("{topic} has {} records instead of {}", actual.len(), expected.len());
    Some(match (expected.get(actual.len()), actual.get(expected.len())) {
        (Some(missing), _) => format!("{count}; missing: {} {}", missing.key, missing.value),
        (None, Some(extra)) => format!("{count}; too many: {} {}", extra.key, extra.value),
        (None, None) => count,
    })
}

fn record_difference(expected: &Record, actual: &ActualRecord, rules: Rules) -> Option<String> {
    if !matches(&expected.key, &actual.key, rules) {
        return Some(format!("key {} instead of {}", actual.key, expected.key));
    }
    if expected.window != actual.window {
        return Some(format!("window {:?} instead of {:?}", actual.window, expected.window));
    }
    if !matches(&expected.value, &actual.value, rules) {
        return Some(format!("value {} instead of {}", actual.value, expected.value));
    }
    let time = expected.timestamp.filter(|t| !(rules.zero_time_is_any && *t == 0));
    if let Some(time) = time.filter(|t| *t != actual.timestamp) {
        return Some(format!("timestamp {} instead of {time}", actual.timestamp));
    }
    let headers = expected.headers.as_ref().filter(|h| **h != actual.headers);
    headers.map(|h| format!("headers {:?} instead of {h:?}", actual.headers))
}

/// Whether `actual` is what the node `expected` stands for.
pub fn matches(expected: &Json, actual: &Actual, rules: Rules) -> bool {
    match actual {
        Actual::Json(actual) => matches_json(expected, actual, rules),
        Actual::Double(actual) => match expected {
            Json::Number(n) => n.parse().is_ok_and(|n: f64| near(n, *actual)),
            _ => false,
        },
        Actual::Bytes(actual) => {
            expected.as_str().is_some_and(|text| BASE64.decode(text).as_ref() == Ok(actual))
        }
    }
}

fn matches_json(expected: &Json, actual: &Json, rules: Rules) -> bool {
    match (expected, actual) {
        (Json::Null, Json::Null) => true,
        (Json::Bool(e), Json::Bool(a)) => e == a,
        (Json::String(e), Json::String(a)) => e == a,
        (Json::Number(e), Json::Number(a)) => {
            if rules.exact_numbers {
                matches_number(e, a)
            } else {
                let (e, a) = (e.parse::<f64>(), a.parse::<f64>());
                e.is_ok_and(|e| a.is_ok_and(|a| near(e, a)))
            }
        }
        (Json::String(e), Json::Number(a)) => !is_integer(a) && same_decimal(e, a),
        (Json::Array(e), Json::Array(a)) => {
            e.len() == a.len() && e.iter().zip(a).all(|(e, a)| matches_json(e, a, rules))
        }
        (Json::Object(e), Json::Object(a)) => {
            e.len() == a.len()
                && e.iter().all(|(name, e)| {
                    let found = actual.get(name).or_else(|| actual.get(&name.to_uppercase()));
                    // As in ksqlDB's runner a field that is not there is NULL (their number counts).
                    matches_json(e, found.unwrap_or(&Json::Null), rules)
                })
        }
        _ => false,
    }
}

/// An integer matches a number of equal value without fraction digits. A fraction matches its like, and
/// an integer of equal value: that a DOUBLE is not written as one, the reader has checked.
fn matches_number(expected: &str, actual: &str) -> bool {
    let (Ok(e), Ok(a)) = (BigDecimal::from_str(expected), BigDecimal::from_str(actual)) else {
        return false;
    };
    match (is_integer(expected), is_integer(actual)) {
        (true, _) => e == a && a.as_bigint_and_exponent().1 <= 0,
        (false, true) => e == a,
        (false, false) => e.as_bigint_and_exponent() == a.as_bigint_and_exponent(),
    }
}

fn same_decimal(e: &str, a: &str) -> bool {
    match (BigDecimal::from_str(e), BigDecimal::from_str(a)) {
        (Ok(e), Ok(a)) => e.as_bigint_and_exponent() == a.as_bigint_and_exponent(),
        _ => false,
    }
}

fn is_integer(text: &str) -> bool {
    !text.contains(['.', 'e', 'E'])
}

fn near(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Rules = Rules { exact_numbers: true, zero_time_is_any: false };

    #[track_caller]
    fn check(expected: &str, actual: &str, want: bool) {
        let (e, a) = (Json::parse(expected).unwrap(), Json::parse(actual).unwrap());
        assert_eq!(matches(&e, &Actual::Json(a), EXACT), want, "{expected} against {actual}");
    }

    #[test]
    fn numbers_are_compared_with_their_scale() {
        check("10", "10", true);
        check("10", "1e1", true);
        check("10", "10.0", false);
        check("10.0", "10", true);
        check("10.5", "10", false);
        check("10.0", "10.0", true);
        check("10.0", "10.00", false);
        check("1.0E10", "1.0e10", true);
        check("9223372036854775808", "9223372036854775808", true);
        check("0.1", "0.10000000000000001", false);
        check("\"1.50\"", "1.50", true);
        check("\"1.5\"", "1.50", false);
        check("\"1\"", "1", false);
    }

    #[test]
    fn structure_is_compared_whole() {
        check(r#"{"a": 1}"#, r#"{"A": 1}"#, true);
        check(r#"{"A": 1}"#, r#"{"a": 1}"#, false);
        check(r#"{"a": 1}"#, r#"{"A": 1, "B": null}"#, false);
        check(r#"{"a": null}"#, "{}", false);
        check("[1, 2]", "[2, 1]", false);
        check("[]", "null", false);
        check("\"a\"", "\"A\"", false);
        check("true", "\"true\"", false);
    }

    #[test]
    fn doubles_get_a_tolerance_and_bytes_are_base64() {
        assert!(matches(&Json::Number("1.5".into()), &Actual::Double(1.500_000_5), EXACT));
        assert!(!matches(&Json::Number("1.5".into()), &Actual::Double(1.51), EXACT));
        assert!(matches(&Json::String("IQ==".into()), &Actual::Bytes(vec![0x21]), EXACT));
        let rules = Rules { exact_numbers: false, ..EXACT };
        let ten = Actual::Json(Json::Number("10".into()));
        assert!(matches(&Json::Number("10.0".into()), &ten, rules));
    }
}
