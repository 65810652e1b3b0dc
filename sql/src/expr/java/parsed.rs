//! The fields a text gave when it was read by a pattern, resolved to a date, a time or an instant as
//! Java's SMART mode does.

use chrono::{Datelike, NaiveDate, NaiveTime, Timelike, Weekday};

use super::zone::Zone;

/// The fields a text gave.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    pub(super) year: Option<i64>,
    pub(super) bc: bool,
    pub(super) month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    pub(super) weekday: Option<usize>,
    hour: Option<i64>,
    half_hour: Option<i64>,
    pub(super) pm: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    pub(super) nano: Option<i64>,
    nano_of_day: Option<i64>,
    pub(super) zone: Option<Zone>,
    pub(super) lenient: bool,
}

impl Parsed {
    pub(super) fn set(
        &mut self,
        letter: char,
        count: usize,
        value: i64,
        digits: usize,
    ) -> Option<()> {
        let lenient = self.lenient;
        let within = |low, high| (lenient || (low..=high).contains(&value)).then_some(value);
        match letter {
            // SimpleDateFormat: within 80 years before and 20 after today; a fixed day, so that a plan
            // means the same for ever.
            'y' if lenient && count <= 2 && digits == 2 => {
                self.year = Some(if value < 47 { 2000 + value } else { 1900 + value });
            }
            'y' | 'u' | 'Y' if count == 2 && digits == 2 => self.year = Some(2000 + value),
            'y' | 'u' | 'Y' => self.year = Some(value),
            'M' | 'L' => self.month = Some(within(1, 12)?),
            'd' => self.day = Some(within(1, 31)?),
            'D' => self.day_of_year = Some(within(1, 366)?),
            'Q' | 'q' => {
                within(1, 4)?;
            }
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
            // Java does not make a month of a quarter.
            let month = self.month.unwrap_or(1) as u32;
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
        let half = self.half_hour.or(self.pm.map(|_| 0));
        let half = half.map(|h| if self.pm == Some(true) { h + 12 } else { h });
        let hour = self.hour.or(half).unwrap_or(0);
        let (m, s, n) =
            (self.minute.unwrap_or(0), self.second.unwrap_or(0), self.nano.unwrap_or(0));
        NaiveTime::from_hms_nano_opt(hour as u32, m as u32, s as u32, n as u32)
            .unwrap_or(NaiveTime::MIN)
    }

    /// Whether there is enough for `LocalDate.from`, which takes nothing for granted.
    ///
    /// # Errors
    /// What is missing.
    pub fn require_date(&self) -> Result<(), String> {
        let day = self.day_of_year.is_some() || (self.month.is_some() && self.day.is_some());
        if self.year.is_some() && day { Ok(()) } else { Err("the text has no whole date".into()) }
    }

    /// Whether there is enough for `LocalTime.from`: the hour, and no gap after it.
    ///
    /// # Errors
    /// What is missing.
    pub fn require_time(&self) -> Result<(), String> {
        let hour = self.hour.is_some() || (self.half_hour.is_some() && self.pm.is_some());
        let finer = [self.minute, self.second, self.nano];
        let gap = finer.windows(2).any(|pair| pair[0].is_none() && pair[1].is_some());
        if self.nano_of_day.is_some() || (hour && !gap) {
            Ok(())
        } else {
            Err("the text has no whole time".into())
        }
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
