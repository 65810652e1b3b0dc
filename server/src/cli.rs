//! The command line: what a newcomer sees at `millstream --help`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const AFTER_HELP: &str = "\
Try it:
  millstream demo                       see it work: live payments, SQL, changing results
  millstream server                     start the log and SQL on this machine
  millstream sql                        a SQL shell on the running server
  kcat -b 127.0.0.1:9092 -L             any Kafka client works unmodified

Docs: README.md and ARCHITECTURE.md in the source tree.";

/// A Kafka-compatible log with streaming SQL in ksqlDB's dialect, in one binary.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the server: Kafka protocol on 9092, SQL over HTTP on 8088.
    Server(ServerArgs),
    /// Open a SQL shell on a running server, or run statements and leave.
    Sql(SqlArgs),
    /// Show the main job: start everything in a temporary directory and run streaming SQL on live data.
    Demo(DemoArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// An acknowledged record is on disk (one sync for any number of partitions).
    Fsync,
    /// An acknowledged record is in the operating system's page cache, as in Kafka: it survives
    /// kill -9, not a power cut.
    Os,
}

#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Where everything is kept; made when absent.
    #[arg(long, env = "MILLSTREAM_DATA_DIR", default_value = "./millstream-data")]
    pub data_dir: PathBuf,
    /// Address of the Kafka protocol.
    #[arg(long, env = "MILLSTREAM_KAFKA", default_value = "127.0.0.1:9092")]
    pub kafka: SocketAddr,
    /// Address of SQL over HTTP.
    #[arg(long, env = "MILLSTREAM_HTTP", default_value = "127.0.0.1:8088")]
    pub http: SocketAddr,
    /// Host that Kafka clients are told to connect to; the listening address unless given.
    #[arg(long, env = "MILLSTREAM_ADVERTISED_HOST")]
    pub advertised_host: Option<String>,
    /// What an acknowledgement means.
    #[arg(long, env = "MILLSTREAM_DURABILITY", value_enum, default_value = "fsync")]
    pub durability: Durability,
    /// Partitions of topics that are created without saying how many.
    #[arg(long, env = "MILLSTREAM_DEFAULT_PARTITIONS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub default_partitions: u32,
    /// Start the log and the catalog, but no queries: to look at a server whose queries keep failing.
    #[arg(long)]
    pub no_queries: bool,
    /// Listen on addresses other than loopback although connections are neither encrypted nor
    /// authenticated. Anyone who can reach the port can read and change everything.
    #[arg(long)]
    pub insecure_no_auth: bool,
}

#[derive(Debug, Args)]
pub struct SqlArgs {
    /// The server's SQL address.
    #[arg(long, env = "MILLSTREAM_SERVER", default_value = "http://127.0.0.1:8088")]
    pub server: String,
    /// Run these statements and leave.
    #[arg(long, short = 'e', conflicts_with = "file")]
    pub execute: Option<String>,
    /// Run the statements of this file and leave.
    #[arg(long, short = 'f')]
    pub file: Option<PathBuf>,
    /// Print rows as JSON lines instead of tables.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End by itself and exit 0 only if the results agree with what was produced.
    #[arg(long)]
    pub once: bool,
    /// For how long results are shown.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
}
