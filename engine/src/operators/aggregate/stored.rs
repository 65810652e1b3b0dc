//! Rows read from the state: for pull queries, and what EMIT FINAL lets go.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, new_null_array};
use arrow::buffer::BooleanBuffer;

use super::input::Batch;
use super::slots::Slots;
use super::state::{ROWS, ends_key, plain_key, split_session, split_time, window_key};
use super::{Advance, Aggregate, Shape};
use crate::error::Result;
use crate::operator::Ctx;
use crate::operators::table::damaged;
use crate::rows::{Millis, OldValues, Rows, Triggers, TriggersBuilder, Windows, batch};
use crate::snapshot::Selection;

/// State entries of rows.
type Found = Vec<(Vec<u8>, Vec<u8>)>;

/// A group's key and its window, if it has one.
type Split<'k> = (&'k [u8], Option<(Millis, Millis)>);

impl Aggregate {
    /// The rows that a selection may want: of its keys, in their order, else all in key order; by
    /// window. Of windows that EMIT FINAL has not let go yet there is nothing.
    pub(super) fn read_stored(&mut self, selection: &Selection) -> Result<Vec<Rows>> {
        let mut found: Found = match &selection.keys {
            Some(keys) => self.read_keys(keys, selection)?,
            None => self.read_all(selection)?,
        };
        found.retain(|(key, _)| self.is_visible(key, selection));
        self.rows_of(found, None)
    }

    fn read_keys(&mut self, keys: &[ArrayRef], selection: &Selection) -> Result<Found> {
        let count = keys.first().map_or(0, |column| column.len());
        let encoded = self.groups.encode(keys, count)?;
        let mut found = Found::new();
        for i in 0..count {
            let key = encoded.get(i);
            let whole: Vec<Vec<u8>> = match &self.shape {
                Shape::Plain => vec![plain_key(key)],
                Shape::Windows(windows) => windows
                    .wanted(&selection.window_start, &selection.window_end)
                    .into_iter()
                    .map(|start| window_key(start, key))
                    .collect(),
                Shape::Sessions(_) => {
                    found.extend(self.store.scan_prefix(&plain_key(key))?);
                    continue;
                }
            };
            let asked: Vec<&[u8]> = whole.iter().map(Vec::as_slice).collect();
            let values = self.store.multi_get(&asked)?;
            let there = whole.into_iter().zip(values);
            found.extend(there.filter_map(|(key, value)| Some((key, value?.to_vec()))));
        }
        Ok(found)
    }

    fn read_all(&self, selection: &Selection) -> Result<Found> {
        let mut found = Found::new();
        let Shape::Windows(windows) = &self.shape else {
            return Ok(self.store.scan_prefix(&[ROWS])?);
        };
        for start in windows.wanted(&selection.window_start, &selection.window_end) {
            found.extend(self.store.scan_prefix(&window_key(start, &[]))?);
        }
        found.sort_by(|(a, _), (b, _)| (&a[9..], &a[..9]).cmp(&(&b[9..], &b[..9])));
        Ok(found)
    }

    fn is_visible(&self, key: &[u8], selection: &Selection) -> bool {
        let Ok((_, window)) = self.split(key) else { return true };
        let closed = |start, end| match &self.shape {
            Shape::Plain => true,
            Shape::Windows(windows) => windows.is_closed(start, self.stream_time),
            Shape::Sessions(sessions) => end < sessions.close_time(self.stream_time),
        };
        let kept = |start, end| match &self.shape {
            Shape::Plain => true,
            Shape::Windows(windows) => start >= windows.horizon(self.stream_time),
            Shape::Sessions(sessions) => end > sessions.horizon(self.stream_time),
        };
        window.is_none_or(|(start, end)| {
            selection.wants_window(start, end)
                && kept(start, end)
                && (!self.emit_final || closed(start, end))
        })
    }

    /// The group's key and window of a state key.
    fn split<'k>(&self, key: &'k [u8]) -> Result<Split<'k>> {
        Ok(match &self.shape {
            Shape::Plain => (key.get(1..).ok_or_else(damaged)?, None),
            Shape::Windows(windows) => {
                let (start, key) = split_time(key.get(1..).ok_or_else(damaged)?)?;
                (key, Some((start, windows.end(start))))
            }
            Shape::Sessions(_) => {
                let (key, start, end) = split_session(key)?;
                (key, Some((start, end)))
            }
        })
    }

    /// State entries as rows; `triggers`, if what they replace is to be said, which is nothing.
    fn rows_of(&self, found: Found, triggers: Option<Triggers>) -> Result<Vec<Rows>> {
        if found.is_empty() {
            return Ok(vec![]);
        }
        let len = found.len();
        let mut slots = Slots::new(&self.calls)?;
        let mut keys = Vec::with_capacity(len);
        for (key, _) in &found {
            let (key, window) = self.split(key)?;
            let (start, end) = window.unwrap_or_default();
            slots.push(0, start, end);
            keys.push(key);
        }
        slots.grow();
        for (slot, (_, value)) in found.iter().enumerate() {
            slots.load(slot as u32, value)?;
        }
        let all: Vec<u32> = (0..len as u32).collect();
        let mut columns = self.groups.decode(keys)?;
        columns.extend(slots.finish(&all)?);
        if self.output.bounds {
            columns.push(Arc::new(Int64Array::from(slots.start.clone())));
            columns.push(Arc::new(Int64Array::from(slots.end.clone())));
        }
        let old = triggers.is_some().then(|| OldValues {
            columns: columns[self.output.key_len..]
                .iter()
                .map(|column| new_null_array(column.data_type(), len))
                .collect(),
            present: BooleanBuffer::new_unset(len),
        });
        let windows = Windows { starts: slots.start.into(), ends: slots.end.into() };
        Ok(vec![Rows {
            columns: batch(&self.output.schema, columns, len)?,
            key_len: self.output.key_len,
            times: slots.time.into(),
            windows: self.output.windowed.then_some(windows),
            present: None,
            old,
            triggers: triggers.unwrap_or_else(|| TriggersBuilder::untriggered(len)),
        }])
    }

    /// EMIT FINAL: the groups of the windows that have closed since stream time was `before`, by
    /// window, then key, each with the row that closed it.
    ///
    /// Without `consolidate` a window that one jump of stream time brought past its retention as well
    /// is lost, as in Kafka Streams.
    pub(super) fn closed_windows(
        &self,
        batch: &Batch,
        before: Millis,
        advances: &[Advance],
        ctx: &Ctx<'_>,
    ) -> Result<Vec<Rows>> {
        let (Shape::Windows(windows), Some(last)) = (&self.shape, advances.last()) else {
            return Ok(vec![]);
        };
        let mut found = Found::new();
        let mut causes: Vec<u32> = Vec::new();
        for start in windows.starts(..=last.stream_time) {
            if windows.is_closed(start, before) {
                continue;
            }
            let at = advances.partition_point(|a| !windows.is_closed(start, a.stream_time));
            let Some(cause) = advances.get(at) else { break };
            let oldest =
                cause.latest_start.saturating_sub(windows.size).saturating_sub(windows.grace);
            if !ctx.consolidate && start < oldest {
                continue;
            }
            found.extend(self.store.scan_prefix(&window_key(start, &[]))?);
            causes.resize(found.len(), cause.row);
        }
        self.rows_of(found, Some(batch.rows.triggers.take(&causes)))
    }

    /// EMIT FINAL: the sessions that have closed since stream time was `before`, by end, then key.
    pub(super) fn closed_sessions(
        &self,
        batch: &Batch,
        before: Millis,
        advances: &[Advance],
    ) -> Result<Vec<Rows>> {
        let (Shape::Sessions(sessions), Some(last)) = (&self.shape, advances.last()) else {
            return Ok(vec![]);
        };
        let from = ends_key(sessions.close_time(before), &[]);
        let to = ends_key(sessions.close_time(last.stream_time), &[]);
        let mut ended: Vec<(Millis, Vec<u8>)> = Vec::new();
        let mut sane = Ok(());
        self.store.scan(&from, &to, &mut |key, _| {
            match split_time(&key[1..]) {
                Ok((end, key)) => ended.push((end, key.to_vec())),
                Err(error) => sane = Err(error),
            }
            sane.is_ok()
        })?;
        sane?;
        let mut found = Found::new();
        let mut causes: Vec<u32> = Vec::new();
        for (end, key) in ended {
            let at = advances.partition_point(|a| sessions.close_time(a.stream_time) <= end);
            let Some(cause) = advances.get(at) else { break };
            for entry in self.store.scan_prefix(&plain_key(&key))? {
                if split_session(&entry.0)?.2 == end {
                    found.push(entry);
                }
            }
            causes.resize(found.len(), cause.row);
        }
        self.rows_of(found, Some(batch.rows.triggers.take(&causes)))
    }
}
