//! Kafka's words for access: operations, kinds of resources, patterns, permissions.
//!
//! The numbers are Kafka's own (`AclOperation`, `ResourceType`, `PatternType`, `AclPermissionType`);
//! they are what is on the wire and in the journal.

/// What someone wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Operation {
    /// In an ACL: every operation. Never asked for.
    All = 2,
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
    CreateTokens = 13,
    DescribeTokens = 14,
    TwoPhaseCommit = 15,
}

/// What it is to be done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ResourceKind {
    Topic = 2,
    Group = 3,
    Cluster = 4,
    TransactionalId = 5,
    DelegationToken = 6,
    User = 7,
}

/// How an ACL's name is compared with a resource's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Pattern {
    /// The same name, or `*` for all.
    Literal = 3,
    /// The resource's name starts with it.
    Prefixed = 4,
}

/// What an ACL says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Permission {
    Deny = 2,
    Allow = 3,
}

/// One resource, as an operation meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    pub kind: ResourceKind,
    pub name: &'a str,
}

/// The name of the one cluster resource.
pub const CLUSTER_NAME: &str = "kafka-cluster";

impl<'a> Resource<'a> {
    /// The cluster as a whole.
    pub const CLUSTER: Resource<'static> =
        Resource { kind: ResourceKind::Cluster, name: CLUSTER_NAME };

    pub fn topic(name: &'a str) -> Self {
        Self { kind: ResourceKind::Topic, name }
    }

    pub fn group(name: &'a str) -> Self {
        Self { kind: ResourceKind::Group, name }
    }

    pub fn transactional_id(name: &'a str) -> Self {
        Self { kind: ResourceKind::TransactionalId, name }
    }
}

impl Operation {
    pub fn from_code(code: i8) -> Option<Self> {
        use Operation::*;
        let known = [
            All,
            Read,
            Write,
            Create,
            Delete,
            Alter,
            Describe,
            ClusterAction,
            DescribeConfigs,
            AlterConfigs,
            IdempotentWrite,
            CreateTokens,
            DescribeTokens,
            TwoPhaseCommit,
        ];
        known.into_iter().find(|operation| *operation as i8 == code)
    }

    pub fn code(self) -> i8 {
        self as i8
    }

    /// The operations whose permission carries this one with it (Kafka: whoever may read, write,
    /// delete or alter may describe; whoever may alter configs may describe them).
    pub(super) fn implied_by(self) -> &'static [Operation] {
        use Operation::*;
        match self {
            Describe => &[Describe, Read, Write, Delete, Alter],
            DescribeConfigs => &[DescribeConfigs, AlterConfigs],
            All => &[],
            Read => &[Read],
            Write => &[Write],
            Create => &[Create],
            Delete => &[Delete],
            Alter => &[Alter],
            ClusterAction => &[ClusterAction],
            AlterConfigs => &[AlterConfigs],
            IdempotentWrite => &[IdempotentWrite],
            CreateTokens => &[CreateTokens],
            DescribeTokens => &[DescribeTokens],
            TwoPhaseCommit => &[TwoPhaseCommit],
        }
    }
}

impl ResourceKind {
    pub fn from_code(code: i8) -> Option<Self> {
        use ResourceKind::*;
        let known = [Topic, Group, Cluster, TransactionalId, DelegationToken, User];
        known.into_iter().find(|kind| *kind as i8 == code)
    }

    pub fn code(self) -> i8 {
        self as i8
    }

    /// The operations that exist for this kind (Kafka: `AclEntry.supportedOperations`).
    pub fn operations(self) -> &'static [Operation] {
        use Operation::*;
        match self {
            ResourceKind::Topic => {
                &[Read, Write, Create, Describe, Delete, Alter, DescribeConfigs, AlterConfigs]
            }
            ResourceKind::Group => &[Read, Describe, Delete, DescribeConfigs, AlterConfigs],
            ResourceKind::Cluster => &[
                Create,
                ClusterAction,
                DescribeConfigs,
                AlterConfigs,
                IdempotentWrite,
                Alter,
                Describe,
            ],
            ResourceKind::TransactionalId => &[Describe, Write, TwoPhaseCommit],
            ResourceKind::DelegationToken => &[Describe],
            ResourceKind::User => &[CreateTokens, DescribeTokens],
        }
    }
}

impl Pattern {
    pub fn from_code(code: i8) -> Option<Self> {
        [Self::Literal, Self::Prefixed].into_iter().find(|pattern| *pattern as i8 == code)
    }

    pub fn code(self) -> i8 {
        self as i8
    }
}

impl Permission {
    pub fn from_code(code: i8) -> Option<Self> {
        [Self::Deny, Self::Allow].into_iter().find(|permission| *permission as i8 == code)
    }

    pub fn code(self) -> i8 {
        self as i8
    }
}
