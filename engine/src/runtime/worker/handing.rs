//! Handing rows over: from a query that writes a relation to one that reads it, in memory, in the same
//! epoch, instead of through the log.
//!
//! A reader joins its writers when it has read everything and nothing of theirs is on its way; it goes
//! back to the log when an epoch ran without it, or when a writer can no longer come before it.
//!
//! Invariant: every row of a writer reaches a reader once, either handed over or from the log.

use tracing::info;

use super::{JOIN_EVERY, JOIN_TURNS, Stop, Worker};
use crate::io::SourceId;
use crate::runtime::query::{Query, Source};

impl Worker {
    /// If a reader could be handed its writers' rows from now on: settles, and says which sources alone
    /// are to be polled this time. Writers are not held back for ever: where others write the topic too,
    /// there may always be something left to read.
    pub(super) fn join_readers(&mut self) -> std::result::Result<Option<Vec<SourceId>>, Stop> {
        self.turns_to_join = self.turns_to_join.checked_sub(1).unwrap_or(JOIN_EVERY);
        if self.turns_to_join >= JOIN_TURNS {
            return Ok(None);
        }
        let mut readers = Vec::new();
        for (at, query) in self.queries.iter().enumerate() {
            if !query.persistent || !query.is_running() {
                continue;
            }
            for source in query.sources.iter().filter(|s| s.handed_since.is_none()) {
                let Some(id) = source.id else { continue };
                if self.is_fed_before(at, source) && self.io.is_caught_up(id) {
                    readers.push(id);
                }
            }
        }
        if readers.is_empty() {
            return Ok(None);
        }
        self.settle()?;
        Ok(Some(readers))
    }

    /// Whether queries write what `source` reads, all of them before the query at `at`.
    pub(super) fn is_fed_before(&self, at: usize, source: &Source) -> bool {
        let mut writers = (0..self.queries.len()).filter(|&i| self.queries[i].writes(&source.topic));
        let fits = |writer: usize| writer < at && self.queries[writer].feeds(source);
        source.may_join && writers.clone().next().is_some() && writers.all(fits)
    }

    /// After a poll of `readers` alone that brought nothing, with nothing in flight: those that have
    /// read everything are handed rows from this epoch on.
    pub(super) fn hand_over(&mut self, readers: &[SourceId]) {
        let since = self.epoch();
        for query in &mut self.queries {
            for source in &mut query.sources {
                let Some(id) = source.id.filter(|id| readers.contains(id)) else { continue };
                if self.io.is_caught_up(id) {
                    self.io.skip_own_since(id, since);
                    source.handed_since = Some(since);
                    info!(query = query.id, topic = source.topic, since, "rows are handed over");
                    self.unsealed = true;
                }
            }
        }
    }

    /// Puts writers before readers; sources whose writers cannot all come before go back to the log.
    pub(super) fn order(&mut self) {
        let mut rest: Vec<Query> = std::mem::take(&mut self.queries);
        while !rest.is_empty() {
            let ready = rest.iter().position(|query| {
                !query.sources.iter().any(|source| {
                    rest.iter().any(|other| other.id != query.id && other.writes(&source.topic))
                })
            });
            // A cycle: the query started first goes first.
            self.queries.push(rest.remove(ready.unwrap_or(0)));
        }
        let next = self.epoch();
        for at in 0..self.queries.len() {
            for s in 0..self.queries[at].sources.len() {
                let source = &self.queries[at].sources[s];
                let unfit = (0..self.queries.len()).any(|i| {
                    let writer = &self.queries[i];
                    writer.writes(&source.topic) && (i >= at || !writer.feeds(source))
                });
                if let (Some(id), Some(_), true) = (source.id, source.handed_since, unfit) {
                    self.io.skip_own_until(id, next);
                    self.queries[at].sources[s].handed_since = None;
                }
            }
        }
    }
}
