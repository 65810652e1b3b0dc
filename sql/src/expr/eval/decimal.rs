//! DECIMAL values: exact, up to 76 digits, ksqlDB's precision and rounding rules.
//!
//! A value is its unscaled integer; precision and scale are the type's. Columns are Arrow's
//! `Decimal128` up to 38 digits, else `Decimal256`; loops use 256 bits where 128 do not surely do.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, i256};

use crate::expr::java;

/// The most digits a value can have.
pub(crate) const MAX_DIGITS: u8 = 76;

static POWERS: LazyLock<Vec<i256>> = LazyLock::new(|| {
    let ten = i256::from_i128(10);
    let mut powers = vec![i256::ONE];
    for i in 0..usize::from(MAX_DIGITS) {
        powers.push(powers[i].wrapping_mul(ten));
    }
    powers
});

/// 10ⁿ, if it has at most 77 digits.
pub(crate) fn power_of_ten(n: u32) -> Option<i256> {
    POWERS.get(n as usize).copied()
}

/// Whether the unscaled value has at most `precision` digits.
pub(crate) fn fits(value: i256, precision: u8) -> bool {
    let Some(limit) = power_of_ten(u32::from(precision.min(MAX_DIGITS))) else { return false };
    value < limit && value > limit.wrapping_neg()
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    HalfUp,
    Down,
    /// Half toward positive infinity: ROUND's rule.
    HalfToPositive,
    Floor,
    Ceiling,
    /// Digits lost make it fail.
    Exact,
}

/// The value at another scale; `None` when it overflows or, for `Exact`, would lose digits.
pub(crate) fn rescale(value: i256, from: i32, to: i32, rounding: Rounding) -> Option<i256> {
    if value == i256::ZERO {
        return Some(value);
    }
    let places = i64::from(to) - i64::from(from);
    let power = u32::try_from(places.unsigned_abs()).ok().and_then(power_of_ten);
    if places >= 0 {
        return value.checked_mul(power?);
    }
    let Some(divisor) = power else {
        return (rounding != Rounding::Exact).then_some(i256::ZERO);
    };
    divide(value, divisor, rounding)
}

/// `value / divisor` to an integer; the divisor is positive.
pub(crate) fn divide(value: i256, divisor: i256, rounding: Rounding) -> Option<i256> {
    let quotient = value.checked_div(divisor)?;
    let rest = value.checked_rem(divisor)?;
    if rest == i256::ZERO {
        return Some(quotient);
    }
    let negative = value < i256::ZERO;
    let magnitude = if rest < i256::ZERO { rest.wrapping_neg() } else { rest };
    // Compares the rest with one half without doubling it, which could overflow.
    let other = divisor.wrapping_sub(magnitude);
    let away = match rounding {
        Rounding::Exact => return None,
        Rounding::Down => false,
        Rounding::HalfUp => magnitude >= other,
        Rounding::HalfToPositive if negative => magnitude > other,
        Rounding::HalfToPositive => magnitude >= other,
        Rounding::Floor => negative,
        Rounding::Ceiling => !negative,
    };
    Some(match (away, negative) {
        (false, _) => quotient,
        (true, true) => quotient.checked_sub(i256::ONE)?,
        (true, false) => quotient.checked_add(i256::ONE)?,
    })
}

/// A decimal column, read as 256-bit unscaled values.
pub(crate) enum DecimalColumn<'a> {
    Small(&'a Decimal128Array),
    Large(&'a Decimal256Array),
}

impl<'a> DecimalColumn<'a> {
    pub(crate) fn open(array: &'a dyn Array) -> Option<Self> {
        match array.data_type() {
            DataType::Decimal128(..) => Some(Self::Small(array.as_primitive::<Decimal128Type>())),
            DataType::Decimal256(..) => Some(Self::Large(array.as_primitive::<Decimal256Type>())),
            _ => None,
        }
    }

    pub(crate) fn get(&self, at: usize) -> i256 {
        match self {
            Self::Small(a) => i256::from_i128(a.value(at)),
            Self::Large(a) => a.value(at),
        }
    }

    pub(crate) fn scale(&self) -> i32 {
        match self {
            Self::Small(a) => i32::from(a.scale()),
            Self::Large(a) => i32::from(a.scale()),
        }
    }
}

/// A column of DECIMAL(precision, scale); the values must fit.
pub(crate) fn build(values: Vec<Option<i256>>, precision: u8, scale: u8) -> ArrayRef {
    let scale = scale as i8;
    if precision <= 38 {
        let small: Decimal128Array =
            values.into_iter().map(|v| v.and_then(i256::to_i128)).collect();
        Arc::new(small.with_data_type(DataType::Decimal128(precision, scale)))
    } else {
        let large: Decimal256Array = values.into_iter().collect();
        Arc::new(large.with_data_type(DataType::Decimal256(precision.min(MAX_DIGITS), scale)))
    }
}

pub(crate) fn to_text(value: i256, scale: i32) -> String {
    java::plain(&value.to_string(), scale as i8)
}

/// The nearest double. Exact division where both sides are exact, else through the digits.
pub(crate) fn to_double(value: i256, scale: i32) -> f64 {
    const EXACT: i128 = 1 << 53;
    if value == i256::ZERO {
        return 0.0;
    }
    if let Some(small) = value.to_i128()
        && small.abs() < EXACT
        && (0..=22).contains(&scale)
    {
        return small as f64 / 10f64.powi(scale);
    }
    format!("{value}e{}", -i64::from(scale)).parse().unwrap_or(f64::NAN)
}

/// The integer part, wrapped to 64 bits as `BigDecimal.longValue` does.
pub(crate) fn to_bigint(value: i256, scale: i32) -> i64 {
    let whole = rescale(value, scale, 0, Rounding::Down).unwrap_or(i256::ZERO);
    whole.as_i128() as i64
}

/// Reads `BigDecimal`'s text: sign, digits, point, exponent. Gives the unscaled value and the scale,
/// which may be negative. `None` if it is no number or has more than 76 digits.
pub(crate) fn parse(text: &str) -> Option<(i256, i32)> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => {
            let digits = &text[at + 1..];
            let digits = digits.strip_prefix('+').unwrap_or(digits);
            (&text[..at], digits.parse::<i32>().ok()?)
        }
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.as_bytes().first()? {
        b'-' => (true, &mantissa[1..]),
        b'+' => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let ten = i256::from_i128(10);
    let mut value = i256::ZERO;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(ten)?.checked_add(i256::from_i128(i128::from(digit - b'0')))?;
    }
    let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    Some((if negative { value.wrapping_neg() } else { value }, scale))
}

/// Reads a text into DECIMAL(precision, scale), rounding half up; `None` if it is no number or does
/// not fit.
pub(crate) fn parse_as(text: &str, precision: u8, scale: u8) -> Option<i256> {
    let (value, from) = parse(text)?;
    let value = rescale(value, from, i32::from(scale), Rounding::HalfUp)?;
    fits(value, precision).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_follows_its_mode() {
        use Rounding::*;
        let cases = [
            ("2.5", HalfUp, Some("3")),
            ("-2.5", HalfUp, Some("-3")),
            ("-2.5", HalfToPositive, Some("-2")),
            ("2.5", HalfToPositive, Some("3")),
            ("-2.6", HalfToPositive, Some("-3")),
            ("2.9", Down, Some("2")),
            ("-2.1", Floor, Some("-3")),
            ("2.1", Ceiling, Some("3")),
            ("2.1", Exact, None),
            ("2.0", Exact, Some("2")),
        ];
        for (text, rounding, expected) in cases {
            let (value, scale) = parse(text).expect("a number");
            let got = rescale(value, scale, 0, rounding).map(|v| v.to_string());
            assert_eq!(got.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn texts_are_read_as_big_decimal_does() {
        for (text, expected) in [
            ("1.50", Some("1.50")),
            ("-0.005", Some("-0.005")),
            ("2e1", Some("20")),
            ("1.5E-3", Some("0.0015")),
            ("+7", Some("7")),
            (".5", Some("0.5")),
            ("", None),
            ("-", None),
            ("1 ", None),
            ("x", None),
        ] {
            assert_eq!(parse(text).map(|(v, s)| to_text(v, s)).as_deref(), expected, "{text}");
        }
    }
}
