//! The Nexmark queries in Millstream's dialect.
//!
//! Where streaming SQL over keyed topics cannot say the query as written, the variant does the same
//! work over the same state: stream–table joins see the table as of the row's time, q8 joins within
//! 10 seconds rather than in tumbling windows, q12 takes event time.

/// A query of the benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    pub name: &'static str,
    /// What a row of the table calls it.
    pub title: &'static str,
    /// Topics it reads; a topic read twice stands here twice.
    pub reads: &'static [&'static str],
    /// Its sink is a table: results are counted by key.
    pub is_table: bool,
    pub sql: &'static str,
}

/// The name of every sink topic.
pub const SINK: &str = "RESULT";

const BID: &[&str] = &["bid"];

/// Sources over the topics; every query is run after these.
pub const SOURCES: &str = "
CREATE STREAM person (id BIGINT KEY, name STRING, emailAddress STRING, creditCard STRING, city STRING,
    state STRING, dateTime STRING, extra STRING) WITH (KAFKA_TOPIC='person', VALUE_FORMAT='JSON',
    TIMESTAMP='dateTime', TIMESTAMP_FORMAT='yyyy-MM-dd HH:mm:ss.SSS');
CREATE STREAM auction (id BIGINT KEY, itemName STRING, description STRING, initialBid BIGINT,
    reserve BIGINT, dateTime STRING, expires STRING, seller BIGINT, category BIGINT, extra STRING)
    WITH (KAFKA_TOPIC='auction', VALUE_FORMAT='JSON',
    TIMESTAMP='dateTime', TIMESTAMP_FORMAT='yyyy-MM-dd HH:mm:ss.SSS');
CREATE STREAM bid (auction BIGINT KEY, bidder BIGINT, price BIGINT, channel STRING, url STRING,
    dateTime STRING, extra STRING) WITH (KAFKA_TOPIC='bid', VALUE_FORMAT='JSON',
    TIMESTAMP='dateTime', TIMESTAMP_FORMAT='yyyy-MM-dd HH:mm:ss.SSS');
CREATE TABLE person_t (id BIGINT PRIMARY KEY, name STRING, city STRING, state STRING, dateTime STRING)
    WITH (KAFKA_TOPIC='person', VALUE_FORMAT='JSON',
    TIMESTAMP='dateTime', TIMESTAMP_FORMAT='yyyy-MM-dd HH:mm:ss.SSS');
CREATE TABLE auction_t (id BIGINT PRIMARY KEY, itemName STRING, seller BIGINT, category BIGINT,
    dateTime STRING) WITH (KAFKA_TOPIC='auction', VALUE_FORMAT='JSON',
    TIMESTAMP='dateTime', TIMESTAMP_FORMAT='yyyy-MM-dd HH:mm:ss.SSS');
CREATE TABLE side (k BIGINT PRIMARY KEY, payload STRING)
    WITH (KAFKA_TOPIC='side', VALUE_FORMAT='JSON');
";

pub const QUERIES: &[Query] = &[
    Query {
        name: "q0",
        title: "pass through",
        reads: BID,
        is_table: false,
        sql: "CREATE STREAM result AS SELECT auction, bidder, price, dateTime, extra FROM bid;",
    },
    Query {
        name: "q1",
        title: "currency",
        reads: BID,
        is_table: false,
        sql: "CREATE STREAM result AS SELECT auction, bidder, price * 0.908E0 AS price, dateTime, extra
              FROM bid;",
    },
    Query {
        name: "q2",
        title: "filter",
        reads: BID,
        is_table: false,
        sql: "CREATE STREAM result AS SELECT auction, price FROM bid WHERE auction % 123 = 0;",
    },
    Query {
        name: "q3",
        title: "local item suggestion",
        reads: &["auction", "person"],
        is_table: false,
        sql: "CREATE STREAM result AS SELECT a.seller AS seller, p.name, p.city, p.state, a.id
              FROM auction a JOIN person_t p ON a.seller = p.id
              WHERE a.category = 10 AND (p.state = 'OR' OR p.state = 'ID' OR p.state = 'CA');",
    },
    Query {
        name: "q8",
        title: "new users",
        reads: &["person", "auction"],
        is_table: false,
        sql: "CREATE STREAM result AS SELECT p.id AS id, p.name, a.reserve
              FROM person p JOIN auction a WITHIN 10 SECONDS GRACE PERIOD 10 SECONDS
              ON p.id = a.seller;",
    },
    Query {
        name: "q11",
        title: "user sessions",
        reads: BID,
        is_table: true,
        sql: "CREATE TABLE result AS SELECT bidder, COUNT(*) AS bids
              FROM bid WINDOW SESSION (10 SECONDS) GROUP BY bidder;",
    },
    Query {
        name: "q12",
        title: "bids per window",
        reads: BID,
        is_table: true,
        sql: "CREATE TABLE result AS SELECT bidder, COUNT(*) AS bids
              FROM bid WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY bidder;",
    },
    Query {
        name: "q13",
        title: "side input",
        reads: &["bid", "side"],
        is_table: false,
        sql: "CREATE STREAM result AS SELECT s.k, b.auction, b.bidder, b.price, b.dateTime, s.payload
              FROM bid b JOIN side s ON b.auction % 10000 = s.k;",
    },
    Query {
        name: "q17",
        title: "auction statistics",
        reads: BID,
        is_table: true,
        sql: "CREATE TABLE result WITH (KEY_FORMAT='JSON') AS
              SELECT auction, SUBSTRING(dateTime, 1, 10) AS day, COUNT(*) AS n,
                  MIN(price) AS lowest, MAX(price) AS highest, AVG(price) AS average,
                  SUM(price) AS total
              FROM bid GROUP BY auction, SUBSTRING(dateTime, 1, 10);",
    },
    Query {
        name: "q18",
        title: "last bid",
        reads: BID,
        is_table: true,
        sql: "CREATE TABLE result WITH (KEY_FORMAT='JSON') AS
              SELECT bidder, auction, LATEST_BY_OFFSET(price) AS price,
                  LATEST_BY_OFFSET(channel) AS channel, LATEST_BY_OFFSET(url) AS url,
                  LATEST_BY_OFFSET(dateTime) AS dateTime, LATEST_BY_OFFSET(extra) AS extra
              FROM bid GROUP BY bidder, auction;",
    },
    Query {
        name: "q20",
        title: "expand bid",
        reads: &["bid", "auction"],
        is_table: false,
        sql: "CREATE STREAM result AS SELECT b.auction AS auction, b.bidder, b.price, b.channel, b.url,
                  b.dateTime, b.extra, a.itemName, a.seller
              FROM bid b JOIN auction_t a ON b.auction = a.id WHERE a.category = 10;",
    },
];

pub fn by_name(name: &str) -> Option<&'static Query> {
    QUERIES.iter().find(|q| q.name.eq_ignore_ascii_case(name))
}
