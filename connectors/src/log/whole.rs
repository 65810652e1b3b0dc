//! Which clients' transactions an epoch's end would split.
//!
//! A cut splits none, but an epoch with more input than its budget ends before its cut. Two things tell
//! whether a place is inside of a transaction: records of it were taken in a partition and its marker
//! was not met there yet ([`Inside`]); or its marker was met, and another partition that it names has
//! not come so far ([`Whole`]). Then the epoch goes on: first all partitions, by time, up to
//! [`IN_TURN_MAX`] budgets; then only those that hold a missing part, up to [`EXTENDED_MAX`] budgets.
//! Transactions beyond that, or a chain of such as overlap each other without end, are split, and the
//! log says so; also where such a chain leaves no cut at all for as many rows (`split_endless` in
//! `reader.rs`).
//!
//! Sources of one query are held together however far apart they are. Those of different queries only
//! if nearly as far (within a budget's rows): a query that just began is not in step with the others
//! before it has caught up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use millstream_engine::io::Budget;
use millstream_storage::Broker;
use millstream_storage::log::control::{SIBLINGS, Sibling};

use crate::records::{Mark, What};

/// So many budgets an epoch takes, in the order of time, in search of a place between transactions.
pub(super) const IN_TURN_MAX: usize = 2;
/// So many budgets an epoch takes to hold a transaction whole.
pub(super) const EXTENDED_MAX: usize = 16;

/// The transactions that a partition's position is inside of.
#[derive(Default)]
pub(super) struct Inside {
    /// Not yet passed.
    marks: VecDeque<Mark>,
    producers: BTreeSet<i64>,
}

impl Inside {
    pub(super) fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Takes in the marks of what was read.
    pub(super) fn read(&mut self, marks: VecDeque<Mark>) {
        self.marks.extend(marks);
    }

    /// Whether the position is about to pass a mark.
    pub(super) fn is_touched(&self, next_offset: i64) -> bool {
        self.marks.front().is_some_and(|mark| mark.offset < next_offset)
    }

    /// Passes the marks before `next_offset`.
    pub(super) fn pass(&mut self, next_offset: i64) -> Passed {
        let mut passed = Passed::default();
        while let Some(Mark { offset, what }) =
            self.marks.pop_front_if(|mark| mark.offset < next_offset)
        {
            match what {
                What::InTransaction { producer_id } => {
                    self.producers.insert(producer_id);
                }
                What::End { producer_id, siblings } => {
                    if self.producers.remove(&producer_id) {
                        passed.ended.push((offset, siblings));
                    }
                }
                What::Skipped { last_offset, reason } => {
                    let reason = format!(
                        "records {offset} to {last_offset} are left out, their batch cannot be read: \
                         {reason}"
                    );
                    passed.skipped.push((offset, reason));
                }
            }
        }
        passed
    }
}

/// What a position has come past.
#[derive(Default)]
pub(super) struct Passed {
    /// Ends of transactions that had records taken: the marker's offset and its siblings.
    pub ended: Vec<(i64, Vec<Sibling>)>,
    /// Batches that could not be read: first offset, and what to say.
    pub skipped: Vec<(i64, String)>,
}

/// A partition of a source: the source's place in the poll, and the partition.
pub(super) type Spot = (usize, usize);

/// What an epoch has yet to take, to split nothing.
#[derive(Default)]
pub(super) struct Whole {
    /// Inside of a transaction whose marker is ahead.
    pub inside: BTreeSet<Spot>,
    /// Before the marker of a transaction that is taken elsewhere: up to this offset, exclusive.
    pub behind: BTreeMap<Spot, i64>,
    /// By marker, where it took reading to find all.
    rings: HashMap<Sibling, Arc<[Sibling]>>,
}

impl Whole {
    pub(super) fn is_whole(&self) -> bool {
        self.inside.is_empty() && self.behind.is_empty()
    }

    /// Some spot that must go on.
    pub(super) fn unfinished(&self) -> Option<Spot> {
        self.inside.first().or(self.behind.keys().next()).copied()
    }

    /// Every marker of the transaction whose marker `at` was passed, that one too.
    pub(super) fn ring(
        &mut self,
        broker: &Broker,
        at: Sibling,
        siblings: Vec<Sibling>,
    ) -> Arc<[Sibling]> {
        if let Some(known) = self.rings.get(&at) {
            return known.clone();
        }
        let mut ring = vec![at];
        let mut met: HashSet<Sibling> = [at].into_iter().collect();
        let mut next = siblings;
        // Each names the next ones; when the last of them is gone, one before it may know further.
        while next.len() == SIBLINGS {
            let fresh: Vec<Sibling> = next.iter().copied().filter(|one| met.insert(*one)).collect();
            let further =
                fresh.iter().rev().map(|(at, offset)| broker.marker_siblings(*at, *offset));
            next = further.into_iter().find(|named| !named.is_empty()).unwrap_or_default();
            ring.extend(fresh);
        }
        ring.extend(next.into_iter().filter(|one| met.insert(*one)));
        let ring: Arc<[Sibling]> = ring.into();
        if ring.len() > SIBLINGS {
            self.rings.extend(ring.iter().map(|marker| (*marker, ring.clone())));
        }
        ring
    }
}

/// What an epoch has taken.
#[derive(Clone, Copy, Default)]
pub(super) struct Taken {
    pub rows: usize,
    pub bytes: usize,
}

impl Taken {
    /// Whether so many budgets are used up.
    pub(super) fn is(self, times: usize, budget: Budget) -> bool {
        self.rows >= budget.rows.max(1).saturating_mul(times)
            || self.bytes >= budget.bytes.max(1).saturating_mul(times)
    }
}

/// Whether a source elsewhere is nearly as far as one that passed this marker.
pub(super) fn is_in_step(next_offset: i64, marker: i64, budget: Budget) -> bool {
    marker.saturating_sub(next_offset) <= i64::try_from(budget.rows).unwrap_or(i64::MAX)
}
