//! JSON both ways: rules case by case, random documents against serde_json, hostile bytes.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Float64Type;
use bytes::Bytes;
use millstream_sql::types::{Column, SqlType, StructField};
use proptest::prelude::*;
use serde_json::Value;

use super::{JsonDecoder, JsonEncoder};
use crate::formats::{Block, DecodeError, Decoded, Decoder, Encoder, Payload};

fn column(name: &str, ty: SqlType) -> Column {
    Column::new(name, ty)
}

fn decode(columns: &[Column], bare: bool, json: &[u8]) -> (Result<Decoded, DecodeError>, Vec<ArrayRef>) {
    let mut decoder = JsonDecoder::new(columns, bare);
    let block = Block::new(7, Bytes::copy_from_slice(json));
    let payload = Payload { bytes: Some(&block.buffer), block: Some(&block) };
    let result = decoder.decode(payload);
    let columns = decoder.finish();
    for column in &columns {
        assert_eq!(column.len(), 1, "one row per call, whatever happens");
    }
    (result, columns)
}

fn encode(columns: &[Column], bare: bool, arrays: &[ArrayRef]) -> String {
    let encoded = JsonEncoder::new(columns, bare).encode(arrays, 1);
    match encoded.row(0).expect("writable") {
        Some(bytes) => String::from_utf8(bytes.to_vec()).expect("JSON is UTF-8"),
        None => "<null>".to_owned(),
    }
}

/// Reads `json` into one column A of this type and writes it again.
#[track_caller]
fn check(ty: SqlType, json: &str, want: &str) {
    let columns = [column("A", ty)];
    let (result, arrays) = decode(&columns, false, json.as_bytes());
    let got = match result {
        Ok(_) => encode(&columns, false, &arrays),
        Err(e) => e.to_string(),
    };
    assert_eq!(got, want, "{json}");
}

fn decimal(precision: u8, scale: u8) -> SqlType {
    SqlType::Decimal { precision, scale }
}

fn record(fields: &[(&str, SqlType)]) -> SqlType {
    let field = |(name, ty): &(&str, SqlType)| StructField { name: (*name).to_owned(), ty: ty.clone() };
    SqlType::Struct(fields.iter().map(field).collect())
}

#[test]
fn scalars_are_coerced_as_ksqldb_does() {
    use SqlType::{Bigint, Boolean, Bytes, Date, Double, Int, String, Time, Timestamp};
    check(Int, r#"{"A": 12}"#, r#"{"A":12}"#);
    check(Int, r#"{"A": 12.9}"#, r#"{"A":12}"#);
    check(Int, r#"{"A": "-12"}"#, r#"{"A":-12}"#);
    check(Int, r#"{"A": 4294967297}"#, r#"{"A":1}"#);
    check(Int, r#"{"A": "4294967297"}"#, "$.A: expected INTEGER, found the text 4294967297");
    check(Int, r#"{"A": "1.5"}"#, "$.A: expected INTEGER, found the text 1.5");
    check(Int, r#"{"A": true}"#, "$.A: expected INTEGER, found a boolean");
    check(Bigint, r#"{"A": 9223372036854775807}"#, r#"{"A":9223372036854775807}"#);
    check(Bigint, r#"{"A": 1e3}"#, r#"{"A":1000}"#);
    check(Double, r#"{"A": 10}"#, r#"{"A":10.0}"#);
    check(Double, r#"{"A": "1e10"}"#, r#"{"A":1.0E10}"#);
    check(Double, r#"{"A": "NaN"}"#, r#"{"A":"NaN"}"#);
    check(Boolean, r#"{"A": true}"#, r#"{"A":true}"#);
    check(Boolean, r#"{"A": "true"}"#, "$.A: expected BOOLEAN, found the text true");
    check(decimal(4, 2), r#"{"A": 1.5}"#, r#"{"A":1.50}"#);
    check(decimal(4, 2), r#"{"A": "12.34"}"#, r#"{"A":12.34}"#);
    check(decimal(4, 2), r#"{"A": 1.234}"#, "$.A: expected DECIMAL(4, 2), found the number 1.234");
    check(decimal(50, 2), r#"{"A": 1e40}"#, &format!(r#"{{"A":1{}.00}}"#, "0".repeat(40)));
    check(Bytes, r#"{"A": "aGk="}"#, r#"{"A":"aGk="}"#);
    check(Bytes, r#"{"A": "???"}"#, "$.A: expected BYTES as base64, found the text ???");
    check(Date, r#"{"A": 5}"#, r#"{"A":5}"#);
    check(Time, r#"{"A": "5"}"#, r#"{"A":5}"#);
    check(Timestamp, r#"{"A": 1700000000000}"#, r#"{"A":1700000000000}"#);
    check(String, r#"{"A": "a\u00e4\n\ud83d\ude00 \"x\""}"#, "{\"A\":\"aä\\n😀 \\\"x\\\"\"}");
    check(String, r#"{"A": "more than twelve bytes"}"#, r#"{"A":"more than twelve bytes"}"#);
    check(String, r#"{"A": 1.50}"#, r#"{"A":"1.50"}"#);
    check(String, r#"{"A": false}"#, r#"{"A":"false"}"#);
    check(String, r#"{"A": {"b" : [1, "x y"]} }"#, r#"{"A":"{\"b\":[1,\"x y\"]}"}"#);
    check(String, r#"{"A": ["x", 1, null, [2]]}"#, r#"{"A":"[x, 1, null, [2]]"}"#);
}

#[test]
fn fields_are_found_as_ksqldb_does() {
    use SqlType::Int;
    check(Int, r#"{"a": 1}"#, r#"{"A":1}"#);
    check(Int, r#"{"A": 1, "a": 2}"#, r#"{"A":1}"#);
    check(Int, r#"{"a": 1, "A": 2}"#, r#"{"A":2}"#);
    check(Int, r#"{"A": 1, "A": 2}"#, r#"{"A":2}"#);
    check(Int, r#"{"\u0041": 1}"#, r#"{"A":1}"#);
    check(Int, r#"{"B": [{"x": "]"}], "A": 3}"#, r#"{"A":3}"#);
    check(Int, "{}", r#"{"A":null}"#);
    check(Int, r#"{"A": null}"#, r#"{"A":null}"#);
    check(Int, " {\n\"A\" :\t1 } ", r#"{"A":1}"#);
}

#[test]
fn nested_values_keep_their_shape_and_path() {
    use SqlType::{Bigint, Int, String};
    let nested = record(&[("B", SqlType::array(record(&[("C", Int), ("D", String)])))]);
    check(nested.clone(), r#"{"A":{"b":[{"d":"x","c":1},null]}}"#, r#"{"A":{"B":[{"C":1,"D":"x"},null]}}"#);
    check(
        nested.clone(),
        r#"{"A":{"B":[{"C":1},{"C":{}}]}}"#,
        "$.A.B[1].C: expected INTEGER, found an object",
    );
    check(nested, r#"{"A":[]}"#, "$.A: expected STRUCT, found an array");
    let map = SqlType::map(String, Bigint);
    check(map.clone(), r#"{"A":{"x":1,"y":null,"x":2}}"#, r#"{"A":{"x":2,"y":null}}"#);
    check(map, r#"{"A":{"x":"y"}}"#, "$.A.x: expected BIGINT, found the text y");
}

#[test]
fn bad_text_is_refused_with_its_place() {
    let check = |json: &[u8]| {
        let columns = [column("A", SqlType::Int), column("B", SqlType::String)];
        let (result, _) = decode(&columns, false, json);
        assert!(result.is_err(), "{}", String::from_utf8_lossy(json));
    };
    for json in [
        "", " ", "{", r#"{"A""#, r#"{"A":"#, r#"{"A":1"#, r#"{"A":1,}"#, r#"{"A":1}}"#, r#"{"A":01}"#,
        r#"{"A":1.}"#, r#"{"A":+1}"#, r#"{"A":tru}"#, r#"{A:1}"#, "[]", "5", r#""x""#, r#"{"B":"\x"}"#,
        r#"{"B":"\ud83d"}"#, "{\"B\":\"a\nb\"}", r#"{"A":1 "B":2}"#, r#"{"A":NaN}"#,
    ] {
        check(json.as_bytes());
    }
    check(b"{\"B\":\"\xff\"}");
    check(b"{\"B\":\"more than twelve bytes \xff\"}");
    let deep = [b"{\"X\":".repeat(5), b"[".repeat(100_000)].concat();
    check(&deep);
}

#[test]
fn null_payloads_and_bare_values() {
    let columns = [column("A", SqlType::Int)];
    let (result, arrays) = decode(&columns, false, b"null");
    assert_eq!(result, Ok(Decoded::Null));
    assert!(arrays[0].is_null(0));
    let (result, arrays) = decode(&columns, true, b"12");
    assert_eq!((result, encode(&columns, true, &arrays).as_str()), (Ok(Decoded::Row), "12"));
    let (result, arrays) = decode(&columns, true, b"null");
    assert_eq!((result, encode(&columns, true, &arrays).as_str()), (Ok(Decoded::Row), "<null>"));
    let (result, _) = decode(&columns, true, br#"{"A":1}"#);
    assert!(result.is_err());
    let mut decoder = JsonDecoder::new(&columns, false);
    assert_eq!(decoder.decode(Payload::of(None)), Ok(Decoded::Null));
}

/// Values that STRING takes as they are, and what ARRAY and MAP of them hold.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,30}", "\\PC{0,20}", any::<String>()]
}

proptest! {
    #[test]
    fn rows_come_back_as_serde_json_reads_them(
        int in any::<i32>(),
        big in any::<i64>(),
        double in any::<f64>().prop_filter("JSON has no NaN", |d| d.is_finite()),
        flag in any::<Option<bool>>(),
        text in any_text(),
        list in prop::collection::vec(any::<Option<i32>>(), 0..5),
        pretty in any::<bool>(),
    ) {
        let columns = [
            column("I", SqlType::Int), column("L", SqlType::Bigint), column("D", SqlType::Double),
            column("F", SqlType::Boolean), column("T", SqlType::String),
            column("X", SqlType::array(SqlType::Int)),
        ];
        let document = serde_json::json!({
            "T": text, "L": big, "junk": { "T": [text, 1.5e3] }, "I": int, "D": double, "F": flag, "X": list,
        });
        let json = if pretty { format!("{document:#}") } else { document.to_string() };
        let (result, arrays) = decode(&columns, false, json.as_bytes());
        prop_assert_eq!(result, Ok(Decoded::Row));
        let written: Value = serde_json::from_str(&encode(&columns, false, &arrays)).unwrap();
        for name in ["I", "L", "F", "T", "X"] {
            prop_assert_eq!(&written[name], &document[name]);
        }
        // serde_json reads doubles a last digit off; what it writes is exact.
        prop_assert_eq!(arrays[2].as_primitive::<Float64Type>().value(0), double);
        let double_text = encode(&columns[2..3], true, &arrays[2..3]).replace('E', "e");
        prop_assert_eq!(double_text.parse::<f64>(), Ok(double));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let columns = [column("A", SqlType::map(SqlType::String, SqlType::array(SqlType::Int))), column("B", decimal(60, 5))];
        let _ = decode(&columns, false, &bytes);
        let _ = decode(&columns[..1], true, &bytes);
    }

    /// Whatever we take for JSON, serde_json does too (it allows no more than we do).
    #[test]
    fn broken_documents_are_not_taken(
        text in "[ -~]{0,10}", cut in 0usize..80, with in "[\\[\\]{}\",:0-9a-z\\\\]{0,2}",
    ) {
        let whole = serde_json::json!({ "A": [1, null, { "x": text }], "B": { "y": -1.5e-3 }, "C": true }).to_string();
        let cut = (0..=cut.min(whole.len())).rev().find(|i| whole.is_char_boundary(*i)).unwrap_or(0);
        let broken = format!("{}{with}{}", &whole[..cut], whole.get(cut + 1..).unwrap_or(""));
        let columns = [column("Z", SqlType::Int)];
        let (result, _) = decode(&columns, false, broken.as_bytes());
        let oracle: Result<Value, _> = serde_json::from_str(&broken);
        let is_object = oracle.as_ref().is_ok_and(|v| v.is_object() || v.is_null());
        prop_assert_eq!(result.is_ok(), is_object, "{}", broken);
    }
}

#[test]
fn needless_columns_are_checked_and_not_kept() {
    let columns = [column("A", SqlType::String), column("B", SqlType::Int)];
    let check = |json: &str, fits: bool| {
        let mut decoder = JsonDecoder::new(&columns, false);
        decoder.need_only(&[false, true]);
        let first = decoder.decode(Payload::of(Some(json.as_bytes())));
        assert_eq!(first.is_ok(), fits, "{json}");
        assert!(decoder.decode(Payload::of(None)).is_ok());
        let arrays = decoder.finish();
        assert_eq!((arrays[0].len(), arrays[0].null_count(), arrays[1].len()), (2, 2, 2));
    };
    check(r#"{"A":"text","B":1}"#, true);
    check(r#"{"A":"esc\u0061ped","B":1}"#, true);
    check(r#"{"B":1}"#, true);
    check(r#"{"A":[1],"B":1}"#, true);
    check(r#"{"A":"half a pair \ud83d","B":1}"#, false);
    check(r#"{"A":"text","B":"x"}"#, false);
}
