//! Dates, times and timestamps: formatting, parsing, arithmetic.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array};

use super::typed::{Dt, I, L, S, Tm, Ts, f1, f2, f3, some};
use super::{Call, Fail, Kernel, Library, Memo};
use crate::expr::eval::Outcome;
use crate::expr::java::{self, DAY_MS, Pattern, Zone};

pub(super) fn add(lib: &mut Library) {
    lib.category("DATE / TIME");
    formatting(lib);
    parsing(lib);
    arithmetic(lib);
    converting(lib);
}

/// The time zone of the deprecated functions that take the machine's: this crate knows none.
const SYSTEM: Zone = Zone::UTC;

fn pattern(text: &str) -> Result<Pattern, Fail> {
    Pattern::new(text).map_err(Fail::from)
}

fn zone(text: &str) -> Result<Zone, Fail> {
    Zone::parse(text).ok_or_else(|| format!("{text:?} is no time zone").into())
}

fn format_date(memo: &Memo<Pattern>, days: i32, text: &str) -> Outcome<String> {
    let pattern = memo.get(text, pattern)?;
    if pattern.has_time() || pattern.has_zone() {
        return Err(format!("the pattern {text:?} has fields a DATE has not").into());
    }
    some(pattern.format(i64::from(days) * DAY_MS, Zone::UTC)?)
}

fn format_instant(memo: &Memo<Pattern>, ms: i64, text: &str, in_zone: Zone) -> Outcome<String> {
    some(memo.get(text, pattern)?.format(ms, in_zone)?)
}

fn formatting(lib: &mut Library) {
    let memo = Memo::new();
    lib.add(
        "FORMAT_DATE",
        "A DATE as text by a pattern.",
        [("DT, S -> S", f2::<Dt, S, S>(move |days, text| format_date(&memo, days, text)))],
    )
    .note("A pattern with a field of the time is an error.")
    .arg("date", "The DATE.")
    .arg("pattern", "A pattern of Java's DateTimeFormatter.")
    .example("FORMAT_DATE('2024-02-29', 'EEE d MMM yyyy')", "'Thu 29 Feb 2024'");
    let memo = Memo::new();
    lib.add(
        "FORMAT_TIME",
        "A TIME as text by a pattern.",
        [(
            "TM, S -> S",
            f2::<Tm, S, S>(move |ms, text| {
                let pattern = memo.get(text, pattern)?;
                if pattern.has_date() || pattern.has_zone() {
                    return Err(format!("the pattern {text:?} has fields a TIME has not").into());
                }
                some(pattern.format(i64::from(ms), Zone::UTC)?)
            }),
        )],
    )
    .note("A pattern with a field of the date is an error.")
    .arg("time", "The TIME.")
    .arg("pattern", "A pattern of Java's DateTimeFormatter.")
    .example("FORMAT_TIME('15:06:07', 'h:mm a')", "'3:06 PM'");
    let (a, b) = (Memo::new(), Memo::new());
    lib.add(
        "FORMAT_TIMESTAMP",
        "A TIMESTAMP as text by a pattern, in GMT or a time zone.",
        [
            ("TS, S -> S", f2::<Ts, S, S>(move |ms, text| format_instant(&a, ms, text, Zone::GMT))),
            (
                "TS, S, S -> S",
                f3::<Ts, S, S, S>(move |ms, text, z| format_instant(&b, ms, text, zone(z)?)),
            ),
        ],
    )
    .arg("timestamp", "The TIMESTAMP.")
    .arg("pattern", "A pattern of Java's DateTimeFormatter.")
    .arg("zone", "A time zone such as `Europe/Berlin` or `+02:00`; GMT unless given.")
    .example("FORMAT_TIMESTAMP('2024-02-29T12:00:00', 'yyyy-MM-dd HH:mm')", "'2024-02-29 12:00'")
    .example(
        "FORMAT_TIMESTAMP('2024-02-29T12:00:00', 'HH:mm XXX', 'Europe/Berlin')",
        "'13:00 +01:00'",
    );
    let memo = Memo::new();
    lib.add(
        "DATETOSTRING",
        "Deprecated: days since 1970 as text by a pattern.",
        [("I!, S -> S", f2::<I, S, S>(move |days, text| format_date(&memo, days, text)))],
    )
    .arg("days", "Days since 1970-01-01.")
    .arg("pattern", "A pattern of Java's DateTimeFormatter.")
    .example("DATETOSTRING(18690, 'yyyy-MM-dd')", "'2021-03-04'");
    let (a, b) = (Memo::new(), Memo::new());
    lib.add(
        "TIMESTAMPTOSTRING",
        "Deprecated: milliseconds since 1970 as text by a pattern.",
        [
            ("L!, S -> S", f2::<L, S, S>(move |ms, text| format_instant(&a, ms, text, SYSTEM))),
            (
                "L!, S, S -> S",
                f3::<L, S, S, S>(move |ms, text, z| format_instant(&b, ms, text, zone(z)?)),
            ),
        ],
    )
    .arg("milliseconds", "Milliseconds since 1970-01-01T00:00:00 UTC.")
    .arg("pattern", "A pattern of Java's DateTimeFormatter.")
    .arg("zone", "A time zone; UTC unless given.")
    .example("TIMESTAMPTOSTRING(1614870367089, 'yyyy-MM-dd HH:mm:ss')", "'2021-03-04 15:06:07'");
}

fn parse_instant(memo: &Memo<Pattern>, text: &str, by: &str, default: Zone) -> Outcome<i64> {
    let parsed = memo.get(by, pattern)?.parse(text)?;
    some(parsed.instant_ms(default)?)
}

fn parsing(lib: &mut Library) {
    let memo = Memo::new();
    lib.add(
        "PARSE_DATE",
        "The DATE in a text, by a pattern.",
        [(
            "S, S -> DT",
            f2::<S, S, Dt>(move |text, by| {
                let pattern = memo.get(by, |by| pattern(by).map(Pattern::lenient))?;
                let ms = pattern.parse(text)?.instant_ms(Zone::GMT)?;
                if ms % DAY_MS != 0 {
                    return Err(format!("{text:?} has a time, which a DATE has not").into());
                }
                i32::try_from(ms.div_euclid(DAY_MS)).map_or(Err("the DATE overflows".into()), some)
            }),
        )],
    )
    .note("A text that does not fit, and a pattern with a field of the time, are errors.")
    .arg("text", "The text.")
    .arg("pattern", "A pattern of the date.")
    .example("PARSE_DATE('29.2.2024', 'd.M.yyyy')", "'2024-02-29'");
    let memo = Memo::new();
    lib.add(
        "PARSE_TIME",
        "The TIME in a text, by a pattern.",
        [(
            "S, S -> TM",
            f2::<S, S, Tm>(move |text, by| {
                let pattern = memo.get(by, pattern)?;
                if pattern.has_date() {
                    return Err(format!("the pattern {by:?} has fields a TIME has not").into());
                }
                let parsed = pattern.parse(text)?;
                parsed.require_time()?;
                some(parsed.time_ms())
            }),
        )],
    )
    .note("A text that does not fit, and a pattern with a field of the date, are errors.")
    .arg("text", "The text.")
    .arg("pattern", "A pattern of Java's DateTimeFormatter.")
    .example("PARSE_TIME('3:06 pm', 'h:mm a')", "'15:06'");
    let (a, b) = (Memo::new(), Memo::new());
    lib.add(
        "PARSE_TIMESTAMP",
        "The TIMESTAMP in a text, by a pattern, in GMT or a time zone.",
        [
            ("S, S -> TS", f2::<S, S, Ts>(move |text, by| parse_instant(&a, text, by, Zone::GMT))),
            (
                "S, S, S -> TS",
                f3::<S, S, S, Ts>(move |text, by, z| parse_instant(&b, text, by, zone(z)?)),
            ),
        ],
    ).note("Fields the pattern has not are those of 1970-01-01T00:00:00. A text that does not fit is an error.").arg("text", "The text.").arg("pattern", "A pattern of Java's DateTimeFormatter.").arg("zone", "The time zone of a text that names none; GMT unless given.").example("PARSE_TIMESTAMP('2024-02-29 13', 'yyyy-MM-dd HH')", "'2024-02-29T13:00:00.000'").example("PARSE_TIMESTAMP('2024-02-29 13', 'yyyy-MM-dd HH', 'Europe/Berlin')", "'2024-02-29T12:00:00.000'");
    let memo = Memo::new();
    lib.add(
        "STRINGTODATE",
        "Deprecated: days since 1970 of a text, by a pattern.",
        [(
            "S!, S! -> I",
            f2::<S, S, I>(move |text, by| {
                let parsed = memo.get(by, pattern)?.parse(text)?;
                parsed.require_date()?;
                some(java::days_of(parsed.date()?))
            }),
        )],
    )
    .note("NULL is an error.")
    .arg("text", "The text.")
    .arg("pattern", "A pattern of Java's DateTimeFormatter.")
    .example("STRINGTODATE('2021-03-04', 'yyyy-MM-dd')", "18690");
    let (a, b) = (Memo::new(), Memo::new());
    lib.add(
        "STRINGTOTIMESTAMP",
        "Deprecated: milliseconds since 1970 of a text, by a pattern.",
        [
            ("S!, S! -> L", f2::<S, S, L>(move |text, by| parse_instant(&a, text, by, SYSTEM))),
            (
                "S!, S!, S! -> L",
                f3::<S, S, S, L>(move |text, by, z| parse_instant(&b, text, by, zone(z)?)),
            ),
        ],
    )
    .note("NULL is an error.")
    .arg("text", "The text.")
    .arg("pattern", "A pattern of Java's DateTimeFormatter.")
    .arg("zone", "A time zone; UTC unless given.")
    .example("STRINGTOTIMESTAMP('1970-01-02', 'yyyy-MM-dd')", "86400000");
}

/// Milliseconds of a time unit; `None` for a word that is none.
pub(crate) fn unit_ms(unit: &str) -> Option<i64> {
    let unit = unit.to_ascii_uppercase();
    Some(match unit.strip_suffix('S').unwrap_or(&unit) {
        "MILLISECOND" => 1,
        "SECOND" => 1000,
        "MINUTE" => 60_000,
        "HOUR" => 3_600_000,
        "DAY" => DAY_MS,
        _ => return None,
    })
}

fn amount(unit: &str, n: i32, sign: i64) -> Result<i64, Fail> {
    let ms = unit_ms(unit).ok_or_else(|| Fail::from(format!("{unit} is no time unit")))?;
    Ok(ms * i64::from(n) * sign)
}

fn arithmetic(lib: &mut Library) {
    for (name, sign, doc, (call, gives)) in [
        (
            "DATEADD",
            1,
            "A DATE some time later.",
            ("DATEADD(DAYS, 2, '2024-02-28')", "'2024-03-01'"),
        ),
        (
            "DATESUB",
            -1,
            "A DATE some time before.",
            ("DATESUB(DAYS, 1, '2024-03-01')", "'2024-02-29'"),
        ),
    ] {
        lib.add(
            name,
            doc,
            [(
                "unit, I, DT -> DT",
                f3::<S, I, Dt, Dt>(move |unit, n, days| {
                    let ms = i64::from(days) * DAY_MS + amount(unit, n, sign)?;
                    // Java drops what is no whole day, towards 1970.
                    let days = i32::try_from(ms / DAY_MS);
                    days.map_or(Err("the DATE overflows".into()), some)
                }),
            )],
        )
        .arg("unit", "MILLISECONDS, SECONDS, MINUTES, HOURS or DAYS.")
        .arg("amount", "How many of it; what is no whole day is left out.")
        .arg("date", "The DATE.")
        .example(call, gives);
    }
    for (name, sign, doc, (call, gives)) in [
        (
            "TIMEADD",
            1,
            "A TIME some time later, around the clock.",
            ("TIMEADD(HOURS, 2, '23:30:00')", "'01:30'"),
        ),
        (
            "TIMESUB",
            -1,
            "A TIME some time before, around the clock.",
            ("TIMESUB(MINUTES, 45, '00:30:00')", "'23:45'"),
        ),
    ] {
        lib.add(
            name,
            doc,
            [(
                "unit, I, TM -> TM",
                f3::<S, I, Tm, Tm>(move |unit, n, ms| {
                    let sum = i64::from(ms) + amount(unit, n, sign)?;
                    some(sum.rem_euclid(DAY_MS) as i32)
                }),
            )],
        )
        .arg("unit", "MILLISECONDS, SECONDS, MINUTES, HOURS or DAYS.")
        .arg("amount", "How many of it.")
        .arg("time", "The TIME.")
        .example(call, gives);
    }
    for (name, sign, doc, (call, gives)) in [
        (
            "TIMESTAMPADD",
            1,
            "A TIMESTAMP some time later.",
            ("TIMESTAMPADD(DAYS, 1, '2024-02-28T12:00:00')", "'2024-02-29T12:00:00.000'"),
        ),
        (
            "TIMESTAMPSUB",
            -1,
            "A TIMESTAMP some time before.",
            ("TIMESTAMPSUB(HOURS, 13, '2024-03-01T12:00:00')", "'2024-02-29T23:00:00.000'"),
        ),
    ] {
        lib.add(
            name,
            doc,
            [(
                "unit, I, TS -> TS",
                f3::<S, I, Ts, Ts>(move |unit, n, ms| {
                    some(ms.wrapping_add(amount(unit, n, sign)?))
                }),
            )],
        )
        .arg("unit", "MILLISECONDS, SECONDS, MINUTES, HOURS or DAYS.")
        .arg("amount", "How many of it.")
        .arg("timestamp", "The TIMESTAMP.")
        .example(call, gives);
    }
    lib.add(
        "CONVERT_TZ",
        "A TIMESTAMP moved from one time zone's clock to another's.",
        [(
            "TS, S, S -> TS",
            f3::<Ts, S, S, Ts>(|ms, from, to| {
                let shift = zone(to)?.offset_at(ms) - zone(from)?.offset_at(ms);
                some(ms + i64::from(shift) * 1000)
            }),
        )],
    )
    .arg("timestamp", "The TIMESTAMP.")
    .arg("from", "The time zone it is in.")
    .arg("to", "The time zone wanted.")
    .example("CONVERT_TZ('2024-02-29T12:00:00', 'UTC', 'Asia/Tokyo')", "'2024-02-29T21:00:00.000'");
}

fn converting(lib: &mut Library) {
    lib.add("FROM_DAYS", "The DATE of days since 1970.", [("I! -> DT", f1::<I, Dt>(some))])
        .arg("days", "Days since 1970-01-01.")
        .example("FROM_DAYS(18690)", "'2021-03-04'");
    lib.add(
        "FROM_UNIXTIME",
        "The TIMESTAMP of milliseconds since 1970.",
        [("L -> TS", f1::<L, Ts>(some))],
    )
    .arg("milliseconds", "Milliseconds since 1970-01-01T00:00:00 UTC.")
    .example("FROM_UNIXTIME(1614870367089)", "'2021-03-04T15:06:07.089'");
    lib.add(
        "UNIX_DATE",
        "Days since 1970 of a DATE, or of today.",
        [
            (
                "-> I",
                Box::new(|call: &mut Call<'_, '_>| -> ArrayRef {
                    let today = call.run.ctx.now_ms.div_euclid(DAY_MS) as i32;
                    Arc::new(Int32Array::from(vec![today; call.rows]))
                }) as Kernel,
            ),
            ("DT -> I", f1::<Dt, I>(some)),
        ],
    )
    .volatile()
    .arg("date", "The DATE.")
    .example("UNIX_DATE(FROM_DAYS(18690))", "18690");
    lib.add(
        "UNIX_TIMESTAMP",
        "Milliseconds since 1970 of a TIMESTAMP, or of now.",
        [
            (
                "-> L",
                Box::new(|call: &mut Call<'_, '_>| -> ArrayRef {
                    Arc::new(Int64Array::from(vec![call.run.ctx.now_ms; call.rows]))
                }) as Kernel,
            ),
            ("TS -> L", f1::<Ts, L>(some)),
        ],
    )
    .volatile()
    .arg("timestamp", "The TIMESTAMP.")
    .example("UNIX_TIMESTAMP(FROM_UNIXTIME(1614870367089))", "1614870367089");
}
