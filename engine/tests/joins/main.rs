//! The joins by their changes: every case is played with and without crashes (`script.rs`), and against
//! their definition on random input (`random.rs`).

#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test")]

mod random;
mod script;

use script::{check, check_net};

const STREAMS: &str = "
    CREATE STREAM l (k STRING KEY, a BIGINT) WITH (KAFKA_TOPIC = 'l', VALUE_FORMAT = 'JSON');
    CREATE STREAM r (k STRING KEY, b BIGINT) WITH (KAFKA_TOPIC = 'r', VALUE_FORMAT = 'JSON');";

const TABLES: &str = "
    CREATE TABLE l (k STRING PRIMARY KEY, a BIGINT) WITH (KAFKA_TOPIC = 'l', VALUE_FORMAT = 'JSON');
    CREATE TABLE r (k STRING PRIMARY KEY, b BIGINT) WITH (KAFKA_TOPIC = 'r', VALUE_FORMAT = 'JSON');";

fn streams(join: &str) -> String {
    let key = if join.starts_with("FULL") { "ROWKEY AS k" } else { "l.k AS k" };
    format!("{STREAMS} CREATE STREAM o AS SELECT {key}, a, b FROM l {join} ON l.k = r.k;")
}

fn tables(join: &str) -> String {
    let key = if join.starts_with("FULL") { "ROWKEY AS k" } else { "l.k AS k" };
    format!("{TABLES} CREATE TABLE o AS SELECT {key}, a, b FROM l {join} r ON l.k = r.k;")
}

fn stream_and_table(join: &str) -> String {
    format!(
        "{} {} CREATE STREAM o AS SELECT l.k AS k, a, b FROM l {join} r ON l.k = r.k;",
        STREAMS.split_inclusive(';').next().unwrap(),
        TABLES.split_inclusive(';').nth(1).unwrap()
    )
}

fn foreign(join: &str) -> String {
    format!(
        "CREATE TABLE l (k STRING PRIMARY KEY, f STRING, a BIGINT) WITH (KAFKA_TOPIC = 'l', VALUE_FORMAT = 'JSON');
         {} CREATE TABLE o AS SELECT l.k AS k, a, b FROM l {join} r ON f = r.k;",
        TABLES.split_inclusive(';').nth(1).unwrap()
    )
}

#[test]
fn stream_sees_the_table_as_it_was() {
    check(
        &stream_and_table("JOIN"),
        "
        l 1 x 1
          nothing
        r 2 x 10
          nothing
        l 3 x 2
        r 4 x 11
        l 1 x 3
        r 5 x -
        l 6 x 4
          3 x 2 10
          1 x 3 11
        l 7 null 5
        l 8 x -
          nothing
        r 9 y 7
          nothing
        state 1
        ",
    );
}

#[test]
fn stream_without_a_row_in_the_table_is_padded() {
    check_net(
        &stream_and_table("LEFT JOIN"),
        "
        l 1 x 1
        r 2 x 10
        l 3 x 2
        r 4 y 5
        r 5 y -
        l 6 y 3
          1 x 1 null
          3 x 2 10
          6 y 3 null
        l 7 x null
        l 7 x -
          7 x null 10
        ",
    );
}

#[test]
fn tables_have_a_result_while_both_have_a_row() {
    check(
        &tables("JOIN"),
        "
        l 1 x 1
          nothing
        r 5 x 10
          5 x 1 10 was -
        l 3 x 2
          5 x 2 10 was 1 10
        r 9 x -
          9 x - was 2 10
        r 10 x -
          nothing
        l 11 x -
          nothing
        state 0
        ",
    );
}

#[test]
fn tables_pad_what_is_missing() {
    check(
        &tables("LEFT JOIN"),
        "
        r 1 x 10
          nothing
        l 2 x 1
          2 x 1 10 was -
        r 3 x -
          3 x 1 null was 1 10
        r 4 y 7
          nothing
        l 5 x -
          5 x - was 1 null
        ",
    );
    check(
        &tables("FULL JOIN"),
        "
        r 1 x 10
          1 x null 10 was -
        l 2 x 1
          2 x 1 10 was null 10
        r 3 x -
          3 x 1 null was 1 10
        l 4 x -
          4 x - was 1 null
        ",
    );
}

#[test]
fn tables_padded_on_the_right_side() {
    let sql = format!(
        "{TABLES} CREATE TABLE o AS SELECT r.k AS k, a, b FROM l RIGHT JOIN r ON l.k = r.k;"
    );
    check(
        &sql,
        "
        l 1 x 1
          nothing
        r 0 x 5
          1 x 1 5 was -
        l 2 x -
          2 x null 5 was 1 5
        r 3 x -
          3 x - was null 5
        ",
    );
}

#[test]
fn tables_emit_net_changes() {
    check_net(
        &tables("JOIN"),
        "
        l 1 x 1
        r 2 x 10
        l 3 x 2
        r 4 y 5
        l 5 y 1
        r 6 y -
          3 x 2 10 was -
        l 7 x 3
        r 8 x 11
        r 9 x 10
        l 9 x 2
          nothing
        r 10 x 12
        l 11 x -
        l 12 x 7
          12 x 7 12 was 2 10
        r 13 x -
        r 14 x 12
          nothing
        ",
    );
}

#[test]
fn foreign_keys_follow_both_sides() {
    check(
        &foreign("JOIN"),
        "
        l 1 b p 1
          nothing
        l 2 a p 2
          nothing
        r 5 p 10
          5 a 2 10 was -
          5 b 1 10 was -
        l 6 a q 2
          6 a - was 2 10
        l 7 a q 3
          nothing
        r 1 q 20
          7 a 3 20 was -
        l 8 a p 3
          8 a 3 10 was 3 20
        r 9 p -
          9 a - was 3 10
          9 b - was 1 10
        l 10 b -
          10 b - was -
        l 11 a null 3
          11 a - was -
        l 12 a -
          nothing
        state 1
        ",
    );
}

#[test]
fn foreign_keys_without_a_row_are_padded() {
    check(
        &foreign("LEFT JOIN"),
        "
        l 1 b p 1
          1 b 1 null was -
        l 2 a null 2
          2 a 2 null was -
        r 5 p 10
          5 b 1 10 was 1 null
        l 6 a p 2
          6 a 2 10 was 2 null
        r 7 p -
          7 a 2 null was 2 10
          7 b 1 null was 1 10
        l 8 b -
          8 b - was 1 null
        ",
    );
}

#[test]
fn foreign_keys_emit_net_changes() {
    check_net(
        &foreign("JOIN"),
        "
        l 1 a p 1
        r 2 p 10
        l 3 a q 1
        r 4 q 20
        l 5 b p 2
          4 a 1 20 was -
          5 b 2 10 was -
        r 6 q 21
        l 7 a p 1
        r 8 p 20
        r 9 q -
          8 b 2 20 was 2 10
        l 10 c z 1
        l 11 c -
          nothing
        ",
    );
}

#[test]
fn streams_match_within_the_window() {
    check(
        &streams("JOIN r WITHIN (5 SECONDS, 10 SECONDS) GRACE PERIOD 1 SECOND"),
        "
        l 10000 x 1
          nothing
        r 5000 x 1
        r 4999 x 2
        r 20000 x 3
        r 20001 x 4
          10000 x 1 1
          20000 x 1 3
        l 20000 x 2
          20000 x 2 3
          20001 x 2 4
        l 20000 y 2
        l 20000 null 1
        r 20000 null 1
        r 20000 x -
          nothing
        ",
    );
}

#[test]
fn streams_forget_what_is_too_old() {
    check(
        &streams("JOIN r WITHIN 100 SECONDS GRACE PERIOD 0 SECONDS"),
        "
        l 1000 x 1
        l 2000 y 1
        r 1000 x 1
          1000 x 1 1
        l 500000 z 1
        r 500000 z 1
          500000 z 1 1
        state 3
        l 1000 x 9
          nothing
        r 1000 x 9
          nothing
        state 3
        ",
    );
}

#[test]
fn unmatched_streams_are_padded_at_once_without_grace() {
    check(
        &streams("LEFT JOIN r WITHIN 10 SECONDS"),
        "
        l 0 x 1
          0 x 1 null
        r 1 x 5
          1 x 1 5
        r 1 y 6
          nothing
        l 2 y 2
          2 y 2 6
        ",
    );
    check(
        &streams("FULL JOIN r WITHIN 10 SECONDS"),
        "
        r 1 y 6
          1 y null 6
        l 2 x 2
        l 3 y 3
          2 x 2 null
          3 y 3 6
        ",
    );
}

#[test]
fn unmatched_streams_are_padded_when_the_window_closes() {
    check(
        &streams("FULL JOIN r WITHIN 10 SECONDS GRACE PERIOD 5 SECONDS"),
        "
        l 3000 y 1
        l 1000 x 2
        r 1000 z 3
        r 2000 x 4
          2000 x 2 4
        l 16000 w 5
          nothing
        l 16001 w 6
          1000 z null 3
        l 15000 w 7
        r 30000 v 8
          3000 y 1 null
        l 1000 u 9
          1000 u 9 null
        r 50000 u 10
          15000 w 7 null
          16000 w 5 null
          16001 w 6 null
          30000 v null 8
        ",
    );
}

#[test]
fn right_join_of_streams_looks_as_the_right_side() {
    let sql = format!(
        "{STREAMS} CREATE STREAM o AS SELECT r.k AS k, a, b FROM l RIGHT JOIN r
         WITHIN (0 SECONDS, 10 SECONDS) GRACE PERIOD 0 SECONDS ON l.k = r.k;"
    );
    check(
        &sql,
        "
        l 5000 x 1
        r 0 x 2
        r 6000 x 3
          5000 x 1 2
        r 20000 y 4
          6000 x null 3
        ",
    );
}

#[test]
fn windowed_streams_match_per_window() {
    let sql = "
        CREATE STREAM l (k STRING KEY, a BIGINT) WITH (KAFKA_TOPIC = 'l', VALUE_FORMAT = 'JSON', WINDOW_TYPE = 'SESSION');
        CREATE STREAM r (k STRING KEY, b BIGINT) WITH (KAFKA_TOPIC = 'r', VALUE_FORMAT = 'JSON', WINDOW_TYPE = 'SESSION');
        CREATE STREAM o AS SELECT l.k AS k, a, b FROM l LEFT JOIN r WITHIN 1 MINUTE GRACE PERIOD 0 SECONDS ON l.k = r.k;";
    check(
        sql,
        "
        l 1000 x [0,1000) 1
        l 1000 x [500,1000) 2
        r 1000 x [0,1000) 3
          1000 x [0,1000) 1 3
        r 90000 x [0,1000) 4
          1000 x [500,1000) 2 null
        ",
    );
}
