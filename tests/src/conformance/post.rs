//! Checks what a case says about the catalog and the topics after its statements (`post`).
//!
//! Only what is listed is checked. A blacklist and the names of internal topics are checked against
//! the names that EXPLAIN gives them (state has no changelog topics here, so those are passed over). Names with numbers of Kafka Streams' nodes mean nothing here:
//! when all else is right they make the case a skip.

use millstream_sql::catalog::{Format, KeyWindow, Relation};
use millstream_sql::plan::{PlanConfig, explain};
use millstream_sql::syntax::ast::{RelationKind, Statement};
use millstream_sql::syntax::{NoTypes, parse_statements};

use super::json::Json;
use super::world::World;

/// What the names of internal topics begin with.
const INTERNAL: &str = "_confluent-ksql-";

/// `Ok(Some(reason))`: all that could be checked is right.
///
/// # Errors
/// The first difference.
pub fn check(node: &Json, world: &World) -> Result<Option<String>, String> {
    for source in node.get("sources").and_then(Json::as_array).unwrap_or(&[]) {
        let name = source.get("name").map(Json::as_text).unwrap_or_default();
        check_source(source, &name, world).map_err(|e| format!("post, source {name}: {e}"))?;
    }
    match node.get("topics") {
        Some(topics) => check_topics(topics, world).map_err(|e| format!("post, topics: {e}")),
        None => Ok(None),
    }
}

fn check_source(node: &Json, name: &str, world: &World) -> Result<(), String> {
    let relation = world.catalog.relation(name).ok_or("is not in the catalog")?;
    let kind = match relation.kind {
        RelationKind::Stream => "stream",
        RelationKind::Table => "table",
    };
    if let Some(wanted) = node.get("type").and_then(Json::as_str) {
        same("type", kind, &wanted.to_ascii_lowercase())?;
    }
    if let Some(wanted) = node.get("schema").and_then(Json::as_str) {
        same("schema", &relation.schema.describe("KEY"), &schema_text(wanted)?)?;
    }
    if let Some(wanted) = node.get("isSource").and_then(Json::as_bool) {
        same("isSource", &relation.source.to_string(), &wanted.to_string())?;
    }
    check_format("keyFormat", node.get("keyFormat"), &relation.key_format)?;
    check_format("valueFormat", node.get("valueFormat"), &relation.value_format)?;
    if let Some(format) = node.get("keyFormat") {
        check_window(format, relation)?;
    }
    let single = |columns: usize, format: &Format| columns == 1 && format.unwrap_single;
    for (field, unwrapped) in [
        ("keyFeatures", single(relation.schema.key.len(), &relation.key_format)),
        ("valueFeatures", single(relation.schema.value.len(), &relation.value_format)),
    ] {
        if let Some(wanted) = node.get(field).and_then(Json::as_array) {
            let wanted = wanted.iter().any(|f| f.as_str() == Some("UNWRAP_SINGLES"));
            same(
                &format!("UNWRAP_SINGLES in {field}"),
                &unwrapped.to_string(),
                &wanted.to_string(),
            )?;
        }
    }
    Ok(())
}

fn same(what: &str, actual: &str, wanted: &str) -> Result<(), String> {
    if actual == wanted { Ok(()) } else { Err(format!("{what} is {actual} instead of {wanted}")) }
}

fn check_format(what: &str, node: Option<&Json>, actual: &Format) -> Result<(), String> {
    let wanted = match node {
        Some(Json::String(name)) => name.as_str(),
        Some(node) => match node.get("format").and_then(Json::as_str) {
            Some(name) => name,
            None => return Ok(()),
        },
        None => return Ok(()),
    };
    same(what, actual.kind.name(), wanted)
}

fn check_window(node: &Json, relation: &Relation) -> Result<(), String> {
    let Some(wanted) = node.get("windowType").and_then(Json::as_str) else {
        return Ok(());
    };
    let (kind, size) = match relation.window {
        None => ("no window", None),
        Some(KeyWindow::Session) => ("SESSION", None),
        Some(KeyWindow::Time { size_ms, hopping: false }) => ("TUMBLING", Some(size_ms)),
        Some(KeyWindow::Time { size_ms, hopping: true }) => ("HOPPING", Some(size_ms)),
    };
    same("windowType", kind, wanted)?;
    match node.get("windowSize").and_then(Json::as_i64) {
        Some(wanted) if Some(wanted) != size => {
            Err(format!("windowSize is {size:?} instead of {wanted}"))
        }
        _ => Ok(()),
    }
}

/// A schema's text as our own catalog would print it.
fn schema_text(text: &str) -> Result<String, String> {
    let columns = text.replace("PRIMARY KEY", "KEY");
    let statement = format!("CREATE STREAM X ({columns}) WITH (KAFKA_TOPIC='x');");
    let parsed = parse_statements(&statement, &NoTypes)
        .map_err(|e| format!("its schema text {text:?}: {e}"))?;
    let Some(Statement::CreateSource(create)) = parsed.into_iter().next().map(|s| s.statement)
    else {
        return Err(format!("its schema text {text:?} is no list of columns"));
    };
    let mut schema = millstream_sql::types::Schema::default();
    for column in create.columns {
        use millstream_sql::syntax::ast::ColumnRole;
        let part = match column.role {
            ColumnRole::Value => &mut schema.value,
            ColumnRole::Key | ColumnRole::PrimaryKey => &mut schema.key,
        };
        let mut made = millstream_sql::types::Column::new(column.name.text, column.ty);
        made.header = column.header;
        part.push(made);
    }
    Ok(schema.describe("KEY"))
}

fn check_topics(node: &Json, world: &World) -> Result<Option<String>, String> {
    let internal = internal_topics(world);
    if let Some(pattern) = node.get("blacklist").and_then(Json::as_str) {
        // The only shape in use is `.*TAIL`.
        let tail = pattern.strip_prefix(".*").ok_or("a blacklist that is not .*TAIL")?;
        let mut names = internal.iter().chain(world.topics.0.keys());
        if let Some(name) = names.find(|name| name.ends_with(tail)) {
            return Err(format!("{name} must not exist"));
        }
    }
    let mut skipped = None;
    for wanted in node.get("topics").and_then(Json::as_array).unwrap_or(&[]) {
        let name = wanted.get("name").map(Json::as_text).unwrap_or_default();
        if let Some(reason) = skip_reason("post.topics", &name) {
            skipped = Some(reason);
        } else if name.starts_with(INTERNAL) {
            // Its formats are not ours to say: rows between operators have none.
            if !internal.contains(&name) && !name.ends_with("-changelog") {
                return Err(format!("{name} is not there, but {internal:?}"));
            }
        } else {
            check_topic(&name, wanted, world)?;
        }
    }
    Ok(skipped)
}

fn check_topic(name: &str, wanted: &Json, world: &World) -> Result<(), String> {
    let topic = world.topics.0.get(name).ok_or_else(|| format!("{name} is not there"))?;
    if let Some(partitions) = wanted.get("partitions").and_then(Json::as_i64) {
        same(
            &format!("{name} partitions"),
            &topic.partitions.to_string(),
            &partitions.to_string(),
        )?;
    }
    if let Some(relation) = world.catalog.relations().find(|r| r.topic == name) {
        check_format("keyFormat", wanted.get("keyFormat"), &relation.key_format)?;
        check_format("valueFormat", wanted.get("valueFormat"), &relation.value_format)?;
    }
    for schema in ["keySchema", "valueSchema"] {
        if wanted.get(schema).is_some_and(|s| *s != Json::Null) {
            return Err(format!("{name}: {schema} in the registry, which is not built yet"));
        }
    }
    Ok(())
}

/// The list of reasons for which a case may be skipped.
const SKIP: &str = include_str!("../../conformance/SKIP");

/// The reason why `name`, met at `place` of a case (`post.topics`, `properties`), means nothing here.
pub fn skip_reason(place: &str, name: &str) -> Option<String> {
    let lines = SKIP.lines().filter(|l| !l.starts_with('#'));
    let parsed = lines.filter_map(|l| l.split_once(" : "));
    let matching = |(what, _): &(&str, &str)| {
        what.split_once(' ').is_some_and(|(at, part)| at == place && name.contains(part))
    };
    parsed.filter(matching).map(|(what, why)| format!("{what}: {why}")).next()
}

/// The names that EXPLAIN gives to the topics a Kafka deployment of the queries would have for itself.
fn internal_topics(world: &World) -> Vec<String> {
    let Ok(config) = PlanConfig::from_properties(&world.properties) else { return Vec::new() };
    let texts = world.queries.iter().map(|query| explain(query, &config));
    let words = texts.flat_map(|text| {
        let is_name = |c: char| c.is_alphanumeric() || "._-".contains(c);
        let words = text.split(|c| !is_name(c)).map(str::to_owned);
        words.filter(|word| word.starts_with(INTERNAL)).collect::<Vec<_>>()
    });
    words.collect()
}
