//! Date and time patterns of Java's `DateTimeFormatter`, for formatting and parsing.
//!
//! A pattern is letters repeated to say how wide a field is, literal text in single quotes, and
//! optional sections in brackets. Locale is US English. Parsing resolves as Java's SMART mode: what is
//! missing is taken from 1970-01-01T00:00, a day past the end of its month is the last one.

use super::moment::Moment;
use super::parsed::Parsed;
use super::zone::{self, Zone};

/// A pattern, read once.
#[derive(Clone, Debug)]
pub struct Pattern {
    items: Vec<Item>,
    /// Fields may have fewer digits than letters and roll over, as in `SimpleDateFormat`.
    lenient: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Field(char, usize),
    Literal(String),
    Optional(Vec<Item>),
    /// A field filled up with blanks on the left.
    Padded(usize, Box<Item>),
}

const LETTERS: &str = "GuyYDMLdQqwWEecFaBhKkHmsSAnNVvzOXxZ";
pub(super) const MONTHS: [&str; 12] = [
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
pub(super) const DAYS: [&str; 7] =
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
                'p' => {
                    let mut width = 1;
                    while chars.next_if_eq(&'p').is_some() {
                        width += 1;
                    }
                    let letter = chars.next().filter(|c| LETTERS.contains(*c)).ok_or_else(|| {
                        format!("the pattern {text:?} has p without a field after it")
                    })?;
                    let mut count = 1;
                    while chars.next_if_eq(&letter).is_some() {
                        count += 1;
                    }
                    Item::Padded(width, Box::new(Item::Field(letter, count)))
                }
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
                Item::Padded(_, inner) => search(std::slice::from_ref(inner), test),
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

    /// Whether it has a field of the time zone.
    pub fn has_zone(&self) -> bool {
        self.any_field(&|c| "VvzOXxZ".contains(c))
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
        if let Some(parsed) = self.read_plain(text.as_bytes()) {
            return Ok(parsed);
        }
        let mut parsed = Parsed::default();
        parsed.lenient = self.lenient;
        let unparsable = || format!("the text {text:?} does not match the pattern");
        let end = self.read(&self.items, text, 0, &mut parsed).ok_or_else(unparsable)?;
        if end != text.len() && !self.lenient {
            return Err(unparsable());
        }
        Ok(parsed)
    }

    /// The common case, fast: numbers of just as many digits as letters, and literals as written. What
    /// it reads, [`Pattern::read`] would read alike; for all else it gives `None`.
    fn read_plain(&self, text: &[u8]) -> Option<Parsed> {
        if self.lenient {
            return None;
        }
        let mut out = Parsed::default();
        let mut rest = text;
        for item in &self.items {
            match item {
                Item::Literal(literal) => rest = rest.strip_prefix(literal.as_bytes())?,
                Item::Field(letter @ 'y', count @ 4)
                | Item::Field(letter @ ('M' | 'd' | 'H' | 'm' | 's'), count @ 2) => {
                    let (value, after) = plain_number(rest, *count)?;
                    out.set(*letter, *count, value, *count)?;
                    rest = after;
                }
                Item::Field('S', count @ 1..=9) => {
                    let (value, after) = plain_number(rest, *count)?;
                    out.nano = Some(value * 10i64.pow(9 - *count as u32));
                    rest = after;
                }
                Item::Field('X', _) => {
                    rest = rest.strip_prefix(b"Z")?;
                    out.zone = Some(Zone::Fixed(zone::parse_offset("Z")?));
                }
                Item::Field(..) | Item::Optional(_) | Item::Padded(..) => return None,
            }
        }
        rest.is_empty().then_some(out)
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
                Item::Padded(width, inner) => {
                    let place = text.get(at..at + width)?;
                    let field = place.trim_start_matches(' ');
                    let end = self.read(std::slice::from_ref(inner), field, 0, out)?;
                    if end != field.len() {
                        return None;
                    }
                    at + width
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
                let (index, taken) = read_name(text, &MONTHS, if self.lenient { 0 } else { count })?;
                out.month = Some(index as i64 + 1);
                Some(taken)
            }
            ('E', _) | ('e' | 'c', 3..) => {
                let (index, taken) =
                    match (self.lenient, letter) {
                        (true, _) => read_name(text, &DAYS, 0),
                        (false, 'E') => read_name(text, &DAYS, count.max(3)),
                        (false, _) => read_name(text, &DAYS, count),
                    }?;
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

/// The number that the first `count` bytes are, and what follows; `None` if they are not all digits.
fn plain_number(text: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(count)?;
    let mut value = 0;
    for digit in digits {
        value = value * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    Some((value, rest))
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
    match count {
        // SimpleDateFormat takes both.
        0 => full().or_else(short),
        3 => short(),
        _ => full(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// 2021-03-04T15:06:07.089 UTC, a Thursday.
    const MOMENT: i64 = 1_614_870_367_089;

    #[test]
    fn the_fast_way_reads_as_the_slow_one() {
        for pattern in ["yyyy-MM-dd'T'HH:mm:ss.SSSX", "yyyyMMdd HHmmss", "HH:mm:ss.SS", "dd/MM/yyyy"] {
            let pattern = Pattern::new(pattern).expect(pattern);
            for text in [
                "2021-03-04T15:06:07.089Z", "2021-03-04T15:06:07.089z", "2021-03-04T25:06:07.089Z",
                "12021-03-04T15:06:07.089Z", "20210304 150607", "120210304 150607", "15:06:07.08",
                "15:06:07.0", "04/03/2021", "31/02/2021", "04/13/2021", "4/3/2021", "", "04/03/2021 ",
            ] {
                let mut slow = Parsed::default();
                let end = pattern.read(&pattern.items, text, 0, &mut slow);
                let slow = end.filter(|end| *end == text.len()).map(|_| format!("{slow:?}"));
                let fast = pattern.read_plain(text.as_bytes()).map(|fast| format!("{fast:?}"));
                assert!(fast.is_none() || fast == slow, "{text}: {fast:?} {slow:?}");
            }
        }
        let iso = Pattern::new("yyyy-MM-dd'T'HH:mm:ss.SSSX").expect("good");
        assert!(iso.read_plain(b"2021-03-04T15:06:07.089Z").is_some());
    }

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
