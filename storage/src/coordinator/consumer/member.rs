//! One member of a KIP-848 group, as the journal keeps it.

use super::Parts;

/// Where a member is on its way to its target (Kafka's `MemberState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MemberState {
    /// It has all it should have at its epoch.
    Stable = 0,
    /// It must give partitions back before it may go to the next epoch.
    Unrevoked = 1,
    /// It waits for partitions others have not given back yet.
    Unreleased = 2,
}

/// See the head of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerMember {
    pub id: String,
    /// Static members keep their partitions while they are away (KIP-345).
    pub instance: Option<String>,
    pub rack: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    /// Subscribed names, sorted, each once.
    pub topics: Vec<String>,
    /// Subscribed regular expression.
    pub regex: Option<String>,
    /// The assignor it asks for.
    pub assignor: Option<String>,
    pub state: MemberState,
    /// [`super::AWAY_EPOCH`] while a static member is away.
    pub epoch: i32,
    /// The epoch before: a client that lost an answer still speaks of it.
    pub previous_epoch: i32,
    /// What it may read.
    pub assigned: Parts,
    /// What it was told to give back, and has not yet.
    pub revoking: Parts,
    /// What it is to have in the end.
    pub target: Parts,
    /// Set while it speaks the classic protocol.
    pub classic: Option<ClassicPart>,
}

/// What a classic member brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicPart {
    pub session_timeout_ms: i32,
    /// Assignment protocols with the member's metadata for each, the preferred first.
    pub protocols: Vec<(String, Vec<u8>)>,
}

impl ConsumerMember {
    /// A member that has nothing yet.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            instance: None,
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout_ms: -1,
            topics: Vec::new(),
            regex: None,
            assignor: None,
            state: MemberState::Stable,
            epoch: 0,
            previous_epoch: -1,
            assigned: Parts::new(),
            revoking: Parts::new(),
            target: Parts::new(),
            classic: None,
        }
    }

    /// Whether it has all the target of this epoch gives it.
    pub fn is_at(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// Whether it wants to read the same topics as the other.
    pub fn subscribes_as(&self, other: &Self) -> bool {
        self.topics == other.topics && self.regex == other.regex
    }

    /// Goes to an epoch, and remembers where it came from.
    pub(super) fn go_to(&mut self, epoch: i32) {
        if self.epoch != epoch {
            self.previous_epoch = self.epoch;
            self.epoch = epoch;
        }
    }
}
