//! DATE, TIME and TIMESTAMP as ISO 8601 text, as ksqlDB shows them in answers: `2024-02-29`,
//! `13:05` or `13:05:09` (no fraction), `2024-02-29T13:05:09.123`.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Date32Type, Time32MillisecondType, TimeUnit, TimestampMillisecondType};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Timelike};

/// What writes a value of this type; `None` when it is not one of the three.
pub(super) fn writer(ty: &DataType) -> Option<fn(&dyn Array, usize) -> String> {
    match ty {
        DataType::Date32 => Some(|array, row| date(array.as_primitive::<Date32Type>().value(row))),
        DataType::Time32(TimeUnit::Millisecond) => {
            Some(|array, row| time(array.as_primitive::<Time32MillisecondType>().value(row)))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            Some(|array, row| timestamp(array.as_primitive::<TimestampMillisecondType>().value(row)))
        }
        _ => None,
    }
}

/// What no calendar reaches is shown as its number.
fn date(days: i32) -> String {
    let epoch = NaiveDate::default();
    let count = Days::new(u64::from(days.unsigned_abs()));
    let date = if days < 0 { epoch.checked_sub_days(count) } else { epoch.checked_add_days(count) };
    date.map_or_else(|| days.to_string(), |date| date.format("%Y-%m-%d").to_string())
}

fn time(ms: i32) -> String {
    let time = u32::try_from(ms / 1000).ok().and_then(|seconds| {
        NaiveTime::from_num_seconds_from_midnight_opt(seconds, 0)
    });
    match time {
        Some(time) if time.second() == 0 => time.format("%H:%M").to_string(),
        Some(time) => time.format("%H:%M:%S").to_string(),
        None => ms.to_string(),
    }
}

fn timestamp(ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(ms);
    time.map_or_else(|| ms.to_string(), |time| time.format("%Y-%m-%dT%H:%M:%S%.3f").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_iso_text() {
        assert_eq!(date(19_782), "2024-02-29");
        assert_eq!(date(-1), "1969-12-31");
        assert_eq!(time(47_109_123), "13:05:09");
        assert_eq!(time(3_600_000), "01:00");
        assert_eq!(timestamp(1_709_211_909_120), "2024-02-29T13:05:09.120");
        assert_eq!(timestamp(i64::MAX), i64::MAX.to_string());
    }
}
