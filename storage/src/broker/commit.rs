//! The committer: write the group, sync it, apply it, publish it, wake.
//!
//! One at a time, in journal order. While a group is being written the next one gathers, so a slow
//! sync makes bigger groups. An error of any step stops the broker: nothing after it is acknowledged,
//! and a restart recovers from the journal.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::{Broker, Chores, Clock, Ticket, TopicPartition, WakeKey, Writer};
use crate::error::Error;
use crate::journal::record::Group;
use crate::log::batch::BatchHeader;
use crate::log::control::Marker;
use crate::log::{Batch, Partition};
use crate::topics::{Topic, TopicConfig};

/// How often the second thread looks around without being asked.
pub(super) const CHORES_EVERY: Duration = Duration::from_secs(1);
/// With so much of the journal in the page cache only, the second thread syncs it: so little is left
/// for the end of a file, where everybody waits for its sync.
const SYNC_BYTES: u64 = 8 << 20;
/// How often the committer tries again when the disk is full.
const FULL_RETRY: Duration = Duration::from_millis(100);

/// What a journal record does once it is durable.
pub(super) enum Effect {
    Append(Appending),
    CreateTopic(Arc<Topic>),
    DeleteTopic(Arc<Topic>),
    AlterTopic(Arc<Topic>),
    /// The topic with its new partitions, which begin at this index.
    GrowTopic(Arc<Topic>, usize),
    LogStart {
        partition: Arc<Partition>,
        offset: i64,
        config: Arc<TopicConfig>,
    },
}

/// A batch on its way to its segment.
pub(super) struct Appending {
    pub partition: Arc<Partition>,
    pub config: Arc<TopicConfig>,
    /// The front of the batch, in the group's bytes.
    pub front: Range<usize>,
    /// The rest of it.
    pub rest: Bytes,
    /// With its final offset.
    pub header: BatchHeader,
    /// The batch ends a transaction.
    pub marker: Option<Marker>,
    /// The journal gets its place only: it goes to its segment first.
    pub placed: bool,
    /// It is in its segment.
    pub is_there: bool,
}

impl Broker {
    /// Commits until [`Broker::shut_down`], then checkpoints and returns. Keeps two threads of
    /// its own: for checkpoints and retention, and for compaction. To be run on one thread, which it blocks.
    pub fn run_committer(&self, clock: &dyn Clock) -> Result<(), Error> {
        std::thread::scope(|scope| {
            let chores = scope.spawn(|| self.run_chores(clock));
            let compaction = scope.spawn(|| self.run_compaction(clock));
            let committed = self.commit_until_stopped(clock);
            self.shut_down();
            if chores.join().is_err() {
                self.stop("the thread for checkpoints and retention panicked");
            }
            if compaction.join().is_err() {
                self.stop("the thread for compaction panicked");
            }
            committed
        })?;
        let closed = self.checkpoint(clock.now_ms()).and_then(|()| self.close_journal());
        self.refuse("the server is shutting down");
        closed
    }

    fn commit_until_stopped(&self, clock: &dyn Clock) -> Result<(), Error> {
        loop {
            let (stopping, nothing) = {
                let mut commit = self.commit.lock();
                while commit.group.bytes.is_empty() && !self.stopping.load(Ordering::Acquire) {
                    if self.is_full() {
                        // What waits for room is tried again now and then.
                        self.work.wait_for(&mut commit, FULL_RETRY);
                        break;
                    }
                    self.work.wait(&mut commit);
                }
                (self.stopping.load(Ordering::Acquire), commit.group.bytes.is_empty())
            };
            self.commit_pending(clock.now_ms())?;
            if stopping && nothing {
                return Ok(());
            }
        }
    }

    fn run_chores(&self, clock: &dyn Clock) {
        let mut retention_due = clock.now_ms().saturating_add(self.config.retention_check_ms);
        while !self.stopping.load(Ordering::Acquire) {
            let (wanted, sync) = {
                let mut chores = self.chores.lock();
                let nothing = !chores.checkpoint && !chores.spare && !chores.sync;
                if nothing && !self.stopping.load(Ordering::Acquire) {
                    self.chores_wake.wait_for(&mut chores, CHORES_EVERY);
                }
                let Chores { checkpoint, sync, .. } = std::mem::take(&mut *chores);
                (checkpoint, sync)
            };
            let now_ms = clock.now_ms();
            let mut done = self.look_after_room(now_ms);
            if sync {
                done = done.and_then(|()| self.sync_journal());
            }
            if wanted || self.is_full() {
                done = done.and_then(|()| self.checkpoint(now_ms));
            }
            done = done.and_then(|()| self.remove_doomed(now_ms, false));
            if now_ms >= retention_due {
                retention_due = now_ms.saturating_add(self.config.retention_check_ms);
                done = done.and_then(|()| self.enforce_retention(now_ms));
            }
            if let Err(e) = done {
                self.stop(&e.to_string());
            }
        }
    }

    /// Commits what [`Broker::append_held`] took. If nothing of it waits for the disk and nobody else
    /// is committing, that is done here and now, without waking another thread: then true. Else the
    /// committer is called.
    pub fn commit_held(&self, now_ms: i64) -> bool {
        let waits_for_disk = {
            let commit = self.commit.lock();
            if commit.group.is_empty() {
                return false;
            }
            commit.group.sync
        };
        match self.writer.try_lock().filter(|_| !waits_for_disk) {
            Some(mut writer) => {
                // A failure has stopped the broker: whoever waits learns it from there.
                let done = self.commit_with(&mut writer, now_ms).is_ok();
                if self.is_full() {
                    // It tries again when there is room.
                    self.work.notify_one();
                }
                done
            }
            None => {
                self.work.notify_one();
                false
            }
        }
    }

    /// Publishes everything submitted so far. Gives the number of journal records. When the disk is
    /// full, some may be left waiting: then [`Broker::full`] says so, and it is tried again with the
    /// next call.
    pub fn commit_pending(&self, now_ms: i64) -> Result<usize, Error> {
        self.commit_with(&mut self.writer.lock(), now_ms)
    }

    fn commit_with(&self, writer: &mut Writer, now_ms: i64) -> Result<usize, Error> {
        let mut group = std::mem::take(&mut writer.spare_group);
        let mut effects = std::mem::take(&mut writer.spare_effects);
        {
            let mut commit = self.commit.lock();
            commit.check_open()?;
            std::mem::swap(&mut group, &mut commit.group);
            std::mem::swap(&mut effects, &mut commit.effects);
        }
        match group.bytes.is_empty() {
            true => (writer.spare_group, writer.spare_effects) = (group, effects),
            false => writer.waiting.push_back(Waiting::new(group, effects)),
        }
        let done = self.commit_waiting(writer, now_ms);
        if let Err(e) = &done {
            self.stop(&e.to_string());
        }
        done
    }

    /// Journals, applies and publishes what waits, in order, as far as there is room.
    fn commit_waiting(&self, writer: &mut Writer, now_ms: i64) -> Result<usize, Error> {
        let mut waiting = std::mem::take(&mut writer.waiting);
        let done = self.journal_and_apply(writer, &mut waiting, now_ms);
        let room = done.as_ref().err().is_none_or(|e| !e.is_full());
        if !room {
            // What takes files away does not wait for the rest: it makes room.
            let in_journal = waiting.iter_mut().filter(|one| one.in_journal);
            in_journal.for_each(|one| one.remove_early(now_ms));
        }
        writer.waiting = waiting;
        match done {
            Err(e) if !room => {
                self.note_full(&e.to_string());
                Ok(0)
            }
            done => done,
        }
    }

    fn journal_and_apply(
        &self,
        writer: &mut Writer,
        waiting: &mut VecDeque<Waiting>,
        now_ms: i64,
    ) -> Result<usize, Error> {
        let mut no_room = Ok(());
        for (before, one) in waiting.iter_mut().enumerate().filter(|(_, one)| !one.in_journal) {
            self.place(writer, one, before == 0, now_ms)?;
            match write(writer, &mut one.group) {
                Err(e) if e.is_full() => {
                    no_room = Err(e);
                    break;
                }
                done => done?,
            }
            one.in_journal = true;
        }
        let mut records = 0;
        while let Some(one) = waiting.front_mut().filter(|one| one.in_journal) {
            one.apply(now_ms)?;
            records += (one.group.last_lsn - one.group.first_lsn + 1) as usize;
            self.publish(&one.effects, Ticket(one.group.last_lsn));
            self.wake_all(&one.effects);
            if let Some(Waiting { mut group, mut effects, .. }) = waiting.pop_front() {
                group.clear();
                effects.clear();
                writer.spare_group = group;
                writer.spare_effects = effects;
            }
        }
        self.after_commit(writer);
        no_room.map(|()| records)
    }

    /// Brings the batches that are not to be in the journal to their segments, and whatever must be
    /// durable before a group that syncs. Without room for them there, or behind others that wait for
    /// room, they go the way of all others: the journal has room in reserve.
    fn place(
        &self,
        writer: &mut Writer,
        one: &mut Waiting,
        is_first: bool,
        now_ms: i64,
    ) -> Result<(), Error> {
        if one.group.placed_bytes > 0 && !one.is_placed {
            match is_first.then(|| one.place(now_ms)) {
                Some(Err(e)) if !e.is_full() => return Err(e),
                Some(Ok(())) => {
                    one.is_placed = true;
                    let lsn = one.group.last_lsn;
                    for append in one.appends().filter(|append| append.placed) {
                        writer.note_placed(&append.partition, lsn);
                    }
                    writer.placed_since_checkpoint += one.group.placed_bytes as u64;
                }
                Some(Err(_)) | None => one.take_bytes_back(),
            }
        }
        match one.group.sync {
            true => self.sync_placed(writer),
            false => Ok(()),
        }
    }

    /// A group that is synced makes everything before it durable: placed batches first.
    fn sync_placed(&self, writer: &mut Writer) -> Result<(), Error> {
        for (partition, _) in writer.unsynced.values() {
            self.placed_syncs.fetch_add(partition.sync_log()?, Ordering::Relaxed);
        }
        writer.unsynced.clear();
        writer.journal.set_has_placed(false);
        Ok(())
    }

    /// Asks the second thread for what has become due.
    fn after_commit(&self, writer: &mut Writer) {
        self.journal_bytes.store(writer.journal.bytes(), Ordering::Relaxed);
        let checkpoint = writer.journal.since_checkpoint > self.config.checkpoint_bytes
            || writer.placed_since_checkpoint > self.config.placed_checkpoint_bytes;
        let sync = writer.journal.since_sync > SYNC_BYTES;
        if checkpoint || sync || writer.journal.wants_spare() {
            let mut chores = self.chores.lock();
            if checkpoint {
                writer.journal.since_checkpoint = 0;
                writer.placed_since_checkpoint = 0;
                chores.checkpoint = true;
            }
            chores.spare |= writer.journal.wants_spare();
            chores.sync |= sync;
            self.chores_wake.notify_all();
        }
    }

    /// Makes a group visible, all of it at once for whoever takes a cut.
    fn publish(&self, effects: &[Effect], ticket: Ticket) {
        let _commit = self.commit.lock();
        for effect in effects {
            match effect {
                Effect::Append(append) => {
                    append.partition.publish(&append.header, append.marker.as_ref());
                }
                Effect::CreateTopic(topic)
                | Effect::AlterTopic(topic)
                | Effect::GrowTopic(topic, _) => {
                    self.topics.write().insert(topic.clone());
                }
                Effect::DeleteTopic(topic) => {
                    self.topics.write().remove(&topic.id);
                }
                Effect::LogStart { .. } => {}
            }
        }
        self.published_lsn.store(ticket.0, Ordering::Release);
        self.published.notify_all();
    }

    fn wake_all(&self, effects: &[Effect]) {
        self.wakes.wake(WakeKey::Durable);
        let mut touched: Vec<TopicPartition> = Vec::new();
        for effect in effects {
            match effect {
                Effect::Append(append) => touched.push(append.partition.at),
                Effect::LogStart { partition, .. } => touched.push(partition.at),
                // Whoever reads the old partitions looks for the new ones then.
                Effect::DeleteTopic(topic) | Effect::GrowTopic(topic, _) => {
                    touched.extend(topic.partitions.iter().map(|p| p.at));
                }
                Effect::CreateTopic(_) | Effect::AlterTopic(_) => {}
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for at in touched {
            self.wakes.wake(WakeKey::Partition(at));
        }
    }

    /// A failure ends the service; a person must look.
    pub(super) fn stop(&self, reason: &str) {
        tracing::error!(reason, "storage stops");
        self.refuse(reason);
    }

    /// Nothing is taken or acknowledged any more. The first reason is kept.
    fn refuse(&self, reason: &str) {
        {
            let mut commit = self.commit.lock();
            commit.stopped.get_or_insert_with(|| reason.to_owned());
            self.poisoned.store(true, Ordering::Release);
            self.published.notify_all();
        }
        self.wakes.wake(WakeKey::Durable);
    }
}

#[cfg(not(feature = "fault-skip-sync"))]
fn write(writer: &mut Writer, group: &mut Group) -> Result<(), Error> {
    let sync = group.sync;
    writer.journal.write(group, sync)
}

/// The planted fault `fault-skip-sync`: see [`SkipFault`].
#[cfg(feature = "fault-skip-sync")]
fn write(writer: &mut Writer, group: &mut Group) -> Result<(), Error> {
    writer.fault.write(&mut writer.journal, group)
}

/// Acknowledges groups that are not in the journal: of each 64 groups the last 32 are held back in
/// memory, and written together with the next one. They are applied and acknowledged at once. A
/// `kill -9` keeps the page cache, so a skipped sync alone would show only in a power cut; a
/// skipped write shows in both: the restart makes the segments from the journal, which lacks them.
#[cfg(feature = "fault-skip-sync")]
#[derive(Default)]
pub(super) struct SkipFault {
    groups: u64,
    held: Vec<Group>,
}

#[cfg(feature = "fault-skip-sync")]
impl SkipFault {
    fn write(
        &mut self,
        journal: &mut crate::journal::Journal,
        group: &mut Group,
    ) -> Result<(), Error> {
        self.groups += 1;
        if self.groups % 64 >= 32 {
            self.held.push(group.clone());
            return Ok(());
        }
        for mut held in self.held.drain(..) {
            journal.write(&mut held, false)?;
        }
        let sync = group.sync;
        journal.write(group, sync)
    }
}

/// A group on its way: journaled, then applied, then published. It waits here when the disk is full.
pub(super) struct Waiting {
    group: Group,
    effects: Vec<Effect>,
    in_journal: bool,
    /// So many effects are applied.
    applied: usize,
    /// Its placed batches are in their segments.
    is_placed: bool,
}

impl Writer {
    fn note_placed(&mut self, partition: &Arc<Partition>, lsn: u64) {
        self.journal.set_has_placed(true);
        let entry = self.unsynced.entry(partition.at);
        entry.or_insert_with(|| (partition.clone(), lsn)).1 = lsn;
    }

    /// Forgets what a checkpoint made durable: all records up to `lsn`.
    pub(super) fn on_checkpoint(&mut self, lsn: u64) {
        self.unsynced.retain(|_, (_, last)| *last > lsn);
        self.journal.set_has_placed(!self.unsynced.is_empty());
    }
}

impl Waiting {
    fn new(group: Group, effects: Vec<Effect>) -> Waiting {
        Waiting { group, effects, in_journal: false, applied: 0, is_placed: false }
    }

    fn appends(&self) -> impl Iterator<Item = &Appending> {
        self.effects.iter().filter_map(|effect| match effect {
            Effect::Append(append) => Some(append),
            _ => None,
        })
    }

    /// Appends all batches of the partitions that have placed ones, so that they lie in the order of
    /// their offsets, and notes their places in the group.
    fn place(&mut self, now_ms: i64) -> Result<(), Error> {
        let mut to: Vec<TopicPartition> = self
            .appends()
            .filter(|append| append.placed)
            .map(|append| append.partition.at)
            .collect();
        to.sort_unstable();
        let mut run: Vec<&mut Appending> = Vec::new();
        for effect in &mut self.effects {
            if let Effect::Append(append) = effect
                && to.binary_search(&append.partition.at).is_ok()
            {
                run.push(append);
            }
        }
        let mut places = Vec::new();
        append_run(&mut run, &self.group.bytes, now_ms, |append, segment, position| {
            if append.placed {
                places.push((append.front.start, segment, position));
            }
        })?;
        run.iter_mut().for_each(|append| append.is_there = true);
        for (front, segment, position) in places {
            self.group.set_place(front, segment, position);
        }
        Ok(())
    }

    /// Puts the bytes of the batches that could not be placed into the group.
    fn take_bytes_back(&mut self) {
        let placed = self.appends().filter(|append| append.placed);
        let rests: Vec<Bytes> = placed.map(|append| append.rest.clone()).collect();
        let (group, moved) = self.group.with_bytes_of_placed(rests.into_iter());
        for effect in &mut self.effects {
            let Effect::Append(append) = effect else { continue };
            append.placed = false;
            let before = moved.partition_point(|(old, _)| *old <= append.front.start);
            if let Some((old, new)) = moved[..before].last() {
                let start = append.front.start - old + new;
                append.front = start..start + append.front.len();
            }
        }
        self.group = group;
    }

    /// Brings the group's records to segments and directories. Nothing of it is visible yet.
    fn apply(&mut self, now_ms: i64) -> Result<(), Error> {
        while let Some(effect) = self.effects.get(self.applied) {
            if !matches!(effect, Effect::Append(_)) {
                change_files(effect, now_ms)?;
                self.applied += 1;
                continue;
            }
            let mut run: Vec<&mut Appending> = Vec::new();
            let mut count = 0;
            for effect in &mut self.effects[self.applied..] {
                let Effect::Append(append) = effect else { break };
                count += 1;
                if !append.is_there {
                    run.push(append);
                }
            }
            append_run(&mut run, &self.group.bytes, now_ms, |_, _, _| {})?;
            self.applied += count;
        }
        Ok(())
    }

    /// Applies, ahead of their turn, the effects that remove files. They can be applied again.
    fn remove_early(&mut self, now_ms: i64) {
        for effect in &self.effects[self.applied..] {
            if let Effect::LogStart { .. } | Effect::DeleteTopic(_) = effect
                && let Err(e) = change_files(effect, now_ms)
            {
                tracing::warn!(error = %e, "records cannot be removed yet");
            }
        }
    }
}

/// Applies an effect that is not an append.
fn change_files(effect: &Effect, now_ms: i64) -> Result<(), Error> {
    match effect {
        Effect::Append(_) | Effect::AlterTopic(_) => Ok(()),
        Effect::CreateTopic(topic) => {
            topic.partitions.iter().try_for_each(|partition| partition.create_files())
        }
        Effect::GrowTopic(topic, from) => {
            topic.partitions.iter().skip(*from).try_for_each(|partition| partition.create_files())
        }
        Effect::DeleteTopic(topic) => {
            topic.partitions.iter().try_for_each(|partition| partition.remove_files())
        }
        Effect::LogStart { partition, offset, config } => {
            partition.apply_log_start(*offset, config, now_ms)
        }
    }
}

/// Appends a run of batches, those of one partition together. Tells `placed` the segment and the place
/// in it of each.
fn append_run(
    run: &mut [&mut Appending],
    bytes: &[u8],
    now_ms: i64,
    mut placed: impl FnMut(&Appending, i64, u64),
) -> Result<(), Error> {
    // Stable, so the batches of one partition stay in the order of their offsets.
    run.sort_by_key(|append| append.partition.at);
    for of_one in run.chunk_by(|a, b| Arc::ptr_eq(&a.partition, &b.partition)) {
        let Some(first) = of_one.first() else { continue };
        let batches: Vec<Batch<'_>> = of_one
            .iter()
            .map(|append| Batch {
                header: append.header,
                front: &bytes[append.front.clone()],
                rest: &append.rest,
            })
            .collect();
        first.partition.append(&batches, &first.config, now_ms, |i, segment, position| {
            placed(&*of_one[i], segment, position);
        })?;
    }
    Ok(())
}
