//! What must be seen whole: transactions that were committed in several places, and seals among them.
//!
//! A cut over partitions must hold all of a committed transaction or nothing of it. The last stable
//! offsets alone do not give that: another open transaction may hold back one partition of two, or even
//! the end of a transaction in one partition whose beginning lies below. So each ended transaction is
//! remembered as the ranges it has in its partitions, until nothing can hold any of them back, and
//! [`Wholes::lower`] finds the greatest cut at or below the last stable offsets that splits none.
//!
//! Such a cut never goes back. One that splits nothing now still splits nothing later, for whatever ends
//! later begins at or after it; and of two that split nothing the greater of each partition splits
//! nothing either.

use hashbrown::HashMap;

use super::TopicPartition;

/// A transaction, or a seal, in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub at: TopicPartition,
    pub first: i64,
    /// The marker, or the last record.
    pub last: i64,
}

/// See the head of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wholes {
    all: Vec<Vec<Part>>,
    /// Look for what can be forgotten when there are more.
    prune_at: usize,
}

impl Wholes {
    pub(crate) fn of(all: Vec<Vec<Part>>) -> Wholes {
        Wholes { all, prune_at: 0 }
    }

    pub(crate) fn all(&self) -> &[Vec<Part>] {
        &self.all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Remembers what ended in one step. `stable` gives a partition's last stable offset; `None` when
    /// it is gone.
    pub(crate) fn push(
        &mut self,
        parts: Vec<Part>,
        stable: impl Fn(TopicPartition) -> Option<i64>,
    ) {
        if parts.is_empty() {
            return;
        }
        self.all.push(parts);
        if self.all.len() > self.prune_at {
            self.prune(stable);
            self.prune_at = 2 * self.all.len() + 16;
        }
    }

    /// Forgets what no cut can split any more.
    pub(crate) fn prune(&mut self, stable: impl Fn(TopicPartition) -> Option<i64>) {
        let mut cut: HashMap<TopicPartition, i64> = HashMap::new();
        for part in self.all.iter().flatten() {
            if let Some(stable) = stable(part.at) {
                cut.insert(part.at, stable);
            }
        }
        self.lower(&mut cut);
        let below = |part: &Part| cut.get(&part.at).is_none_or(|cut| part.last < *cut);
        self.all.retain(|parts| !parts.iter().all(below));
    }

    /// Lowers a cut until it splits nothing. Partitions that are not in it do not count.
    pub(crate) fn lower(&self, cut: &mut HashMap<TopicPartition, i64>) {
        loop {
            let mut lowered = false;
            // Newest first: what ended later holds back what ended before.
            for parts in self.all.iter().rev() {
                let splits = |part: &Part| cut.get(&part.at).is_some_and(|cut| part.last >= *cut);
                if !parts.iter().any(splits) {
                    continue;
                }
                for part in parts {
                    if let Some(cut) = cut.get_mut(&part.at)
                        && part.first < *cut
                    {
                        *cut = part.first;
                        lowered = true;
                    }
                }
            }
            if !lowered {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(partition: i32) -> TopicPartition {
        TopicPartition { topic: Uuid::nil(), partition }
    }

    /// Transactions as `partition:first-last ...`, one a line; the last stable offsets of partitions
    /// 0, 1, …; the cut that must come out, and how many must still be remembered.
    fn check(transactions: &str, stable: &[i64], expected: &[i64], kept: usize) {
        let part = |text: &str| {
            let (partition, range) = text.split_once(':').unwrap();
            let (first, last) = range.split_once('-').unwrap();
            let number = |text: &str| text.parse::<i64>().unwrap();
            Part { at: at(number(partition) as i32), first: number(first), last: number(last) }
        };
        let lines = transactions.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut wholes =
            Wholes::of(lines.map(|line| line.split_whitespace().map(part).collect()).collect());
        let mut cut = stable.iter().enumerate().map(|(i, end)| (at(i as i32), *end)).collect();
        wholes.lower(&mut cut);
        let found: Vec<i64> = (0..stable.len()).map(|i| cut[&at(i as i32)]).collect();
        assert_eq!(found, expected, "{transactions}");
        wholes.prune(|at| stable.get(at.partition as usize).copied());
        assert_eq!(wholes.all.len(), kept, "{transactions}");
        let mut cut = stable.iter().enumerate().map(|(i, end)| (at(i as i32), *end)).collect();
        wholes.lower(&mut cut);
        let found: Vec<i64> = (0..stable.len()).map(|i| cut[&at(i as i32)]).collect();
        assert_eq!(found, expected, "the same after forgetting: {transactions}");
    }

    #[test]
    fn a_transaction_is_all_below_a_cut_or_not_at_all() {
        check("0:0-4 1:0-4", &[5, 5], &[5, 5], 0);
        check("0:0-4 1:2-6", &[5, 2], &[0, 2], 1);
        // Another open transaction stands at 3 of partition 0: its end there is not below.
        check("0:1-4", &[3], &[1], 1);
        // One holds back the next.
        check("0:0-2 1:0-2\n 1:1-5 2:0-3", &[9, 9, 2], &[0, 0, 0], 2);
        check("0:0-2 1:0-2\n 1:3-5 2:0-3", &[9, 9, 2], &[9, 3, 0], 1);
        // A partition that is gone does not count.
        check("0:0-4 7:0-4", &[5], &[5], 0);
        check("", &[5], &[5], 0);
    }
}
