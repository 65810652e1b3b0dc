//! What queries mean, naively: functions of all rows that were ever put in.
//!
//! A model yields [`Change`]s, each caused by one row and in the order of those rows: with every record
//! an epoch of its own, exactly that must leave. The net change of an epoch follows from it ([`net`]).

pub(crate) mod aggregates;
pub(crate) mod joins;
pub(crate) mod simple;

use std::collections::BTreeMap;
use std::fmt;

use crate::case::Record;

pub(crate) type Cells = Vec<String>;

/// A row that leaves, as text; `old` is there for tables only: what the row replaces.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Out {
    pub(crate) trigger: usize,
    pub(crate) key: Cells,
    pub(crate) window: Option<(i64, i64)>,
    pub(crate) time: i64,
    pub(crate) new: Option<Cells>,
    pub(crate) old: Option<Option<Cells>>,
}

impl Out {
    pub(crate) fn stream(trigger: usize, key: Cells, time: i64, new: Option<Cells>) -> Out {
        Out { trigger, key, window: None, time, new, old: None }
    }

    pub(crate) fn table(
        trigger: usize,
        key: Cells,
        time: i64,
        new: Option<Cells>,
        old: Option<Cells>,
    ) -> Out {
        Out { trigger, key, window: None, time, new, old: Some(old) }
    }

    /// What a table holds of this row; `None` if it deletes.
    pub(crate) fn kept(&self) -> Option<String> {
        let window = self.window.map_or(String::new(), |(start, end)| format!(" [{start},{end})"));
        Some(format!(
            "{}{window} {} @{}",
            self.key.join(" "),
            self.new.as_ref()?.join(" "),
            self.time
        ))
    }
}

impl fmt::Display for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |cells: &Option<Cells>| cells.as_ref().map_or("-".into(), |c| c.join(" "));
        write!(f, "#{} @{} {}", self.trigger, self.time, self.key.join(" "))?;
        if let Some((start, end)) = self.window {
            write!(f, " [{start},{end})")?;
        }
        write!(f, " {}", show(&self.new))?;
        match &self.old {
            Some(old) => write!(f, " was {}", show(old)),
            None => Ok(()),
        }
    }
}

/// What a model yields.
#[derive(Default)]
pub(crate) struct Meaning {
    pub(crate) outs: Vec<Out>,
    /// The rows that are reported, if this query's are compared.
    pub(crate) errors: Option<Vec<usize>>,
}

impl From<Vec<Out>> for Meaning {
    fn from(outs: Vec<Out>) -> Meaning {
        Meaning { outs, errors: None }
    }
}

/// A query's meaning; `consolidate` only where ksqlDB's cases define something else.
pub(crate) struct Model {
    pub(crate) of: Box<dyn Fn(&[Record], bool) -> Meaning>,
    /// How exactly the net change of an epoch follows from the changes.
    pub(crate) net: Net,
    /// Whether what is read at the end is compared: not where old windows are forgotten.
    pub(crate) reads: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Net {
    /// In order, at the time and by the row of the last change.
    Exact,
    /// Over tables, whose own changes are net: which of the rows that cancel each other caused what is
    /// left, and so its time and place, is not compared. Nor is the time of what is read.
    Values,
    /// So, and of groups: one that rows only passed through within an epoch may never have been seen;
    /// whether a group without rows is there is not compared.
    Groups,
}

impl Net {
    /// What is left of a row's values, when net changes are compared.
    fn of(self, cells: Option<Cells>) -> Option<Cells> {
        cells.filter(|cells| self != Net::Groups || cells[0] != "0")
    }
}

/// What should be seen.
pub(crate) struct Expected {
    pub(crate) epochs: Vec<Vec<Out>>,
    pub(crate) errors: Option<Vec<usize>>,
    pub(crate) table: Option<Vec<String>>,
}

/// What `model` says leaves each epoch; `ends` are the rows the epochs end before.
pub(crate) fn expected(
    model: &Model,
    rows: &[Record],
    consolidate: bool,
    ends: &[usize],
) -> Expected {
    let Meaning { outs, errors } = (model.of)(rows, consolidate);
    let mut held: BTreeMap<String, String> = BTreeMap::new();
    for out in &outs {
        let id = format!("{:?} {:?}", out.key, out.window);
        match out.kept() {
            Some(line) => held.insert(id, line),
            None => held.remove(&id),
        };
    }
    let mut table: Vec<String> = held.into_values().collect();
    table.sort();
    let mut outs = outs.into_iter().peekable();
    let epochs = ends.iter().map(|&end| {
        let mut epoch = Vec::new();
        while let Some(out) = outs.next_if(|out| out.trigger < end) {
            epoch.push(out);
        }
        if consolidate { net(epoch) } else { epoch }
    });
    let epochs = epochs.collect();
    Expected { epochs, errors, table: model.reads.then_some(table) }
}

/// The net changes of an epoch of a table; a stream's rows all leave.
fn net(epoch: Vec<Out>) -> Vec<Out> {
    let mut net: Vec<Out> = Vec::new();
    for mut out in epoch {
        if out.old.is_some() {
            let same = |o: &Out| o.key == out.key && o.window == out.window;
            if let Some(at) = net.iter().position(same) {
                out.old = net.remove(at).old;
            }
        }
        net.push(out);
    }
    net.retain(|out| out.old.as_ref() != Some(&out.new));
    net
}

/// What is compared of an epoch's rows.
pub(crate) fn compared(outs: &[Out], consolidate: bool, net: Net) -> Vec<Out> {
    let mut outs = outs.to_vec();
    if consolidate && net != Net::Exact {
        for out in &mut outs {
            (out.trigger, out.time) = (0, 0);
            out.new = net.of(out.new.take());
            out.old = out.old.take().map(|old| net.of(old));
        }
        outs.retain(|out| out.old.as_ref() != Some(&out.new));
        outs.sort_by(|a, b| (&a.key, &a.window).cmp(&(&b.key, &b.window)));
    }
    outs
}

pub(crate) fn text(value: Option<&str>) -> String {
    value.map_or("null".into(), |v| format!("'{v}'"))
}

pub(crate) fn number(value: Option<i64>) -> String {
    value.map_or("null".into(), |v| v.to_string())
}

/// `f` and `v` as cells.
pub(crate) fn cells((f, v): (Option<&str>, Option<i64>)) -> Cells {
    vec![text(f), number(v)]
}
