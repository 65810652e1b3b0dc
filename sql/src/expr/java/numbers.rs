//! Numbers as text, and back: `Double.toString` of JDK 19 and later, `BigDecimal.toPlainString`.
//!
//! A double is written plainly from 10⁻³ up to, not including, 10⁷, else as `d.dddE±n`; there is
//! always a digit after the point. Its digits are the shortest that read back as the same number,
//! except that a single digit is widened to the nearest two-digit form (`4.9E-324`).

/// `Double.toString`: `1.0`, `1.0E10`, `NaN`, `-Infinity`.
pub fn double_to_string(value: f64) -> String {
    if !value.is_finite() {
        return non_finite(value);
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    // The only doubles with one shortest digit and a nearer two-digit form are the two smallest.
    let text = match text {
        "5e-324" => "4.9e-324",
        "-5e-324" => "-4.9e-324",
        _ => text,
    };
    layout(text)
}

/// `Float.toString`: digits of the float itself, not of the double it widens to.
pub fn float_to_string(value: f32) -> String {
    if !value.is_finite() {
        return non_finite(f64::from(value));
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let text = match text {
        "1e-45" => "1.4e-45",
        "-1e-45" => "-1.4e-45",
        _ => text,
    };
    layout(text)
}

fn non_finite(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value > 0.0 {
        "Infinity".into()
    } else {
        "-Infinity".into()
    }
}

/// Lays out decimal text of any shape (`1e21`, `0.001`, `12.5`) as Java does.
fn layout(text: &str) -> String {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, e.parse::<i32>().unwrap_or(0)),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all: String = whole.chars().chain(fraction.chars()).collect();
    let leading = all.len() - all.trim_start_matches('0').len();
    let digits = all.trim_matches('0');
    if digits.is_empty() {
        return format!("{sign}0.0");
    }
    // The value is 0.DIGITS × 10^point.
    let point = whole.len() as i32 - leading as i32 + exponent;
    let mut out = String::from(sign);
    if (-2..=0).contains(&point) {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', -point as usize));
        out.push_str(digits);
    } else if (1..=7).contains(&point) {
        let point = point as usize;
        if digits.len() <= point {
            out.push_str(digits);
            out.extend(std::iter::repeat_n('0', point - digits.len()));
            out.push_str(".0");
        } else {
            out.push_str(&digits[..point]);
            out.push('.');
            out.push_str(&digits[point..]);
        }
    } else {
        out.push_str(&digits[..1]);
        out.push('.');
        out.push_str(if digits.len() > 1 { &digits[1..] } else { "0" });
        out.push_str(&format!("E{}", point - 1));
    }
    out
}

/// `BigDecimal.toPlainString` of `unscaled × 10^-scale`: `12.50`, `-0.005`.
pub fn decimal_to_string(unscaled: i128, scale: i8) -> String {
    plain(&unscaled.to_string(), scale)
}

/// The same from the unscaled value's digits, for decimals wider than 128 bits.
pub(crate) fn plain(unscaled: &str, scale: i8) -> String {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", unscaled),
    };
    if scale <= 0 {
        let zeros = if digits == "0" { 0 } else { usize::from(scale.unsigned_abs()) };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    }
    let scale = scale as usize;
    if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        format!("{sign}{whole}.{fraction}")
    } else {
        format!("{sign}0.{}{digits}", "0".repeat(scale - digits.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_laid_out_as_java_does() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (100.0, "100.0"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (1.234e-3, "0.001234"),
            (9.99e-4, "9.99E-4"),
            (1e10, "1.0E10"),
            (-1.5e300, "-1.5E300"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (5e-324, "4.9E-324"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e23, "1.0E23"),
            (123_456.789, "123456.789"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, text) in cases {
            assert_eq!(double_to_string(value), text);
        }
        assert_eq!(float_to_string(0.1), "0.1");
        assert_eq!(float_to_string(1.0e10), "1.0E10");
    }

    #[test]
    fn decimals_are_plain_with_their_full_scale() {
        let cases = [
            (1250, 2, "12.50"),
            (-5, 3, "-0.005"),
            (0, 2, "0.00"),
            (7, 0, "7"),
            (7, -2, "700"),
            (100, 2, "1.00"),
        ];
        for (unscaled, scale, text) in cases {
            assert_eq!(decimal_to_string(unscaled, scale), text);
        }
    }
}
