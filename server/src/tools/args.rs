//! The command lines of the tools.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::pair;
use crate::cli::LoginArgs;

/// One of the tools with its arguments.
#[derive(Debug)]
pub enum Tool {
    Topics(TopicsArgs),
    Produce(ProduceArgs),
    Consume(ConsumeArgs),
    Groups(GroupsArgs),
}

#[derive(Clone, Debug, Args)]
pub struct Server {
    /// Address of the Kafka protocol.
    #[arg(
        long,
        global = true,
        env = "MILLSTREAM_KAFKA",
        default_value = "127.0.0.1:9092",
        value_name = "HOST:PORT"
    )]
    pub kafka: String,
    #[command(flatten)]
    pub login: LoginArgs,
}

const TOPICS_HELP: &str = "\
Examples:
  millstream topics list
  millstream topics create orders --partitions 4 --config retention.ms=86400000
  millstream topics describe orders --configs
  millstream topics alter orders --partitions 8 --config cleanup.policy=compact --reset retention.ms
  millstream topics delete orders";

#[derive(Debug, Args)]
#[command(after_help = TOPICS_HELP)]
pub struct TopicsArgs {
    #[command(flatten)]
    pub server: Server,
    #[command(subcommand)]
    pub command: TopicsCommand,
}

#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// All topics, with the number of their partitions and records.
    List,
    /// Partitions, offsets and settings of topics.
    Describe {
        #[arg(required = true)]
        topics: Vec<String>,
        /// All settings, not only those that were changed.
        #[arg(long)]
        configs: bool,
    },
    /// Make a topic.
    Create {
        topic: String,
        /// How many partitions; the server's default unless given.
        #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// A setting, for instance retention.ms=86400000. May be given several times.
        #[arg(long = "config", short = 'c', value_name = "NAME=VALUE", value_parser = pair)]
        configs: Vec<(String, String)>,
        /// A topic of this name is fine.
        #[arg(long)]
        if_not_exists: bool,
    },
    /// Change settings of a topic, or give it more partitions.
    Alter {
        topic: String,
        /// How many partitions it shall have; more than now.
        #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// Change a setting. May be given several times.
        #[arg(long = "config", short = 'c', value_name = "NAME=VALUE", value_parser = pair)]
        configs: Vec<(String, String)>,
        /// Set a setting back to its default. May be given several times.
        #[arg(long, value_name = "NAME")]
        reset: Vec<String>,
    },
    /// Delete topics with all their records.
    Delete {
        #[arg(required = true)]
        topics: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Acks {
    /// Do not wait for an answer.
    #[value(name = "0")]
    None,
    /// The leader has the record.
    #[value(name = "1")]
    Leader,
    /// All in-sync replicas have the record.
    All,
}

const PRODUCE_HELP: &str = "\
Examples:
  echo 'hello' | millstream produce greetings
  echo 'alice:{\"total\": 3}' | millstream produce orders --key-separator :
  millstream produce orders --file orders.jsonl --compression zstd --header source=import";

#[derive(Debug, Args)]
#[command(after_help = PRODUCE_HELP)]
pub struct ProduceArgs {
    #[command(flatten)]
    pub server: Server,
    pub topic: String,
    /// Read lines from this file instead of standard input.
    #[arg(long, short = 'f')]
    pub file: Option<PathBuf>,
    /// What stands between key and value in a line; without it, lines are values without a key.
    #[arg(long, short = 'k', value_name = "TEXT")]
    pub key_separator: Option<String>,
    /// A header of every record. May be given several times.
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = pair)]
    pub headers: Vec<(String, String)>,
    /// Send all records to this partition; without it, the key chooses as in Kafka's own producer.
    #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    #[arg(long, short = 'z', value_enum, default_value = "none")]
    pub compression: Compression,
    /// What to wait for.
    #[arg(long, short = 'a', value_enum, default_value = "all")]
    pub acks: Acks,
    /// A value that is this text becomes null: a tombstone.
    #[arg(long, value_name = "TEXT")]
    pub null: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The value as it is, one record per line; with --keys, key and tab before it.
    Text,
    /// One JSON object per line: topic, partition, offset, timestamp, key, value, headers.
    Json,
    /// Key and value as hexadecimal digits.
    Hex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Isolation {
    #[value(name = "read_committed")]
    ReadCommitted,
    #[value(name = "read_uncommitted")]
    ReadUncommitted,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Beginning,
    End,
    Offset(i64),
    /// Milliseconds since 1970.
    Time(i64),
}

const CONSUME_HELP: &str = "\
Examples:
  millstream consume orders --from beginning --exit-at-end
  millstream consume orders --format json | jq .value
  millstream consume orders --from @2026-05-01T12:00:00Z -n 10
  millstream consume orders --group audit          goes on where the group was last

With --group the offsets of the group are read and committed; the group is not joined, so there must
be no other member in it.";

#[derive(Debug, Args)]
#[command(after_help = CONSUME_HELP)]
pub struct ConsumeArgs {
    #[command(flatten)]
    pub server: Server,
    pub topic: String,
    /// Where to begin: beginning, end, an offset, or @TIME (ms since 1970, or RFC 3339). Default: end; with
    /// --group, where the group was, else the beginning.
    #[arg(long, value_parser = super::offsets::parse_from)]
    pub from: Option<From>,
    /// Read only this partition. May be given several times.
    #[arg(long = "partition", short = 'p', value_parser = clap::value_parser!(i32).range(0..))]
    pub partitions: Vec<i32>,
    /// Go on from the offsets of this group, and commit what was printed.
    #[arg(long, short = 'g')]
    pub group: Option<String>,
    /// End at the last record there is now, instead of waiting for more.
    #[arg(long, short = 'e')]
    pub exit_at_end: bool,
    /// End after so many records.
    #[arg(long, short = 'n', value_name = "RECORDS")]
    pub max: Option<u64>,
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    pub format: Format,
    /// Print keys in the text format.
    #[arg(long)]
    pub keys: bool,
    #[arg(long, value_enum, default_value = "read_committed")]
    pub isolation: Isolation,
}

const GROUPS_HELP: &str = "\
Examples:
  millstream groups list
  millstream groups describe audit
  millstream groups reset-offsets audit --topic orders --to-earliest            shows what would be done
  millstream groups reset-offsets audit --topic orders --shift-by=-10 --execute
  millstream groups delete audit";

#[derive(Debug, Args)]
#[command(after_help = GROUPS_HELP)]
pub struct GroupsArgs {
    #[command(flatten)]
    pub server: Server,
    #[command(subcommand)]
    pub command: GroupsCommand,
}

#[derive(Debug, Subcommand)]
pub enum GroupsCommand {
    /// All groups.
    List,
    /// Members, committed offsets and lag of a group.
    Describe { group: String },
    /// Change the committed offsets of a group without members. Shows the change; does it with --execute.
    ResetOffsets {
        group: String,
        /// Topics; all that the group has offsets for unless given.
        #[arg(long = "topic", short = 't')]
        topics: Vec<String>,
        #[command(flatten)]
        to: ResetTo,
        /// Do it.
        #[arg(long)]
        execute: bool,
    },
    /// Delete groups with their offsets. They must have no members.
    Delete {
        #[arg(required = true)]
        groups: Vec<String>,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ResetTo {
    /// The first record there is.
    #[arg(long)]
    pub to_earliest: bool,
    /// The end.
    #[arg(long)]
    pub to_latest: bool,
    /// The first record at or after a time: ms since 1970, or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = super::offsets::parse_time)]
    pub to_datetime: Option<i64>,
    /// This offset.
    #[arg(long, value_name = "OFFSET")]
    pub to_offset: Option<i64>,
    /// So many records further, or back if negative.
    #[arg(long, value_name = "RECORDS", allow_hyphen_values = true)]
    pub shift_by: Option<i64>,
}
