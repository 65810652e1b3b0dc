//! What OffsetCommit and TxnOffsetCommit share: which of the named partitions are there, and the answers in
//! the order of the request.
//!
//! Partitions that are not there are answered at once; the rest goes to the coordinator, all together.

use super::*;
use crate::coordinator::Commit;

/// A request's partitions, sorted out.
#[derive(Default)]
pub(super) struct Commits {
    /// For the coordinator, in the order of the request.
    pub commits: Vec<Commit>,
    /// Of each partition of the request, why it does not go there.
    pub refused: Vec<Option<ErrorCode>>,
}

/// What a request says of one partition.
pub(super) struct Asked<'a> {
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Option<&'a str>,
}

impl Commits {
    /// Adds a topic and what is asked of its partitions.
    pub(super) fn add<'a>(
        &mut self,
        call: &Call<'_>,
        topic: &str,
        partitions: impl Iterator<Item = Asked<'a>>,
    ) {
        let found = topic_named(call, Operation::Read, topic);
        for asked in partitions {
            let place = found.as_deref().map_err(|code| *code);
            let place = place.and_then(|topic| partition_of(topic, asked.partition));
            self.refused.push(place.err());
            if place.is_ok() {
                self.commits.push(Commit {
                    topic: topic.to_owned(),
                    partition: asked.partition,
                    offset: asked.offset,
                    leader_epoch: asked.leader_epoch,
                    metadata: asked.metadata.unwrap_or_default().to_owned(),
                });
            }
        }
    }
}

/// The answers for the partitions of a request, one after the other. Ends with an error of its own when
/// the coordinator gave too few.
pub(super) fn answers(
    refused: Vec<Option<ErrorCode>>,
    decided: Result<Vec<ErrorCode>, ErrorCode>,
) -> impl FnMut() -> ErrorCode {
    let (mut each, whole) = match decided {
        Ok(each) => (each.into_iter(), None),
        Err(code) => (Vec::new().into_iter(), Some(code)),
    };
    let mut refused = refused.into_iter();
    move || match refused.next().flatten().or(whole) {
        Some(code) => code,
        None => each.next().unwrap_or(ErrorCode::UnknownServerError),
    }
}
