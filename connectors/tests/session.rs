//! From statement to sink topic and back, over a disk in memory that can lose power.
//!
//! Each test is a script: `> ` a statement, `! kind ` one that is refused, `in topic time key value`
//! a record, `out topic` followed by the indented records that have come since, `pull `/`push ` a query
//! followed by its indented rows, `says text < statement` a part of an answer, `state query state`,
//! `delete topic`, `restart`, `crash`. Every script is played once as written and once
//! more with a power cut after each line: what comes out must not change.

mod script;

use script::{check, check_in_directory, check_once};

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
        print PRINT a FROM BEGINNING LIMIT 2;
          Key format: KAFKA_STRING
          Value format: JSON or KAFKA_STRING
          rowtime: 1970/01/01 00:00:00.001 Z, key: x, value: {"v": 1}, partition: 0
          rowtime: 1970/01/01 00:00:00.002 Z, key: y, value: {"v": 2}, partition: 0
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
fn headers_may_be_all_that_is_declared() {
    check_once(
        r#"
        > CREATE STREAM t (v INT) WITH (kafka_topic='a', value_format='JSON', partitions=1);
        > CREATE STREAM a (k STRING KEY, h BYTES HEADER('h')) WITH (kafka_topic='a', value_format='JSON');
        in a 1 x {"v": 1} h=hi
        in a 2 y {"v": 1}
        pull SELECT * FROM a;
          ["x","aGk="]
          ["y",null]
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

#[test]
fn a_query_is_replaced_where_it_stands() {
    check(
        r#"
        > SET 'auto.offset.reset' = 'earliest';
        > CREATE STREAM a (v INT) WITH (kafka_topic='a', value_format='JSON', partitions=1);
        > CREATE STREAM b AS SELECT v FROM a WHERE v > 1;
        in a 1 - {"v": 1}
        in a 2 - {"v": 2}
        out B
          2 - {"V":2}
        > CREATE OR REPLACE STREAM b AS SELECT v FROM a WHERE v > 2;
        in a 3 - {"v": 2}
        in a 4 - {"v": 3}
        out B
          4 - {"V":3}
        "#,
    );
}

#[test]
fn queries_pause_resume_and_end() {
    check(
        r#"
        > SET 'auto.offset.reset' = 'earliest';
        > CREATE STREAM a (v INT) WITH (kafka_topic='a', value_format='JSON', partitions=1);
        > CREATE STREAM b AS SELECT v FROM a;
        in a 1 - {"v": 1}
        out B
          1 - {"V":1}
        > PAUSE CSAS_B_0;
        in a 2 - {"v": 2}
        out B
        restart
        state CSAS_B_0 PAUSED
        out B
        > RESUME CSAS_B_0;
        out B
          2 - {"V":2}
        > TERMINATE CSAS_B_0;
        in a 3 - {"v": 3}
        out B
        > INSERT INTO b SELECT v + 10 AS v FROM a WHERE v = 3;
        out B
          3 - {"V":13}
        > TERMINATE ALL;
        says "queries":[] < SHOW QUERIES;
        "#,
    );
}

#[test]
fn a_topic_deleted_under_a_query_stops_only_that_query() {
    check_once(
        r#"
        > SET 'auto.offset.reset' = 'earliest';
        > CREATE STREAM a (v INT) WITH (kafka_topic='a', value_format='JSON', partitions=1);
        > CREATE STREAM x (v INT) WITH (kafka_topic='x', value_format='JSON', partitions=1);
        > CREATE STREAM b AS SELECT v FROM a;
        > CREATE STREAM y AS SELECT v FROM x;
        in a 1 - {"v": 1}
        out B
          1 - {"V":1}
        delete a
        state CSAS_B_0 ERROR
        says was deleted < EXPLAIN CSAS_B_0;
        in x 2 - {"v": 2}
        out Y
          2 - {"V":2}
        delete Y
        in x 3 - {"v": 3}
        "#,
    );
}

#[test]
fn statements_are_answered_as_ksqldb_does() {
    check(
        r#"
        > CREATE STREAM a (k STRING KEY, v DECIMAL(4, 2)) WITH (kafka_topic='t', value_format='JSON', partitions=3);
        says "@type":"streams","streams":[{"type":"STREAM","name":"A","topic":"t","keyFormat":"KAFKA","valueFormat":"JSON","isWindowed":false}] < SHOW STREAMS;
        says "@type":"currentStatus" < CREATE STREAM b AS SELECT * FROM a;
        says "id":"CSAS_B_0" < SHOW QUERIES;
        says "sinkKafkaTopics":["B"] < LIST QUERIES;
        says {"name":"V","schema":{"fields":null,"memberSchema":null,"parameters":{"precision":4,"scale":2},"type":"DECIMAL"}} < DESCRIBE a;
        says "partitions":3 < DESCRIBE b EXTENDED;
        says "name":"t","replicaInfo":[1,1,1] < SHOW TOPICS;
        says "executionPlan":" < EXPLAIN SELECT * FROM a EMIT CHANGES;
        says "name":"UCASE" < SHOW FUNCTIONS;
        says "name":"x","value":"7" < DEFINE x = '7'; SHOW VARIABLES;
        says "type":"STRUCT" < CREATE TYPE point AS STRUCT<x INT>; SHOW TYPES;
        says warning_entity < CREATE STREAM IF NOT EXISTS a (v INT) WITH (kafka_topic='t', value_format='JSON');
        says assert_topic < ASSERT TOPIC t WITH (PARTITIONS=3);
        ! unknown-property SET 'no.such' = '1';
        "#,
    );
}

#[test]
fn a_directory_is_opened_again() {
    check_in_directory(
        r#"
        > SET 'auto.offset.reset' = 'earliest';
        > CREATE STREAM a (k STRING KEY, v INT) WITH (kafka_topic='a', value_format='JSON', partitions=1);
        > CREATE TABLE t (k STRING PRIMARY KEY, w INT) WITH (kafka_topic='t', value_format='JSON', partitions=1);
        > CREATE TABLE u AS SELECT k, w + 1 AS w FROM t;
        > CREATE STREAM b AS SELECT k, v FROM a WHERE v > 0;
        in a 1 x {"v": 1}
        in t 1 x {"w": 1}
        out B
          1 x {"V":1}
        out U
          1 x {"W":2}
        restart
        pull SELECT * FROM u WHERE k = 'x';
          ["x",2]
        in t 2 x {"w": 5}
        crash
        out U
          2 x {"W":6}
        in t 3 x -
        out U
          3 x -
        crash
        pull SELECT * FROM u;
        in a 2 x {"v": 2}
        out B
          2 x {"V":2}
        "#,
    );
}

#[test]
fn a_statement_that_cannot_run_is_taken_back() {
    check(
        r#"
        > SET 'auto.offset.reset' = 'earliest';
        > CREATE STREAM a (v INT) WITH (kafka_topic='a', value_format='JSON', partitions=1);
        > CREATE STREAM b AS SELECT v FROM a;
        delete a
        ! node-failed CREATE STREAM c AS SELECT v FROM a;
        ! unknown-source DESCRIBE c;
        says "queries":[{ < SHOW QUERIES;
        "#,
    );
}

#[test]
fn windows_are_behind_the_keys_and_read_again() {
    check(
        r#"
        > SET 'auto.offset.reset' = 'earliest';
        > CREATE STREAM a (k STRING KEY, v INT) WITH (kafka_topic='a', value_format='JSON', partitions=1);
        > CREATE TABLE w AS SELECT k, COUNT(*) AS n FROM a WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY k;
        in a 1000 x {"v": 1}
        in a 12000 x {"v": 1}
        in a 2000 x {"v": 1}
        out W
          1000 x@0 {"N":1}
          12000 x@10000 {"N":1}
          2000 x@0 {"N":2}
        > CREATE STREAM r (k STRING KEY, n INT) WITH (kafka_topic='W', value_format='JSON', window_type='TUMBLING', window_size='10 SECONDS');
        pull SELECT k, WINDOWSTART, WINDOWEND, n FROM r WHERE n = 2;
          ["x",0,10000,2]
        pull SELECT k, WINDOWSTART, n FROM w WHERE k = 'x' AND WINDOWSTART >= 10000;
          ["x",10000,1]
        "#,
    );
}

#[test]
fn joins_survive_power_cuts() {
    check(
        r#"
        > SET 'auto.offset.reset' = 'earliest';
        > CREATE STREAM o (id STRING KEY, who STRING) WITH (kafka_topic='o', value_format='JSON', partitions=1);
        > CREATE TABLE c (who STRING PRIMARY KEY, city STRING) WITH (kafka_topic='c', value_format='JSON', partitions=1);
        > CREATE STREAM j AS SELECT o.who AS who, id, city FROM o LEFT JOIN c ON o.who = c.who;
        in c 1 ann {"city": "Oslo"}
        out J
        in o 2 #1 {"who": "ann"}
        in o 3 #2 {"who": "bob"}
        out J
          2 ann {"ID":"\u0000\u0000\u0000\u0001","CITY":"Oslo"}
          3 bob {"ID":"\u0000\u0000\u0000\u0002","CITY":null}
        in c 4 bob {"city": "Rome"}
        out J
        in o 5 #3 {"who": "bob"}
        out J
          5 bob {"ID":"\u0000\u0000\u0000\u0003","CITY":"Rome"}
        "#,
    );
}

#[test]
fn settings_that_do_not_fit_the_topic_are_refused() {
    check_once(
        r#"
        > CREATE STREAM a (v INT) WITH (kafka_topic='a', value_format='JSON', partitions=2);
        ! invalid-property-value CREATE STREAM b (v INT) WITH (kafka_topic='a', value_format='JSON', partitions=3);
        > CREATE STREAM b (v INT, h ARRAY<STRUCT<key STRING, value BYTES>> HEADERS) WITH (kafka_topic='a', value_format='JSON', partitions=2);
        in a 1 - {"v": 1} h=hi
        pull SELECT v, h FROM b;
          [1,[{"KEY":"h","VALUE":"aGk="}]]
        ! unknown-topic PRINT A;
        "#,
    );
}

#[test]
fn everything_is_described_at_once() {
    check_once(
        r#"
        > CREATE STREAM a (k STRING KEY, v INT) WITH (kafka_topic='a', value_format='JSON', partitions=2);
        > CREATE TABLE t (k STRING PRIMARY KEY, v INT) WITH (kafka_topic='t', value_format='JSON', partitions=1);
        > CREATE STREAM b AS SELECT * FROM a;
        says "@type":"source_descriptions" < DESCRIBE STREAMS;
        says "name":"B","windowType" < DESCRIBE STREAMS;
        says "queryOffsetSummaries":[{ < DESCRIBE STREAMS EXTENDED;
        says "type":"TABLE" < DESCRIBE TABLES;
        says "extended":true < DESCRIBE TABLES EXTENDED;
        says {"name":"a","replicaInfo":[1,1],"consumerCount":1,"consumerGroupCount":1} < SHOW TOPICS EXTENDED;
        says default_ksql_processing_log < LIST ALL TOPICS EXTENDED;
        "#,
    );
}

#[test]
fn an_assertion_that_fails_says_so() {
    check_once(
        r#"
        > CREATE STREAM a (v INT) WITH (kafka_topic='a', value_format='JSON', partitions=2);
        > ASSERT TOPIC a WITH (PARTITIONS=2, REPLICAS=1) TIMEOUT 1 SECOND;
        > ASSERT NOT EXISTS TOPIC b;
        ! assertion-failed ASSERT TOPIC a WITH (PARTITIONS=3) TIMEOUT 10 MILLISECONDS;
        ! assertion-failed ASSERT NOT EXISTS TOPIC a TIMEOUT 10 MILLISECONDS;
        ! unknown-property ASSERT TOPIC a WITH (FORMAT='x');
        "#,
    );
}

#[test]
fn a_pull_over_a_stream_takes_the_time_from_its_column() {
    check_once(
        r#"
        > CREATE STREAM a (v INT, d STRING) WITH (kafka_topic='a', value_format='JSON', partitions=1, timestamp='d', timestamp_format='yyyy-MM-dd');
        in a 1 - {"v": 1, "d": "1970-01-02"}
        in a 2 - {"v": 2, "d": "never"}
        in a 3 - {"v": 3, "d": "1970-01-03"}
        pull SELECT v, ROWTIME AS t FROM a;
          [1,86400000]
          [3,172800000]
        pull SELECT v FROM a WHERE ROWTIME > 86400000;
          [3]
        "#,
    );
}

#[test]
fn print_keeps_the_formats_over_nulls_and_knows_windows() {
    check_once(
        r#"
        > SET 'auto.offset.reset' = 'earliest';
        > CREATE STREAM a (k STRING KEY, v INT) WITH (kafka_topic='a', value_format='JSON', partitions=1);
        in a 1000 x {"v": 1}
        in a 2000 x -
        in a 3000 - {"v": 2}
        print PRINT a FROM BEGINNING LIMIT 3;
          Key format: KAFKA_STRING
          Value format: JSON or KAFKA_STRING
          rowtime: 1970/01/01 00:00:01.000 Z, key: x, value: {"v": 1}, partition: 0
          rowtime: 1970/01/01 00:00:02.000 Z, key: x, value: <null>, partition: 0
          rowtime: 1970/01/01 00:00:03.000 Z, key: <null>, value: {"v": 2}, partition: 0
        > CREATE TABLE w AS SELECT k, COUNT(*) AS n FROM a WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY k;
        out W
          1000 x@0 {"N":1}
        print PRINT 'W' FROM BEGINNING LIMIT 1;
          Key format: HOPPING(KAFKA_STRING) or TUMBLING(KAFKA_STRING)
          Value format: JSON or KAFKA_STRING
          rowtime: 1970/01/01 00:00:01.000 Z, key: [x@0/-], value: {"N":1}, partition: 0
        "#,
    );
}
