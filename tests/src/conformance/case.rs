//! Case files: what they say, expanded to single runs.
//!
//! The format is ksqlDB's (`docs/conformance.md` says how to run its files). One entry of `tests`
//! with a `format` or `config` list becomes one case per entry of the list. Unknown fields are passed
//! over; a disabled case is not counted at all.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::json::Json;

/// One run.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file's name without `.json`.
    pub file: String,
    /// With ` - FORMAT` and ` - value` where expanded.
    pub name: String,
    /// As written in the file; what `error_kinds.json` uses.
    pub written_name: String,
    pub statements: Vec<String>,
    /// Settings, as text.
    pub properties: Vec<(String, String)>,
    pub topics: Vec<TopicNode>,
    pub inputs: Vec<Record>,
    pub outputs: Vec<Record>,
    /// Set for a negative case.
    pub expects_error: bool,
    /// What the rejection must be: an error code. `None` when no list names it.
    pub error_kind: Option<String>,
    pub post: Option<Json>,
}

/// Formats that a schema registry goes with, and PROTOBUF_NOSR, which comes with them: it is
/// PROTOBUF with the schema made of the columns.
const REGISTRY_FORMATS: [&str; 4] = ["AVRO", "JSON_SR", "PROTOBUF", "PROTOBUF_NOSR"];

impl Case {
    /// Whether the case names a registry format or a schema id: in the WITH of a statement, for a
    /// topic, or as a default format.
    pub fn needs_registry(&self) -> bool {
        let is_one = |format: &str| REGISTRY_FORMATS.iter().any(|f| f.eq_ignore_ascii_case(format));
        let topic = |t: &TopicNode| {
            [&t.key_format, &t.value_format].into_iter().flatten().any(|f| is_one(f))
        };
        let default = |(name, value): &(String, String)| name.contains("format") && is_one(value);
        self.statements.iter().any(|s| names_registry(s, &is_one))
            || self.topics.iter().any(topic)
            || self.properties.iter().any(default)
    }
}

/// Looks for `FORMAT = 'AVRO'` and `SCHEMA_ID =`, with any prefix and spacing.
fn names_registry(statement: &str, is_one: &dyn Fn(&str) -> bool) -> bool {
    let upper = statement.to_uppercase();
    let mut parts = upper.split('=');
    let Some(mut before) = parts.next() else { return false };
    for after in parts {
        let name = before.trim_end();
        let value = after.trim_start().strip_prefix('\'').and_then(|v| v.split('\'').next());
        if name.ends_with("_SCHEMA_ID") || (name.ends_with("FORMAT") && value.is_some_and(is_one)) {
            return true;
        }
        before = after;
    }
    false
}

/// A topic that exists before the first statement.
#[derive(Clone, Debug)]
pub struct TopicNode {
    pub name: String,
    pub partitions: u32,
    pub key_format: Option<String>,
    pub value_format: Option<String>,
    pub key_schema: Option<Json>,
    pub value_schema: Option<Json>,
}

/// Keys and values, in order.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

#[derive(Clone, Debug)]
pub struct Record {
    pub topic: String,
    pub key: Json,
    pub value: Json,
    /// Absent in an output: not compared.
    pub timestamp: Option<i64>,
    pub window: Option<Window>,
    /// Absent: no headers in an input, not compared in an output.
    pub headers: Option<Headers>,
}

/// The window of a key; of a session the end is the last event's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub start: i64,
    pub end: i64,
    pub session: bool,
}

/// The cases of all `.json` files directly in `dir`, in order of file name.
///
/// # Errors
/// When a file cannot be read or is not a case file.
pub fn load_dir(dir: &Path) -> Result<Vec<Case>, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .filter(|p| p.file_name().is_some_and(|n| n != "error_kinds.json"))
        .collect();
    paths.sort();
    let kinds = ErrorKinds::beside(dir)?;
    let mut cases = Vec::new();
    for path in paths {
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let at = |e| format!("{}: {e}", path.display());
        cases.extend(parse_file(&file, &text, &kinds).map_err(at)?);
    }
    Ok(cases)
}

/// `error_kinds.json`: file → case name → error code. Files are named as `folder/file.json`; the
/// folder is not compared.
#[derive(Clone, Debug, Default)]
pub struct ErrorKinds(Vec<(String, Json)>);

impl ErrorKinds {
    fn beside(dir: &Path) -> Result<ErrorKinds, String> {
        for place in [Some(dir), dir.parent()].into_iter().flatten() {
            let path = place.join("error_kinds.json");
            if let Ok(text) = std::fs::read_to_string(&path) {
                return Self::parse(&text).map_err(|e| format!("{}: {e}", path.display()));
            }
        }
        Ok(ErrorKinds::default())
    }

    /// # Errors
    /// When the text is not an object.
    pub fn parse(text: &str) -> Result<ErrorKinds, String> {
        match Json::parse(text)? {
            Json::Object(files) => Ok(ErrorKinds(files)),
            _ => Err("expected an object".into()),
        }
    }

    fn of(&self, file: &str, name: &str) -> Option<String> {
        let stem = |path: &str| {
            let base = path.rsplit('/').next().unwrap_or(path);
            base.strip_suffix(".json").unwrap_or(base).to_owned()
        };
        let found = self.0.iter().filter(|(path, _)| stem(path) == file);
        found.filter_map(|(_, names)| names.get(name)?.as_str()).next().map(str::to_owned)
    }
}

/// The cases of one file's text.
///
/// # Errors
/// When the text is not a case file.
pub fn parse_file(file: &str, text: &str, kinds: &ErrorKinds) -> Result<Vec<Case>, String> {
    let json = Json::parse(text)?;
    let tests = json.get("tests").and_then(Json::as_array).ok_or("no \"tests\"")?;
    let mut cases = Vec::new();
    for test in tests {
        if test.get("enabled").and_then(Json::as_bool) == Some(false) {
            continue;
        }
        let name = test.get("name").and_then(Json::as_str).ok_or("a case has no name")?;
        let one = expand(file, name, test, kinds);
        cases.extend(one.map_err(|e| format!("case {name:?}: {e}"))?);
    }
    Ok(cases)
}

fn expand(file: &str, name: &str, test: &Json, kinds: &ErrorKinds) -> Result<Vec<Case>, String> {
    let choices = |field: &str| -> Vec<Option<&Json>> {
        match test.get(field).and_then(Json::as_array) {
            Some(items) if !items.is_empty() => items.iter().map(Some).collect(),
            _ => vec![None],
        }
    };
    let mut cases = Vec::new();
    for format in choices("format") {
        for config in choices("config") {
            let mut case = base_case(test)?;
            case.file = file.into();
            case.written_name = name.into();
            case.name = name.into();
            if let Some(format) = format {
                let format = format.as_text();
                case.name = format!("{} - {format}", case.name);
                for statement in &mut case.statements {
                    *statement = statement.replace("{FORMAT}", &format);
                }
                for topic in &mut case.topics {
                    for part in [&mut topic.key_format, &mut topic.value_format] {
                        *part = part.as_ref().map(|f| f.replace("{FORMAT}", &format));
                    }
                }
            }
            if let Some(config) = config {
                let config = config.as_text();
                case.name = format!("{} - {config}", case.name);
                for (_, value) in &mut case.properties {
                    *value = value.replace("{CONFIG}", &config);
                }
            }
            case.error_kind = kinds.of(file, name);
            cases.push(case);
        }
    }
    Ok(cases)
}

fn base_case(test: &Json) -> Result<Case, String> {
    let list = |field: &str| test.get(field).and_then(Json::as_array).unwrap_or(&[]);
    let statements: Vec<String> = list("statements").iter().map(Json::as_text).collect();
    if statements.is_empty() {
        return Err("no statements".into());
    }
    let properties = match test.get("properties") {
        Some(Json::Object(fields)) => {
            fields.iter().map(|(name, value)| (name.clone(), value.as_text())).collect()
        }
        _ => Vec::new(),
    };
    let case = Case {
        file: String::new(),
        name: String::new(),
        written_name: String::new(),
        statements,
        properties,
        topics: list("topics").iter().map(topic).collect::<Result<_, _>>()?,
        inputs: list("inputs").iter().map(record).collect::<Result<_, _>>()?,
        outputs: list("outputs").iter().map(record).collect::<Result<_, _>>()?,
        expects_error: test.get("expectedException").is_some(),
        error_kind: None,
        post: test.get("post").cloned(),
    };
    if !case.expects_error && test.get("inputs").is_none() && test.get("outputs").is_none() {
        return Err("neither inputs nor outputs nor an expected error".into());
    }
    Ok(case)
}

fn topic(node: &Json) -> Result<TopicNode, String> {
    let text = |field: &str| node.get(field).and_then(Json::as_str).map(str::to_owned);
    let partitions = node.get("partitions").and_then(Json::as_i64).unwrap_or(1);
    Ok(TopicNode {
        name: text("name").ok_or("a topic has no name")?,
        partitions: u32::try_from(partitions).map_err(|_| "a topic's partitions are no number")?,
        key_format: text("keyFormat"),
        value_format: text("valueFormat").or_else(|| text("format")),
        key_schema: node.get("keySchema").cloned(),
        value_schema: node.get("valueSchema").or_else(|| node.get("schema")).cloned(),
    })
}

fn record(node: &Json) -> Result<Record, String> {
    let topic = node.get("topic").and_then(Json::as_str).ok_or("a record has no topic")?;
    let value = node.get("value").ok_or("a record has no value")?;
    Ok(Record {
        topic: topic.into(),
        key: node.get("key").cloned().unwrap_or(Json::Null),
        value: value.clone(),
        timestamp: node.get("timestamp").and_then(Json::as_i64),
        window: node.get("window").filter(|w| **w != Json::Null).map(window).transpose()?,
        headers: node.get("headers").and_then(Json::as_array).map(headers).transpose()?,
    })
}

fn window(node: &Json) -> Result<Window, String> {
    let number = |field: &str| {
        node.get(field).and_then(Json::as_i64).ok_or_else(|| format!("a window has no {field}"))
    };
    let kind = node.get("type").and_then(Json::as_str).unwrap_or("");
    let session = kind.eq_ignore_ascii_case("session");
    if !session && !kind.eq_ignore_ascii_case("time") {
        return Err(format!("unknown window type {kind:?}"));
    }
    Ok(Window { start: number("start")?, end: number("end")?, session })
}

fn headers(nodes: &[Json]) -> Result<Headers, String> {
    let mut headers = Vec::new();
    for node in nodes {
        let key = node.get("KEY").and_then(Json::as_str).ok_or("a header has no KEY")?;
        let value = match node.get("VALUE") {
            None | Some(Json::Null) => None,
            Some(Json::String(text)) => Some(BASE64.decode(text).map_err(|e| e.to_string())?),
            Some(other) => return Err(format!("a header's VALUE is {other}")),
        };
        headers.push((key.into(), value));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_one_case_each_and_disabled_ones_none() {
        let text = r#"{"tests": [
            {"name": "a", "format": ["X", "Y"], "config": [true, 2], "properties": {"p": "<{CONFIG}>"},
             "statements": ["CREATE {FORMAT}"], "inputs": [], "note": "unknown"},
            {"name": "b", "enabled": false, "statements": ["S"], "inputs": []},
            {"name": "c", "statements": ["S"], "expectedException": {}}
        ]}"#;
        let kinds = ErrorKinds::parse(r#"{"any/f.json": {"c": "syntax"}}"#).unwrap();
        let cases = parse_file("f", text, &kinds).unwrap();
        let names: Vec<_> = cases.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["a - X - true", "a - X - 2", "a - Y - true", "a - Y - 2", "c"]);
        assert_eq!(cases[3].statements, ["CREATE Y"]);
        assert_eq!(cases[3].properties, [("p".into(), "<2>".into())]);
        assert_eq!(cases[4].error_kind.as_deref(), Some("syntax"));
        assert!(cases[4].expects_error);
    }

    #[test]
    fn registry_formats_are_found_where_they_are_named() {
        for (field, want) in [
            (r#""statements": ["CREATE STREAM A (B INT) WITH (value_format = 'Avro');"]"#, true),
            (r#""statements": ["CREATE STREAM A WITH (KEY_SCHEMA_ID=1, format='JSON');"]"#, true),
            (r#""statements": ["CREATE STREAM A WITH (FORMAT='PROTOBUF_NOSR');"]"#, true),
            (r#""statements": ["S"], "topics": [{"name": "t", "keyFormat": "JSON_SR"}]"#, true),
            (
                r#""statements": ["S"], "properties": {"ksql.persistence.default.format.key": "AVRO"}"#,
                true,
            ),
            (
                r#""statements": ["CREATE STREAM AVRO WITH (kafka_topic='avro', format='JSON');"]"#,
                false,
            ),
        ] {
            let text = format!(r#"{{"tests": [{{"name": "a", "inputs": [], {field}}}]}}"#);
            let cases = parse_file("f", &text, &ErrorKinds::default()).unwrap();
            assert_eq!(cases[0].needs_registry(), want, "{field}");
        }
    }

    #[test]
    fn a_case_without_statements_or_outcome_is_refused() {
        for test in [r#"{"name": "a", "inputs": []}"#, r#"{"name": "a", "statements": ["S"]}"#] {
            let text = format!(r#"{{"tests": [{test}]}}"#);
            assert!(parse_file("f", &text, &ErrorKinds::default()).is_err(), "{test}");
        }
    }
}
