//! Runs many cases on all cores and adds up.
//!
//! A panic inside a case is a failure of that case. Nothing is shared between cases, so the outcome
//! does not depend on how many threads there are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};

use super::case::Case;
use super::execute;

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// Something came out, and it differs from what the case expects: the first difference. A case that
    /// must be refused and is accepted is one of these.
    Wrong(String),
    /// It was not carried out, or refused for another reason than the one expected: the error.
    Refused(String),
    /// All that could be checked was right; the reason says what could not.
    Skipped(String),
}

#[derive(Clone, Debug)]
pub struct CaseResult {
    pub file: String,
    pub name: String,
    /// Whether the case is about a format that a schema registry goes with.
    pub registry: bool,
    pub outcome: Outcome,
}

impl CaseResult {
    /// How `KNOWN.md` names the case.
    pub fn id(&self) -> String {
        format!("{}/{}", self.file, self.name)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Counts {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Wrong(_) | Outcome::Refused(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Nested expressions recurse; a case thread gets this much stack.
const STACK_BYTES: usize = 64 << 20;

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs the cases; results come in the order of the cases.
pub fn run_all(cases: &[Case]) -> Vec<CaseResult> {
    catch_panics_quietly();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let results: Mutex<BTreeMap<usize, CaseResult>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let work = || {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(i) else { return };
                    let outcome = run_one(case);
                    let result = CaseResult {
                        file: case.file.clone(),
                        name: case.name.clone(),
                        registry: case.needs_registry(),
                        outcome,
                    };
                    if let Ok(mut results) = results.lock() {
                        results.insert(i, result);
                    }
                }
            };
            std::thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, work)
                .expect("the machine can start a thread");
        }
    });
    results.into_inner().unwrap_or_default().into_values().collect()
}

/// Runs one case on this thread.
pub fn run_one(case: &Case) -> Outcome {
    catch_panics_quietly();
    catch_unwind(AssertUnwindSafe(|| execute::run(case))).unwrap_or_else(|_| {
        let what = PANIC.with(|p| p.borrow_mut().take()).unwrap_or_default();
        Outcome::Wrong(format!("panic: {what}"))
    })
}

fn catch_panics_quietly() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name().is_some() {
                return usual(info);
            }
            let text = info.to_string().replace('\n', " ");
            PANIC.with(|p| *p.borrow_mut() = Some(text));
        }));
    });
}

pub fn count(results: &[CaseResult]) -> Counts {
    let mut counts = Counts::default();
    for result in results {
        counts.add(&result.outcome);
    }
    counts
}

/// One line per file.
pub fn table(results: &[CaseResult]) -> String {
    let mut files: BTreeMap<&str, Counts> = BTreeMap::new();
    for result in results {
        files.entry(&result.file).or_default().add(&result.outcome);
    }
    let mut out = format!("{:40} {:>7} {:>7} {:>7}\n", "file", "passed", "failed", "skipped");
    for (file, counts) in files {
        let Counts { passed, failed, skipped } = counts;
        out.push_str(&format!("{file:40} {passed:>7} {failed:>7} {skipped:>7}\n"));
    }
    out
}

/// Each failing case with its first difference.
pub fn failures(results: &[CaseResult]) -> String {
    let mut out = String::new();
    for result in results {
        match &result.outcome {
            Outcome::Wrong(why) => {
                out.push_str(&format!("WRONG {}/{}\n     {why}\n", result.file, result.name));
            }
            Outcome::Refused(why) => {
                out.push_str(&format!("REFUSED {}/{}\n     {why}\n", result.file, result.name));
            }
            Outcome::Skipped(why) => {
                out.push_str(&format!("SKIP {}/{}\n     {why}\n", result.file, result.name));
            }
            Outcome::Passed => {}
        }
    }
    out
}

/// Failures with alike reasons (quoted texts and digits left out), the most frequent first, each with
/// its first case.
pub fn groups(results: &[CaseResult]) -> String {
    let mut groups: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for result in results {
        if let Outcome::Wrong(why) | Outcome::Refused(why) = &result.outcome {
            let group = groups
                .entry(likeness(why))
                .or_insert_with(|| (0, format!("{}/{}: {why}", result.file, result.name)));
            group.0 += 1;
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by(|a, b| b.cmp(a));
    groups.iter().map(|(n, first)| format!("{n:5}  {first}\n")).collect()
}

fn likeness(why: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    // What stands in brackets is the case's own.
    let why = why.split(['(', '{']).next().unwrap_or(why);
    for c in why.chars().take(160) {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`' | '\'') => quote = Some(c),
            (None, c) if c.is_ascii_digit() => {}
            (None, c) => out.push(c),
        }
    }
    // Values differ from case to case: what matters is which part was wrong.
    let parts = [": key ", ": value ", ": window ", ": timestamp ", ": headers "];
    if let Some(part) = parts.iter().find(|part| out.contains(**part)) {
        return format!("record{part}");
    }
    if out.contains(" records instead of ") { "count".into() } else { out }
}
