//! Numbers from text, by Java's rules, exactly.
//!
//! Text is what `BigDecimal(String)` reads: sign, digits with an optional point, exponent. JSON
//! numbers are a subset. Nothing is rounded and no exponent, however large, makes anything grow.

use arrow::datatypes::i256;

use super::columns::DecimalShape;

/// Decimal text taken apart: `±whole.fraction × 10^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Decimal<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Option<Decimal<'a>> {
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let (whole, rest) = digits(rest);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => digits(rest),
            rest => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => i64::from(integer::<i32>(rest)?),
            _ => return None,
        };
        Some(Decimal { negative, whole, fraction, exponent })
    }

    fn digits(&self) -> impl DoubleEndedIterator<Item = u8> + Clone + use<'a> {
        self.whole.iter().chain(self.fraction).copied()
    }

    /// Digits behind the point, as `BigDecimal.scale` counts them; may be negative.
    fn scale(&self) -> i64 {
        self.fraction.len() as i64 - self.exponent
    }

    /// `BigDecimal.longValue`: the fraction is cut off, what is too big wraps.
    pub(super) fn to_i64_wrapping(self) -> i64 {
        let wanted = self.whole.len() as i64 + self.exponent;
        let given = (self.whole.len() + self.fraction.len()) as i64;
        let mut value = 0i64;
        for digit in self.digits().take(usize::try_from(wanted).unwrap_or(0)) {
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
        }
        // 10^64 and all higher powers are multiples of 2^64.
        for _ in 0..(wanted - given).clamp(0, 64) {
            value = value.wrapping_mul(10);
        }
        if self.negative { value.wrapping_neg() } else { value }
    }

    /// The significant digits and their scale, when they fit `shape` without rounding: how many
    /// trailing digits to leave off, and how many zeros to append.
    fn fit(&self, shape: DecimalShape) -> Option<Fit> {
        let total = self.whole.len() + self.fraction.len();
        let leading = self.digits().take_while(|d| *d == b'0').count();
        if leading == total {
            return Some(Fit { leading, kept: 0, zeros: 0 });
        }
        let trailing = self.digits().rev().take_while(|d| *d == b'0').count();
        let kept = total - leading - trailing;
        let zeros = i64::from(shape.scale) - (self.scale() - trailing as i64);
        let fits = zeros >= 0 && kept as i64 + zeros <= i64::from(shape.precision);
        fits.then_some(Fit { leading, kept, zeros: zeros as usize })
    }

    /// The unscaled value of a DECIMAL with at most 38 digits; `None` when it does not fit exactly.
    pub(super) fn to_i128(self, shape: DecimalShape) -> Option<i128> {
        let fit = self.fit(shape)?;
        let mut value = 0i128;
        for digit in self.digits().skip(fit.leading).take(fit.kept) {
            value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        }
        let value = value.checked_mul(10i128.checked_pow(fit.zeros as u32)?)?;
        Some(if self.negative { -value } else { value })
    }

    /// As [`Decimal::to_i128`], for up to 76 digits.
    pub(super) fn to_i256(self, shape: DecimalShape) -> Option<i256> {
        let fit = self.fit(shape)?;
        let mut text = String::with_capacity(80);
        if self.negative {
            text.push('-');
        }
        text.push('0');
        text.extend(self.digits().skip(fit.leading).take(fit.kept).map(char::from));
        text.extend(std::iter::repeat_n('0', fit.zeros));
        i256::from_string(&text)
    }

    /// `BigDecimal.toString`: plain, or with an exponent when very small or written with one.
    pub(super) fn java_text(&self) -> String {
        let leading = self.digits().take_while(|d| *d == b'0').count();
        let total = self.whole.len() + self.fraction.len();
        let digits: String = self.digits().skip(leading.min(total - 1)).map(char::from).collect();
        let scale = self.scale();
        let adjusted = digits.len() as i64 - 1 - scale;
        let sign = if self.negative && leading < total { "-" } else { "" };
        if scale == 0 {
            format!("{sign}{digits}")
        } else if scale > 0 && adjusted >= -6 {
            let scale = scale as usize;
            if digits.len() > scale {
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                format!("{sign}{whole}.{fraction}")
            } else {
                format!("{sign}0.{}{digits}", "0".repeat(scale - digits.len()))
            }
        } else {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            let exponent = if adjusted == 0 { String::new() } else { format!("E{adjusted:+}") };
            format!("{sign}{first}{point}{rest}{exponent}")
        }
    }
}

struct Fit {
    leading: usize,
    kept: usize,
    zeros: usize,
}

/// The digits in front, and what follows.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let count = text.iter().take_while(|b| b.is_ascii_digit()).count();
    text.split_at(count)
}

/// `Integer.parseInt`, `Long.parseLong`: an optional sign and digits, in range, nothing else.
pub(super) fn integer<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    // Rust's parse has the same grammar for these types.
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `Double.parseDouble`: surrounding white space, a type suffix, `NaN` and `Infinity` are allowed.
pub(super) fn double(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim_matches(|c: char| c <= ' ');
    match text.strip_prefix(['+', '-']).unwrap_or(text) {
        "NaN" => return Some(f64::NAN),
        "Infinity" if text.starts_with('-') => return Some(f64::NEG_INFINITY),
        "Infinity" => return Some(f64::INFINITY),
        _ => {}
    }
    let digits = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    // Rust also reads "inf" and "nan", Java does not.
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E');
    if digits.bytes().all(plain) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_exact_decimals() {
        let check = |text: &str, precision, scale, want: Option<i128>| {
            let shape = DecimalShape { precision, scale };
            let decimal = Decimal::parse(text.as_bytes());
            assert_eq!(decimal.and_then(|d| d.to_i128(shape)), want, "{text}");
            let wide = want.map(i256::from_i128);
            assert_eq!(decimal.and_then(|d| d.to_i256(shape)), wide, "{text}");
        };
        check("1.5", 4, 2, Some(150));
        check("-0.050", 4, 2, Some(-5));
        check("0.005", 4, 2, None);
        check("12345", 4, 0, None);
        check("1E2", 5, 2, Some(10_000));
        check("100E-2", 5, 2, Some(100));
        check("0E999999999", 5, 2, Some(0));
        check("1E999999999", 5, 2, None);
        check("1E99999999999", 5, 2, None);
        check(".5", 5, 2, Some(50));
        check("5.", 5, 2, Some(500));
        check("", 5, 2, None);
        check(".", 5, 2, None);
        check("1x", 5, 2, None);
        check("99999999999999999999999999999999999999", 38, 0, Some(10i128.pow(38) - 1));
    }

    #[test]
    fn integers_are_cut_and_wrap() {
        let check = |text: &str, want: i64| {
            let value = Decimal::parse(text.as_bytes()).unwrap().to_i64_wrapping();
            assert_eq!(value, want, "{text}");
        };
        check("12.9", 12);
        check("-12.9", -12);
        check("1.25E1", 12);
        check("1E-5", 0);
        check("1E3", 1_000);
        check("9223372036854775808", i64::MIN);
        check("1E400", 0);
    }

    #[test]
    fn big_decimals_print_as_java_does() {
        let check = |text: &str, want: &str| {
            assert_eq!(Decimal::parse(text.as_bytes()).unwrap().java_text(), want, "{text}");
        };
        check("1.50", "1.50");
        check("0.000001", "0.000001");
        check("0.0000001", "1E-7");
        check("1E3", "1E+3");
        check("1.2E+30", "1.2E+30");
        check("-0.5", "-0.5");
        check("-0.0", "0.0");
        check("12E-1", "1.2");
    }

    #[test]
    fn doubles_follow_java() {
        let check = |text: &str, want: Option<f64>| assert_eq!(double(text.as_bytes()), want, "{text}");
        check("1.5", Some(1.5));
        check(" 1e3 ", Some(1_000.0));
        check("1.5d", Some(1.5));
        check("-Infinity", Some(f64::NEG_INFINITY));
        check("inf", None);
        check("x", None);
        check("", None);
    }
}
