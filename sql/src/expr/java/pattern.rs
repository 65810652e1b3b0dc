//! Date and time patterns of Java's `DateTimeFormatter`, for formatting and parsing.
//!
//! A pattern is letters repeated to say how wide a field is, literal text in single quotes, and
//! optional sections in brackets. Locale is US English. Parsing resolves as Java's SMART mode: what is
//! missing is taken from 1970-01-01T00:00, a day past the end of its month is the last one.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Weekday};

use super::zone::{self, Zone};

/// A pattern, read once.
#[derive(Clone, Debug)]
pub struct Pattern {
    items: Vec<Item>,
    /// Fields may have fewer digits than letters and roll over, as in `SimpleDateFormat`.
    lenient: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Field(char, usize),
    Literal(String),
    Optional(Vec<Item>),
}

const LETTERS: &str = "GuyYDMLdQqwWEecFaBhKkHmsSAnNVvzOXxZ";
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl Pattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut chars = text.chars().peekable();
        let mut stack: Vec<Vec<Item>> = vec![Vec::new()];
        while let Some(c) = chars.next() {
            let item = match c {
                '[' => {
                    stack.push(Vec::new());
                    continue;
                }
                ']' => {
                    let inner = stack.pop().unwrap_or_default();
                    if stack.is_empty() {
                        return Err(format!("the pattern {text:?} has ] without ["));
                    }
                    Item::Optional(inner)
                }
                '\'' => quoted(&mut chars)
                    .ok_or_else(|| format!("the pattern {text:?} has an open quote"))?,
                '{' | '}' | '#' => return Err(format!("the pattern {text:?} has a reserved {c}")),
                c if c.is_ascii_alphabetic() => {
                    if !LETTERS.contains(c) {
                        return Err(format!("the pattern {text:?} has the unknown letter {c}"));
                    }
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    Item::Field(c, count)
                }
                c => Item::Literal(c.into()),
            };
            if let Some(top) = stack.last_mut() {
                top.push(item);
            }
        }
        // An optional section left open is closed by the end.
        while stack.len() > 1 {
            let inner = stack.pop().unwrap_or_default();
            if let Some(top) = stack.last_mut() {
                top.push(Item::Optional(inner));
            }
        }
        Ok(Self { items: stack.pop().unwrap_or_default(), lenient: false })
    }

    /// The same pattern read as `SimpleDateFormat` would when parsing.
    #[must_use]
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    fn any_field(&self, test: &dyn Fn(char) -> bool) -> bool {
        fn search(items: &[Item], test: &dyn Fn(char) -> bool) -> bool {
            items.iter().any(|item| match item {
                Item::Field(letter, _) => test(*letter),
                Item::Optional(inner) => search(inner, test),
                Item::Literal(_) => false,
            })
        }
        search(&self.items, test)
    }

    /// Whether it has a field of the date (year, month, day, week, era).
    pub fn has_date(&self) -> bool {
        self.any_field(&|c| "GuyYDMLdQqwWEecF".contains(c))
    }

    /// Whether it has a field of the time of day.
    pub fn has_time(&self) -> bool {
        self.any_field(&|c| "aBhKkHmsSAnN".contains(c))
    }

    /// Formats an instant as it is in a zone.
    pub fn format(&self, utc_ms: i64, zone: Zone) -> Result<String, String> {
        let offset = zone.offset_at(utc_ms);
        let local = chrono::DateTime::from_timestamp_millis(utc_ms + i64::from(offset) * 1000)
            .ok_or_else(|| format!("{utc_ms} ms is beyond the calendar"))?
            .naive_utc();
        let mut out = String::new();
        let moment = Moment { local, utc_ms, zone, offset };
        for item in &self.items {
            moment.write(item, &mut out)?;
        }
        Ok(out)
    }

    /// Parses the whole text into what its fields say.
    pub fn parse(&self, text: &str) -> Result<Parsed, String> {
        let mut parsed = Parsed::default();
        let unparsable = || format!("the text {text:?} does not match the pattern");
        let end = self.read(&self.items, text, 0, &mut parsed).ok_or_else(unparsable)?;
        if end != text.len() && !self.lenient {
            return Err(unparsable());
        }
        parsed.lenient = self.lenient;
        Ok(parsed)
    }

    fn read(&self, items: &[Item], text: &str, mut at: usize, out: &mut Parsed) -> Option<usize> {
        for (i, item) in items.iter().enumerate() {
            at = match item {
                Item::Literal(literal) => {
                    let part = text.get(at..at + literal.len())?;
                    if !part.eq_ignore_ascii_case(literal) {
                        return None;
                    }
                    at + literal.len()
                }
                Item::Optional(inner) => {
                    let mut attempt = out.clone();
                    match self.read(inner, text, at, &mut attempt) {
                        Some(end) => {
                            *out = attempt;
                            end
                        }
                        None => at,
                    }
                }
                Item::Field(letter, count) => {
                    let reserved: usize = items[i + 1..].iter().map_while(fixed_width).sum();
                    self.read_field(*letter, *count, reserved, &text[at..], out)? + at
                }
            };
        }
        Some(at)
    }

    /// Reads one field from the start of `text`; gives how many bytes it took. `reserved` digits
    /// belong to the fixed-width fields that follow directly.
    fn read_field(
        &self,
        letter: char,
        count: usize,
        reserved: usize,
        text: &str,
        out: &mut Parsed,
    ) -> Option<usize> {
        match (letter, count) {
            ('M' | 'L', 3..) => {
                let (index, taken) = read_name(text, &MONTHS, count)?;
                out.month = Some(index as i64 + 1);
                Some(taken)
            }
            ('E', _) | ('e' | 'c', 3..) => {
                let (index, taken) =
                    read_name(text, &DAYS, if letter == 'E' { count.max(3) } else { count })?;
                out.weekday = Some(index);
                Some(taken)
            }
            ('a', _) => {
                let half = text.get(..2)?;
                out.pm = Some(match half {
                    h if h.eq_ignore_ascii_case("AM") => false,
                    h if h.eq_ignore_ascii_case("PM") => true,
                    _ => return None,
                });
                Some(2)
            }
            ('G', _) => {
                for (name, bc) in
                    [("Anno Domini", false), ("Before Christ", true), ("AD", false), ("BC", true)]
                {
                    if text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name)) {
                        out.bc = bc;
                        return Some(name.len());
                    }
                }
                None
            }
            ('X' | 'x' | 'Z', _) => {
                let len = offset_len(text)?;
                out.zone = Some(Zone::Fixed(zone::parse_offset(&text[..len])?));
                Some(len)
            }
            ('V' | 'z' | 'O' | 'v', _) => {
                let len = text
                    .find(|c: char| !(c.is_ascii_alphanumeric() || "/_+-:".contains(c)))
                    .unwrap_or(text.len());
                // The longest prefix that names a zone.
                let (zone, taken) =
                    (1..=len).rev().find_map(|n| Some((named_zone(text.get(..n)?)?, n)))?;
                out.zone = Some(zone);
                Some(taken)
            }
            ('S', n) if !self.lenient => {
                let taken = text.get(..n).filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?;
                let scaled = format!("{taken:0<9}");
                out.nano = scaled.get(..9)?.parse().ok();
                Some(n)
            }
            _ => {
                let (min, max) = self.width(letter, count);
                let (value, taken) = read_number(text, min, max, reserved, letter == 'u')?;
                out.set(letter, count, value, taken)?;
                Some(taken)
            }
        }
    }

    /// The fewest and most digits of a numeric field.
    fn width(&self, letter: char, count: usize) -> (usize, usize) {
        match (letter, count) {
            _ if self.lenient => (1, 19),
            ('y' | 'u' | 'Y', 2) => (2, 2),
            ('y' | 'u' | 'Y', n) => (n, 19),
            ('A' | 'n' | 'N', n) => (n, 19),
            (_, 1) => (1, 19),
            (_, n) => (n, n),
        }
    }
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Item> {
    let mut text = String::new();
    loop {
        match chars.next()? {
            '\'' if chars.next_if_eq(&'\'').is_some() => text.push('\''),
            '\'' => break,
            c => text.push(c),
        }
    }
    // Two quotes with nothing between are one quote.
    Some(Item::Literal(if text.is_empty() { "'".into() } else { text }))
}

/// Digits a field surely takes, for the fields before it to leave them.
fn fixed_width(item: &Item) -> Option<usize> {
    match item {
        Item::Field('y' | 'u' | 'Y', 2) => Some(2),
        Item::Field('M' | 'L' | 'd' | 'H' | 'h' | 'k' | 'K' | 'm' | 's', 2) => Some(2),
        Item::Field('D', 3) => Some(3),
        Item::Field('S', n) => Some(*n),
        _ => None,
    }
}

fn read_number(
    text: &str,
    min: usize,
    max: usize,
    reserved: usize,
    signed: bool,
) -> Option<(i64, usize)> {
    let negative = signed && text.starts_with('-');
    let start = usize::from(negative);
    let run = text[start..].bytes().take_while(u8::is_ascii_digit).count();
    let len = if run > reserved { (run - reserved).min(max) } else { run.min(max) };
    let len = len.max(min.min(run));
    if len < min || len == 0 {
        return None;
    }
    let value: i64 = text[start..start + len].parse().ok()?;
    Some((if negative { -value } else { value }, start + len))
}

fn read_name(text: &str, names: &[&str], count: usize) -> Option<(usize, usize)> {
    let starts = |name: &str| text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name));
    let full = || names.iter().position(|n| starts(n)).map(|i| (i, names[i].len()));
    let short = || names.iter().position(|n| starts(&n[..3])).map(|i| (i, 3));
    if count == 3 { short() } else { full() }
}

fn offset_len(text: &str) -> Option<usize> {
    if text.starts_with(['Z', 'z']) {
        return Some(1);
    }
    if !text.starts_with(['+', '-']) {
        return None;
    }
    let len = text[1..].bytes().take_while(|b| b.is_ascii_digit() || *b == b':').count() + 1;
    Some(len)
}

/// A zone by id or by the abbreviations Java knows in US English.
fn named_zone(text: &str) -> Option<Zone> {
    let region = match text {
        "PST" | "PDT" | "PT" => "America/Los_Angeles",
        "MST" | "MDT" | "MT" => "America/Denver",
        "CST" | "CDT" | "CT" => "America/Chicago",
        "EST" | "EDT" | "ET" => "America/New_York",
        "CET" | "CEST" => "Europe/Paris",
        "BST" => "Europe/London",
        "JST" => "Asia/Tokyo",
        "IST" => "Asia/Kolkata",
        other => other,
    };
    Zone::parse(region)
}

/// An instant being formatted.
struct Moment {
    local: NaiveDateTime,
    utc_ms: i64,
    zone: Zone,
    offset: i32,
}

impl Moment {
    fn write(&self, item: &Item, out: &mut String) -> Result<(), String> {
        let (letter, count) = match item {
            Item::Literal(text) => {
                out.push_str(text);
                return Ok(());
            }
            Item::Optional(inner) => {
                return inner.iter().try_for_each(|item| self.write(item, out));
            }
            Item::Field(letter, count) => (*letter, *count),
        };
        let d = self.local.date();
        let t = self.local.time();
        let nano_of_day =
            i64::from(t.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(t.nanosecond());
        let year = i64::from(d.year());
        let era_year = if year > 0 { year } else { 1 - year };
        let number: i64 = match letter {
            'y' | 'Y' | 'u' => {
                let year = match letter {
                    'u' => year,
                    'Y' => i64::from(week_of_year(d).0),
                    _ => era_year,
                };
                if count == 2 { year.rem_euclid(100) } else { year }
            }
            'M' | 'L' if count >= 3 => {
                write_name(MONTHS[d.month0() as usize], count, out);
                return Ok(());
            }
            'E' => {
                write_name(DAYS[d.weekday().num_days_from_monday() as usize], count.max(3), out);
                return Ok(());
            }
            'e' | 'c' if count >= 3 => {
                write_name(DAYS[d.weekday().num_days_from_monday() as usize], count, out);
                return Ok(());
            }
            'e' | 'c' => i64::from(d.weekday().num_days_from_sunday()) + 1,
            'Q' | 'q' if count == 3 => {
                out.push_str(&format!("Q{}", d.month0() / 3 + 1));
                return Ok(());
            }
            'Q' | 'q' => i64::from(d.month0() / 3) + 1,
            'M' | 'L' => i64::from(d.month()),
            'd' => i64::from(d.day()),
            'D' => i64::from(d.ordinal()),
            'w' => i64::from(week_of_year(d).1),
            'W' => {
                let first = d.with_day(1).unwrap_or(d).weekday().num_days_from_sunday();
                i64::from((d.day0() + first) / 7 + 1)
            }
            'F' => i64::from(d.day0() / 7 + 1),
            'G' => {
                let (short, long) =
                    if year > 0 { ("AD", "Anno Domini") } else { ("BC", "Before Christ") };
                out.push_str(match count {
                    4 => long,
                    5 => &short[..1],
                    _ => short,
                });
                return Ok(());
            }
            'a' => {
                out.push_str(if t.hour() < 12 { "AM" } else { "PM" });
                return Ok(());
            }
            'H' => i64::from(t.hour()),
            'k' => i64::from(if t.hour() == 0 { 24 } else { t.hour() }),
            'K' => i64::from(t.hour() % 12),
            'h' => i64::from(if t.hour() % 12 == 0 { 12 } else { t.hour() % 12 }),
            'm' => i64::from(t.minute()),
            's' => i64::from(t.second()),
            'S' => {
                let digits = format!("{:09}", t.nanosecond());
                out.push_str(&digits[..count.min(9)]);
                return Ok(());
            }
            'A' => nano_of_day / 1_000_000,
            'n' => i64::from(t.nanosecond()),
            'N' => nano_of_day,
            'V' => {
                out.push_str(&self.zone.id());
                return Ok(());
            }
            'z' | 'v' => {
                out.push_str(&match self.zone {
                    Zone::Fixed(0) => "UTC".to_owned(),
                    zone => zone.short_name(self.utc_ms),
                });
                return Ok(());
            }
            'O' => {
                out.push_str("GMT");
                if self.offset != 0 {
                    let (h, m) = (self.offset / 3600, self.offset.abs() / 60 % 60);
                    let text =
                        if count == 4 { format!("{h:+03}:{m:02}") } else { format!("{h:+}") };
                    out.push_str(&text);
                }
                return Ok(());
            }
            'X' | 'x' => {
                let letters = letter.to_string().repeat(count);
                out.push_str(&zone::offset_text(self.offset, &letters));
                return Ok(());
            }
            'Z' if count == 4 => {
                out.push_str("GMT");
                if self.offset != 0 {
                    out.push_str(&zone::offset_text(self.offset, "xxx"));
                }
                return Ok(());
            }
            'Z' => {
                out.push_str(&zone::offset_text(self.offset, &"Z".repeat(count)));
                return Ok(());
            }
            other => return Err(format!("the pattern letter {other} cannot be formatted")),
        };
        if number < 0 {
            out.push_str(&format!("-{:0count$}", -number));
        } else {
            if matches!(letter, 'y' | 'u') && count >= 4 && number >= 10i64.pow(count as u32) {
                out.push('+');
            }
            out.push_str(&format!("{number:0count$}"));
        }
        Ok(())
    }
}

fn write_name(name: &str, count: usize, out: &mut String) {
    out.push_str(match count {
        3 => &name[..3],
        5 => &name[..1],
        _ => name,
    });
}

/// Week-based year and week of the US calendar: weeks start on Sunday, the first holds 1 January.
fn week_of_year(date: NaiveDate) -> (i32, u32) {
    let year = date.year();
    let first = |y: i32| NaiveDate::from_ymd_opt(y, 1, 1).map_or(date, |d| d);
    let days_left = |d: NaiveDate| 7 - d.weekday().num_days_from_sunday();
    let next = first(year + 1);
    if next.signed_duration_since(date).num_days()
        <= i64::from(next.weekday().num_days_from_sunday())
    {
        return (year + 1, 1);
    }
    let start = days_left(first(year));
    let day = date.ordinal0();
    (year, if day < start { 1 } else { (day - start) / 7 + 2 })
}

/// The fields a text gave.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    year: Option<i64>,
    bc: bool,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    quarter: Option<i64>,
    weekday: Option<usize>,
    hour: Option<i64>,
    half_hour: Option<i64>,
    pm: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    nano: Option<i64>,
    nano_of_day: Option<i64>,
    zone: Option<Zone>,
    lenient: bool,
}

impl Parsed {
    fn set(&mut self, letter: char, count: usize, value: i64, digits: usize) -> Option<()> {
        let lenient = self.lenient;
        let within = |low, high| (lenient || (low..=high).contains(&value)).then_some(value);
        match letter {
            'y' | 'u' | 'Y' if count == 2 && digits == 2 => self.year = Some(2000 + value),
            'y' | 'u' | 'Y' => self.year = Some(value),
            'M' | 'L' => self.month = Some(within(1, 12)?),
            'd' => self.day = Some(within(1, 31)?),
            'D' => self.day_of_year = Some(within(1, 366)?),
            'Q' | 'q' => self.quarter = Some(within(1, 4)?),
            'e' | 'c' => self.weekday = Some(((within(1, 7)? + 5) % 7) as usize),
            'H' => self.hour = Some(within(0, 23)?),
            'k' => self.hour = Some(within(1, 24)? % 24),
            'K' => self.half_hour = Some(within(0, 11)?),
            'h' => self.half_hour = Some(within(1, 12)? % 12),
            'm' => self.minute = Some(within(0, 59)?),
            's' => self.second = Some(within(0, 59)?),
            'S' => self.nano = Some(value.checked_mul(1_000_000)?),
            'A' => self.nano_of_day = Some(within(0, 86_399_999)?.checked_mul(1_000_000)?),
            'n' => self.nano = Some(within(0, 999_999_999)?),
            'N' => self.nano_of_day = Some(within(0, 86_399_999_999_999)?),
            _ => {}
        }
        Some(())
    }

    /// The zone the text gave.
    pub fn zone(&self) -> Option<Zone> {
        self.zone
    }

    /// The date, missing fields taken from 1970-01-01.
    pub fn date(&self) -> Result<NaiveDate, String> {
        let wrong = || "the date does not exist".to_owned();
        let year = self.year.unwrap_or(1970);
        let year = if self.bc { 1 - year } else { year };
        let year = i32::try_from(year).map_err(|_| wrong())?;
        let date = if let Some(day) = self.day_of_year {
            NaiveDate::from_yo_opt(year, day as u32).ok_or_else(wrong)?
        } else if self.lenient {
            let months = i64::from(year) * 12 + self.month.unwrap_or(1) - 1;
            let first = i32::try_from(months.div_euclid(12))
                .ok()
                .and_then(|y| NaiveDate::from_ymd_opt(y, months.rem_euclid(12) as u32 + 1, 1))
                .ok_or_else(wrong)?;
            let days = chrono::Duration::try_days(self.day.unwrap_or(1) - 1).ok_or_else(wrong)?;
            first.checked_add_signed(days).ok_or_else(wrong)?
        } else {
            let month = self.month.or(self.quarter.map(|q| q * 3 - 2)).unwrap_or(1) as u32;
            let day = self.day.unwrap_or(1) as u32;
            (0..4)
                .find_map(|less| NaiveDate::from_ymd_opt(year, month, day.saturating_sub(less)))
                .ok_or_else(wrong)?
        };
        match self.weekday {
            Some(day) if self.day.is_some() && !self.lenient => {
                let day = Weekday::try_from(day as u8).map_err(|_| wrong())?;
                if date.weekday() == day {
                    Ok(date)
                } else {
                    Err("the day of the week is not that of the date".into())
                }
            }
            _ => Ok(date),
        }
    }

    /// The time of day, missing fields taken as zero.
    pub fn time(&self) -> NaiveTime {
        if let Some(nanos) = self.nano_of_day {
            let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
            return NaiveTime::from_num_seconds_from_midnight_opt(seconds as u32, rest as u32)
                .unwrap_or(NaiveTime::MIN);
        }
        let half = self.half_hour.map(|h| if self.pm == Some(true) { h + 12 } else { h });
        let hour = self.hour.or(half).unwrap_or(0);
        let (m, s, n) =
            (self.minute.unwrap_or(0), self.second.unwrap_or(0), self.nano.unwrap_or(0));
        NaiveTime::from_hms_nano_opt(hour as u32, m as u32, s as u32, n as u32)
            .unwrap_or(NaiveTime::MIN)
    }

    /// The time of day in milliseconds.
    pub fn time_ms(&self) -> i32 {
        let time = self.time();
        (time.num_seconds_from_midnight() * 1000 + time.nanosecond() / 1_000_000) as i32
    }

    /// The instant in milliseconds since 1970; a zone in the text counts before `default`.
    pub fn instant_ms(&self, default: Zone) -> Result<i64, String> {
        let local = self.date()?.and_time(self.time());
        Ok(self.zone.unwrap_or(default).to_utc_ms(local))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2021-03-04T15:06:07.089 UTC, a Thursday.
    const MOMENT: i64 = 1_614_870_367_089;

    #[test]
    fn formats() {
        let berlin = Zone::parse("Europe/Berlin").expect("known");
        for (pattern, zone, expected) in [
            ("yyyy-MM-dd'T'HH:mm:ss.SSS", Zone::UTC, "2021-03-04T15:06:07.089"),
            ("yy/M/d h:mm a", Zone::UTC, "21/3/4 3:06 PM"),
            ("EEE, d MMM yyyy", Zone::UTC, "Thu, 4 Mar 2021"),
            ("EEEE d MMMM", Zone::UTC, "Thursday 4 March"),
            ("HH:mm XXX", berlin, "16:06 +01:00"),
            ("HH:mm Z VV z", berlin, "16:06 +0100 Europe/Berlin CET"),
            ("''yyyy'' 'o''clock'", Zone::UTC, "'2021' o'clock"),
            ("DDD Q G", Zone::UTC, "063 1 AD"),
            ("X", Zone::UTC, "Z"),
            ("kk:mm[ ss]", Zone::UTC, "15:06 07"),
            ("A n", Zone::UTC, "54367089 89000000"),
        ] {
            let pattern = Pattern::new(pattern).expect(pattern);
            assert_eq!(pattern.format(MOMENT, zone).as_deref(), Ok(expected));
        }
        assert!(Pattern::new("yyyy-bb").is_err());
        assert!(Pattern::new("yyyy 'open").is_err());
    }

    #[test]
    fn parses() {
        for (pattern, text, expected) in [
            ("yyyy-MM-dd'T'HH:mm:ss.SSS", "2021-03-04T15:06:07.089", Some(MOMENT)),
            ("yyyyMMddHHmmssSSS", "20210304150607089", Some(MOMENT)),
            ("yyyy-MM-dd HH:mm:ss.SSSX", "2021-03-04 16:06:07.089+01", Some(MOMENT)),
            ("yyyy-MM-dd HH:mm:ss.SSS VV", "2021-03-04 16:06:07.089 Europe/Berlin", Some(MOMENT)),
            ("d MMM yyyy", "2 jan 1970", Some(86_400_000)),
            ("EEE d MMM yyyy", "Fri 2 Jan 1970", Some(86_400_000)),
            ("EEE d MMM yyyy", "Sat 2 Jan 1970", None),
            ("yyyy", "1971", Some(31_536_000_000)),
            ("hh:mm a", "01:30 PM", Some(48_600_000)),
            ("yyyy-MM-dd", "2021-02-31", Some(1_614_470_400_000)),
            ("yyyy-MM-dd", "2021-13-01", None),
            ("yyyy-MM-dd", "2021-1-01", None),
            ("yyyy-MM-dd[ HH]", "1970-01-01", Some(0)),
            ("yyyy-MM-dd", "1970-01-01x", None),
        ] {
            let parsed = Pattern::new(pattern).expect(pattern).parse(text);
            let got = parsed.and_then(|p| p.instant_ms(Zone::UTC));
            assert_eq!(got.ok(), expected, "{pattern} {text}");
        }
    }
}
