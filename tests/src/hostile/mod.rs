//! A real server among enemies: mutated frames, decompression bombs, giants, peers that are slow or
//! deaf. It must stay up, keep its memory, and serve a healthy client all the while.
//!
//! The healthy client ([`healthy`]) writes records during everything else; at the end each of them
//! must be there once. The server runs in a control group with a memory limit where the machine has
//! them; and its peak of resident memory (`VmHWM`) is compared with the limit after each part.

mod bombs;
mod frames;
mod healthy;
mod limit;
mod mutate;
mod peers;
pub mod seeds;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::node::{Node, NodeOptions};
use crate::wire_client::Client;
use healthy::Healthy;

/// How long anything may take that a healthy server does at once.
const SOON: Duration = Duration::from_secs(20);

pub struct Plan {
    pub binary: PathBuf,
    pub folder: PathBuf,
    pub frames: u32,
    pub seed: u64,
    pub memory_max: u64,
}

/// Runs all parts, each announced through `say`.
///
/// # Errors
/// When the server died, hung, lost a record or took too much memory.
pub fn run(plan: &Plan, say: impl Fn(&str)) -> Result<(), String> {
    // Declared first, so that it goes last.
    let limit;
    let mut node = Node::start(&NodeOptions {
        binary: plan.binary.clone(),
        data_dir: plan.folder.join("data"),
        durability: "os".into(),
        epoch_rows: None,
        log: plan.folder.join("server.log"),
    })?;
    limit = limit::MemoryLimit::put(node.pid(), plan.memory_max);
    match &limit {
        Some(_) => say(&format!("a control group allows {} MB", plan.memory_max >> 20)),
        None => say("no control group can be made here: peak memory alone is compared"),
    }
    let address = node.kafka.clone();
    let mut client = connect(&address)?;
    for topic in [seeds::TOPIC, healthy::TOPIC] {
        client.create_topic(topic, 1).map_err(|e| format!("topic {topic}: {e}"))?;
    }
    let healthy = Healthy::start(&address);
    let begin = Instant::now();
    let check = |node: &mut Node, part: &str| -> Result<(), String> {
        if let Some(status) = node.ended() {
            let kills = limit.as_ref().map_or(0, limit::MemoryLimit::kills);
            return Err(format!(
                "{part}: the server ended with {status} ({kills} kills for memory)"
            ));
        }
        let usage = node.usage();
        let peak = usage.peak_rss_bytes >> 20;
        let slowest = healthy.check().map_err(|e| format!("{part}: {e}"))?;
        say(&format!(
            "{part}; {:.0?} in, peak memory {peak} MB, now {} MB, slowest healthy answer {slowest:.0?}",
            begin.elapsed(),
            usage.rss_bytes >> 20
        ));
        if usage.peak_rss_bytes > plan.memory_max {
            return Err(format!(
                "{part}: {peak} MB are more than the {} MB allowed",
                plan.memory_max >> 20
            ));
        }
        Ok(())
    };
    check(&mut node, "started")?;
    let told = frames::run(&address, plan.frames, plan.seed)?;
    check(&mut node, &told)?;
    let told = bombs::run(&node, &mut client)?;
    check(&mut node, &told)?;
    let told = peers::giants(&address)?;
    check(&mut node, &told)?;
    let told = peers::deaf(&address, &mut client)?;
    check(&mut node, &told)?;
    let told = peers::slow(&address)?;
    check(&mut node, &told)?;
    let written = healthy.stop()?;
    let read = connect(&address)?
        .read_all(healthy::TOPIC, 0, 0)
        .map_err(|e| format!("reading what was written: {e}"))?;
    let there = read.len() as u64;
    let in_order = read
        .iter()
        .zip(0_u64..)
        .all(|(record, n)| record.value.as_deref() == Some(n.to_string().as_bytes()));
    if there != written || !in_order {
        return Err(format!("{written} records were written in order, {there} are there"));
    }
    check_end(node)?;
    say(&format!("all {written} records of the healthy client are there, once and in order"));
    Ok(())
}

fn check_end(node: Node) -> Result<(), String> {
    node.stop().map_err(|e| format!("at the end: {e}"))
}

fn connect(address: &str) -> Result<Client, String> {
    Client::connect(address, SOON).map_err(|e| format!("a healthy client cannot connect: {e}"))
}
