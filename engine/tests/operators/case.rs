//! Random inputs, how they are cut into epochs and where the engine dies; and how a failing one is made
//! small.
//!
//! Everything follows from one number, the seed, so a case is named by it. Rows come in disorder, late,
//! with ties in time, with NULL keys, NULL values (a deletion, for a table) and NULL columns; keys are
//! few, so that rows meet, or many. Each row carries what happens after it ([`Cut`]), so that leaving
//! rows out of a case keeps it a case.

/// A small generator (splitmix64), so that a failure repeats.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A record of one of the relations, all of which have a STRING key `k`, a STRING `f` and a BIGINT `v`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Record {
    /// Which relation: 0 is `l`, 1 is `r`, 2 is `x`.
    pub(crate) source: usize,
    pub(crate) time: i64,
    pub(crate) key: Option<&'static str>,
    /// `None`: the value is NULL.
    pub(crate) value: Option<(Option<&'static str>, Option<i64>)>,
}

/// What happens after a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cut {
    /// The epoch goes on.
    None,
    /// The epoch ends, is sealed and applied.
    Seal,
    /// The epoch ends and is sealed; it is applied only when the next one ends.
    SealInFlight,
    /// The epoch is executed and lost; after the restart it is executed again and sealed.
    LostThenSeal,
    /// Sealed, then a crash; the state has everything up to the epoch in flight.
    SealThenCrash,
    /// Sealed, then a crash in which the state loses everything: the journal is played again.
    SealThenLoseState,
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) rows: Vec<(Record, Cut)>,
    /// One net change per key and epoch; else one epoch is one record, as in ksqlDB's cases.
    pub(crate) consolidate: bool,
    /// The bytes that each operator may hold in memory.
    pub(crate) cache: usize,
}

/// What rows of an operator's test look like.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// How many relations are read.
    pub(crate) sources: u64,
    /// What `f` may hold.
    pub(crate) texts: &'static [Option<&'static str>],
    /// How late a row may be.
    pub(crate) late_ms: u64,
    /// A jump in time that leaves everything behind, now and then.
    pub(crate) jump_ms: u64,
}

const FEW: &[&str] = &["a", "b", "c"];
const MANY: &[&str] = &[
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "", "aa",
    "ab",
];

impl Case {
    pub(crate) fn random(seed: u64, shape: &Shape) -> Case {
        let mut random = Random::new(seed);
        // Most cases are small: they run fast and read well. A few are long.
        let len = match random.below(40) {
            0 => 20 + random.below(60),
            1..=8 => 8 + random.below(12),
            _ => 1 + random.below(8),
        };
        let keys = if random.one_in(8) { MANY } else { FEW };
        let cut_in = 1 + random.below(8);
        let calm = random.one_in(3);
        let mut clock = random.below(30) as i64;
        let rows = (0..len).map(|_| {
            clock += if random.one_in(4) { 0 } else { random.below(8) as i64 };
            if shape.jump_ms > 0 && random.one_in(16) {
                clock += random.below(shape.jump_ms) as i64;
            }
            let late = if calm || random.one_in(2) { 0 } else { random.below(shape.late_ms + 1) };
            let key = (!random.one_in(12)).then(|| random.pick(keys));
            let value = (!random.one_in(8)).then(|| {
                (random.pick(shape.texts), (!random.one_in(8)).then(|| random.below(5) as i64 - 1))
            });
            let record = Record {
                source: random.below(shape.sources) as usize,
                time: (clock - late as i64).max(0),
                key,
                value,
            };
            let cut = match random.below(10) {
                _ if !random.one_in(cut_in) => Cut::None,
                0 | 1 => Cut::LostThenSeal,
                2 => Cut::SealThenCrash,
                3 => Cut::SealThenLoseState,
                4..=6 => Cut::SealInFlight,
                _ => Cut::Seal,
            };
            (record, cut)
        });
        let rows = rows.collect();
        let cache = random.pick(&[0, 600, 1 << 20, 1 << 20]);
        Case { rows, consolidate: !random.one_in(3), cache }
    }

    /// The smallest case found by halving that still fails: fewer rows, then simpler ones.
    pub(crate) fn shrink(mut self, fails: &dyn Fn(&Case) -> bool) -> Case {
        let mut piece = self.rows.len().div_ceil(2);
        while piece > 0 {
            let mut at = 0;
            while at < self.rows.len() {
                let mut less = self.clone();
                less.rows.drain(at..(at + piece).min(less.rows.len()));
                if !less.rows.is_empty() && fails(&less) {
                    self = less;
                } else {
                    at += piece;
                }
            }
            piece /= 2;
        }
        for row in 0..self.rows.len() {
            for cut in [Cut::None, Cut::Seal] {
                let mut simpler = self.clone();
                simpler.rows[row].1 = cut;
                if fails(&simpler) {
                    self = simpler;
                    break;
                }
            }
            let mut simpler = self.clone();
            simpler.rows[row].0.time = row as i64;
            if fails(&simpler) {
                self = simpler;
            }
        }
        let simpler = Case { cache: 1 << 20, ..self.clone() };
        if fails(&simpler) { simpler } else { self }
    }

    /// The case as text: one line for each row.
    pub(crate) fn text(&self) -> String {
        let mut out = format!("consolidate {}, cache {}\n", self.consolidate, self.cache);
        for (i, (row, cut)) in self.rows.iter().enumerate() {
            let name = ["l", "r", "x"][row.source];
            let value = match row.value {
                None => "-".to_owned(),
                Some((f, v)) => format!(
                    "{} {}",
                    f.map_or("null".into(), |f| format!("'{f}'")),
                    v.map_or("null".into(), |v| v.to_string())
                ),
            };
            let key = row.key.map_or("null".into(), |k| format!("'{k}'"));
            out += &format!("  #{i} {name} @{} {key} {value}", row.time);
            out += &if *cut == Cut::None { "\n".into() } else { format!("   ; {cut:?}\n") };
        }
        out
    }
}
