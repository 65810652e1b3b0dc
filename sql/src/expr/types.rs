//! How types relate: widening, common types, results of DECIMAL arithmetic.

use crate::expr::ArithmeticOp;
use crate::types::SqlType;

/// The DECIMAL that an integer type counts as, or the DECIMAL itself.
pub(crate) fn as_decimal(ty: &SqlType) -> Option<(u8, u8)> {
    match ty {
        SqlType::Int => Some((10, 0)),
        SqlType::Bigint => Some((19, 0)),
        SqlType::Decimal { precision, scale } => Some((*precision, *scale)),
        _ => None,
    }
}

fn rank(ty: &SqlType) -> Option<u8> {
    match ty {
        SqlType::Int => Some(0),
        SqlType::Bigint => Some(1),
        SqlType::Decimal { .. } => Some(2),
        SqlType::Double => Some(3),
        _ => None,
    }
}

/// Whether a number of type `from` is implicitly converted to `to`: INT→BIGINT→DECIMAL→DOUBLE.
pub(crate) fn widens(from: &SqlType, to: &SqlType) -> bool {
    match (rank(from), rank(to)) {
        (Some(f), Some(t)) => f < t,
        _ => false,
    }
}

/// The narrowest type that both numbers convert to.
pub(crate) fn common_number(a: &SqlType, b: &SqlType) -> Option<SqlType> {
    let (ra, rb) = (rank(a)?, rank(b)?);
    if ra != 2 && rb != 2 || ra == 3 || rb == 3 {
        return Some(if ra >= rb { a.clone() } else { b.clone() });
    }
    let ((p1, s1), (p2, s2)) = (as_decimal(a)?, as_decimal(b)?);
    let scale = s1.max(s2);
    let precision = (p1 - s1).max(p2 - s2).saturating_add(scale);
    Some(SqlType::Decimal { precision, scale })
}

/// The type of an arithmetic operation on two numbers.
pub(crate) fn arithmetic(op: ArithmeticOp, a: &SqlType, b: &SqlType) -> Option<SqlType> {
    let common = common_number(a, b)?;
    if !matches!(common, SqlType::Decimal { .. }) {
        return Some(common);
    }
    let ((p1, s1), (p2, s2)) = (as_decimal(a)?, as_decimal(b)?);
    let (p1, s1, p2, s2) = (u32::from(p1), u32::from(s1), u32::from(p2), u32::from(s2));
    let (precision, scale) = match op {
        ArithmeticOp::Add | ArithmeticOp::Subtract => {
            let scale = s1.max(s2);
            (scale + (p1 - s1).max(p2 - s2) + 1, scale)
        }
        ArithmeticOp::Multiply => (p1 + p2 + 1, s1 + s2),
        ArithmeticOp::Divide => {
            let scale = (s1 + p2 + 1).max(6);
            (p1 - s1 + s2 + scale, scale)
        }
        ArithmeticOp::Modulo => {
            let scale = s1.max(s2);
            ((p1 - s1).min(p2 - s2) + scale, scale)
        }
    };
    // Beyond what a column can hold the result keeps its scale as far as it can.
    let precision = precision.clamp(1, 76);
    let scale = scale.min(precision);
    Some(SqlType::Decimal { precision: precision as u8, scale: scale as u8 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_results() {
        use ArithmeticOp::*;
        let d = |precision, scale| SqlType::Decimal { precision, scale };
        for (op, a, b, expected) in [
            (Add, d(4, 2), d(5, 3), d(6, 3)),
            (Multiply, d(4, 2), d(5, 3), d(10, 5)),
            (Divide, d(4, 2), d(4, 2), d(11, 7)),
            (Modulo, d(4, 2), d(5, 3), d(5, 3)),
            (Add, d(4, 2), SqlType::Int, d(13, 2)),
            (Add, d(4, 2), SqlType::Double, SqlType::Double),
            (Add, SqlType::Int, SqlType::Bigint, SqlType::Bigint),
        ] {
            assert_eq!(arithmetic(op, &a, &b), Some(expected));
        }
    }
}
