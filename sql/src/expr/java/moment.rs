//! An instant written field by field, as a pattern says.

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};

use super::pattern::{DAYS, Item, MONTHS};
use super::zone::{self, Zone};

/// An instant being formatted.
pub(super) struct Moment {
    pub(super) local: NaiveDateTime,
    pub(super) utc_ms: i64,
    pub(super) zone: Zone,
    pub(super) offset: i32,
}

impl Moment {
    pub(super) fn write(&self, item: &Item, out: &mut String) -> Result<(), String> {
        let (letter, count) = match item {
            Item::Literal(text) => {
                out.push_str(text);
                return Ok(());
            }
            Item::Optional(inner) => {
                return inner.iter().try_for_each(|item| self.write(item, out));
            }
            Item::Padded(width, inner) => {
                let mut field = String::new();
                self.write(inner, &mut field)?;
                let len = field.chars().count();
                if len > *width {
                    return Err(format!("{field:?} is wider than the {width} places it has"));
                }
                out.extend(std::iter::repeat_n(' ', width - len));
                out.push_str(&field);
                return Ok(());
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
            'Q' | 'q' if count == 4 => {
                let quarter = ["1st", "2nd", "3rd", "4th"][d.month0() as usize / 3];
                out.push_str(&format!("{quarter} quarter"));
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
                let short = self.zone.short_name(self.utc_ms);
                let long = (count == 4).then(|| self.zone.long_name(&short)).flatten();
                out.push_str(long.unwrap_or(&short));
                return Ok(());
            }
            'O' => {
                out.push_str("GMT");
                if self.offset != 0 {
                    let sign = if self.offset < 0 { '-' } else { '+' };
                    let (h, m) = (self.offset.abs() / 3600, self.offset.abs() / 60 % 60);
                    let text = match (count, m) {
                        (4, _) => format!("{sign}{h:02}:{m:02}"),
                        (_, 0) => format!("{sign}{h}"),
                        _ => format!("{sign}{h}:{m:02}"),
                    };
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
