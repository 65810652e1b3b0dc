//! Answers as a person reads them: entities as tables, rows in columns, errors with their remedy.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().copied());
    table
}

/// A JSON value as the text of a cell.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Rows of a finished query.
pub fn rows(columns: &[String], rows: &[Vec<String>]) -> String {
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut out = table(&names);
    for row in rows {
        out.add_row(row);
    }
    format!("{out}\n{} row{}\n", rows.len(), if rows.len() == 1 { "" } else { "s" })
}

/// An error object of the server: its message already holds the place and the remedy.
pub fn error(value: &Value) -> String {
    let message = text(value, "message");
    if message.is_empty() { format!("{value}\n") } else { format!("{}\n", message.trim_end()) }
}

/// One entity of a `/ksql` answer.
pub fn entity(entity: &Value) -> String {
    let mut out = match text(entity, "@type") {
        "currentStatus" => format!("{}\n", text(&entity["commandStatus"], "message")),
        "streams" => relations(items(entity, "streams")),
        "tables" => relations(items(entity, "tables")),
        "kafka_topics" => topics(items(entity, "topics")),
        "kafka_topics_extended" => topics_extended(items(entity, "topics")),
        "queries" => queries(items(entity, "queries")),
        "properties" => properties(items(entity, "properties")),
        "function_names" => functions(items(entity, "functions")),
        "describe_function" => function(entity),
        "sourceDescription" => source(&entity["sourceDescription"]),
        "source_descriptions" => items(entity, "sourceDescriptions").iter().map(source).collect(),
        "queryDescription" => query(&entity["queryDescription"]),
        "query_descriptions" => items(entity, "queryDescriptions").iter().map(query).collect(),
        "executionPlan" => format!("{}\n", text(entity, "executionPlan")),
        "type_list" => types(&entity["types"]),
        "variables" => variables(items(entity, "variables")),
        "assert_topic" => assertion(entity),
        "terminate_query" => terminated(entity),
        "connector_list" | "connector_plugins_list" => "There are no connectors.\n".to_owned(),
        "warning_entity" => format!("{}\n", text(entity, "message")),
        _ => serde_json::to_string_pretty(entity).unwrap_or_default() + "\n",
    };
    for warning in items(entity, "warnings") {
        out.push_str(&format!("warning: {}\n", text(warning, "message")));
    }
    out
}

fn relations(list: &[Value]) -> String {
    let mut out = table(&["Name", "Topic", "Key format", "Value format", "Windowed"]);
    for r in list {
        let windowed = r.get("isWindowed").and_then(Value::as_bool).unwrap_or(false);
        let windowed = if windowed { "yes" } else { "no" };
        out.add_row([text(r, "name"), text(r, "topic"), text(r, "keyFormat"), text(r, "valueFormat"), windowed]);
    }
    format!("{out}\n")
}

fn topics(list: &[Value]) -> String {
    let mut out = table(&["Topic", "Partitions"]);
    for topic in list {
        out.add_row([text(topic, "name").to_owned(), items(topic, "replicaInfo").len().to_string()]);
    }
    format!("{out}\n")
}

fn topics_extended(list: &[Value]) -> String {
    let mut out = table(&["Topic", "Partitions", "Consumers", "Groups"]);
    for topic in list {
        let partitions = items(topic, "replicaInfo").len().to_string();
        let (consumers, groups) = (cell(&topic["consumerCount"]), cell(&topic["consumerGroupCount"]));
        out.add_row([text(topic, "name").to_owned(), partitions, consumers, groups]);
    }
    format!("{out}\n")
}

fn assertion(entity: &Value) -> String {
    let exists = entity.get("exists").and_then(Value::as_bool).unwrap_or(false);
    let state = if exists { "exists" } else { "does not exist" };
    format!("Topic {} {state}.\n", text(entity, "topicName"))
}

fn terminated(entity: &Value) -> String {
    let was = entity.get("wasTerminated").and_then(Value::as_bool).unwrap_or(false);
    let state = if was { "was terminated" } else { "does not run" };
    format!("Query {} {state}.\n", text(entity, "queryId"))
}

fn queries(list: &[Value]) -> String {
    let mut out = table(&["Query", "Kind", "State", "Writes", "Statement"]);
    for q in list {
        let sinks: Vec<&str> = items(q, "sinks").iter().filter_map(Value::as_str).collect();
        out.add_row([
            text(q, "id"),
            text(q, "queryType"),
            text(q, "state"),
            &sinks.join(", "),
            text(q, "queryString"),
        ]);
    }
    format!("{out}\n")
}

fn properties(list: &[Value]) -> String {
    let mut out = table(&["Property", "Scope", "Value"]);
    for p in list {
        out.add_row([text(p, "name").to_owned(), text(p, "scope").to_owned(), cell(&p["value"])]);
    }
    format!("{out}\n")
}

fn functions(list: &[Value]) -> String {
    let mut out = table(&["Function", "Kind", "Category"]);
    for f in list {
        out.add_row([text(f, "name"), text(f, "type"), text(f, "category")]);
    }
    format!("{out}\n")
}

fn function(f: &Value) -> String {
    let mut out = format!("{} ({})\n{}\n", text(f, "name"), text(f, "type"), text(f, "description"));
    for variant in items(f, "functions") {
        let arguments: Vec<String> = items(variant, "arguments")
            .iter()
            .map(|a| format!("{} {}", text(a, "name"), text(a, "type")).trim().to_owned())
            .collect();
        out.push_str(&format!(
            "  {}({}) -> {}\n",
            text(f, "name"),
            arguments.join(", "),
            text(variant, "returnType")
        ));
    }
    out
}

fn source(s: &Value) -> String {
    let mut out = table(&["Column", "Type", ""]);
    for field in items(s, "fields") {
        out.add_row([text(field, "name").to_owned(), type_text(&field["schema"]), text(field, "type").to_owned()]);
    }
    let mut head = format!("{} ({})\n", text(s, "name"), text(s, "type").to_lowercase());
    for (label, name) in [
        ("Topic", "topic"),
        ("Key format", "keyFormat"),
        ("Value format", "valueFormat"),
        ("Window", "windowType"),
        ("Time column", "timestamp"),
        ("Statement", "statement"),
    ] {
        let value = text(s, name);
        if !value.is_empty() {
            head.push_str(&format!("{label:<13}: {value}\n"));
        }
    }
    for (label, name) in [("Read by", "readQueries"), ("Written by", "writeQueries")] {
        let ids: Vec<&str> = items(s, name).iter().map(|q| text(q, "id")).collect();
        if !ids.is_empty() {
            head.push_str(&format!("{label:<13}: {}\n", ids.join(", ")));
        }
    }
    let places = offsets(items(s, "queryOffsetSummaries"));
    format!("{head}{out}\n{places}")
}

/// Where the partitions of a described topic begin and end.
fn offsets(summaries: &[Value]) -> String {
    let mut out = table(&["Partition", "Begins at", "Ends at"]);
    let mut rows = 0;
    for topic in summaries.iter().flat_map(|s| items(s, "topicSummaries")) {
        for place in items(topic, "offsets") {
            out.add_row(["partition", "logStartOffset", "logEndOffset"].map(|name| cell(&place[name])));
            rows += 1;
        }
    }
    if rows == 0 { String::new() } else { format!("{out}\n") }
}

/// ksqlDB's schema object as SQL text.
fn type_text(schema: &Value) -> String {
    match text(schema, "type") {
        "ARRAY" => format!("ARRAY<{}>", type_text(&schema["memberSchema"])),
        "MAP" => format!("MAP<STRING, {}>", type_text(&schema["memberSchema"])),
        "STRUCT" => {
            let fields: Vec<String> = items(schema, "fields")
                .iter()
                .map(|f| format!("{} {}", text(f, "name"), type_text(&f["schema"])))
                .collect();
            format!("STRUCT<{}>", fields.join(", "))
        }
        "DECIMAL" => {
            let parameters = &schema["parameters"];
            format!("DECIMAL({}, {})", cell(&parameters["precision"]), cell(&parameters["scale"]))
        }
        plain => plain.to_owned(),
    }
}

fn query(q: &Value) -> String {
    // The plan of a statement that does not run begins with the name that it would have.
    let mut out = match text(q, "state") {
        "" => String::new(),
        state => format!("{} is {state}\n{}\n\n", text(q, "id"), text(q, "statementText")),
    };
    for name in ["executionPlan", "topology"] {
        let plan = text(q, name);
        if !plan.is_empty() {
            out.push_str(plan);
            break;
        }
    }
    for problem in items(q, "queryErrors") {
        out.push_str(&format!("error: {}\n", text(problem, "errorMessage")));
    }
    out
}

fn types(list: &Value) -> String {
    let mut out = table(&["Type", "Definition"]);
    for (name, schema) in list.as_object().into_iter().flatten() {
        out.add_row([name.clone(), type_text(schema)]);
    }
    format!("{out}\n")
}

fn variables(list: &[Value]) -> String {
    let mut out = table(&["Variable", "Value"]);
    for v in list {
        out.add_row([text(v, "name"), text(v, "value")]);
    }
    format!("{out}\n")
}

/// The head of a push query's rows: names over columns of the widths that [`push_row`] uses.
pub fn push_head(columns: &[String], width: usize) -> String {
    let line = "─".repeat((width + 1) * columns.len());
    format!("{}\n{line}\n", push_row(columns, width))
}

/// One row of a push query in columns of `width`; longer values keep their full text.
pub fn push_row(values: &[String], width: usize) -> String {
    let mut out = String::new();
    for value in values {
        out.push_str(&format!("{value:<width$} "));
    }
    out.trim_end().to_owned()
}
