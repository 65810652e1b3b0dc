//! From statement to sink topic and back, over a disk in memory that can lose power.
//!
//! Each test is a script: `> ` a statement, `! kind ` one that is refused, `in topic time key value`
//! a record, `out topic` followed by the indented records that have come since, `pull `/`push ` a query
//! followed by its indented rows, `restart`, `crash`. Every script is played once as written and once
//! more with a power cut after each line: what comes out must not change.

mod script;

use script::{check, check_once};

#[test]
fn a_filter_runs_over_restarts() {
    check(
        r#"
        > SET 'auto.offset.reset' = 'earliest';
        > CREATE STREAM payments (id INT KEY, amount DOUBLE, who STRING) WITH (kafka_topic='pay', value_format='JSON', partitions=1);
        > CREATE STREAM big AS SELECT * FROM payments WHERE amount > 100;
        in pay 10 #1 {"amount": 50, "who": "ann"}
        in pay 11 #2 {"amount": 150.5, "who": "bob"}
        out BIG
          11 #2 {"AMOUNT":150.5,"WHO":"bob"}
        restart
        in pay 12 #3 {"AMOUNT": "1e3"}
        out BIG
          12 #3 {"AMOUNT":1000.0,"WHO":null}
        "#,
    );
}

#[test]
fn queries_on_queries_and_insert_values() {
    check(
        r#"
        > SET 'auto.offset.reset' = 'earliest';
        > CREATE STREAM a (k STRING KEY, v INT) WITH (kafka_topic='a', value_format='JSON', partitions=2);
        > CREATE STREAM b AS SELECT k, v * 2 AS w FROM a EMIT CHANGES;
        > CREATE STREAM c WITH (value_format='DELIMITED') AS SELECT k, w + 1 AS x FROM b WHERE w > 2 EMIT CHANGES;
        > INSERT INTO a (ROWTIME, k, v) VALUES (5, 'x', 1);
        > INSERT INTO a (ROWTIME, k, v) VALUES (6, 'x', 2);
        out B
          5 x {"W":2}
          6 x {"W":4}
        out C
          6 x 5
        "#,
    );
}

#[test]
fn bad_records_go_to_the_processing_log() {
    check_once(
        r#"
        > SET 'auto.offset.reset' = 'earliest';
        > CREATE STREAM a (v INT) WITH (kafka_topic='a', value_format='JSON', partitions=1);
        > CREATE STREAM b AS SELECT v FROM a;
        in a 1 - {"v": 1}
        in a 2 - {"v": {}}
        in a 3 - {"v": 3}
        out B
          1 - {"V":1}
          3 - {"V":3}
        logged 1 expected INTEGER
        "#,
    );
}

#[test]
fn refused_statements_change_nothing() {
    check(
        r#"
        > CREATE STREAM a (v INT) WITH (kafka_topic='a', value_format='JSON', partitions=1);
        ! source-already-exists CREATE STREAM a (v INT) WITH (kafka_topic='a', value_format='JSON');
        ! unknown-source SELECT * FROM nowhere;
        ! unknown-column CREATE STREAM b AS SELECT nothing FROM a;
        ! syntax CREATE STREEM;
        ! unknown-query TERMINATE no_such_query;
        > CREATE STREAM b AS SELECT v FROM a;
        ! source-in-use DROP STREAM a;
        > DROP STREAM b;
        > DROP STREAM a DELETE TOPIC;
        ! unknown-source DESCRIBE a;
        "#,
    );
}

#[test]
fn push_and_pull_over_a_stream() {
    check_once(
        r#"
        > CREATE STREAM a (k STRING KEY, v INT) WITH (kafka_topic='a', value_format='JSON', partitions=1);
        in a 1 x {"v": 1}
        in a 2 y {"v": 2}
        pull SELECT k, v + 1 AS w, ROWTIME AS t FROM a WHERE v > 1;
          ["y",3,2]
        push earliest SELECT * FROM a EMIT CHANGES LIMIT 2;
          ["x",1]
          ["y",2]
        "#,
    );
}

#[test]
fn header_columns_are_read_and_headers_pass_through() {
    check_once(
        r#"
        > SET 'auto.offset.reset' = 'earliest';
        > CREATE STREAM a (v INT, h BYTES HEADER('h')) WITH (kafka_topic='a', value_format='JSON', partitions=1);
        > CREATE STREAM b AS SELECT v, h AS w FROM a;
        in a 1 - {"v": 1} h=hi
        out B
          1 - {"V":1,"W":"aGk="} h=hi
        "#,
    );
}

#[test]
fn a_table_is_counted_once_and_looked_up() {
    check(
        r#"
        > SET 'auto.offset.reset' = 'earliest';
        > CREATE STREAM a (k STRING KEY, v INT) WITH (kafka_topic='a', value_format='JSON', partitions=1);
        > CREATE TABLE counts AS SELECT k, COUNT(*) AS n, SUM(v) AS total FROM a GROUP BY k;
        in a 1 x {"v": 1}
        in a 2 y {"v": 5}
        in a 3 x {"v": 2}
        out COUNTS
          1 x {"N":1,"TOTAL":1}
          2 y {"N":1,"TOTAL":5}
          3 x {"N":2,"TOTAL":3}
        pull SELECT * FROM counts WHERE k = 'x';
          ["x",2,3]
        restart
        in a 4 x {"v": 3}
        out COUNTS
          4 x {"N":3,"TOTAL":6}
        "#,
    );
}
