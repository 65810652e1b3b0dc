//! The small functions that ksqlDB's cases use and that are no part of ksqlDB: made from what the cases
//! show of them, and registered for the runner's catalogs only.
//!
//! `BAD_UDF` fails or gives NULL on purpose, `THROWING_UDTF` too; `WHENCONDITION` and `WHENRESULT` fail
//! when a CASE evaluates what it should not; the `…ARG` aggregates show what arguments may look like.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StringViewArray, StructArray};
use arrow::datatypes::{DataType, Field};
use millstream_sql::error::SqlError;
use millstream_sql::expr::{
    AggregateInfo, Function, FunctionKind, Functions, RowAggregate, ScalarValue,
};
use millstream_sql::types::SqlType;

type Outcome = Result<ScalarValue, String>;

/// The built-in functions and those of the cases. Each catalog gets its own: one of them counts calls.
pub fn with_test_functions() -> Arc<Functions> {
    let functions = test_functions().expect("every signature here can be read");
    let aggregates = test_aggregates().expect("every signature here can be read");
    Arc::new(Functions::built_in().with(functions).with_aggregates(aggregates))
}

fn scalar(name: &str) -> Function {
    Function::new(name, FunctionKind::Scalar, "TEST", "Of the cases.")
}

fn table(name: &str) -> Function {
    Function::new(name, FunctionKind::Table, "TEST", "Of the cases.")
}

fn aggregate(name: &str) -> AggregateInfo {
    AggregateInfo::new(name, "TEST", "Of the cases.")
}

fn test_functions() -> Result<Vec<Function>, SqlError> {
    let calls = AtomicUsize::new(0);
    let every_other_is_null = move |args: &[ScalarValue]| {
        let even = calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        Ok(if even { ScalarValue::Null } else { args[0].clone() })
    };
    let says = |text: &'static str| move |_: &[ScalarValue]| Ok(string(text));
    Ok(vec![
        scalar("BAD_UDF")
            .variant("I -> S", |_| Err("boom".into()))?
            .variant("B -> I", |args| fail_if(&args[0]).map(|()| ScalarValue::Int32(Some(0))))?
            .variant("S -> S", every_other_is_null)?,
        scalar("TEST_UDF")
            .variant("I, S -> S", says("doStuffIntString"))?
            .variant("L, S -> S", says("doStuffLongString"))?
            .variant("L, L, S -> S", says("doStuffLongLongString"))?
            .variant("L... -> S", says("doStuffLongVarargs"))?
            .variant("-> <A S>", |_| Ok(structure(string("foo"))))?
            .variant("<A S> -> S", |args| field(&args[0]))?,
        scalar("TOSTRUCT").variant("S -> <A S>", |args| Ok(structure(args[0].clone())))?,
        scalar("WHENCONDITION").variant("B, B -> B", lazily)?,
        scalar("WHENRESULT").variant("I, B -> I", lazily)?,
        table("THROWING_UDTF")
            .variant("B -> [B]", |args| fail_if(&args[0]).map(|()| list(args.to_vec())))?,
        test_udtf()?,
    ])
}

/// Of one argument it gives that, a DECIMAL with ten digits more; of seven their texts.
fn test_udtf() -> Result<Function, SqlError> {
    let mut function = table("TEST_UDTF").variant("N -> [N]", |args| Ok(list(args.to_vec())))?;
    function.returning(0, |types| match types {
        [SqlType::Decimal { precision, scale }] => {
            SqlType::array(SqlType::Decimal { precision: precision + 10, scale: *scale })
        }
        other => SqlType::array(other.first().cloned().unwrap_or(SqlType::Int)),
    });
    for ty in ["I!", "L!", "D!", "B!", "S", "<A S>"] {
        let signature = format!("{ty} -> [{}]", ty.trim_end_matches('!'));
        function = function.variant(&signature, |args| Ok(list(args.to_vec())))?;
    }
    function
        .variant("I, L, D, B, S, N, <A S> -> [S]", texts)?
        .variant("[I], [L], [D], [B], [S], [N], [<A S>] -> [S]", texts)?
        .variant("{S:I}, {S:L}, {S:D}, {S:B}, {S:S}, {S:N}, {S:<A S>} -> [S]", texts)
}

fn test_aggregates() -> Result<Vec<AggregateInfo>, SqlError> {
    let long = ScalarValue::Int64(None);
    let mut test_udaf = aggregate("TEST_UDAF");
    for signature in ["I -> L", "L -> L", "S -> L"] {
        let add = |before: &ScalarValue, args: &[ScalarValue]| Ok(sum(before, args));
        test_udaf = test_udaf.variant(signature, 0, fold(long.clone(), add, true))?;
    }
    let sum_all = |before: &ScalarValue, args: &[ScalarValue]| Ok(sum(before, args));
    let multi = |initial: usize| {
        let add = move |before: &ScalarValue, args: &[ScalarValue]| {
            Ok(sum(before, if before.is_null() { args } else { &args[..initial] }))
        };
        fold(ScalarValue::Int64(None), add, false)
    };
    let mid = |before: &ScalarValue, args: &[ScalarValue]| {
        let last = if before.is_null() { 0 } else { 2 };
        Ok(sum(before, &args[..args.len().saturating_sub(last)]))
    };
    Ok(vec![
        test_udaf,
        aggregate("MULTI_ARG").variant("L, S, I, S... -> L", 0, multi(2))?,
        aggregate("FOUR_ARG").variant("L, S, S, S, I, S... -> L", 0, multi(4))?.variant(
            "L, S, S, I, I, S... -> L",
            0,
            multi(4),
        )?,
        aggregate("FIVE_ARG").variant("L, S, S, S, I, I, S... -> L", 0, multi(5))?,
        aggregate("VAR_ARG").variant("L, S... -> L", 0, fold(long.clone(), sum_all, false))?,
        aggregate("MID_VAR_ARG").variant("L, S..., I, I -> L", 0, fold(long, mid, false))?,
        aggregate("GENERIC_VAR_ARG").variant("T, U, V... -> [T]", 0, firsts)?,
        aggregate("OBJ_COL_ARG").variant("I, any... -> [I]", 0, firsts)?,
    ])
}

/// An aggregate given as the function that adds a row.
struct Fold<F> {
    initial: ScalarValue,
    add: F,
    table: bool,
}

impl<F> std::fmt::Debug for Fold<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a fold of {}", self.initial.data_type())
    }
}

impl<F: Fn(&ScalarValue, &[ScalarValue]) -> Outcome + Send + Sync> RowAggregate for Fold<F> {
    fn initial(&self) -> ScalarValue {
        self.initial.clone()
    }

    fn add(&self, state: &ScalarValue, args: &[ScalarValue]) -> Outcome {
        (self.add)(state, args)
    }

    fn subtract(&self, state: &ScalarValue, args: &[ScalarValue]) -> Option<ScalarValue> {
        let gone: i64 = args.iter().map(weight).sum();
        Some(ScalarValue::Int64(Some(weight(state) - gone)))
    }

    fn supports_table(&self) -> bool {
        self.table
    }

    fn merge(&self, earlier: &ScalarValue, later: &ScalarValue) -> ScalarValue {
        match earlier {
            ScalarValue::Int64(_) => sum(earlier, std::slice::from_ref(later)),
            _ => later.clone(),
        }
    }
}

/// What makes a fold, whatever the types and constants.
fn fold<F: Fn(&ScalarValue, &[ScalarValue]) -> Outcome + Clone + Send + Sync + 'static>(
    initial: ScalarValue,
    add: F,
    table: bool,
) -> impl Fn(&[SqlType], &[ScalarValue]) -> Arc<dyn RowAggregate> + Send + Sync {
    move |_, _| Arc::new(Fold { initial: initial.clone(), add: add.clone(), table })
}

/// What makes the aggregate that lists first arguments.
fn firsts(types: &[SqlType], _: &[ScalarValue]) -> Arc<dyn RowAggregate> {
    let ty = types.first().map_or(DataType::Null, SqlType::to_arrow);
    let initial = ScalarValue::List(ScalarValue::new_list_nullable(&[], &ty));
    Arc::new(Fold { initial, add: append_if_all, table: false })
}

fn fail_if(condition: &ScalarValue) -> Result<(), String> {
    match condition {
        ScalarValue::Boolean(Some(true)) => Err("boom".into()),
        _ => Ok(()),
    }
}

/// `(value, may be evaluated)`
fn lazily(args: &[ScalarValue]) -> Outcome {
    match &args[1] {
        ScalarValue::Boolean(Some(true)) => Ok(args[0].clone()),
        _ => Err("evaluated, though its branch is not taken".into()),
    }
}

/// What adds to a sum: the number, or the length of the text; nothing for NULL.
fn weight(value: &ScalarValue) -> i64 {
    match value {
        ScalarValue::Int32(Some(n)) => i64::from(*n),
        ScalarValue::Int64(Some(n)) => *n,
        ScalarValue::Utf8View(Some(text)) => text.encode_utf16().count() as i64,
        _ => 0,
    }
}

/// The sum before and all that the row adds.
fn sum(before: &ScalarValue, args: &[ScalarValue]) -> ScalarValue {
    ScalarValue::Int64(Some(weight(before) + args.iter().map(weight).sum::<i64>()))
}

/// Appends the first argument to the list when none of the row's is NULL.
fn append_if_all(before: &ScalarValue, args: &[ScalarValue]) -> Outcome {
    let ScalarValue::List(list) = before else { return Err("the state is no list".into()) };
    if args.iter().any(ScalarValue::is_null) {
        return Ok(before.clone());
    }
    let values = list.value(0);
    let item = |i| ScalarValue::try_from_array(&values, i).map_err(|e| e.to_string());
    let mut items = (0..values.len()).map(item).collect::<Result<Vec<_>, _>>()?;
    items.push(args[0].clone());
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(&items, values.data_type())))
}

fn string(text: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8View(Some(text.into()))
}

/// `STRUCT(A := text)`
fn structure(text: ScalarValue) -> ScalarValue {
    let text = if let ScalarValue::Utf8View(text) = text { text } else { None };
    let column: ArrayRef = Arc::new(StringViewArray::from(vec![text]));
    let fields = vec![Field::new("A", DataType::Utf8View, true)];
    ScalarValue::Struct(Arc::new(StructArray::new(fields.into(), vec![column], None)))
}

/// The STRUCT's first field.
fn field(value: &ScalarValue) -> Outcome {
    match value {
        ScalarValue::Struct(of) if of.is_valid(0) => {
            ScalarValue::try_from_array(of.column(0), 0).map_err(|e| e.to_string())
        }
        _ => Ok(ScalarValue::Null),
    }
}

fn list(items: Vec<ScalarValue>) -> ScalarValue {
    let ty = items.first().map_or(DataType::Null, ScalarValue::data_type);
    ScalarValue::List(ScalarValue::new_list_nullable(&items, &ty))
}

/// Each argument as Java's text of it; of a list the first element, of a map the first value.
fn texts(args: &[ScalarValue]) -> Outcome {
    let inner = |value: &ScalarValue| -> Outcome {
        let first =
            |array: &dyn Array| ScalarValue::try_from_array(array, 0).map_err(|e| e.to_string());
        match value {
            ScalarValue::List(items) => first(&items.value(0)),
            ScalarValue::Map(map) => first(values_of(map)),
            other => Ok(other.clone()),
        }
    };
    let text = |value: &ScalarValue| -> Outcome { Ok(string(java_text(&inner(value)?)?)) };
    Ok(list(args.iter().map(text).collect::<Result<_, _>>()?))
}

fn values_of(map: &MapArray) -> &dyn Array {
    map.values().as_ref()
}

fn java_text(value: &ScalarValue) -> Result<String, String> {
    Ok(match value {
        ScalarValue::Struct(of) => {
            let fields = of.column_names().into_iter().zip(of.columns());
            let text = |(name, column): (&str, &ArrayRef)| {
                let value = ScalarValue::try_from_array(column, 0).map_err(|e| e.to_string())?;
                Ok(format!("{name}={}", java_text(&value)?))
            };
            let fields: Vec<String> = fields.map(text).collect::<Result<_, String>>()?;
            format!("Struct{{{}}}", fields.join(","))
        }
        ScalarValue::Float64(Some(n)) => format!("{n:?}"),
        ScalarValue::Utf8View(Some(text)) => text.clone(),
        other => {
            let array = other.to_array().map_err(|e| e.to_string())?;
            let text = arrow::compute::cast(&array, &DataType::Utf8).map_err(|e| e.to_string())?;
            text.as_string::<i32>().value(0).to_owned()
        }
    })
}
