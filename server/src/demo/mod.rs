//! `millstream demo`: the main job, live, in a temporary directory.
//!
//! It starts the server on free loopback ports, produces through the Kafka port, submits SQL over
//! HTTP, shows the changing results, and at the end compares what the queries wrote with an account
//! kept in plain Rust. Nothing in the server knows that it is a demo.

mod check;
mod load;
mod view;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;

use crate::cli::{DemoArgs, Durability};
use crate::clock::now_ms;
use crate::kafka_client::KafkaClient;
use crate::kafka_listener::Limits;
use crate::run::{self, ServerConfig};
use crate::security::Security;
use crate::shell::SqlClient;
use load::Account;

/// How long the node may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long the results may take to catch up after the last record.
const CATCH_UP: Duration = Duration::from_secs(20);

/// Statements of the demo, in order, as a user would type them.
const STATEMENTS: [&str; 6] = [
    "CREATE STREAM payments (payment_id STRING KEY, merchant STRING, amount DOUBLE)
  WITH (kafka_topic='payments', value_format='JSON');",
    "CREATE STREAM orders (order_id STRING KEY, customer_id STRING, item STRING, price DOUBLE)
  WITH (kafka_topic='orders', value_format='JSON');",
    "CREATE TABLE customers (customer_id STRING PRIMARY KEY, name STRING, city STRING)
  WITH (kafka_topic='customers', value_format='JSON');",
    "CREATE STREAM fraud_alert AS SELECT * FROM payments WHERE amount > 10000;",
    "CREATE TABLE merchant_totals AS
  SELECT merchant, COUNT(*) AS payments, SUM(amount) AS total
  FROM payments WINDOW TUMBLING (SIZE 5 SECONDS)
  GROUP BY merchant;",
    "CREATE STREAM orders_by_customer AS
  SELECT o.customer_id AS customer_id, o.order_id AS order_id, c.name AS name, c.city AS city, o.item AS item, o.price AS price
  FROM orders o JOIN customers c ON o.customer_id = c.customer_id;",
];

/// Runs the demo; the result is the process's exit code.
///
/// # Errors
/// When the server cannot start or goes away.
pub async fn run(args: DemoArgs) -> io::Result<i32> {
    let started = Instant::now();
    let directory = TemporaryDirectory::new()?;
    let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
    let server = run::start(ServerConfig {
        data_dir: directory.0.clone(),
        kafka: loopback,
        http: loopback,
        advertised_host: None,
        durability: Durability::Fsync,
        default_partitions: 1,
        kafka_settings: Vec::new(),
        no_queries: false,
        epoch_rows: None,
        parallelism: None,
        security: Security::default(),
        limits: Limits::default(),
    })
    .await?;
    println!(
        "Millstream is up after {} ms: Kafka on {}, SQL on http://{}, data in {}\n",
        started.elapsed().as_millis(),
        server.kafka,
        server.http,
        directory.0.display()
    );
    let outcome = show(&args, server.kafka, server.http).await;
    server.stop().await;
    outcome
}

async fn show(args: &DemoArgs, kafka: SocketAddr, http: SocketAddr) -> io::Result<i32> {
    create_topics(kafka).await?;
    let mut client = SqlClient::new(&format!("http://{http}"));
    client.properties.insert("auto.offset.reset".into(), Value::String("earliest".into()));
    for statement in STATEMENTS {
        println!("sql> {statement}");
        let answer = client.execute(statement).await?;
        let Some(entities) = answer.as_array() else {
            return Err(io::Error::other(answer["message"].as_str().unwrap_or("statement refused").to_owned()));
        };
        for entity in entities {
            println!("     {}", entity["commandStatus"]["message"].as_str().unwrap_or("done"));
        }
    }

    let account = Arc::new(Mutex::new(Account::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let mut producer = {
        let (account, stop) = (account.clone(), stop.clone());
        tokio::task::spawn_blocking(move || load::produce(kafka, now_ms, &account, &stop))
    };
    let shown = tokio::select! {
        shown = view::follow(&client, kafka, &account, Duration::from_secs(args.seconds)) => shown,
        // It only ends by itself when something is wrong.
        produced = &mut producer => return Err(produced.map_err(io::Error::other)?.err().unwrap_or_else(|| {
            io::Error::other("the producer stopped too early")
        })),
    };
    stop.store(true, Ordering::Relaxed);
    producer.await.map_err(io::Error::other)??;
    shown?;

    let produced = account.lock().clone();
    let (results, differences) = settle(kafka, &produced).await?;
    println!("Produced   {} payments, {} orders", produced.payments, produced.orders);
    println!(
        "Came out   {} fraud alerts, {} merchant windows, {} orders joined with their customer",
        results.frauds,
        results.totals.len(),
        results.orders
    );
    if !differences.is_empty() {
        println!("\nThe results do NOT agree with what was produced:");
        differences.iter().for_each(|line| println!("  {line}"));
        return Ok(1);
    }
    println!("Compared   every total agrees with an account kept beside the server\n");
    print!("{NEXT}");
    Ok(0)
}

const NEXT: &str = "\
Go on by hand (each in its own terminal):
  millstream server                                  the log on 127.0.0.1:9092, SQL on 127.0.0.1:8088
  millstream sql                                     a SQL shell: CREATE STREAM …, SELECT … EMIT CHANGES
  kcat -b 127.0.0.1:9092 -t payments -P -K:          produce with any Kafka client:  p1:{\"merchant\":\"books\",\"amount\":12000}
  kcat -b 127.0.0.1:9092 -t FRAUD_ALERT -C           and read the results
";

async fn create_topics(kafka: SocketAddr) -> io::Result<()> {
    tokio::task::spawn_blocking(move || {
        let mut client = KafkaClient::connect(kafka, TIMEOUT)?.named("millstream-demo");
        client.create_topic("payments", load::PARTITIONS)?;
        client.create_topic("orders", load::PARTITIONS)?;
        client.create_topic("customers", load::PARTITIONS)?;
        Ok(())
    })
    .await
    .map_err(io::Error::other)?
}

/// Reads the results until they agree with what was produced, or time is over.
async fn settle(kafka: SocketAddr, produced: &Account) -> io::Result<(Account, Vec<String>)> {
    let deadline = Instant::now() + CATCH_UP;
    loop {
        let results = tokio::task::spawn_blocking(move || check::account_of_results(kafka))
            .await
            .map_err(io::Error::other)??;
        let differences = check::differences(produced, &results);
        if differences.is_empty() || Instant::now() > deadline {
            return Ok((results, differences));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A directory of this run, removed at its end.
struct TemporaryDirectory(std::path::PathBuf);

impl TemporaryDirectory {
    fn new() -> io::Result<TemporaryDirectory> {
        let name = format!("millstream-demo-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(TemporaryDirectory(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // Nothing depends on it any more; what cannot be removed is left to the system's own sweep.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
