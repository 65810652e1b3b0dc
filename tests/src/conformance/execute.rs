//! Executes one case as ksqlDB's own runner does.
//!
//! Statements first. Then query by query, in the order of their statements: topics of the case's
//! inputs are fed in file order, one record at a time through the whole dataflow; other topics (what
//! earlier queries or INSERT VALUES wrote) from the stub. Each record is an epoch of its own, nothing
//! is consolidated, the clock stands at 0. What comes out is appended to the sink's stub topic.

use millstream_sql::catalog::Relation;
use millstream_sql::error::ErrorKind;

use super::case::{Case, Record};
use super::compare::{self, ActualRecord, Rules};
use super::dataflow::Query;
use super::runner::Outcome;
use super::world::{Refusal, StubRecord, World};
use super::{payload, post};

/// Runs a case on this thread.
pub fn run(case: &Case) -> Outcome {
    let mut foreign = case.properties.iter();
    if let Some(why) = foreign.find_map(|(name, _)| post::skip_reason("properties", name)) {
        return Outcome::Skipped(why);
    }
    match if case.expects_error { negative(case) } else { positive(case) } {
        Ok(None) => Outcome::Passed,
        Ok(Some(skipped)) => Outcome::Skipped(skipped),
        Err(Failure::Wrong(why)) => Outcome::Wrong(why),
        Err(Failure::Refused(why)) => Outcome::Refused(why),
    }
}

/// Why a case does not pass.
enum Failure {
    Wrong(String),
    Refused(String),
}

impl Failure {
    /// A statement or query was refused: an answer without a wrong result, if the product says why.
    fn of(refusal: &Refusal, place: &str) -> Failure {
        match refusal {
            Refusal::Sql(_) => Failure::Refused(format!("{place}{refusal}")),
            Refusal::Other(_) => Failure::Wrong(format!("{place}{refusal}")),
        }
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Failure::Wrong(why)
    }
}

/// Passes when only the last statement is refused, at once or on the inputs, with the right code.
fn negative(case: &Case) -> Result<Option<String>, Failure> {
    let Some(wanted) = case.error_kind.as_deref() else {
        let why = "no error_kinds.json says what this case must be refused with";
        return Err(Failure::Wrong(why.into()));
    };
    let mut world = World::new(case);
    let (last, before) = case.statements.split_last().ok_or("no statements".to_owned())?;
    for (i, statement) in before.iter().enumerate() {
        let place = || format!("statement {}: ", i + 1);
        world.execute(statement).map_err(|e| Failure::of(&e, &place()))?;
    }
    let refused = world.execute(last).and_then(|()| {
        world.declare_record_topics(case);
        run_queries(&mut world, case)
    });
    match refused {
        Ok(_) => Err(Failure::Wrong(format!("accepted instead of refused with {wanted}"))),
        Err(e) if e.kind() == Some(ErrorKind::Unsupported) => Err(Failure::of(&e, "")),
        Err(e) if e.kind().is_some_and(|kind| kind.code() == wanted) => Ok(None),
        Err(Refusal::Sql(e)) => {
            let why = format!("refused with {}; instead of {wanted}", Refusal::Sql(e));
            Err(Failure::Refused(why))
        }
        Err(e) => Err(Failure::of(&e, "")),
    }
}

fn positive(case: &Case) -> Result<Option<String>, Failure> {
    let mut world = World::new(case);
    for (i, statement) in case.statements.iter().enumerate() {
        let place = || format!("statement {}: ", i + 1);
        world.execute(statement).map_err(|e| Failure::of(&e, &place()))?;
    }
    world.declare_record_topics(case);
    if world.queries.is_empty() {
        return Err(Failure::Wrong("no statement started a query".into()));
    }
    let reported = run_queries(&mut world, case).map_err(|e| Failure::of(&e, ""))?;
    // What the product reports to the processing log explains most differences.
    let explain = |difference: String| match reported.first() {
        Some(reason) => format!("{difference} (reported: {reason})"),
        None => difference,
    };
    compare_outputs(&world, case).map_err(explain)?;
    match &case.post {
        Some(node) => Ok(post::check(node, &world)?),
        None => Ok(None),
    }
}

fn run_queries(world: &mut World, case: &Case) -> Result<Vec<String>, Refusal> {
    let mut inputs = Vec::new();
    for input in &case.inputs {
        let record = encode_input(input, world).map_err(Refusal::Other)?;
        world.topics.append(&input.topic, record.clone());
        inputs.push((input.topic.as_str(), record));
    }
    let mut reported = Vec::new();
    for dataflow in world.queries.clone() {
        let mut query = Query::start(&dataflow)?;
        let (given, stored): (Vec<String>, Vec<String>) = query
            .source_topics()
            .into_iter()
            .partition(|topic| inputs.iter().any(|(name, _)| name == topic));
        for (topic, record) in inputs.iter().filter(|(topic, _)| given.iter().any(|g| g == topic)) {
            feed(&mut query, topic, record, world)?;
        }
        for topic in stored {
            for record in world.topics.records(&topic).to_vec() {
                feed(&mut query, &topic, &record, world)?;
            }
        }
        reported.append(&mut query.reported);
    }
    Ok(reported)
}

fn feed(
    query: &mut Query,
    topic: &str,
    record: &StubRecord,
    world: &mut World,
) -> Result<(), Refusal> {
    for (sink, record) in query.feed(topic, record)? {
        world.topics.append(&sink, record);
    }
    Ok(())
}

/// The relation that says how a topic's records look: the one a query writes, else any.
fn relation_of<'a>(world: &'a World, topic: &str) -> Option<&'a Relation> {
    let all = || world.catalog.relations().filter(|r| r.topic == topic).map(|r| &**r);
    all().find(|r| r.created_by.is_some()).or_else(|| all().next())
}

fn encode_input(input: &Record, world: &World) -> Result<StubRecord, String> {
    let relation = relation_of(world, &input.topic)
        .ok_or_else(|| format!("no relation over the input topic {}", input.topic))?;
    let mut key = payload::encode(&input.key, &relation.key_format, &relation.schema.key)?;
    if let (Some(key), Some(window)) = (&mut key, input.window) {
        payload::append_window(key, window);
    }
    let columns: Vec<_> =
        relation.schema.value.iter().filter(|c| c.header.is_none()).cloned().collect();
    Ok(StubRecord {
        key,
        value: payload::encode(&input.value, &relation.value_format, &columns)?,
        timestamp: input.timestamp.unwrap_or(0),
        headers: input.headers.clone().unwrap_or_default(),
    })
}

fn compare_outputs(world: &World, case: &Case) -> Result<(), String> {
    let exact = case.properties.iter().find(|(name, _)| name == "use.exact.numeric.comparison");
    let rules = Rules {
        exact_numbers: exact.is_none_or(|(_, value)| !value.eq_ignore_ascii_case("false")),
        zero_time_is_any: case.inputs.is_empty(),
    };
    let mut topics: Vec<&str> = case.outputs.iter().map(|r| r.topic.as_str()).collect();
    topics.sort_unstable();
    topics.dedup();
    for topic in topics {
        let expected: Vec<&Record> = case.outputs.iter().filter(|r| r.topic == topic).collect();
        let actual = open_records(world, topic)?;
        if let Some(difference) = compare::difference(topic, &expected, &actual, rules) {
            return Err(difference);
        }
    }
    Ok(())
}

fn open_records(world: &World, topic: &str) -> Result<Vec<ActualRecord>, String> {
    let relation =
        relation_of(world, topic).ok_or_else(|| format!("no relation over the topic {topic}"))?;
    let open = |(i, record): (usize, &StubRecord)| {
        open_record(relation, record).map_err(|e| format!("{topic} record {i}: {e}"))
    };
    world.topics.records(topic).iter().enumerate().map(open).collect()
}

fn open_record(relation: &Relation, record: &StubRecord) -> Result<ActualRecord, String> {
    let (key, window) = match (&record.key, relation.window) {
        (Some(bytes), Some(kind)) => {
            let (key, window) = payload::split_window(bytes, kind)?;
            (Some(key), Some(window))
        }
        (key, _) => (key.as_deref(), None),
    };
    Ok(ActualRecord {
        key: payload::decode(key, &relation.key_format, &relation.schema.key)?,
        value: payload::decode(
            record.value.as_deref(),
            &relation.value_format,
            &relation.schema.value,
        )?,
        window,
        timestamp: record.timestamp,
        headers: record.headers.clone(),
    })
}
