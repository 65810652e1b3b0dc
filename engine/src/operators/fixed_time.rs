//! Times in texts of fixed width, such as `yyyy-MM-dd HH:mm:ss.SSS`: read without the general patterns.
//!
//! A record's time is read for every record, and most patterns are years, months, days, hours, minutes,
//! seconds and fractions with punctuation between. Such a pattern is a list of fields here; a text that
//! does not match it digit by digit, or names a day that its month does not have, is left to the general
//! parser, which decides what it means. So this never gives a time that the other would not.

use crate::rows::Millis;

/// A pattern of fixed-width numbers and literal characters, in UTC.
#[derive(Debug)]
pub(crate) struct FixedPattern {
    parts: Vec<Part>,
    len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Literal(u8),
    /// What the number is, and its digits.
    Number(Field, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Fraction,
}

impl FixedPattern {
    /// `None` if the Java pattern is not of this kind.
    pub(crate) fn new(pattern: &str) -> Option<FixedPattern> {
        let bytes = pattern.as_bytes();
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte.is_ascii_alphabetic() {
                let width = bytes[at..].iter().take_while(|b| **b == byte).count();
                let field = match (byte, width) {
                    (b'y' | b'u', 4) => Field::Year,
                    (b'M', 2) => Field::Month,
                    (b'd', 2) => Field::Day,
                    (b'H', 2) => Field::Hour,
                    (b'm', 2) => Field::Minute,
                    (b's', 2) => Field::Second,
                    (b'S', 1..=9) => Field::Fraction,
                    _ => return None,
                };
                parts.push(Part::Number(field, width));
                at += width;
            } else if byte == b'\'' {
                let end = at + 1 + bytes[at + 1..].iter().position(|b| *b == b'\'')?;
                if end == at + 1 {
                    return None;
                }
                parts.extend(bytes[at + 1..end].iter().map(|b| Part::Literal(*b)));
                at = end + 1;
            } else if byte.is_ascii_digit() || !byte.is_ascii() || b"[]{}#".contains(&byte) {
                return None;
            } else {
                parts.push(Part::Literal(byte));
                at += 1;
            }
        }
        let fields = || parts.iter().filter_map(|p| if let Part::Number(f, _) = p { Some(f) } else { None });
        let once = |field| fields().filter(|f| **f == field).count() == 1;
        let at_most_once = fields().all(|field| once(*field));
        let whole_day = [Field::Year, Field::Month, Field::Day].into_iter().all(once);
        // Hours without minutes and the like are rare: the general parser knows their defaults.
        let whole_time = [Field::Hour, Field::Minute, Field::Second].into_iter().all(once);
        let literal = |p: &Part| matches!(p, Part::Literal(b) if b.is_ascii());
        let ascii = parts.iter().all(|p| literal(p) || matches!(p, Part::Number(..)));
        let len = parts.iter().map(|p| if let Part::Number(_, n) = p { *n } else { 1 }).sum();
        (at_most_once && whole_day && whole_time && ascii).then_some(FixedPattern { parts, len })
    }

    /// The text's time; `None` if the general parser must look at it.
    pub(crate) fn parse(&self, text: &str) -> Option<Millis> {
        let mut rest = text.as_bytes();
        if rest.len() != self.len {
            return None;
        }
        let (mut year, mut month, mut day) = (0, 0, 0);
        let (mut hour, mut minute, mut second, mut nanos) = (0, 0, 0, 0);
        for part in &self.parts {
            match part {
                Part::Literal(expected) => {
                    if rest[0] != *expected {
                        return None;
                    }
                    rest = &rest[1..];
                }
                Part::Number(field, width) => {
                    let (digits, tail) = rest.split_at(*width);
                    rest = tail;
                    let mut number: i64 = 0;
                    for digit in digits {
                        if !digit.is_ascii_digit() {
                            return None;
                        }
                        number = number * 10 + i64::from(digit - b'0');
                    }
                    match field {
                        Field::Year => year = number,
                        Field::Month => month = number,
                        Field::Day => day = number,
                        Field::Hour => hour = number,
                        Field::Minute => minute = number,
                        Field::Second => second = number,
                        Field::Fraction => nanos = number * 10i64.pow(9 - *width as u32),
                    }
                }
            }
        }
        let valid = year >= 1
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
        valid.then_some(seconds * 1_000 + nanos / 1_000_000)
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a day of the Gregorian calendar, counted in years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_reads_is_right_and_what_it_leaves_is_left() {
        let cases = [
            ("yyyy-MM-dd HH:mm:ss.SSS", "1970-01-01 00:00:00.000", Some(0)),
            ("yyyy-MM-dd HH:mm:ss.SSS", "2026-11-20 15:49:01.250", Some(1_795_189_741_250)),
            ("yyyy-MM-dd'T'HH:mm:ss", "2000-02-29T23:59:59", Some(951_868_799_000)),
            ("yyyy-MM-dd'T'HH:mm:ss", "1900-02-29T00:00:00", None),
            ("dd/MM/yyyy HH:mm:ss.S", "31/12/1969 23:59:59.9", Some(-100)),
            ("yyyy-MM-dd HH:mm:ss", "2026-1-20 15:49:01", None),
            ("yyyy-MM-dd HH:mm:ss", "2026-13-20 15:49:01", None),
            ("yyyy-MM-dd HH:mm:ss", "2026-12-20 24:00:00", None),
            ("yyyy-MM-dd HH:mm:ss", "２026-12-20 24:00", None),
        ];
        for (pattern, text, expected) in cases {
            let pattern = FixedPattern::new(pattern).expect(pattern);
            assert_eq!(pattern.parse(text), expected, "{text}");
        }
        for general in ["yyyy-MM-dd", "HH:mm:ss", "yyyy-MM-dd HH:mm:ssX", "yy-MM-dd HH:mm:ss", "yyyy-MMM-dd HH:mm:ss"] {
            assert!(FixedPattern::new(general).is_none(), "{general}");
        }
    }
}
