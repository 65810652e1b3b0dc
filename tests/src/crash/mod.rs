//! The crash suite: a real server is killed under load again and again, and must never be wrong.
//!
//! A cycle is: start, check everything, load, `kill -9` at a random moment (or right after some
//! acknowledgement; now and then a clean stop). [`load`] produces as an idempotent producer does and
//! reads as a `read_committed` consumer; [`oracle`] knows from the acknowledgements and the input log
//! alone what every sink must hold; [`check`] compares. [`transfers`] does the same for client
//! transactions, groups and a query over them; some cycles with epochs so small that what a kill left, and
//! a query that begins anew, is a backlog of many. One seed decides all that is random here; the
//! moment at which the operating system kills is beyond it.

pub mod check;
pub mod load;
pub mod oracle;
pub mod transfers;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::node::{Node, NodeOptions};
use check::Checker;
use load::{Load, Producers};
use transfers::Transfers;

pub const PARTITIONS: i32 = 3;
pub const ACCOUNTS: usize = 20;
pub const WINDOW_MS: i64 = 10_000;
/// What the filter lets through.
pub const BIG_AMOUNT: i64 = 500;

/// Every so many cycles a query begins with all there is.
const BACKLOG_EVERY: u32 = 5;
/// Small beside a backlog, and 16 times as much is large beside a chain of overlapping transactions.
const SMALL_EPOCH_ROWS: u32 = 64;

pub const STATEMENTS: &str = "
CREATE STREAM payments (account STRING KEY, id BIGINT, amount BIGINT)
    WITH (KAFKA_TOPIC='payments', VALUE_FORMAT='JSON');
CREATE TABLE customers (account STRING PRIMARY KEY, level BIGINT)
    WITH (KAFKA_TOPIC='customers', VALUE_FORMAT='JSON');
CREATE STREAM big AS SELECT account, id, amount FROM payments WHERE amount > 500;
CREATE TABLE totals AS SELECT account, COUNT(*) AS n, SUM(amount) AS total FROM payments
    WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY account;
CREATE STREAM leveled AS SELECT p.account AS account, p.id AS id, p.amount AS amount,
    c.level AS level FROM payments p JOIN customers c ON p.account = c.account;
";

/// What a run needs.
#[derive(Clone, Debug)]
pub struct Plan {
    pub binary: PathBuf,
    pub data_dir: PathBuf,
    pub log: PathBuf,
    pub durability: String,
    pub cycles: u32,
    pub seed: u64,
}

/// What a green run saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub kills: u32,
    pub clean_stops: u32,
    pub records: u64,
    pub results: u64,
    pub pull_queries: u64,
    pub transactions: u64,
    pub slowest_start: Duration,
}

/// Runs all cycles.
///
/// # Errors
/// The first violation.
pub fn run(plan: &Plan, mut progress: impl FnMut(u32, &Summary)) -> Result<Summary, String> {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let mut producers = Producers::new(&mut rng);
    let mut transfers = Transfers::new(&mut rng);
    let mut checker = Checker::default();
    let mut summary = Summary::default();
    for cycle in 0..=plan.cycles {
        let at = |e: String| format!("cycle {cycle}: {e}");
        let begin = Instant::now();
        let mut node = start(plan, &mut rng).map_err(at)?;
        summary.slowest_start = summary.slowest_start.max(begin.elapsed());
        if cycle == 0 {
            producers.create_topics(&node.kafka).map_err(at)?;
            transfers.create_topics(&node.kafka).map_err(at)?;
            node.ksql(STATEMENTS).map_err(at)?;
            node.ksql(transfers::STATEMENTS).map_err(at)?;
        }
        producers.settle(&node.kafka, &mut rng).map_err(at)?;
        transfers.settle(&node.kafka).map_err(at)?;
        let is_last = cycle == plan.cycles;
        checker.check(&node, &producers, &mut rng, is_last).map_err(at)?;
        transfers.check(&node.kafka).map_err(at)?;
        if is_last || cycle % BACKLOG_EVERY == BACKLOG_EVERY - 1 {
            transfers.check_backlog(&node, cycle).map_err(at)?;
        }
        summary.transactions = transfers.transactions();
        summary.records = checker.records();
        summary.results = checker.results();
        summary.pull_queries = checker.pull_queries;
        if is_last {
            node.stop().map_err(at)?;
            break;
        }
        if cycle == 0 || rng.random_ratio(1, 4) {
            producers.update_customers(&node.kafka).map_err(at)?;
        }
        let load = Load::begin(&node.kafka, &mut producers, checker.positions());
        let running = transfers.begin(&node.kafka);
        load.wait(Moment::draw(&mut rng));
        if rng.random_ratio(1, 10) {
            let ended = load.end();
            running.end().map_err(at)?;
            let stopped = node.stop();
            checker.saw(ended.map_err(at)?);
            stopped.map_err(at)?;
            summary.clean_stops += 1;
        } else {
            node.kill();
            running.end().map_err(at)?;
            checker.saw(load.end().map_err(at)?);
            summary.kills += 1;
        }
        progress(cycle, &summary);
    }
    Ok(summary)
}

/// When the load ends.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    After(Duration),
    /// Right after so many acknowledged batches.
    Acknowledged(u64),
}

impl Moment {
    fn draw(rng: &mut StdRng) -> Moment {
        if rng.random_ratio(1, 2) {
            Moment::After(Duration::from_millis(rng.random_range(5..300)))
        } else {
            Moment::Acknowledged(rng.random_range(1..120))
        }
    }
}

fn start(plan: &Plan, rng: &mut StdRng) -> Result<Node, String> {
    Node::start(&NodeOptions {
        binary: plan.binary.clone(),
        data_dir: plan.data_dir.clone(),
        durability: plan.durability.clone(),
        epoch_rows: rng.random_ratio(1, 2).then_some(SMALL_EPOCH_ROWS),
        log: plan.log.clone(),
    })
}
