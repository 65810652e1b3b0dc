//! What Tab offers: keywords, sources, columns, functions, topics, properties and queries, by the place.
//!
//! The place is told by the words before the cursor, not by a parse: a statement that is being written
//! has none. What is offered keeps the case that was begun with; names that need quotes get them.
//! [`Names`] is asked of the server before each line.

use std::sync::Arc;

use millstream_sql::plan::CREATE_PROPERTIES;
use millstream_sql::syntax::complete::{KEYWORDS, is_reserved};
use parking_lot::Mutex;
use reedline::{Completer, CompletionResult, Span, Suggestion};
use serde_json::Value;

use super::client::SqlClient;

/// At most as many are offered.
const OFFERED_MAX: usize = 200;

const FORMATS: &[&str] = &["DELIMITED", "JSON", "KAFKA", "NONE"];

/// Properties of sessions beside those that the server lists.
const SESSION_PROPERTIES: &[&str] = &[
    "auto.offset.reset",
    "ksql.output.topic.name.prefix",
    "ksql.persistence.default.format.key",
    "ksql.persistence.default.format.value",
    "ksql.persistence.wrap.single.values",
    "ksql.query.pull.table.scan.enabled",
];

/// What there is on the server, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Streams and tables with their columns.
    pub sources: Vec<(String, Vec<String>)>,
    pub functions: Vec<String>,
    pub topics: Vec<String>,
    pub queries: Vec<String>,
    pub properties: Vec<String>,
}

impl Names {
    /// What the server has now; nothing if it does not answer.
    pub(super) async fn ask(client: &SqlClient) -> Names {
        const ALL: &str = "DESCRIBE STREAMS; DESCRIBE TABLES; SHOW ALL TOPICS; SHOW QUERIES; SHOW PROPERTIES; SHOW FUNCTIONS;";
        let mut names = Names::default();
        let Ok(Value::Array(entities)) = client.execute(ALL).await else { return names };
        let list = |entity: &Value, field: &str, name: &str| -> Vec<String> {
            let all = entity[field].as_array().map_or(&[][..], Vec::as_slice);
            all.iter().filter_map(|item| item[name].as_str()).map(str::to_owned).collect()
        };
        for entity in &entities {
            match entity["@type"].as_str().unwrap_or_default() {
                "source_descriptions" => {
                    let described =
                        entity["sourceDescriptions"].as_array().map_or(&[][..], Vec::as_slice);
                    names.sources.extend(described.iter().filter_map(|source| {
                        Some((source["name"].as_str()?.to_owned(), list(source, "fields", "name")))
                    }));
                }
                "kafka_topics" => names.topics = list(entity, "topics", "name"),
                "queries" => names.queries = list(entity, "queries", "id"),
                "properties" => names.properties = list(entity, "properties", "name"),
                "function_names" => names.functions = list(entity, "functions", "name"),
                _ => {}
            }
        }
        names
    }

    fn columns<'a>(&'a self, source: &str) -> impl Iterator<Item = &'a str> {
        let found = self.sources.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(source));
        found.flat_map(|(_, columns)| columns.iter().map(String::as_str))
    }
}

/// The line editor's completer; the names are exchanged under it.
pub(super) struct SqlCompleter(pub Arc<Mutex<Names>>);

impl Completer for SqlCompleter {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let (start, offers) = complete(line, pos, &self.0.lock());
        let suggestion =
            |value| Suggestion { value, span: Span::new(start, pos), ..Suggestion::default() };
        CompletionResult::fresh(offers.into_iter().map(suggestion).collect::<Vec<_>>())
    }
}

/// A word before the cursor: what stands unquoted is in upper case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word<'a> {
    text: &'a str,
    start: usize,
}

impl Word<'_> {
    fn is(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }
}

/// Where the word at the cursor begins, and what it may become.
fn complete(line: &str, pos: usize, names: &Names) -> (usize, Vec<String>) {
    let before = line.get(..pos).unwrap_or(line);
    // Only the statement at the cursor counts.
    let from = statement_start(before);
    let text = &before[from..];
    if let Some(quote) = open_quote(text) {
        let begun = &text[quote + 1..];
        let words = words(&text[..quote]);
        return (from + quote + 1, pick(begun, in_quotes(&words, names), false));
    }
    let words = words(text);
    let is_typing = text.chars().next_back().is_some_and(is_word_char);
    let (done, typed) = match words.split_last() {
        Some((last, done)) if is_typing => (done, last.text),
        _ => (words.as_slice(), ""),
    };
    let mut start = pos - typed.len();
    let mut begun = typed;
    if let Some((source, column)) = typed.rsplit_once('.') {
        start += source.len() + 1;
        begun = column;
        let source = source_of_alias(line, source);
        return (start, pick(begun, names.columns(&source).map(quoted), true));
    }
    let head = &text[..text.len() - typed.len()];
    let offers: Vec<String> = offers(done, head, line, names);
    (start, pick(begun, offers, true))
}

/// Those that begin as was begun, in the case that was begun with.
fn pick(
    begun: &str,
    offers: impl IntoIterator<Item = impl Into<String>>,
    cased: bool,
) -> Vec<String> {
    let is_lower =
        cased && begun.chars().any(char::is_lowercase) && !begun.chars().any(char::is_uppercase);
    let begins =
        |offer: &str| offer.get(..begun.len()).is_some_and(|head| head.eq_ignore_ascii_case(begun));
    let mut picked: Vec<String> = offers
        .into_iter()
        .map(Into::into)
        .filter(|offer: &String| begins(offer.as_str()))
        .map(|offer| if is_lower && !offer.starts_with('`') { offer.to_lowercase() } else { offer })
        .collect();
    picked.sort();
    picked.dedup();
    picked.truncate(OFFERED_MAX);
    picked
}

fn in_quotes(words: &[Word<'_>], names: &Names) -> Vec<String> {
    let last = |n: usize| words.len().checked_sub(n).and_then(|i| words.get(i));
    let is_last =
        |n: usize, all: &[&str]| last(n).is_some_and(|w| all.iter().any(|word| w.is(word)));
    if is_last(1, &["SET", "UNSET"]) {
        return names.properties.iter().cloned().chain(owned(SESSION_PROPERTIES)).collect();
    }
    if is_last(1, &["PRINT", "TOPIC", "KAFKA_TOPIC"]) {
        return names.topics.clone();
    }
    match last(1) {
        Some(word) if word.text.to_ascii_uppercase().ends_with("FORMAT") => {
            owned(FORMATS).collect()
        }
        Some(word) if word.is("WINDOW_TYPE") => {
            owned(&["HOPPING", "SESSION", "TUMBLING"]).collect()
        }
        // The value of SET 'auto.offset.reset' = '…'.
        Some(word) if word.is("auto.offset.reset") => owned(&["earliest", "latest"]).collect(),
        _ => Vec::new(),
    }
}

/// What may follow the words that are done, which end `head`.
fn offers(done: &[Word<'_>], head: &str, line: &str, names: &Names) -> Vec<String> {
    let sources = || names.sources.iter().map(|(name, _)| quoted(name));
    let keywords = || owned(KEYWORDS);
    let Some(last) = done.last() else { return owned(FIRST_WORDS).collect() };
    let first = &done[0];
    let is_one_of = |word: &Word<'_>, all: &[&str]| all.iter().any(|w| word.is(w));
    if is_in_with(done, head) {
        return owned(CREATE_PROPERTIES).collect();
    }
    if is_one_of(last, &["FROM", "JOIN", "INTO"]) {
        return sources().collect();
    }
    if is_one_of(last, &["PRINT", "TOPIC"]) {
        return names.topics.iter().map(|t| quoted_text(t)).chain(owned(&["EXISTS"])).collect();
    }
    if is_one_of(last, &["TERMINATE", "PAUSE", "RESUME"]) {
        return names.queries.iter().cloned().chain(owned(&["ALL"])).collect();
    }
    if last.is("EXPLAIN") {
        return names
            .queries
            .iter()
            .cloned()
            .chain(owned(&["SELECT", "CREATE", "INSERT"]))
            .collect();
    }
    if first.is("DESCRIBE") {
        return match last.text.to_ascii_uppercase().as_str() {
            "DESCRIBE" => sources().chain(owned(&["FUNCTION", "STREAMS", "TABLES"])).collect(),
            "FUNCTION" => names.functions.clone(),
            _ => owned(&["EXTENDED"]).collect(),
        };
    }
    if is_one_of(first, &["SHOW", "LIST"]) {
        return owned(SHOWN).collect();
    }
    if is_one_of(first, &["DROP", "ALTER"])
        && (is_one_of(last, &["STREAM", "TABLE"]) || last.is("EXISTS"))
    {
        return sources().chain(owned(&["IF", "EXISTS"])).collect();
    }
    if is_one_of(first, &["SET", "UNSET"]) {
        let all = names.properties.iter().cloned().chain(owned(SESSION_PROPERTIES));
        return all.map(|name| format!("'{name}'")).collect();
    }
    // An expression, or the next clause: columns of the sources that the statement names, if any.
    let named: Vec<&str> = names
        .sources
        .iter()
        .filter(|(name, _)| {
            words(line).iter().any(|word| word.text.trim_matches('`').eq_ignore_ascii_case(name))
        })
        .flat_map(|(_, columns)| columns.iter().map(String::as_str))
        .collect();
    let columns = named.into_iter().map(quoted);
    keywords().chain(names.functions.iter().cloned()).chain(sources()).chain(columns).collect()
}

const FIRST_WORDS: &[&str] = &[
    "ALTER",
    "ASSERT",
    "CREATE",
    "DEFINE",
    "DESCRIBE",
    "DROP",
    "EXPLAIN",
    "INSERT",
    "LIST",
    "PAUSE",
    "PRINT",
    "RESUME",
    "SELECT",
    "SET",
    "SHOW",
    "TERMINATE",
    "UNDEFINE",
    "UNSET",
    "clear",
    "exit",
    "help",
];

const SHOWN: &[&str] = &[
    "ALL",
    "EXTENDED",
    "FUNCTIONS",
    "PROPERTIES",
    "QUERIES",
    "STREAMS",
    "TABLES",
    "TOPICS",
    "TYPES",
    "VARIABLES",
];

fn owned(words: &'static [&'static str]) -> impl Iterator<Item = String> {
    words.iter().map(|word| (*word).to_owned())
}

/// A name as a statement must have it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_' || c == '@';
    let starts = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
    let is_plain = starts && name.chars().all(plain) && !is_reserved(name);
    if is_plain { name.to_owned() } else { format!("`{}`", name.replace('`', "``")) }
}

/// A topic's name, quoted unless a word says it.
fn quoted_text(name: &str) -> String {
    if name.chars().all(is_word_char) && !name.contains('.') {
        name.to_owned()
    } else {
        format!("'{name}'")
    }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || "_@`.".contains(c)
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (is_word_char(c), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push(Word { text: &text[from..at], start: from });
                start = None;
            }
            _ => {}
        }
    }
    words
}

/// Behind the last `;` that is not in quotes.
fn statement_start(text: &str) -> usize {
    let mut start = 0;
    let mut in_quotes = false;
    for (at, c) in text.char_indices() {
        match c {
            '\'' => in_quotes = !in_quotes,
            ';' if !in_quotes => start = at + 1,
            _ => {}
        }
    }
    start
}

/// Where the quote begins that the cursor is in.
fn open_quote(text: &str) -> Option<usize> {
    let quotes: Vec<usize> = text.match_indices('\'').map(|(at, _)| at).collect();
    if quotes.len() % 2 == 1 { quotes.last().copied() } else { None }
}

/// Whether a property's name is due behind `head`: in the parentheses of WITH, after `(` or `,`.
fn is_in_with(done: &[Word<'_>], head: &str) -> bool {
    let Some(with) = done.iter().rfind(|word| word.is("WITH")) else { return false };
    let read = head.get(with.start + with.text.len()..).unwrap_or("");
    let is_open = read.matches('(').count() > read.matches(')').count();
    is_open && read.trim_end().ends_with([',', '('])
}

/// The source that an alias stands for: `FROM source alias`, `JOIN source AS alias`.
fn source_of_alias(line: &str, alias: &str) -> String {
    let words = words(line);
    for (i, word) in words.iter().enumerate() {
        if !word.is("FROM") && !word.is("JOIN") {
            continue;
        }
        let Some(source) = words.get(i + 1) else { continue };
        let skip = usize::from(words.get(i + 2).is_some_and(|word| word.is("AS")));
        if words.get(i + 2 + skip).is_some_and(|word| word.is(alias)) {
            return source.text.trim_matches('`').to_owned();
        }
    }
    alias.trim_matches('`').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Names {
            sources: vec![
                ("PAYMENTS".into(), texts(&["ID", "AMOUNT", "Mixed"])),
                ("PEOPLE".into(), texts(&["ID", "CITY"])),
                ("odd name".into(), texts(&["X"])),
            ],
            functions: texts(&["UCASE", "UNIX_DATE", "ABS"]),
            topics: texts(&["payments", "people.v1"]),
            queries: texts(&["CSAS_LARGE_0"]),
            properties: texts(&["ksql.service.id"]),
        }
    }

    /// The cursor is at `|`; what is offered, joined by blanks, and begun at the place of the word.
    #[track_caller]
    fn check(line: &str, offered: &str) {
        let pos = line.find('|').expect("a cursor");
        let (start, offers) = complete(&line.replace('|', ""), pos, &names());
        assert!(start <= pos);
        assert_eq!(offers.join(" "), offered, "{line}");
    }

    #[test]
    fn the_place_decides_what_is_offered() {
        check("SEL|", "SELECT");
        check("sel|", "select");
        check("desc|", "describe");
        check("SELECT * FROM pa|", "payments");
        check("SELECT * FROM PA|", "PAYMENTS");
        check("SELECT * FROM o|", "");
        check("SELECT * FROM `o|", "`odd name`");
        check("SELECT * FROM payments p JOIN pe|", "people");
        check("SELECT am| FROM payments", "amount");
        check("SELECT p.| FROM payments p", "AMOUNT ID `Mixed`");
        check("SELECT x.ci| FROM payments p JOIN people AS x", "city");
        check("SELECT UC|", "UCASE");
        check("SELECT un|", "undefine unix_date unset");
        check("DESCRIBE FUNCTION A|", "ABS");
        check("DESCRIBE P|", "PAYMENTS PEOPLE");
        check("DROP STREAM IF EXISTS PA|", "PAYMENTS");
        check("TERMINATE |", "ALL CSAS_LARGE_0");
        check("PAUSE c|", "csas_large_0");
        check("EXPLAIN C|", "CREATE CSAS_LARGE_0");
        check("PRINT |", "'people.v1' EXISTS payments");
        check("PRINT 'pe|", "people.v1");
        check("SET 'auto|", "auto.offset.reset");
        check("SET 'auto.offset.reset' = '|", "earliest latest");
        check("SHOW T|", "TABLES TOPICS TYPES");
        check("SHOW STREAMS; SEL|", "SELECT");
        check("CREATE STREAM s (id INT) WITH (kafka_topic = 'pay|", "payments");
        check("CREATE STREAM s (id INT) WITH (value_format = '|", "DELIMITED JSON KAFKA NONE");
        check("CREATE STREAM s (id INT) WITH (kafka|", "kafka_topic");
        check("CREATE STREAM s (id INT) WITH (kafka_topic = 'payments', PART|", "PARTITIONS");
    }

    #[test]
    fn no_line_makes_it_panic() {
        let all = "SELECT p.`ü FROM 'x; WITH (a='é', ( ; DESCRIBE ` . '' ,";
        for (at, _) in all.char_indices() {
            complete(all, at, &names());
            complete(&all[..at], at, &names());
        }
    }
}
