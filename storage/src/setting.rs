//! What is common to all settings: their types, and the check of a value with Kafka's words
//! (`ConfigDef.parseType`, `Range`, `ValidString`, `ValidList`).

/// How the type of a setting is reported by DescribeConfigs (the ids there).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    Boolean = 1,
    Text = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

impl ConfigType {
    /// Smallest and greatest value of a whole number of this type.
    fn bounds(self) -> Option<(i64, i64)> {
        match self {
            ConfigType::Int => Some((i32::MIN.into(), i32::MAX.into())),
            ConfigType::Short => Some((i16::MIN.into(), i16::MAX.into())),
            ConfigType::Long => Some((i64::MIN, i64::MAX)),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            ConfigType::Boolean => "BOOLEAN",
            ConfigType::Text => "STRING",
            ConfigType::Int => "INT",
            ConfigType::Short => "SHORT",
            ConfigType::Long => "LONG",
            ConfigType::Double => "DOUBLE",
            ConfigType::List => "LIST",
            ConfigType::Class => "CLASS",
            ConfigType::Password => "PASSWORD",
        }
    }
}

/// Checks a value. `range` is inclusive and for numbers; `words`, if there are any, are all that is
/// legal. An empty list is legal whatever the words.
///
/// Errors: what is wrong, in Kafka's words.
pub(crate) fn check_value(
    name: &str,
    value: &str,
    kind: ConfigType,
    range: Option<(i64, i64)>,
    words: &[&str],
) -> Result<(), String> {
    let trimmed = value.trim();
    let invalid = |why: String| {
        // A password must not come back in an error.
        let shown = if kind == ConfigType::Password { "[hidden]" } else { trimmed };
        Err(format!("Invalid value {shown} for configuration {name}: {why}"))
    };
    let not_a_number = || format!("Not a number of type {}", kind.name());
    let number = match kind {
        ConfigType::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "false" => return Ok(()),
            _ => return invalid("Expected value to be either true or false".into()),
        },
        ConfigType::Double => match trimmed.parse::<f64>() {
            Ok(number) if number.is_finite() => number,
            _ => return invalid(not_a_number()),
        },
        kind => match kind.bounds() {
            None => return check_words(trimmed, kind, words).or_else(invalid),
            Some((low, high)) => match trimmed.parse::<i64>() {
                // Range checks are done on whole numbers, exactly.
                Ok(number) if (low..=high).contains(&number) => {
                    return match range {
                        Some((low, _)) if number < low => {
                            invalid(format!("Value must be at least {low}"))
                        }
                        Some((_, high)) if number > high => {
                            invalid(format!("Value must be no more than {high}"))
                        }
                        _ => Ok(()),
                    };
                }
                _ => return invalid(not_a_number()),
            },
        },
    };
    match range {
        Some((low, _)) if number < low as f64 => invalid(format!("Value must be at least {low}")),
        Some((_, high)) if number > high as f64 => {
            invalid(format!("Value must be no more than {high}"))
        }
        _ => Ok(()),
    }
}

fn check_words(value: &str, kind: ConfigType, words: &[&str]) -> Result<(), String> {
    let legal = |word: &str| words.contains(&word);
    let fits = match kind {
        ConfigType::List => value.is_empty() || value.split(',').map(str::trim).all(legal),
        _ => legal(value),
    };
    if words.is_empty() || fits {
        return Ok(());
    }
    Err(format!("String must be one of: {}", words.join(", ")))
}
