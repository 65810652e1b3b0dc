//! What can go wrong, in two shapes.
//!
//! [`Error`] is for the node: the disk failed, data is damaged, someone else owns the directory.
//! Its [`ErrorKind`] says what to do. [`ErrorCode`] is for one partition or topic of one request:
//! Kafka's numbers as values, put into the reply. A request never fails as a whole because of it.

use std::io;

/// A failure of the node's storage. It is met at start or it ends the node's service.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The disk refused an operation. `action` is a verb phrase: "open segment x".
    #[error("{action}: {reason}")]
    Io { action: String, kind: io::ErrorKind, reason: String },
    /// Bytes that must be good are not. Nothing was changed; the node does not start.
    #[error("{file} is damaged at byte {position}: {reason}")]
    Corrupt { file: String, position: u64, reason: String },
    /// Another process holds the data directory.
    #[error("the data directory is in use by {holder}")]
    Locked { holder: String },
    /// A journal write or sync failed earlier; nothing is acknowledged any more until a restart.
    #[error("storage stopped after a failure: {reason}")]
    Poisoned { reason: String },
    /// A request of a layer above (not of a Kafka client) makes no sense.
    #[error("{0}")]
    Invalid(String),
}

/// What the one who got an [`Error`] should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Stop the process; a restart recovers from the journal.
    Restart,
    /// Data is damaged; an operator must look before anything is started.
    Damaged,
    /// The directory belongs to another process.
    Busy,
    /// The caller asked for something impossible.
    Request,
}

impl Error {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let action = action.into();
        move |e| Error::Io { action, kind: e.kind(), reason: e.to_string() }
    }

    pub(crate) fn corrupt(
        file: impl Into<String>,
        position: u64,
        reason: impl Into<String>,
    ) -> Error {
        Error::Corrupt { file: file.into(), position, reason: reason.into() }
    }

    /// As [`Error::io`], for a sync. It cannot be tried again, whatever the reason: after a failed sync
    /// the kernel may have dropped what was not written.
    pub(crate) fn sync(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let action = action.into();
        move |e| Error::Io { action, kind: io::ErrorKind::Other, reason: e.to_string() }
    }

    /// Had the disk no room for a write? Then nothing is lost, and it can be tried again.
    pub(crate) fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Error::Io { kind: StorageFull | QuotaExceeded, .. })
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Io { .. } | Error::Poisoned { .. } => ErrorKind::Restart,
            Error::Corrupt { .. } => ErrorKind::Damaged,
            Error::Locked { .. } => ErrorKind::Busy,
            Error::Invalid(_) => ErrorKind::Request,
        }
    }
}

/// A Kafka error code with words for the client's `error_message` field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct Refused {
    pub code: ErrorCode,
    pub message: String,
}

impl Refused {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Refused {
        Refused { code, message: message.into() }
    }
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Refused {
        Refused { code, message: String::new() }
    }
}

/// A broken node answers every client the same way.
impl From<Error> for ErrorCode {
    fn from(_: Error) -> ErrorCode {
        ErrorCode::KafkaStorageError
    }
}

impl From<Error> for Refused {
    fn from(e: Error) -> Refused {
        Refused::new(ErrorCode::KafkaStorageError, e.to_string())
    }
}

/// Kafka's error codes that this node can answer with (Kafka `Errors.java`, 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum ErrorCode {
    UnknownServerError = -1,
    None = 0,
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    InvalidFetchSize = 4,
    LeaderNotAvailable = 5,
    NotLeaderOrFollower = 6,
    RequestTimedOut = 7,
    MessageTooLarge = 10,
    OffsetMetadataTooLarge = 12,
    CoordinatorLoadInProgress = 14,
    CoordinatorNotAvailable = 15,
    NotCoordinator = 16,
    InvalidTopicException = 17,
    RecordListTooLarge = 18,
    NotEnoughReplicas = 19,
    InvalidRequiredAcks = 21,
    IllegalGeneration = 22,
    InconsistentGroupProtocol = 23,
    InvalidGroupId = 24,
    UnknownMemberId = 25,
    InvalidSessionTimeout = 26,
    RebalanceInProgress = 27,
    InvalidCommitOffsetSize = 28,
    TopicAuthorizationFailed = 29,
    GroupAuthorizationFailed = 30,
    ClusterAuthorizationFailed = 31,
    InvalidTimestamp = 32,
    UnsupportedSaslMechanism = 33,
    IllegalSaslState = 34,
    UnsupportedVersion = 35,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    InvalidReplicationFactor = 38,
    InvalidReplicaAssignment = 39,
    InvalidConfig = 40,
    NotController = 41,
    InvalidRequest = 42,
    UnsupportedForMessageFormat = 43,
    PolicyViolation = 44,
    OutOfOrderSequenceNumber = 45,
    DuplicateSequenceNumber = 46,
    InvalidProducerEpoch = 47,
    InvalidTxnState = 48,
    InvalidProducerIdMapping = 49,
    InvalidTransactionTimeout = 50,
    ConcurrentTransactions = 51,
    TransactionCoordinatorFenced = 52,
    TransactionalIdAuthorizationFailed = 53,
    SecurityDisabled = 54,
    OperationNotAttempted = 55,
    KafkaStorageError = 56,
    LogDirNotFound = 57,
    SaslAuthenticationFailed = 58,
    UnknownProducerId = 59,
    DelegationTokenAuthDisabled = 61,
    DelegationTokenRequestNotAllowed = 64,
    NonEmptyGroup = 68,
    GroupIdNotFound = 69,
    FetchSessionIdNotFound = 70,
    InvalidFetchSessionEpoch = 71,
    TopicDeletionDisabled = 73,
    FencedLeaderEpoch = 74,
    UnknownLeaderEpoch = 75,
    UnsupportedCompressionType = 76,
    StaleBrokerEpoch = 77,
    OffsetNotAvailable = 78,
    MemberIdRequired = 79,
    GroupMaxSizeReached = 81,
    FencedInstanceId = 82,
    ElectionNotNeeded = 84,
    NoReassignmentInProgress = 85,
    GroupSubscribedToTopic = 86,
    InvalidRecord = 87,
    UnstableOffsetCommit = 88,
    ThrottlingQuotaExceeded = 89,
    ProducerFenced = 90,
    ResourceNotFound = 91,
    DuplicateResource = 92,
    UnacceptableCredential = 93,
    InvalidUpdateVersion = 95,
    UnknownTopicId = 100,
    BrokerIdNotRegistered = 102,
    InconsistentTopicId = 103,
    TransactionalIdNotFound = 105,
    FetchSessionTopicIdError = 106,
    FencedMemberEpoch = 110,
    UnreleasedInstanceId = 111,
    UnsupportedAssignor = 112,
    StaleMemberEpoch = 113,
    TransactionAbortable = 120,
    InvalidRegularExpression = 128,
}

impl ErrorCode {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }
}
