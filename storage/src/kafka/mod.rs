//! Kafka's protocol: a frame in, an answer out.
//!
//! ```text
//! frame ─► wire::split ─► supported? ─► wire::decode ─► handlers/<api>.rs ─► wire::encode ─► answer
//!                                                           │
//!                                                           └─► Wait: look again later
//! ```
//!
//! Nothing here blocks, except for a `pread`. A request that must wait comes back as
//! [`Outcome::Wait`] with what it waits for; the caller hands its [`Pending`] to [`resume`] when one
//! of its keys was woken or its time is up. A pending request was carried out as far as it could be:
//! resuming never does anything twice.
//!
//! To miss no wake-up the caller registers for the keys, resumes once more, and only then sleeps.
//!
//! Invariants:
//! - nothing is acknowledged before its ticket is published;
//! - a frame that cannot be read closes its connection and does nothing else.

mod configs;
mod fetch_sessions;
pub mod handlers;
pub mod node;
mod offsets_topic;
mod pieces;
pub mod session;
pub mod supported;
mod transact;
pub mod wire;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use kafka_wire::{FetchRequest, FetchResponse, KafkaResponse, MetadataRequest, ProduceRequest};

use crate::broker::{Ticket, WakeKey};
use handlers::*;
pub use node::{HeldAnswer, Ids, KafkaConfig, KafkaNode};
pub use session::{Listener, Session};
use wire::{FrameError, Header};

/// What comes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// A whole response frame, length included.
    Ready(Bytes),
    /// The same in pieces, to be sent one behind the other.
    Pieces(Vec<Bytes>),
    /// To be resumed when one of the keys is woken, and at `until_ms` at the latest.
    Wait { until_ms: i64, wake_on: Vec<WakeKey>, pending: Pending },
    /// The client wants no answer (`acks=0`).
    NoResponse,
    /// The connection is of no more use.
    Close(String),
    /// A login failed: after a while the answer is to be sent, and then the connection closed.
    Refuse { answer: Bytes, after_ms: u64 },
}

/// A request that waits.
#[derive(Debug)]
pub struct Pending {
    header: Header,
    waiting: Box<Waiting>,
}

impl Pending {
    /// Whether the request was carried out and only its answer waits, for the disk. The next
    /// request of the connection may then be started already: answers still go out in order.
    pub fn is_done_but_for_the_disk(&self) -> bool {
        matches!(*self.waiting, Waiting::Durable { .. })
    }
}

/// What a request waits for.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// The response is written; it goes out when the ticket is published.
    Durable { ticket: Ticket, response: Bytes },
    /// Topics are being made; the request is answered when they are there.
    Metadata { ticket: Ticket, request: MetadataRequest },
    /// The committer is behind; the records are not taken yet.
    Produce { request: ProduceRequest, until_ms: i64 },
    /// Not enough to read yet.
    Fetch { request: FetchRequest, until_ms: i64 },
    /// A join phase is open.
    Join { group: String, member: String, instance: Option<String> },
    /// The leader's assignment is awaited.
    Sync { group: String, member: String, instance: Option<String>, generation: i32 },
}

/// How far a handler came.
pub(crate) enum Step<R> {
    Now(R),
    /// The answer may go out once the ticket is published.
    Once(Ticket, R),
    Wait {
        until_ms: i64,
        wake_on: Vec<WakeKey>,
        waiting: Box<Waiting>,
    },
    Silent,
    Close(String),
}

/// What a handler is called with besides the request.
pub(crate) struct Call<'a> {
    pub(crate) node: &'a KafkaNode,
    pub(crate) session: &'a Session,
    pub(crate) header: &'a Header,
    pub(crate) now_ms: i64,
}

impl Call<'_> {
    fn version(&self) -> i16 {
        self.header.version
    }
}

/// Carries out a request. `frame` is without its length.
pub fn handle(node: &KafkaNode, session: &mut Session, frame: Bytes, now_ms: i64) -> Outcome {
    if session.takes_raw_tokens() {
        return sasl::raw_token(node, session, &frame, now_ms);
    }
    let outcome =
        wire::split(frame).and_then(|(header, body)| enter(node, session, header, body, now_ms));
    outcome.unwrap_or_else(|error| Outcome::Close(error.to_string()))
}

/// Lets a request in if the connection may make it: before it is logged in it may only log in.
fn enter(
    node: &KafkaNode,
    session: &mut Session,
    header: Header,
    body: Bytes,
    now_ms: i64,
) -> Result<Outcome, FrameError> {
    let Header { key, version, .. } = header;
    let served = supported::serves(key, version);
    match key {
        sasl::HANDSHAKE if served => return sasl::handshake(node, session, &header, body),
        sasl::AUTHENTICATE if served => {
            return sasl::authenticate(node, session, &header, body, now_ms);
        }
        api_versions::KEY => {}
        _ if session.is_logging_in() => return Err(FrameError::NotLoggedIn { key }),
        _ if session.is_over(now_ms) => return Err(FrameError::LoginOver),
        _ => {}
    }
    let call = Call { node, session, header: &header, now_ms };
    dispatch(&call, body)
}

/// Looks at a waiting request again.
pub fn resume(node: &KafkaNode, session: &mut Session, pending: Pending, now_ms: i64) -> Outcome {
    let Pending { header, waiting } = pending;
    let call = Call { node, session, header: &header, now_ms };
    let outcome = match *waiting {
        Waiting::Durable { ticket, response } => Ok(once(&call, ticket, response)),
        Waiting::Metadata { ticket, request } => {
            finish(&call, metadata::after_creation(&call, ticket, request))
        }
        Waiting::Produce { request, until_ms } => {
            finish(&call, produce::take(&call, request, until_ms))
        }
        Waiting::Fetch { request, until_ms } => {
            finish_fetch(&call, fetch::look(&call, request, until_ms))
        }
        Waiting::Join { group, member, instance } => {
            finish(&call, join_group::look(&call, group, member, instance))
        }
        Waiting::Sync { group, member, instance, generation } => {
            finish(&call, sync_group::look(&call, group, member, instance, generation))
        }
    };
    outcome.unwrap_or_else(|error| Outcome::Close(error.to_string()))
}

fn dispatch(call: &Call<'_>, body: Bytes) -> Result<Outcome, FrameError> {
    let Header { key, version, .. } = *call.header;
    if key == api_versions::KEY && !supported::serves(key, version) {
        return wire::encode_as(call.header, 0, &api_versions::unknown_version())
            .map(Outcome::Ready);
    }
    if !supported::serves(key, version) {
        return Err(FrameError::NotServed { key, version });
    }
    check_size(call.header, &body)?;
    macro_rules! to {
        ($handler:ident) => {
            to!($handler::handle)
        };
        ($handler:path) => {
            finish(call, $handler(call, wire::decode(call.header, body)?))
        };
    }
    match key {
        0 => to!(produce),
        1 => finish_fetch(call, fetch::handle(call, wire::decode(call.header, body)?)),
        2 => to!(list_offsets),
        3 => to!(metadata),
        8 => to!(offset_commit),
        9 => to!(offset_fetch),
        10 => to!(find_coordinator),
        11 => to!(join_group),
        12 => to!(heartbeat),
        13 => to!(leave_group),
        14 => to!(sync_group),
        15 => to!(describe_groups),
        16 => to!(list_groups),
        18 => to!(api_versions),
        19 => to!(create_topics),
        20 => to!(delete_topics),
        21 => to!(delete_records),
        22 => to!(init_producer_id),
        23 => to!(offset_for_leader_epoch),
        24 => to!(add_partitions_to_txn),
        25 => to!(add_offsets_to_txn),
        26 => to!(end_txn),
        27 => to!(write_txn_markers),
        28 => to!(txn_offset_commit),
        29 => to!(describe_acls),
        30 => to!(create_acls),
        31 => to!(delete_acls),
        32 => to!(describe_configs),
        33 => to!(alter_configs),
        34 => to!(alter_replica_log_dirs),
        35 => to!(describe_log_dirs),
        37 => to!(create_partitions),
        38 => to!(delegation_tokens::create),
        39 => to!(delegation_tokens::renew),
        40 => to!(delegation_tokens::expire),
        41 => to!(delegation_tokens::describe),
        42 => to!(delete_groups),
        43 => to!(elect_leaders),
        44 => to!(incremental_alter_configs),
        45 => to!(alter_partition_reassignments),
        46 => to!(list_partition_reassignments),
        47 => to!(offset_delete),
        48 => to!(describe_client_quotas),
        49 => to!(alter_client_quotas),
        50 => to!(describe_user_scram_credentials),
        51 => to!(alter_user_scram_credentials),
        55 => to!(describe_quorum),
        57 => to!(update_features),
        60 => to!(describe_cluster),
        61 => to!(describe_producers),
        64 => to!(unregister_broker),
        65 => to!(describe_transactions),
        66 => to!(list_transactions),
        68 => to!(consumer_group_heartbeat),
        69 => to!(consumer_group_describe),
        74 => to!(list_config_resources),
        75 => to!(describe_topic_partitions),
        // SUPPORTED and this table say the same: a test asks for every row.
        key => Err(FrameError::NotServed { key, version }),
    }
}

/// Whether a request with this key may have so many bytes: known before they are received.
pub fn may_have_length(key: i16, len: usize) -> bool {
    key == produce::KEY || len <= wire::CONTROL_FRAME_MAX
}

/// Large requests are for records. Anything else in them is refused before it costs memory.
fn check_size(header: &Header, body: &Bytes) -> Result<(), FrameError> {
    let Header { key, version, .. } = *header;
    if body.len() <= wire::CONTROL_FRAME_MAX {
        return Ok(());
    }
    if key != produce::KEY {
        let (len, max) = (body.len(), wire::CONTROL_FRAME_MAX);
        return Err(FrameError::TooLong { key, len, max });
    }
    let counted = produce::count_elements(version, body.clone());
    let elements = counted.map_err(|reason| FrameError::Malformed { key, version, reason })?;
    if elements > wire::ELEMENTS_MAX {
        return Err(FrameError::TooMany { elements, max: wire::ELEMENTS_MAX });
    }
    Ok(())
}

/// As [`finish`], without copying the records into the answer.
fn finish_fetch(call: &Call<'_>, step: Step<FetchResponse>) -> Result<Outcome, FrameError> {
    match step {
        Step::Now(response) => {
            let mut pieces = pieces::encode(call.header, response)?;
            Ok(match pieces.len() {
                1 => Outcome::Ready(pieces.swap_remove(0)),
                _ => Outcome::Pieces(pieces),
            })
        }
        step => finish(call, step),
    }
}

fn finish<R: KafkaResponse>(call: &Call<'_>, step: Step<R>) -> Result<Outcome, FrameError> {
    Ok(match step {
        Step::Now(response) => Outcome::Ready(wire::encode(call.header, &response)?),
        Step::Once(ticket, response) => once(call, ticket, wire::encode(call.header, &response)?),
        Step::Wait { until_ms, wake_on, waiting } => {
            let pending = Pending { header: call.header.clone(), waiting };
            Outcome::Wait { until_ms, wake_on, pending }
        }
        Step::Silent => Outcome::NoResponse,
        Step::Close(reason) => Outcome::Close(reason),
    })
}

/// Lets a written response out once its ticket is published. A node that can publish nothing any
/// more closes: what was asked may or may not be there after its restart.
fn once(call: &Call<'_>, ticket: Ticket, response: Bytes) -> Outcome {
    if ticket == Ticket::default() {
        return Outcome::Ready(response);
    }
    match call.node.broker.is_durable(ticket) {
        Ok(true) => Outcome::Ready(response),
        Ok(false) => Outcome::Wait {
            until_ms: i64::MAX,
            wake_on: vec![WakeKey::Durable],
            pending: Pending {
                header: call.header.clone(),
                waiting: Box::new(Waiting::Durable { ticket, response }),
            },
        },
        Err(code) => Outcome::Close(format!("storage has stopped ({code:?})")),
    }
}
