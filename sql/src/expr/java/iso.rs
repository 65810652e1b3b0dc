//! The texts of DATE, TIME and TIMESTAMP in casts, literals and JSON.
//!
//! Reading is lenient in the parts left out: `2020`, `2020-01`, `2020-01-31`, `2020-01-31T10`,
//! `2020-01-31T10:20`, `…:30`, `….123`, with `Z`, `+02:00` or a region id behind the time.

use chrono::{NaiveDate, NaiveTime, Timelike};

use super::zone::Zone;

pub(crate) const DAY_MS: i64 = 86_400_000;

/// Days since 1970 of a civil date.
pub(crate) fn days_of(date: NaiveDate) -> i32 {
    date.to_epoch_days()
}

/// The civil date of days since 1970; `None` beyond some 260 000 years.
fn date_of(days: i32) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(days)
}

/// Reads a timestamp into milliseconds since 1970; without a zone it is UTC.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, time),
        None => (text, ""),
    };
    let date = partial_date(date)?;
    let (time, zone) = match time.find(['Z', '+', '-']) {
        Some(at) => (&time[..at], Zone::parse(&time[at..])?),
        None => (time, Zone::UTC),
    };
    let time = if time.is_empty() { NaiveTime::MIN } else { partial_time(time)? };
    Some(zone.to_utc_ms(date.and_time(time)))
}

/// Reads a date into days since 1970.
pub fn parse_date(text: &str) -> Option<i32> {
    partial_date(text).map(days_of)
}

/// Reads a time into milliseconds of the day.
pub fn parse_time(text: &str) -> Option<i32> {
    let time = partial_time(text)?;
    let ms = time.num_seconds_from_midnight() * 1000 + time.nanosecond() / 1_000_000;
    i32::try_from(ms).ok()
}

fn digits(text: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let good = lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if good { text.parse().ok() } else { None }
}

fn partial_date(text: &str) -> Option<NaiveDate> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = rest.split('-');
    let year = digits(parts.next()?, 1..=6)? as i32 * sign;
    let month = parts.next().map_or(Some(1), |m| digits(m, 1..=2))?;
    let day = parts.next().map_or(Some(1), |d| digits(d, 1..=2))?;
    if parts.next().is_some() {
        return None;
    }
    NaiveDate::from_ymd_opt(year, month, day)
}

fn partial_time(text: &str) -> Option<NaiveTime> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.split(':');
    let hour = digits(parts.next()?, 1..=2)?;
    let minute = parts.next().map_or(Some(0), |m| digits(m, 1..=2))?;
    let second = parts.next().map_or(Some(0), |s| digits(s, 1..=2))?;
    if parts.next().is_some() {
        return None;
    }
    let nanos = if fraction.is_empty() {
        0
    } else {
        digits(fraction, 1..=9)? * 10u32.pow(9 - fraction.len() as u32)
    };
    NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)
}

/// `2020-01-31T10:20:30.123`.
pub fn timestamp_to_string(ms: i64) -> String {
    let days = ms.div_euclid(DAY_MS);
    let in_day = ms.rem_euclid(DAY_MS);
    let date = i32::try_from(days).map_or_else(|_| days.to_string(), date_to_string);
    let (h, m, s) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    format!("{date}T{h:02}:{m:02}:{s:02}.{:03}", in_day % 1000)
}

/// `2020-01-31`.
pub fn date_to_string(days: i32) -> String {
    date_of(days).map_or_else(|| days.to_string(), |d| d.to_string())
}

/// `10:20:30`, or `10:20` when the seconds are zero, as `LocalTime.toString`; milliseconds are
/// dropped when `millis` is not set.
pub fn time_to_string(ms: i32, millis: bool) -> String {
    let (h, m, s, f) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    match (s, f) {
        (_, f) if f != 0 && millis => format!("{h:02}:{m:02}:{s:02}.{f:03}"),
        (0, _) => format!("{h:02}:{m:02}"),
        _ => format!("{h:02}:{m:02}:{s:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_may_leave_parts_out() {
        for (text, ms) in [
            ("1970", Some(0)),
            ("1970-02", Some(31 * DAY_MS)),
            ("1970-01-02", Some(DAY_MS)),
            ("1970-01-01T01", Some(3_600_000)),
            ("1970-01-01T00:01", Some(60_000)),
            ("1970-01-01T00:00:01.5", Some(1500)),
            ("1970-01-01T01:00:00Z", Some(3_600_000)),
            ("1970-01-01T01:00:00+0100", Some(0)),
            ("1969-12-31T23:00-01:00", Some(0)),
            ("", None),
            ("1970-13-01", None),
            ("now", None),
        ] {
            assert_eq!(parse_timestamp(text), ms, "{text}");
        }
        assert_eq!(timestamp_to_string(-1), "1969-12-31T23:59:59.999");
        assert_eq!(parse_time("10:20:30.5"), Some(37_230_500));
        assert_eq!(time_to_string(37_230_500, false), "10:20:30");
        assert_eq!(parse_date("2020-02-30"), None);
    }
}
