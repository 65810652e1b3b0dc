//! Time zones by the names Java's `ZoneId` takes: region ids, `UTC`, `GMT`, `Z`, offsets such as
//! `+02:00`, and prefixed offsets such as `UTC+1`.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, Tz};

/// A time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Seconds east of UTC.
    Fixed(i32),
    Region(Tz),
}

impl Zone {
    pub const UTC: Zone = Zone::Region(Tz::UTC);
    pub const GMT: Zone = Zone::Region(Tz::GMT);

    /// Reads a zone's name or offset.
    pub fn parse(text: &str) -> Option<Zone> {
        if let Some(offset) = parse_offset(text) {
            return Some(Zone::Fixed(offset));
        }
        for prefix in ["UTC", "GMT", "UT"] {
            if let Some(offset) = text.strip_prefix(prefix).and_then(parse_offset) {
                return Some(Zone::Fixed(offset));
            }
        }
        text.parse::<Tz>().ok().map(Zone::Region)
    }

    /// Seconds east of UTC at an instant, in milliseconds since 1970.
    pub fn offset_at(self, utc_ms: i64) -> i32 {
        match self {
            Zone::Fixed(offset) => offset,
            Zone::UTC | Zone::GMT => 0,
            Zone::Region(tz) => match DateTime::from_timestamp_millis(utc_ms) {
                Some(at) => tz.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc(),
                None => 0,
            },
        }
    }

    /// The instant of a local time: in a gap the clock is taken as not yet advanced, in an overlap
    /// the earlier of both counts, as in `ZonedDateTime.of`.
    pub fn to_utc_ms(self, local: NaiveDateTime) -> i64 {
        let local_ms = local.and_utc().timestamp_millis();
        let offset = match self {
            Zone::Fixed(offset) => offset,
            Zone::UTC | Zone::GMT => 0,
            Zone::Region(tz) => match tz.offset_from_local_datetime(&local) {
                LocalResult::Single(o) | LocalResult::Ambiguous(o, _) => o.fix().local_minus_utc(),
                LocalResult::None => self.offset_at(local_ms - 86_400_000),
            },
        };
        local_ms - i64::from(offset) * 1000
    }

    /// `Europe/Berlin`, `Z`, `+02:00`.
    pub fn id(self) -> String {
        match self {
            Zone::Fixed(offset) => offset_text(offset, "XXX"),
            Zone::Region(tz) => tz.name().to_owned(),
        }
    }

    /// `CET`, `UTC`, `+02:00`.
    pub fn short_name(self, utc_ms: i64) -> String {
        match (self, DateTime::from_timestamp_millis(utc_ms)) {
            (Zone::Region(tz), Some(at)) => {
                let offset = tz.offset_from_utc_datetime(&at.naive_utc());
                offset.abbreviation().map_or_else(|| tz.name().to_owned(), str::to_owned)
            }
            _ => self.id(),
        }
    }
}

impl Zone {
    /// The name in full that goes with an abbreviation, of the zones that have a well-known one.
    pub fn long_name(self, short: &str) -> Option<&'static str> {
        let id = self.id();
        let within = |area: &str| id.starts_with(area);
        Some(match short {
            "UTC" => "Coordinated Universal Time",
            "GMT" => "Greenwich Mean Time",
            "BST" if id == "Europe/London" => "British Summer Time",
            "CET" => "Central European Standard Time",
            "CEST" => "Central European Summer Time",
            "EET" => "Eastern European Standard Time",
            "EEST" => "Eastern European Summer Time",
            "WET" => "Western European Standard Time",
            "WEST" => "Western European Summer Time",
            "PST" if within("America/") => "Pacific Standard Time",
            "PDT" if within("America/") => "Pacific Daylight Time",
            "MST" if within("America/") => "Mountain Standard Time",
            "MDT" if within("America/") => "Mountain Daylight Time",
            "CST" if within("America/") => "Central Standard Time",
            "CDT" if within("America/") => "Central Daylight Time",
            "EST" if within("America/") => "Eastern Standard Time",
            "EDT" if within("America/") => "Eastern Daylight Time",
            "JST" => "Japan Standard Time",
            "IST" if within("Asia/") => "India Standard Time",
            _ => return None,
        })
    }
}

/// Reads `Z`, `±h`, `±hh`, `±hhmm`, `±hh:mm`, each with optional seconds.
pub(crate) fn parse_offset(text: &str) -> Option<i32> {
    if text == "Z" || text == "z" {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| digits.get(from..to).map(|d| d.parse::<i32>().ok());
    let (h, m, s) = match digits.len() {
        1 => (number(0, 1)??, 0, 0),
        2 => (number(0, 2)??, 0, 0),
        4 => (number(0, 2)??, number(2, 4)??, 0),
        6 => (number(0, 2)??, number(2, 4)??, number(4, 6)??),
        _ => return None,
    };
    (h <= 18 && m < 60 && s < 60).then_some(sign * (h * 3600 + m * 60 + s))
}

/// An offset laid out as Java's pattern letters `X…`, `x…`, `Z…` say.
pub(crate) fn offset_text(offset: i32, letters: &str) -> String {
    let count = letters.len();
    let kind = letters.as_bytes().first().copied().unwrap_or(b'Z');
    let zulu = kind == b'X' || (kind == b'Z' && count == 5);
    if offset == 0 && zulu {
        return "Z".into();
    }
    let sign = if offset < 0 { '-' } else { '+' };
    let all = offset.abs();
    let (h, m, s) = (all / 3600, all / 60 % 60, all % 60);
    let (colon, minutes, seconds) = match (kind, count) {
        (b'Z', 1..=3) => (false, true, false),
        (b'Z', _) => (true, true, s != 0),
        (_, 1) => (false, m != 0, false),
        (_, 2) => (false, true, false),
        (_, 3) => (true, true, false),
        (_, 4) => (false, true, s != 0),
        _ => (true, true, s != 0),
    };
    let mut out = format!("{sign}{h:02}");
    let between = if colon { ":" } else { "" };
    if minutes {
        out.push_str(&format!("{between}{m:02}"));
    }
    if seconds {
        out.push_str(&format!("{between}{s:02}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_offsets_are_read() {
        for (text, offset) in [
            ("Z", Some(0)),
            ("UTC", Some(0)),
            ("+02:00", Some(7200)),
            ("-0330", Some(-12600)),
            ("GMT+1", Some(3600)),
            ("Europe/Berlin", Some(3600)),
            ("Nowhere/Land", None),
            ("+25:00", None),
        ] {
            assert_eq!(Zone::parse(text).map(|z| z.offset_at(0)), offset, "{text}");
        }
    }
}
