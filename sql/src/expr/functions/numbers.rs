//! Numbers: rounding, roots, logarithms, trigonometry, the greatest and least of several values.

use std::cmp::Ordering as Order;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::{cmp, zip::zip};
use arrow::datatypes::{DataType, i256};

use super::typed::{D, I, L, N, Opt, S, f1, f2, f4, f5, some};
use super::{Call, Kernel, Library};
use crate::expr::eval::decimal::{self, Rounding};
use crate::expr::eval::{Outcome, Value};
use crate::expr::java;
use crate::types::SqlType;

fn real(f: fn(f64) -> f64) -> Kernel {
    f1::<D, D>(move |x| some(one_nan(f(x))))
}

/// Java has one NaN, which is greater than any number; processors make negative ones too.
fn one_nan(x: f64) -> f64 {
    if x.is_nan() { f64::NAN } else { x }
}

pub(super) fn add(lib: &mut Library) {
    lib.category("MATHEMATICAL");
    lib.add(
        "ABS",
        "The absolute value.",
        [
            ("I -> I", f1::<I, I>(|x| some(x.wrapping_abs()))),
            ("L -> L", f1::<L, L>(|x| some(x.wrapping_abs()))),
            ("D -> D", f1::<D, D>(|x| some(x.abs()))),
            (
                "N -> N",
                f1::<N, N>(|(x, _)| some(if x < i256::ZERO { x.wrapping_neg() } else { x })),
            ),
        ],
    )
    .note("An INT or BIGINT without a positive counterpart stays negative.")
    .arg("value", "The number.")
    .example("ABS(-7)", "7")
    .example("ABS(-2.50)", "2.50");
    lib.add(
        "CEIL",
        "The smallest integer not below the value.",
        [
            ("I -> I", f1::<I, I>(some)),
            ("L -> L", f1::<L, L>(some)),
            ("D -> D", real(f64::ceil)),
            ("N -> N", f1::<N, N>(|x| whole(x, Rounding::Ceiling))),
        ],
    )
    .note("A DECIMAL keeps its scale.")
    .arg("value", "The number.")
    .example("CEIL(2.1)", "3.0")
    .example("CEIL(-0.5e0)", "-0.0");
    lib.add(
        "FLOOR",
        "The greatest integer not above the value.",
        [
            ("I -> I", f1::<I, I>(some)),
            ("L -> L", f1::<L, L>(some)),
            ("D -> D", real(f64::floor)),
            ("N -> N", f1::<N, N>(|x| whole(x, Rounding::Floor))),
        ],
    )
    .note("A DECIMAL keeps its scale.")
    .arg("value", "The number.")
    .example("FLOOR(-2.1)", "-3.0")
    .example("FLOOR(2.9e0)", "2.0");
    rounding(lib);
    lib.add(
        "SIGN",
        "-1, 0 or 1, as the value is negative, zero or positive.",
        [("num -> I", f1::<D, I>(|x| some(i32::from(x > 0.0) - i32::from(x < 0.0))))],
    )
    .arg("value", "The number.")
    .example("SIGN(-0.5)", "-1");
    lib.add("ACOS", "The arc cosine, in radians.", [("num -> D", real(f64::acos))])
        .note("NaN outside -1 to 1.")
        .arg("value", "The cosine.")
        .example("ACOS(1)", "0.0");
    lib.add("ASIN", "The arc sine, in radians.", [("num -> D", real(f64::asin))])
        .note("NaN outside -1 to 1.")
        .arg("value", "The sine.")
        .example("ASIN(0)", "0.0");
    lib.add("ATAN", "The arc tangent, in radians.", [("num -> D", real(f64::atan))])
        .arg("value", "The tangent.")
        .example("ATAN(0)", "0.0");
    lib.add(
        "ATAN2",
        "The angle of the point (x, y), in radians; y comes first.",
        [("num, num -> D", f2::<D, D, D>(|y, x| some(y.atan2(x))))],
    )
    .arg("y", "The y coordinate.")
    .arg("x", "The x coordinate.")
    .example("ATAN2(0, 1)", "0.0");
    lib.add("COS", "The cosine of radians.", [("num -> D", real(f64::cos))])
        .arg("value", "The angle in radians.")
        .example("COS(0)", "1.0");
    lib.add("COSH", "The hyperbolic cosine.", [("num -> D", real(f64::cosh))])
        .arg("value", "The number.")
        .example("COSH(0)", "1.0");
    lib.add("COT", "The cotangent of radians.", [("num -> D", real(|x| 1.0 / x.tan()))])
        .note("Infinity for 0.")
        .arg("value", "The angle in radians.")
        .example("COT(0)", "Infinity");
    lib.add("SIN", "The sine of radians.", [("num -> D", real(f64::sin))])
        .arg("value", "The angle in radians.")
        .example("SIN(0)", "0.0");
    lib.add("SINH", "The hyperbolic sine.", [("num -> D", real(f64::sinh))])
        .arg("value", "The number.")
        .example("SINH(0)", "0.0");
    lib.add("TAN", "The tangent of radians.", [("num -> D", real(f64::tan))])
        .arg("value", "The angle in radians.")
        .example("TAN(0)", "0.0");
    lib.add("TANH", "The hyperbolic tangent.", [("num -> D", real(f64::tanh))])
        .arg("value", "The number.")
        .example("TANH(0)", "0.0");
    lib.add("CBRT", "The cube root.", [("num -> D", real(f64::cbrt))])
        .arg("value", "The number.")
        .example("CBRT(-27)", "-3.0");
    lib.add("EXP", "e to the power of the value.", [("num -> D", real(f64::exp))])
        .arg("value", "The exponent.")
        .example("EXP(0)", "1.0");
    lib.add("LN", "The natural logarithm.", [("num -> D", real(f64::ln))])
        .note("-Infinity for 0, NaN for a negative number.")
        .arg("value", "The number.")
        .example("LN(1)", "0.0")
        .example("LN(0)", "-Infinity");
    lib.add("SQRT", "The square root.", [("num -> D", real(f64::sqrt))])
        .note("NaN for a negative number.")
        .arg("value", "The number.")
        .example("SQRT(16)", "4.0");
    // Java multiplies by a constant here; Rust's own methods round differently.
    lib.add(
        "DEGREES",
        "Radians as degrees.",
        [("num -> D", real(|x| x * (180.0 / std::f64::consts::PI)))],
    )
    .arg("radians", "The angle in radians.")
    .example("DEGREES(PI())", "180.0");
    lib.add(
        "RADIANS",
        "Degrees as radians.",
        [("num -> D", real(|x| x * (std::f64::consts::PI / 180.0)))],
    )
    .arg("degrees", "The angle in degrees.")
    .example("RADIANS(180)", "3.141592653589793");
    lib.add(
        "LOG",
        "The natural logarithm, or that to a base given first.",
        [
            ("num -> D", real(f64::ln)),
            (
                "num base, num value -> D",
                f2::<D, D, D>(|base, x| {
                    some(if base <= 0.0 || base == 1.0 { f64::NAN } else { x.ln() / base.ln() })
                }),
            ),
        ],
    )
    .note("NaN for a base that is not positive, or 1.")
    .arg("value", "The number.")
    .arg("base", "The base of the logarithm.")
    .example("LOG(1)", "0.0")
    .example("LOG(2, 8)", "3.0");
    lib.add(
        "POWER",
        "The first value to the power of the second.",
        [("num, num -> D", f2::<D, D, D>(|x, y| some(one_nan(x.powf(y)))))],
    )
    .arg("base", "The number.")
    .arg("exponent", "The power.")
    .example("POWER(2, 10)", "1024.0");
    lib.add(
        "PI",
        "The number pi.",
        [(
            "-> D",
            Box::new(|call: &mut Call<'_, '_>| -> ArrayRef {
                Arc::new(Float64Array::from(vec![std::f64::consts::PI; call.rows]))
            }) as Kernel,
        )],
    )
    .example("PI()", "3.141592653589793");
    lib.add("RANDOM", "A random number from 0 up to, not including, 1.", [("-> D", random())])
        .volatile()
        .example("RANDOM() < 1.0e0", "true");
    lib.add(
        "GEO_DISTANCE",
        "The distance between two points given as latitude and longitude in degrees, in km or miles.",
        [
            (
                "D!, D!, D!, D! -> D",
                f4::<D, D, D, D, D>(|a, b, c, d| distance([a, b, c, d], "KM")),
            ),
            (
                "D!, D!, D!, D!, S -> D",
                f5::<D, D, D, D, Opt<S>, D>(|a, b, c, d, unit| {
                    distance([a, b, c, d], unit.unwrap_or("KM"))
                }),
            ),
        ],
    ).note("The earth is taken for a sphere. Coordinates out of range are an error.").arg("lat1", "Latitude of the first point, -90 to 90.").arg("lon1", "Longitude of the first point, -180 to 180.").arg("lat2", "Latitude of the second point.").arg("lon2", "Longitude of the second point.").arg("unit", "`km` (unless given) or `miles`.").example("ROUND(GEO_DISTANCE(37.4e0, -122.1e0, 51.5e0, -0.1e0))", "8638").example("ROUND(GEO_DISTANCE(37.4e0, -122.1e0, 51.5e0, -0.1e0, 'miles'))", "5368");
    lib.add("GREATEST", "The greatest of the values, NULLs left out.", extremes(true))
        .note("NULL only if all are.")
        .arg("value", "The first value.")
        .arg("others", "More values of the same type.")
        .example("GREATEST(3, NULL, 7)", "7")
        .example("GREATEST('b', 'abc')", "'b'");
    lib.add("LEAST", "The least of the values, NULLs left out.", extremes(false))
        .note("NULL only if all are.")
        .arg("value", "The first value.")
        .arg("others", "More values of the same type.")
        .example("LEAST(3, NULL, 7)", "3");
}

fn whole((value, scale): (i256, i32), rounding: Rounding) -> Outcome<i256> {
    let whole = decimal::rescale(value, scale, 0, rounding);
    in_range(whole.and_then(|w| decimal::rescale(w, 0, scale, Rounding::Exact)))
}

fn in_range(value: Option<i256>) -> Outcome<i256> {
    value.map_or(Err("the DECIMAL result overflows".into()), some)
}

/// The type of ROUND and TRUNC of a DECIMAL without places: nothing behind the point.
fn whole_decimal(args: &[SqlType]) -> SqlType {
    match args {
        [SqlType::Decimal { precision, scale }, ..] => {
            SqlType::Decimal { precision: (precision - scale).max(1), scale: 0 }
        }
        _ => SqlType::Decimal { precision: 1, scale: 0 },
    }
}

fn rounding(lib: &mut Library) {
    lib.add(
        "ROUND",
        "The value rounded to an integer, or to a number of places; ties go up.",
        [
            ("I -> L", f1::<I, L>(|x| some(i64::from(x)))),
            ("L -> L", f1::<L, L>(some)),
            ("D -> L", f1::<D, L>(|x| some(round(x)))),
            ("D, I -> D", f2::<D, I, D>(|x, n| places(x, n, Rounding::HalfToPositive))),
            (
                "N -> N",
                f1::<N, N>(|(x, s)| in_range(decimal::rescale(x, s, 0, Rounding::HalfToPositive))),
            ),
            ("N, I -> N", f2::<N, I, N>(|x, n| to_places(x, n, Rounding::HalfToPositive))),
        ],
    )
    .returning(4, whole_decimal)
    .note("Halves go towards positive infinity. With places a DECIMAL keeps its scale.")
    .arg("value", "The number.")
    .arg(
        "places",
        "How many digits stay behind the point; a negative number counts digits before it.",
    )
    .example("ROUND(2.5e0)", "3")
    .example("ROUND(-2.5e0)", "-2")
    .example("ROUND(12.345, 2)", "12.350")
    .example("ROUND(1234.5e0, -2)", "1200.0");
    lib.add(
        "TRUNC",
        "The value cut to an integer, or to a number of places.",
        [
            ("I -> L", f1::<I, L>(|x| some(i64::from(x)))),
            ("L -> L", f1::<L, L>(some)),
            ("D -> L", f1::<D, L>(|x| some(x.trunc() as i64))),
            ("D, I -> D", f2::<D, I, D>(|x, n| places(x, n, Rounding::Down))),
            ("N -> N", f1::<N, N>(|(x, s)| in_range(decimal::rescale(x, s, 0, Rounding::Down)))),
            ("N, I -> N", f2::<N, I, N>(|x, n| to_places(x, n, Rounding::Down))),
        ],
    )
    .returning(4, whole_decimal)
    .note("With places a DECIMAL keeps its scale.")
    .arg("value", "The number.")
    .arg(
        "places",
        "How many digits stay behind the point; a negative number counts digits before it.",
    )
    .example("TRUNC(-2.9e0)", "-2")
    .example("TRUNC(12.345, 1)", "12.300");
}

/// The nearest integer, halves up, without the error that adding 0.5 makes for large odd numbers.
fn round(x: f64) -> i64 {
    let floor = x.floor();
    (if x - floor >= 0.5 { floor + 1.0 } else { floor }) as i64
}

/// Rounds the decimal digits that the double prints as, not its binary value.
fn places(x: f64, places: i32, rounding: Rounding) -> Outcome<f64> {
    if !x.is_finite() {
        return Err(
            format!("{} has no digits to round", crate::expr::java::double_to_string(x)).into()
        );
    }
    let text = crate::expr::java::double_to_string(x);
    let rounded = decimal::parse(&text).and_then(|(value, scale)| {
        if places >= scale {
            // A BigDecimal knows no -0.0.
            return Some(x + 0.0);
        }
        let value = decimal::rescale(value, scale, places, rounding)?;
        Some(decimal::to_double(value, places))
    });
    // Digits beyond what a DECIMAL holds: all of them stay, or none.
    some(rounded.unwrap_or(if x.abs() < 1.0 && places < 76 { 0.0 } else { x }))
}

fn to_places((value, scale): (i256, i32), places: i32, rounding: Rounding) -> Outcome<i256> {
    if places >= scale {
        return some(value);
    }
    let rounded = decimal::rescale(value, scale, places, rounding);
    in_range(rounded.and_then(|r| decimal::rescale(r, places, scale, Rounding::Exact)))
}

/// A pseudo-random sequence. It is seeded once per process: RANDOM promises nothing repeatable.
fn random() -> Kernel {
    let state = AtomicU64::new(RandomState::new().hash_one(0));
    Box::new(move |call: &mut Call<'_, '_>| -> ArrayRef {
        let values =
            (0..call.rows).map(|_| (next_random(&state) >> 11) as f64 / (1u64 << 53) as f64);
        Arc::new(Float64Array::from_iter_values(values))
    })
}

/// SplitMix64.
pub(super) fn next_random(state: &AtomicU64) -> u64 {
    let step = 0x9E37_79B9_7F4A_7C15;
    let mut z = state.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn distance([lat1, lon1, lat2, lon2]: [f64; 4], unit: &str) -> Outcome<f64> {
    let radius = match unit.to_ascii_uppercase().as_str() {
        "KM" | "KILOMETER" | "KILOMETERS" | "KILOMETRE" | "KILOMETRES" => 6371.0,
        "MI" | "MILE" | "MILES" => 3959.0,
        other => return Err(format!("the unit {other} is neither km nor mi").into()),
    };
    if !(-90.0..=90.0).contains(&lat1) || !(-90.0..=90.0).contains(&lat2) {
        return Err("a latitude is not between -90 and 90".into());
    }
    if !(-180.0..=180.0).contains(&lon1) || !(-180.0..=180.0).contains(&lon2) {
        return Err("a longitude is not between -180 and 180".into());
    }
    // The order of the operations is ksqlDB's, so that the last digit is too.
    let radians = |degrees: f64| degrees / 180.0 * std::f64::consts::PI;
    let haversine = |x: f64| (x / 2.0).sin().powi(2);
    let a = haversine(radians(lat2 - lat1))
        + haversine(radians(lon2 - lon1)) * radians(lat1).cos() * radians(lat2).cos();
    some(2.0 * a.sqrt().asin() * radius)
}

fn extremes(greatest: bool) -> [(&'static str, Kernel); 9] {
    let kernel = || extreme(greatest);
    [
        ("I, I... -> I", kernel()),
        ("L, L... -> L", kernel()),
        ("D, D... -> D", kernel()),
        ("N, N... -> N", kernel()),
        ("S, S... -> S", kernel()),
        ("Y, Y... -> Y", kernel()),
        ("DT, DT... -> DT", kernel()),
        ("TM, TM... -> TM", kernel()),
        ("TS, TS... -> TS", kernel()),
    ]
}

fn extreme(greatest: bool) -> Kernel {
    Box::new(move |call: &mut Call<'_, '_>| {
        let mut args = std::mem::take(&mut call.args).into_iter();
        let Some(first) = args.next() else {
            return arrow::array::new_null_array(&call.ty.to_arrow(), call.rows);
        };
        let mut best = first.into_array(call.rows);
        for next in args {
            if let Some(take) = better_bytes(&next, &best, call.rows, greatest) {
                best = zip(&take, &next.datum(), &best).expect("all arguments have one type");
                continue;
            }
            let better = if greatest {
                cmp::gt(&next.datum(), &best)
            } else {
                cmp::lt(&next.datum(), &best)
            };
            let better = better.expect("all arguments have one type");
            let take = take_next(&better, &next, &best, call.rows);
            best = zip(&take, &next.datum(), &best).expect("all arguments have one type");
        }
        best
    })
}

/// As [`take_next`], for STRING and BYTES, which Java orders in its own way; `None` for other types.
fn better_bytes(
    next: &Value,
    best: &ArrayRef,
    rows: usize,
    greatest: bool,
) -> Option<BooleanArray> {
    let wanted = if greatest { Order::Greater } else { Order::Less };
    let bits = match best.data_type() {
        DataType::Utf8View => {
            let (a, b) = (next.array.as_string_view(), best.as_string_view());
            let order = |row| {
                java::compare_utf16(a.value(next.at(row)).as_bytes(), b.value(row).as_bytes())
            };
            BooleanBuffer::collect_bool(rows, |row| {
                !next.is_null(row) && (b.is_null(row) || order(row) == wanted)
            })
        }
        DataType::Binary => {
            let (a, b) = (next.array.as_binary::<i32>(), best.as_binary::<i32>());
            let order = |row| java::compare_signed(a.value(next.at(row)), b.value(row));
            BooleanBuffer::collect_bool(rows, |row| {
                !next.is_null(row) && (b.is_null(row) || order(row) == wanted)
            })
        }
        _ => return None,
    };
    Some(BooleanArray::new(bits, None))
}

/// Where the next value is better, or the only one.
fn take_next(better: &BooleanArray, next: &Value, best: &ArrayRef, rows: usize) -> BooleanArray {
    let bits = BooleanBuffer::collect_bool(rows, |row| {
        !next.is_null(row) && (best.is_null(row) || (better.is_valid(row) && better.value(row)))
    });
    BooleanArray::new(bits, None)
}
