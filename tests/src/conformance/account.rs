//! What may be said of a run as a whole, and what must not get worse.
//!
//! Cases that name a registry format wait for those formats. Of the others every one passes, is refused
//! (an error and no answer), is wrong, or is skipped because it compares what only ksqlDB has.
//! `tests/conformance/KNOWN.md` lists exactly those that do not pass, each with its cause;
//! `tests/conformance/RATCHET` holds the numbers: first how many runs pass in all, then a line
//! `others N` (those beyond registry formats that pass) and a line `wrong N` (the most that may be wrong).

use std::collections::BTreeSet;

use millstream_sql::ErrorKind;

use super::runner::{CaseResult, Outcome};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// All that pass, with or without a registry format.
    pub passed: usize,
    pub registry: usize,
    pub registry_passed: usize,
    pub others: usize,
    pub others_passed: usize,
    pub refused: usize,
    pub wrong: usize,
    pub skipped: usize,
}

impl Account {
    pub fn of(results: &[CaseResult]) -> Account {
        let mut a = Account::default();
        for result in results {
            let passed = usize::from(result.outcome == Outcome::Passed);
            a.passed += passed;
            if result.registry {
                a.registry += 1;
                a.registry_passed += passed;
                // A registry format is no excuse for a wrong answer.
                a.wrong += usize::from(matches!(result.outcome, Outcome::Wrong(_)));
                continue;
            }
            a.others += 1;
            match result.outcome {
                Outcome::Passed => a.others_passed += 1,
                Outcome::Refused(_) => a.refused += 1,
                Outcome::Wrong(_) => a.wrong += 1,
                Outcome::Skipped(_) => a.skipped += 1,
            }
        }
        a
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Account { registry, registry_passed, others, others_passed, .. } = self;
        write!(f, "{registry} need a registry format ({registry_passed} pass all the same); ")?;
        write!(f, "of the other {others}: {others_passed} passed, {} refused, ", self.refused)?;
        write!(f, "{} wrong, {} skipped", self.wrong, self.skipped)
    }
}

/// What an account must not fall below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratchet {
    pub passed: usize,
    pub others: usize,
    pub wrong: usize,
}

impl Ratchet {
    /// # Errors
    /// When the text is not a ratchet.
    pub fn parse(text: &str) -> Result<Ratchet, String> {
        let mut lines = text.lines();
        let number = |text: &str| text.trim().parse().map_err(|_| format!("no number: {text:?}"));
        let passed = number(lines.next().unwrap_or_default())?;
        let mut ratchet = Ratchet { passed, others: 0, wrong: usize::MAX };
        for line in lines.filter(|l| !l.trim().is_empty()) {
            match line.split_once(' ') {
                Some(("others", n)) => ratchet.others = number(n)?,
                Some(("wrong", n)) => ratchet.wrong = number(n)?,
                _ => return Err(format!("unknown line {line:?}")),
            }
        }
        Ok(ratchet)
    }

    /// What has become worse.
    pub fn broken_by(&self, account: &Account) -> Option<String> {
        let held = [
            (account.passed < self.passed, format!("{} passes", self.passed)),
            (
                account.others_passed < self.others,
                format!("{} passes without registry", self.others),
            ),
            (account.wrong > self.wrong, format!("at most {} wrong results", self.wrong)),
        ];
        held.into_iter().find(|(broken, _)| *broken).map(|(_, what)| what)
    }
}

/// The cases that `KNOWN.md` lists: lines `` - `file/case name`: cause ``, one for each run.
///
/// # Errors
/// When a line has no cause.
pub fn known(text: &str) -> Result<BTreeSet<String>, String> {
    let mut known = BTreeSet::new();
    for line in text.lines().filter_map(|l| l.strip_prefix("- `")) {
        match line.split_once("`: ") {
            Some((case, cause)) if !cause.trim().is_empty() => known.insert(case.to_owned()),
            _ => return Err(format!("KNOWN.md gives no cause: {line}")),
        };
    }
    Ok(known)
}

/// Where a list of known failures and a run differ.
pub fn unlike(known: &BTreeSet<String>, results: &[CaseResult]) -> Vec<String> {
    let failing: BTreeSet<String> = results
        .iter()
        .filter(|r| !r.registry && r.outcome != Outcome::Passed)
        .map(CaseResult::id)
        .collect();
    let missing = failing.difference(known).map(|c| format!("KNOWN.md does not list {c}"));
    let stale = known.difference(&failing).map(|c| format!("KNOWN.md lists {c}, which passes"));
    missing.chain(stale).collect()
}

/// The error kinds that a table `` | `kind` | … `` lists and that are no public code of ours.
pub fn unknown_kinds(table: &str) -> Vec<String> {
    let kinds = table.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next());
    let is_ours = |kind: &&str| ErrorKind::ALL.iter().any(|k| k.code() == *kind);
    kinds
        .filter(|kind| !is_ours(kind))
        .map(|kind| format!("{kind} is no public error code"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(name: &str, registry: bool, outcome: Outcome) -> CaseResult {
        CaseResult { file: "f".into(), name: name.into(), registry, outcome }
    }

    #[test]
    fn an_account_adds_up_and_the_ratchet_holds_it() {
        let results = [
            result("a", true, Outcome::Refused("no AVRO".into())),
            result("b", true, Outcome::Passed),
            result("c", false, Outcome::Passed),
            result("d", false, Outcome::Refused("later".into())),
            result("e", false, Outcome::Wrong("1 instead of 2".into())),
        ];
        let account = Account::of(&results);
        assert_eq!(
            account.to_string(),
            "2 need a registry format (1 pass all the same); of the other 3: 1 passed, 1 refused, 1 wrong, 0 skipped"
        );
        for (ratchet, broken) in [
            ("2", None),
            ("2\nothers 1\nwrong 1\n", None),
            ("3", Some("3 passes")),
            ("2\nothers 2", Some("2 passes without registry")),
            ("2\nwrong 0", Some("at most 0 wrong results")),
        ] {
            let ratchet = Ratchet::parse(ratchet).unwrap();
            assert_eq!(ratchet.broken_by(&account).as_deref(), broken, "{ratchet:?}");
        }
        assert!(Ratchet::parse("many").is_err());
        assert!(Ratchet::parse("1\nmore 2").is_err());
        let list = known("# Known\n- `f/d`: it waits\n- `f/c`: it did wait\n").unwrap();
        let unlike = unlike(&list, &results);
        assert_eq!(unlike, ["KNOWN.md does not list f/e", "KNOWN.md lists f/c, which passes"]);
        assert!(known("- `f/d`: \n").is_err());
        let table = "| kind | meaning |\n|---|---|\n| `syntax` | … |\n| `sorrow` | … |\n";
        assert_eq!(unknown_kinds(table), ["sorrow is no public error code"]);
    }
}
