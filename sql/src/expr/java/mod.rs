//! Text as the JVM writes it. Clients compare it byte for byte, so it is kept in one place.

mod numbers;

pub use numbers::{decimal_to_string, double_to_string, float_to_string};
