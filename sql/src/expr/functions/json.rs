//! Functions of JSON texts.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, Time32MillisecondType};

use super::json_value::{Json, follow, parse, path_steps, write_string};
use super::typed::{B, I, List, MapOf, Opt, S, f1, f2, rows, some};
use super::{Call, Kernel, Library, Memo};
use crate::expr::eval::cast;
use crate::expr::eval::decimal::{self, DecimalColumn, Rounding};
use crate::expr::java;

pub(super) fn add(lib: &mut Library) {
    lib.category("JSON");
    let memo = Memo::new();
    lib.add(
        "EXTRACTJSONFIELD",
        "The text of what a path leads to in a JSON text.",
        [(
            "S, S -> S",
            f2::<S, S, S>(move |json, path| {
                let path = memo.get(path, path_steps)?;
                Ok(follow(&parse(json)?, &path).map(Json::text))
            }),
        )],
    ).note("NULL if nothing is there. An object or array is given as JSON, the JSON null as the text `null`.").arg("json", "The JSON text.").arg("path", "Where to look, as in `$.a.b[0]`.").example("EXTRACTJSONFIELD('{\"a\": {\"b\": [1, 2]}}', '$.a.b[0]')", "'1'").example("EXTRACTJSONFIELD('{\"a\": {\"b\": [1, 2]}}', '$.a')", "'{\"b\":[1,2]}'");
    lib.add(
        "IS_JSON_STRING",
        "Whether a text is valid JSON.",
        [("S -> B", f1::<Opt<S>, B>(|json| some(json.is_some_and(|j| parse(j).is_ok()))))],
    )
    .note("FALSE for NULL and the empty text.")
    .arg("text", "The text.")
    .example("IS_JSON_STRING('[1, 2]')", "true")
    .example("IS_JSON_STRING('abc')", "false");
    lib.add(
        "JSON_ARRAY_CONTAINS",
        "Whether a JSON array has an element equal to a value.",
        [("S, T -> B", array_contains())],
    )
    .note("Numbers, texts and booleans are told apart.")
    .arg("json", "The JSON array.")
    .arg("value", "What to look for.")
    .example("JSON_ARRAY_CONTAINS('[1, 2]', 2)", "true")
    .example("JSON_ARRAY_CONTAINS('[1, 2]', '2')", "false");
    lib.add(
        "JSON_ARRAY_LENGTH",
        "The number of elements of a JSON array.",
        [(
            "S -> I",
            f1::<S, I>(|json| match parse(json)? {
                Json::Array(items) => some(items.len() as i32),
                _ => Ok(None),
            }),
        )],
    )
    .note("NULL if the JSON is no array; a text that is no JSON is an error.")
    .arg("json", "The JSON array.")
    .example("JSON_ARRAY_LENGTH('[1, 2, 3]')", "3");
    lib.add(
        "JSON_CONCAT",
        "JSON objects merged, or arrays and values one after the other.",
        [("S... -> S", concat())],
    )
    .note("NULL if one of them is.")
    .arg("jsons", "JSON texts: objects are merged, anything else is put into one array.")
    .example("JSON_CONCAT('{\"a\": 1}', '{\"b\": 2}')", "'{\"a\":1,\"b\":2}'")
    .example("JSON_CONCAT('[1]', '[2]', '3')", "'[1,2,3]'");
    lib.add(
        "JSON_ITEMS",
        "The elements of a JSON array, each as JSON text.",
        [(
            "S -> [S]",
            f1::<S, List<S>>(|json| match parse(json)? {
                Json::Array(items) => some(items.iter().map(|i| Some(i.json())).collect()),
                _ => Ok(None),
            }),
        )],
    )
    .arg("json", "The JSON array.")
    .example("JSON_ITEMS('[1, {\"a\": 2}]')", "ARRAY['1', '{\"a\":2}']");
    lib.add(
        "JSON_KEYS",
        "The field names of a JSON object.",
        [(
            "S -> [S]",
            f1::<S, List<S>>(|json| match parse(json)? {
                Json::Object(fields) => some(fields.into_iter().map(|(k, _)| Some(k)).collect()),
                _ => Ok(None),
            }),
        )],
    )
    .note("NULL if the JSON is no object.")
    .arg("json", "The JSON object.")
    .example("JSON_KEYS('{\"a\": 1, \"b\": 2}')", "ARRAY['a', 'b']");
    lib.add(
        "JSON_RECORDS",
        "The fields of a JSON object with their values as text.",
        [(
            "S -> {S:S}",
            f1::<S, MapOf<S, S>>(|json| match parse(json)? {
                Json::Object(fields) => {
                    some(fields.into_iter().map(|(k, v)| (k, Some(v.text()))).collect())
                }
                _ => Ok(None),
            }),
        )],
    )
    .note("NULL if the JSON is no object.")
    .arg("json", "The JSON object.")
    .example("JSON_RECORDS('{\"a\": 1, \"b\": \"x\"}')", "MAP('a' := '1', 'b' := 'x')");
    lib.add(
        "TO_JSON_STRING",
        "A value as JSON text.",
        [(
            "T -> S",
            Box::new(|call: &mut Call<'_, '_>| {
                let arg = call.args.remove(0);
                rows::<S>(call, |row| {
                    let mut out = String::new();
                    write_value(&arg.array, arg.at(row), &mut out);
                    some(out)
                })
            }) as Kernel,
        )],
    )
    .note("Fields of structs and keys of maps are sorted, BYTES are base64.")
    .arg("value", "The value, of any type.")
    .example(
        "TO_JSON_STRING(STRUCT(B := 1, A := ARRAY['x', NULL]))",
        "'{\"A\":[\"x\",null],\"B\":1}'",
    );
}

fn array_contains() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let texts = args[0].array.as_string_view();
        rows::<B>(call, |row| {
            if args[0].is_null(row) {
                return some(false);
            }
            let Ok(Json::Array(items)) = parse(texts.value(args[0].at(row))) else {
                return some(false);
            };
            some(items.iter().any(|item| equals(item, &args[1].array, args[1].at(row))))
        })
    })
}

/// Equal in value and in kind: `1` is no `1.0` and no `"1"`.
fn equals(json: &Json, array: &dyn Array, at: usize) -> bool {
    if array.is_null(at) {
        return *json == Json::Null;
    }
    let integer = |text: &String| !text.contains(['.', 'e', 'E']);
    match (json, array.data_type()) {
        (Json::Bool(b), DataType::Boolean) => *b == array.as_boolean().value(at),
        (Json::String(s), DataType::Utf8View) => s == array.as_string_view().value(at),
        (Json::Number(n), DataType::Int32) => {
            integer(n) && n.parse() == Ok(array.as_primitive::<Int32Type>().value(at))
        }
        (Json::Number(n), DataType::Int64) => {
            integer(n) && n.parse() == Ok(array.as_primitive::<Int64Type>().value(at))
        }
        (Json::Number(n), DataType::Float64) => {
            !integer(n) && n.parse() == Ok(array.as_primitive::<Float64Type>().value(at))
        }
        (Json::Number(n), DataType::Decimal128(..) | DataType::Decimal256(..)) => {
            match (DecimalColumn::open(array), decimal::parse(n)) {
                (Some(column), Some((value, scale))) if !integer(n) => {
                    let common = scale.max(column.scale());
                    let up = |v, s| decimal::rescale(v, s, common, Rounding::Exact);
                    up(value, scale) == up(column.get(at), column.scale())
                }
                _ => false,
            }
        }
        _ => false,
    }
}

fn concat() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        rows::<S>(call, |row| {
            let mut values = Vec::with_capacity(args.len());
            for arg in &args {
                if arg.is_null(row) {
                    return Ok(None);
                }
                values.push(parse(arg.array.as_string_view().value(arg.at(row)))?);
            }
            Ok(concatenated(values).map(|json| json.json()))
        })
    })
}

fn concatenated(values: Vec<Json>) -> Option<Json> {
    if values.is_empty() {
        return None;
    }
    if !values.iter().all(|v| matches!(v, Json::Object(_))) {
        return Some(Json::Array(
            values
                .into_iter()
                .flat_map(|v| match v {
                    Json::Array(items) => items,
                    other => vec![other],
                })
                .collect(),
        ));
    }
    let mut merged: Vec<(String, Json)> = vec![];
    for value in values {
        let Json::Object(fields) = value else { continue };
        for (name, value) in fields {
            match merged.iter_mut().find(|(n, _)| *n == name) {
                Some((_, old)) => *old = value,
                None => merged.push((name, value)),
            }
        }
    }
    Some(Json::Object(merged))
}

/// One element as JSON; struct fields and map keys are sorted.
fn write_value(array: &dyn Array, at: usize, out: &mut String) {
    if array.is_null(at) {
        out.push_str("null");
        return;
    }
    match array.data_type() {
        DataType::Utf8View => write_string(array.as_string_view().value(at), out),
        DataType::Binary | DataType::Date32 | DataType::Timestamp(..) => {
            write_string(&cast::text(array, at), out);
        }
        DataType::Time32(_) => {
            let ms = array.as_primitive::<Time32MillisecondType>().value(at);
            write_string(&java::time_to_string(ms, true), out);
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(at);
            out.push('[');
            for i in 0..items.len() {
                if i > 0 {
                    out.push(',');
                }
                write_value(&items, i, out);
            }
            out.push(']');
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(at);
            let (keys, values) = (entries.column(0), entries.column(1));
            let mut order: Vec<(String, usize)> =
                (0..entries.len()).map(|i| (cast::text(keys, i), i)).collect();
            order.sort();
            write_fields(order.iter().map(|(k, i)| (k.as_str(), values.as_ref(), *i)), out);
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let mut order: Vec<(&str, &dyn Array)> =
                fields.iter().zip(columns).map(|(f, c)| (f.name().as_str(), c.as_ref())).collect();
            order.sort_by_key(|(name, _)| *name);
            write_fields(order.into_iter().map(|(name, column)| (name, column, at)), out);
        }
        _ => out.push_str(&cast::text(array, at)),
    }
}

fn write_fields<'a>(
    fields: impl Iterator<Item = (&'a str, &'a dyn Array, usize)>,
    out: &mut String,
) {
    out.push('{');
    for (i, (name, column, at)) in fields.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        write_value(column, at, out);
    }
    out.push('}');
}
