//! Numbers as accumulators keep them: of every primitive Arrow type that a SQL type has.

use arrow::datatypes::{ArrowNativeTypeOp, Decimal128Type, Decimal256Type, DecimalType, i256};

use crate::state::take;

/// A number that can be saved.
pub(super) trait Number: ArrowNativeTypeOp + Default + Send {
    fn put(self, out: &mut Vec<u8>);
    fn take(at: &mut &[u8]) -> Option<Self>;
    fn to_f64(self) -> f64;
    /// Whether it fits a decimal of so many digits; only asked of decimals.
    fn fits(self, precision: u8) -> bool;
}

macro_rules! number {
    ($($ty:ty: $to_f64:expr, $fits:expr;)*) => {$(
        impl Number for $ty {
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(at: &mut &[u8]) -> Option<Self> {
                Some(<$ty>::from_le_bytes(take(at, size_of::<$ty>())?.try_into().ok()?))
            }
            fn to_f64(self) -> f64 {
                $to_f64(self)
            }
            fn fits(self, precision: u8) -> bool {
                $fits(self, precision)
            }
        }
    )*};
}

number! {
    i32: f64::from, |_, _| true;
    i64: |n| n as f64, |_, _| true;
    f64: |n| n, |_, _| true;
    i128: |n| n as f64, Decimal128Type::is_valid_decimal_precision;
    i256: |n: i256| n.to_i128().map_or(f64::NAN, |n| n as f64), Decimal256Type::is_valid_decimal_precision;
}
