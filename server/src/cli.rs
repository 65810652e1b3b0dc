//! The command line: what a newcomer sees at `millstream --help`.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use millstream_storage::kafka::KafkaConfig;

use crate::listeners::{Advertised, ListenerSpec};
use crate::tools::args::{ConsumeArgs, GroupsArgs, ProduceArgs, TopicsArgs};

const AFTER_HELP: &str = "\
Try it:
  millstream demo                       see it work: live payments, SQL, changing results
  millstream server                     start the log and SQL on this machine
  millstream sql                        a SQL shell on the running server
  millstream topics list                and produce, consume, groups: the log without Kafka's tools
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
    /// List, describe, create, alter and delete topics.
    Topics(TopicsArgs),
    /// Make records of the lines of standard input or a file.
    Produce(ProduceArgs),
    /// Print the records of a topic.
    Consume(ConsumeArgs),
    /// List, describe and delete consumer groups, and change their offsets.
    Groups(GroupsArgs),
    /// Show what log and journal files hold, and where they are damaged; the server may run.
    DumpLog(DumpLogArgs),
}

#[derive(Debug, Args)]
pub struct DumpLogArgs {
    /// Files (.log, .index, .timeindex, .txnindex, .snapshot, .journal), or directories with such.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Show each record with key and value.
    #[arg(long)]
    pub records: bool,
    /// Open compressed batches, too, and check their records.
    #[arg(long)]
    pub deep: bool,
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
    #[command(flatten)]
    pub security: SecurityArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    /// What an acknowledgement means.
    #[arg(long, env = "MILLSTREAM_DURABILITY", value_enum, default_value = "fsync")]
    pub durability: Durability,
    /// Partitions of topics that are created without saying how many.
    #[arg(long, env = "MILLSTREAM_DEFAULT_PARTITIONS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub default_partitions: u32,
    /// A setting of the Kafka broker under its Kafka name, like group.min.session.timeout.ms=1000; several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = kafka_setting)]
    pub kafka_setting: Vec<(String, String)>,
    /// Start the log and the catalog, but no queries: to look at a server whose queries keep failing.
    #[arg(long)]
    pub no_queries: bool,
    /// Listen on addresses other than loopback although connections are neither encrypted nor
    /// authenticated. Anyone who can reach the port can read and change everything.
    #[arg(long)]
    pub insecure_no_auth: bool,
}

/// `NAME=VALUE`, checked as the broker will check it.
fn kafka_setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text} is not NAME=VALUE"))?;
    KafkaConfig::at("localhost", 0).set(name.trim(), value)?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// Who a tool is to a server that asks.
#[derive(Clone, Debug, Default, Args)]
pub struct LoginArgs {
    /// User to log in as. The password comes from MILLSTREAM_PASSWORD, or is asked for.
    #[arg(long, global = true, env = "MILLSTREAM_USER")]
    pub user: Option<String>,
    /// The password; better in the environment than on the command line, where others can see it.
    #[arg(long, global = true, env = "MILLSTREAM_PASSWORD", hide = true, hide_env_values = true)]
    pub password: Option<Secret>,
    /// Certificates that the server's is trusted by, PEM; with it the connection is encrypted.
    #[arg(long, global = true, env = "MILLSTREAM_CA")]
    pub ca: Option<PathBuf>,
}

impl LoginArgs {
    /// The user's password: given, or asked for at the terminal.
    ///
    /// # Errors
    /// When there is no terminal to ask at.
    pub fn password(&self) -> io::Result<Secret> {
        match (&self.password, &self.user) {
            (Some(password), _) => Ok(password.clone()),
            (None, user) => ask_password(user.as_deref().unwrap_or_default()),
        }
    }
}

/// Asks for a password at the terminal, without showing it.
fn ask_password(user: &str) -> io::Result<Secret> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(io::Error::other("give the password in MILLSTREAM_PASSWORD"));
    }
    eprint!("Password of {user}: ");
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Flush, &before)?;
    eprintln!();
    read?;
    Ok(Secret::from(line.trim_end_matches(['\r', '\n'])))
}

/// Whether clients show certificates (Kafka: `ssl.client.auth`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// They may; who does is known by the certificate's subject.
    Requested,
    /// They must; who they are is the certificate's subject.
    Required,
}

/// The server's side of TLS.
#[derive(Clone, Debug, Default, Args)]
pub struct TlsArgs {
    /// Certificate chain of the server, PEM.
    #[arg(long, env = "MILLSTREAM_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the server, PEM.
    #[arg(long, env = "MILLSTREAM_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Whose client certificates are taken, PEM.
    #[arg(long, env = "MILLSTREAM_TLS_CLIENT_CA")]
    pub tls_client_ca: Option<PathBuf>,
    /// Whether clients show certificates on listeners with TLS.
    #[arg(long, env = "MILLSTREAM_TLS_CLIENT_AUTH", value_enum, default_value = "none")]
    pub tls_client_auth: ClientAuth,
}

/// Who may connect, and what they may do.
#[derive(Clone, Debug, Default, Args)]
pub struct SecurityArgs {
    /// Another Kafka listener, like SASL_SSL://0.0.0.0:9093; may be given several times.
    #[arg(
        long,
        env = "MILLSTREAM_KAFKA_LISTENERS",
        value_name = "[NAME:]PROTOCOL://ADDRESS:PORT",
        value_delimiter = ','
    )]
    pub kafka_listener: Vec<ListenerSpec>,
    /// Where the clients of a listener are told to connect to, like SASL_SSL://kafka.example.com:9093.
    #[arg(
        long,
        env = "MILLSTREAM_ADVERTISED_LISTENERS",
        value_name = "NAME://HOST:PORT",
        value_delimiter = ','
    )]
    pub advertised_listener: Vec<Advertised>,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// SQL over HTTP is served with TLS.
    #[arg(long, env = "MILLSTREAM_HTTP_TLS")]
    pub http_tls: bool,
    /// Ways to log in on SASL listeners.
    #[arg(
        long,
        env = "MILLSTREAM_SASL_MECHANISMS",
        value_delimiter = ',',
        default_value = "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN"
    )]
    pub sasl_mechanisms: Vec<String>,
    /// Users to make at start, a line `name:password` each; their passwords are set to these.
    #[arg(long, env = "MILLSTREAM_SASL_USER_FILE")]
    pub sasl_user_file: Option<PathBuf>,
    /// Password of the user `admin`, who is made at start and may do everything.
    #[arg(long, env = "MILLSTREAM_ADMIN_PASSWORD", hide = true, hide_env_values = true)]
    pub admin_password: Option<Secret>,
    /// Principals that may do everything, like User:root; several times, or separated by `;`.
    #[arg(long, env = "MILLSTREAM_SUPER_USERS", value_delimiter = ';')]
    pub super_user: Vec<String>,
    /// Nothing is allowed that no ACL allows. So it is anyway as soon as a listener authenticates.
    #[arg(long, env = "MILLSTREAM_AUTHORIZE")]
    pub authorize: bool,
    /// A login is good for so many milliseconds (Kafka: connections.max.reauth.ms); 0 for ever.
    #[arg(long, env = "MILLSTREAM_CONNECTIONS_MAX_REAUTH_MS", default_value_t = 0)]
    pub connections_max_reauth_ms: u32,
    /// The answer to a failed login is held back so long (Kafka: connection.failed.authentication.delay.ms).
    #[arg(long, env = "MILLSTREAM_FAILED_AUTHENTICATION_DELAY_MS", default_value_t = 100)]
    pub failed_authentication_delay_ms: u32,
}

/// How much is let in, with Kafka's defaults where it has any.
#[derive(Clone, Debug, Args)]
pub struct LimitArgs {
    /// Kafka connections at a time.
    #[arg(long, env = "MILLSTREAM_MAX_CONNECTIONS", default_value_t = 4000)]
    pub max_connections: usize,
    /// Kafka connections at a time from one address.
    #[arg(long, env = "MILLSTREAM_MAX_CONNECTIONS_PER_IP", default_value_t = 2000)]
    pub max_connections_per_ip: usize,
    /// Longest Kafka request, in bytes.
    #[arg(long, env = "MILLSTREAM_SOCKET_REQUEST_MAX_BYTES", default_value_t = 100 << 20)]
    pub socket_request_max_bytes: usize,
    /// Bytes of all Kafka requests in flight; while there are more, connections are not read from.
    #[arg(long, env = "MILLSTREAM_QUEUED_MAX_REQUEST_BYTES", default_value_t = 64 << 20)]
    pub queued_max_request_bytes: usize,
    /// A Kafka connection that says nothing for so long is closed.
    #[arg(long, env = "MILLSTREAM_CONNECTIONS_MAX_IDLE_MS", default_value_t = 600_000)]
    pub connections_max_idle_ms: u64,
    /// Rows that an epoch of queries takes at once when they have fallen behind. A client's transaction is
    /// taken whole, up to 16 times as many.
    #[arg(long, env = "MILLSTREAM_EPOCH_ROWS", default_value_t = 32_768, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub epoch_rows: u32,
    /// Threads that step queries which do not feed each other, beside each other; as many as there are
    /// cores unless given. Results do not depend on it.
    #[arg(long, env = "MILLSTREAM_PARALLELISM", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub parallelism: Option<u16>,
}

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(text.to_owned())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
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
    #[command(flatten)]
    pub login: LoginArgs,
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
