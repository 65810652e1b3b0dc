//! Formats of values, and SQL.

use millstream_connectors::formats::{Payload, decoder, encoder};
use millstream_sql::catalog::{Format, FormatKind};
use millstream_sql::syntax::parse_statements;
use millstream_sql::types::{Column, SqlType, StructField};

/// One column of each type.
fn columns() -> Vec<Column> {
    let field = |name: &str, ty| StructField { name: name.to_owned(), ty };
    let types = [
        SqlType::Boolean,
        SqlType::Int,
        SqlType::Bigint,
        SqlType::Double,
        SqlType::Decimal { precision: 12, scale: 3 },
        SqlType::String,
        SqlType::Bytes,
        SqlType::Date,
        SqlType::Time,
        SqlType::Timestamp,
    ];
    let nested = [
        SqlType::Array(Box::new(SqlType::Array(Box::new(SqlType::Int)))),
        SqlType::Map(Box::new(SqlType::String), Box::new(SqlType::Double)),
        SqlType::Struct(vec![field("X", SqlType::Int), field("Y", SqlType::String)]),
    ];
    types
        .into_iter()
        .chain(nested)
        .enumerate()
        .map(|(n, ty)| Column::new(format!("C{n}"), ty))
        .collect()
}

/// Decodes; what is a row is encoded, and reads the same again.
fn check(kind: FormatKind, columns: &[Column], data: &[u8]) {
    let format = Format::new(kind);
    let mut decode = decoder(&format, columns).expect("a format that is built in");
    if decode.decode(Payload::of(Some(data))).is_err() {
        let rows = decode.finish();
        assert!(rows.iter().all(|column| column.len() == 1), "a failed row takes its place");
        return;
    }
    let rows = decode.finish();
    let encode = encoder(&format, columns).expect("a format that is built in");
    let encoded = encode.encode(&rows, 1);
    let Ok(Some(bytes)) = encoded.row(0) else { return };
    let again = decode.decode(Payload::of(Some(bytes)));
    assert!(again.is_ok(), "{again:?}: {}", String::from_utf8_lossy(bytes));
    let reread = decode.finish();
    let reencoded = encode.encode(&reread, 1);
    assert_eq!(reencoded.row(0), Ok(Some(bytes)), "what was written reads the same again");
}

pub(super) fn json(data: &[u8]) {
    check(FormatKind::Json, &columns(), data);
}

pub(super) fn json_seeds() -> Vec<Vec<u8>> {
    [
        r#"{"C0":true,"C1":-1,"C2":9223372036854775807,"C3":1.5e300,"C4":12.345,"C5":"a\u00e9\ud83d\ude00"}"#,
        r#"{"c6":"AAEC","c7":19000,"c8":3600000,"c9":1700000000000,"C10":[[1,null],[],null]}"#,
        r#"{"C11":{"a":1,"b":null},"C12":{"X":1,"y":"z","more":[{}]},"C1":"12","C5":{"o":1}}"#,
        "null",
        "[1,2]",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Types that DELIMITED has.
fn flat() -> Vec<Column> {
    columns().into_iter().take(10).collect()
}

pub(super) fn delimited(data: &[u8]) {
    check(FormatKind::Delimited, &flat(), data);
}

pub(super) fn delimited_seeds() -> Vec<Vec<u8>> {
    [
        "true,-1,9223372036854775807,1.5,12.345,text,AAEC,19000,3600000,1700000000000",
        ",,,,,\"a \"\"quoted\"\", one\",,,,",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// The first byte says which type the others are a value of.
pub(super) fn kafka(data: &[u8]) {
    let Some((which, content)) = data.split_first() else { return };
    let columns: Vec<Column> = flat()
        .into_iter()
        .filter(|c| KAFKA.contains(&c.ty))
        .skip(usize::from(*which))
        .take(1)
        .collect();
    if !columns.is_empty() {
        check(FormatKind::Kafka, &columns, content);
    }
}

/// The types that Kafka's own serialisers have.
const KAFKA: [SqlType; 5] =
    [SqlType::Int, SqlType::Bigint, SqlType::Double, SqlType::String, SqlType::Bytes];

pub(super) fn kafka_seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0, 0, 0, 0, 1],
        vec![1, 0, 0, 0, 0, 0, 0, 0, 1],
        vec![2, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0],
        [&[3][..], "text é".as_bytes()].concat(),
        vec![4, 1, 2, 3],
    ]
}

/// Statements: a tree or an error whose place lies in the text.
pub(super) fn sql(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = parse_statements(text, &|_: &str| None) {
        assert!(!error.render(text).is_empty(), "an error says something");
    }
}

pub(super) fn sql_seeds() -> Vec<Vec<u8>> {
    [
        "CREATE STREAM s (id INT KEY, v ARRAY<STRUCT<a DECIMAL(4,2), b MAP<STRING, BYTES>>>) \
         WITH (kafka_topic='t', value_format='JSON', partitions=1);",
        "CREATE TABLE t AS SELECT a->b AS c, COUNT(*), TRANSFORM(x, (k, v) => v + 1) FROM s \
         WINDOW HOPPING (SIZE 10 SECONDS, ADVANCE BY 1 SECOND, GRACE PERIOD 1 HOUR) \
         WHERE NOT a BETWEEN 1 AND 2e3 OR b LIKE '%''x' ESCAPE '!' GROUP BY a HAVING COUNT(*) > 1 EMIT FINAL;",
        "SELECT CASE WHEN a IS NOT DISTINCT FROM b THEN 1 ELSE -2.50 END FROM a LEFT JOIN b \
         WITHIN (1 DAY, 2 DAYS) GRACE PERIOD 3 DAYS ON a.k = b.k EMIT CHANGES LIMIT 3; -- end",
        "INSERT INTO s (id, v) VALUES (1, ARRAY[STRUCT(a := 1.0, b := MAP('k' := 'AAEC'))]); /* c */",
        "DEFINE x = '1'; SHOW QUERIES EXTENDED; DROP TABLE IF EXISTS `t\"` DELETE TOPIC;",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
