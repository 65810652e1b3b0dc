//! An [`EpochIo`] in memory that survives the engine: topics of one partition, and a journal of seals.
//! What the engine sealed is durable; everything else goes with it in a "crash".

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_sql::catalog::KeyWindow;
use millstream_sql::plan;
use millstream_sql::types::Schema;
use parking_lot::Mutex;

use crate::io::*;
use crate::rows::Rows;

/// What is on disk, as it were.
#[derive(Default)]
pub(super) struct Log {
    /// Records one by one, with the epoch that sealed them (0: a client's).
    pub(super) topics: BTreeMap<String, Vec<(Epoch, Rows)>>,
    pub(super) journal: Vec<Bytes>,
    pub(super) epoch: Epoch,
    pub(super) order: u64,
}

pub(super) type SharedLog = Arc<Mutex<Log>>;

impl Log {
    pub(super) fn append(&mut self, topic: &str, epoch: Epoch, rows: &Rows) {
        let topic = self.topics.entry(topic.into()).or_default();
        topic.extend((0..rows.len()).map(|i| (epoch, rows.slice(i, 1))));
    }
}

#[derive(Clone)]
struct Reader {
    topic: String,
    at: usize,
    /// Own records of these epochs are left out; the end is open while handing over goes on.
    skip: Option<(Epoch, Epoch)>,
}

pub(super) struct MemoryIo {
    log: SharedLog,
    readers: BTreeMap<SourceId, Reader>,
    sinks: BTreeMap<SinkId, String>,
    next: u64,
    /// Records per poll, to make epochs small.
    most: usize,
}

impl MemoryIo {
    pub(super) fn new(log: SharedLog, most: usize) -> MemoryIo {
        MemoryIo { log, readers: BTreeMap::new(), sinks: BTreeMap::new(), next: 0, most }
    }

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn without_old(rows: &Rows, order: u64) -> Rows {
    let mut rows = Rows { old: None, ..rows.clone() };
    rows.triggers.order = vec![order; rows.len()].into();
    rows
}

impl EpochIo for MemoryIo {
    fn open_source(
        &mut self,
        _: &str,
        source: &plan::Source,
        position: Option<&[u8]>,
        start: StartAt,
    ) -> Result<SourceId, IoError> {
        let log = self.log.clone();
        let log = log.lock();
        let Some(records) = log.topics.get(&source.topic) else {
            return Err(IoError::Query(format!("no topic {}", source.topic)));
        };
        let mut reader = Reader { topic: source.topic.clone(), at: 0, skip: None };
        match position {
            Some(bytes) => {
                let number = |i: usize| u64::from_be_bytes(bytes[i..i + 8].try_into().unwrap());
                reader.at = number(0) as usize;
                reader.skip = (number(8) > 0).then(|| (number(8), number(16)));
            }
            None if start == StartAt::Latest => reader.at = records.len(),
            None => {}
        }
        let id = SourceId(self.next());
        self.readers.insert(id, reader);
        Ok(id)
    }

    fn close_source(&mut self, id: SourceId) {
        self.readers.remove(&id);
    }

    fn skip_own_since(&mut self, id: SourceId, epoch: Epoch) {
        self.readers.get_mut(&id).unwrap().skip = Some((epoch, Epoch::MAX));
    }

    fn skip_own_until(&mut self, id: SourceId, epoch: Epoch) {
        if let Some(skip) = &mut self.readers.get_mut(&id).unwrap().skip {
            skip.1 = epoch;
        }
    }

    fn is_caught_up(&self, id: SourceId) -> bool {
        let reader = &self.readers[&id];
        let log = self.log.lock();
        let skipped = |epoch: Epoch| reader.skip.is_some_and(|(from, to)| from <= epoch && epoch < to);
        log.topics[&reader.topic][reader.at..].iter().all(|(epoch, _)| *epoch > 0 && skipped(*epoch))
    }

    fn open_sink(
        &mut self,
        _: &str,
        sink: &plan::Sink,
        _: &Schema,
        _: Option<KeyWindow>,
    ) -> Result<SinkId, IoError> {
        let topic = sink.topic.clone().unwrap();
        self.log.lock().topics.entry(topic.clone()).or_default();
        let id = SinkId(self.next());
        self.sinks.insert(id, topic);
        Ok(id)
    }

    fn close_sink(&mut self, id: SinkId) {
        self.sinks.remove(&id);
    }

    fn poll(&mut self, active: &[SourceId], _: Budget) -> Result<Polled, IoError> {
        let mut log = self.log.lock();
        let mut polled = Polled::default();
        let mut left = self.most;
        for id in active {
            let reader = self.readers.get_mut(id).unwrap();
            let mut taken = Vec::new();
            while let Some((epoch, rows)) = log.topics[&reader.topic].get(reader.at).cloned() {
                if left == 0 {
                    polled.more = true;
                    break;
                }
                reader.at += 1;
                if epoch > 0 && reader.skip.is_some_and(|(from, to)| from <= epoch && epoch < to) {
                    continue;
                }
                left -= 1;
                log.order += 1;
                taken.push(without_old(&rows, log.order));
            }
            if let Some(rows) = Rows::concat(&taken).unwrap() {
                polled.rows.push((*id, rows));
            }
        }
        Ok(polled)
    }

    fn position(&self, id: SourceId) -> Position {
        let reader = &self.readers[&id];
        let (from, to) = reader.skip.unwrap_or((0, 0));
        [reader.at as u64, from, to].iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>().into()
    }

    fn seal(&mut self, sealing: Sealing) -> Result<(SealTicket, Vec<BadRecord>), IoError> {
        let mut log = self.log.lock();
        assert_eq!(sealing.epoch, log.epoch + 1, "epochs follow each other");
        log.epoch = sealing.epoch;
        log.journal.push(sealing.state);
        for (sink, rows) in sealing.outputs {
            for rows in rows {
                log.append(&self.sinks[&sink], sealing.epoch, &rows);
            }
        }
        Ok((SealTicket(sealing.epoch), vec![]))
    }

    fn wait_sealed(&mut self, _: SealTicket) -> Result<(), IoError> {
        Ok(())
    }

    fn state_durable(&mut self, _: Epoch) {}

    fn wait_for_input(&mut self, _: &[SourceId], _: Duration) {
        std::thread::sleep(Duration::from_micros(200));
    }
}
