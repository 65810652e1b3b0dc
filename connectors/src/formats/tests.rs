//! DELIMITED, KAFKA and NONE: rules case by case, and hostile bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array};
use millstream_sql::catalog::{Format, FormatKind};
use millstream_sql::types::{Column, SqlType};
use proptest::prelude::*;

use super::{Decoded, Payload, decoder, encoder, key_encoder};

fn columns(types: &[SqlType]) -> Vec<Column> {
    types.iter().enumerate().map(|(i, ty)| Column::new(format!("C{i}"), ty.clone())).collect()
}

fn decode(format: &Format, types: &[SqlType], bytes: Option<&[u8]>) -> Result<Vec<ArrayRef>, String> {
    let mut decoder = decoder(format, &columns(types)).unwrap();
    let result = decoder.decode(Payload::of(bytes));
    let arrays = decoder.finish();
    assert!(arrays.iter().all(|a| a.len() == 1), "one row per call, whatever happens");
    if result == Ok(Decoded::Null) {
        assert!(arrays.iter().all(|a| a.is_null(0)));
    }
    result.map(|_| arrays).map_err(|e| e.to_string())
}

/// Reads and writes again.
fn echo(format: &Format, types: &[SqlType], bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let arrays = decode(format, types, Some(bytes))?;
    let encoded = encoder(format, &columns(types)).unwrap().encode(&arrays, 1);
    encoded.row(0).map(|row| row.map(<[u8]>::to_vec)).map_err(str::to_owned)
}

#[test]
fn delimited_lines_are_read_and_written_as_commons_csv_does() {
    use SqlType::{Bigint, Boolean, Bytes, Double, Int, String};
    #[track_caller]
    fn check(delimiter: char, types: &[SqlType], line: &str, want: &str) {
        let format = Format { delimiter: Some(delimiter), ..Format::new(FormatKind::Delimited) };
        let got = match echo(&format, types, line.as_bytes()) {
            Ok(None) => "<null>".to_owned(),
            Ok(Some(bytes)) => std::string::String::from_utf8(bytes).unwrap(),
            Err(e) => e,
        };
        assert_eq!(got, want, "{line}");
    }
    check(',', &[Int, String], "1,x", "1,x");
    check(',', &[Int, String], "1,", "1,");
    check(',', &[Int, String], ",x", ",x");
    check(',', &[Int], "1\n2", "1");
    check(',', &[Int, Int], "1", "found 1 fields, expected 2");
    check(',', &[Int], "1,2", "found 2 fields, expected 1");
    check(',', &[Int], "x", "C0: expected INTEGER, found x");
    check(',', &[Int], "", "no fields in the record");
    check('|', &[Bigint, String], "5|a,b", "5|a,b");
    check(',', &[String, String], r#""a,b","c ""d""""#, r#""a,b","c ""d""""#);
    check(',', &[String], "\"a\"b", "text between a closing quote and the delimiter");
    check(',', &[String], "\"a", "a quoted field is not closed");
    check(',', &[Int, Int], "-1,-2", "\"-1\",-2");
    check(',', &[Boolean, Double], "TRUE,1e10", "true,1.0E10");
    check(',', &[Boolean, Bytes], "no,aGk=", "false,aGk=");
    check(',', &[Int, SqlType::Decimal { precision: 4, scale: 2 }], "1,1.5", "1,1.50");
    check(',', &[Int, SqlType::Date, SqlType::Time, SqlType::Timestamp], "1,2,3,4", "1,2,3,4");
    check(',', &[String, String], "a,b ", "a,\"b \"");
}

#[test]
fn kafka_payloads_are_of_one_width() {
    let format = Format::new(FormatKind::Kafka);
    let check = |ty: SqlType, bytes: &[u8], good: bool| {
        let got = echo(&format, &[ty], bytes);
        assert_eq!(got.is_ok(), good, "{got:?}");
        if good {
            assert_eq!(got.unwrap().as_deref(), Some(bytes));
        }
    };
    check(SqlType::Int, &[0, 0, 1, 0], true);
    check(SqlType::Int, &[0, 0, 1], false);
    check(SqlType::Bigint, &[0, 0, 0, 0, 0, 0, 1, 0], true);
    check(SqlType::Bigint, b"12", false);
    check(SqlType::Double, &1.5f64.to_be_bytes(), true);
    check(SqlType::String, "ä".as_bytes(), true);
    check(SqlType::String, &[0xff], false);
    check(SqlType::Bytes, &[0xff], true);
    check(SqlType::Boolean, &[1], false);
    assert!(decode(&format, &[SqlType::Int], None).unwrap()[0].is_null(0));
}

#[test]
fn none_holds_nothing() {
    let format = Format::new(FormatKind::None);
    assert_eq!(decode(&format, &[], Some(b"x")).unwrap().len(), 0);
    let encoded = encoder(&format, &[]).unwrap().encode(&[], 2);
    assert_eq!((encoded.len(), encoded.row(1)), (2, Ok(None)));
}

proptest! {
    #[test]
    fn delimited_rows_come_back(a in "\\PC{0,12}", b in "[ -~]{1,12}", n in any::<i64>()) {
        let format = Format::new(FormatKind::Delimited);
        let types = [SqlType::Bigint, SqlType::String, SqlType::String];
        let line = |a: &str, b: &str| {
            format!("{n},\"{}\",\"{}\"", a.replace('"', "\"\""), b.replace('"', "\"\""))
        };
        let once = echo(&format, &types, line(&a, &b).as_bytes()).unwrap().unwrap();
        let twice = echo(&format, &types, &once).unwrap().unwrap();
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let types = [SqlType::String, SqlType::Decimal { precision: 10, scale: 3 }];
        let _ = decode(&Format::new(FormatKind::Delimited), &types, Some(&bytes));
        let _ = decode(&Format::new(FormatKind::Kafka), &types[..1], Some(&bytes));
    }
}

#[test]
fn a_row_that_cannot_be_written_fails_alone() {
    let encoder = encoder(&Format::new(FormatKind::Kafka), &columns(&[SqlType::Boolean])).unwrap();
    let values: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None]));
    let encoded = encoder.encode(&[values], 2);
    assert_eq!(encoded.row(0), Err("the KAFKA format does not hold Boolean"));
    assert_eq!(encoded.row(1), Ok(None));
}

#[test]
fn a_key_of_nulls_is_no_key_unless_the_query_made_it() {
    let columns = columns(&[SqlType::Int, SqlType::Int]);
    let values = |v: [Option<i32>; 2]| -> ArrayRef { Arc::new(Int32Array::from(v.to_vec())) };
    let keys = [values([None, Some(1)]), values([None, None])];
    for (rekeyed, want) in [(false, None), (true, Some(r#"{"C0":null,"C1":null}"#))] {
        let encoder = key_encoder(&Format::new(FormatKind::Json), &columns, rekeyed).unwrap();
        let encoded = encoder.encode(&keys, 2);
        assert_eq!(encoded.row(0), Ok(want.map(str::as_bytes)), "rekeyed: {rekeyed}");
        assert_eq!(encoded.row(1), Ok(Some(&br#"{"C0":1,"C1":null}"#[..])));
    }
}
