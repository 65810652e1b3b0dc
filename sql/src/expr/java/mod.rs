//! Text as the JVM writes and reads it. Clients compare it byte for byte, so it is kept in one place.

mod hash;
mod iso;
mod moment;
mod numbers;
mod order;
mod parsed;
mod pattern;
pub(crate) mod regex;
mod zone;

pub(crate) use hash::map_order;
pub(crate) use iso::{DAY_MS, days_of};
pub use iso::{
    date_to_string, parse_date, parse_time, parse_timestamp, time_to_string, timestamp_to_string,
};
pub(crate) use numbers::plain;
pub use numbers::{decimal_to_string, double_to_string, float_to_string};
pub use order::{compare_signed, compare_utf16};
pub use parsed::Parsed;
pub use pattern::Pattern;
pub use zone::Zone;
