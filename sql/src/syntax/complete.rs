//! The words of the language: which are reserved, and which a shell may offer for completion.

/// Every keyword, in alphabetical order.
#[rustfmt::skip] // one word per line would hide the rest of the file
pub const KEYWORDS: &[&str] = &[
    "ADD", "ADVANCE", "ALL", "ALTER", "ANALYZE", "AND", "ARRAY", "AS", "ASSERT", "AT",
    "BEGINNING", "BETWEEN", "BIGINT", "BOOLEAN", "BY", "BYTES", "CASE", "CAST", "CATALOG",
    "CHANGES", "COLUMN", "COLUMNS", "CONNECTOR", "CONNECTORS", "CREATE", "DATE", "DAY", "DAYS",
    "DECIMAL", "DEFINE", "DELETE", "DESCRIBE", "DISTINCT", "DOUBLE", "DROP", "ELSE", "EMIT",
    "END", "ESCAPE", "EXISTS", "EXPLAIN", "EXPORT", "EXTENDED", "FALSE", "FINAL", "FROM", "FULL",
    "FUNCTION", "FUNCTIONS", "GRACE", "GROUP", "HAVING", "HEADER", "HEADERS", "HOPPING", "HOUR",
    "HOURS", "ID", "IF", "IN", "INNER", "INSERT", "INT", "INTEGER", "INTERVAL", "INTO", "IS",
    "JOIN", "KEY", "LEFT", "LIKE", "LIMIT", "LIST", "LOAD", "MAP", "MATERIALIZED", "MILLISECOND",
    "MILLISECONDS", "MINUTE", "MINUTES", "MONTH", "MONTHS", "NAMESPACE", "NOT", "NULL", "ON",
    "OR", "OUTER", "PARTITION", "PARTITIONS", "PAUSE", "PERIOD", "PLUGINS", "PRIMARY", "PRINT",
    "PROPERTIES", "QUERIES", "QUERY", "RENAME", "REPLACE", "RESET", "RESUME", "RETENTION",
    "RIGHT", "RUN", "SAMPLE", "SCHEMA", "SCRIPT", "SECOND", "SECONDS", "SELECT", "SESSION", "SET",
    "SHOW", "SINK", "SIZE", "SOURCE", "STREAM", "STREAMS", "STRING", "STRUCT", "SUBJECT",
    "SYSTEM", "TABLE", "TABLES", "TERMINATE", "THEN", "TIME", "TIMEOUT", "TIMESTAMP", "TO",
    "TOPIC", "TOPICS", "TRUE", "TUMBLING", "TYPE", "TYPES", "UNDEFINE", "UNSET", "VALUES",
    "VARCHAR", "VARIABLES", "VIEW", "WHEN", "WHERE", "WINDOW", "WITH", "WITHIN", "YEAR", "YEARS",
    "ZONE",
];

/// Keywords that are identifiers as well where an identifier is wanted.
#[rustfmt::skip] // one word per line would hide the rest of the file
const NOT_RESERVED: &[&str] = &[
    "ADD", "ALTER", "ANALYZE", "ARRAY", "ASSERT", "BIGINT", "BOOLEAN", "BYTES", "CHANGES",
    "COLUMN", "COLUMNS", "DATE", "DAY", "DEFINE", "DOUBLE", "EMIT", "ESCAPE", "EXPLAIN", "FINAL",
    "FUNCTION", "FUNCTIONS", "GRACE", "HEADER", "HEADERS", "HOUR", "ID", "IF", "INT", "INTEGER",
    "INTERVAL", "KEY", "MAP", "MINUTE", "MONTH", "PARTITION", "PARTITIONS", "PAUSE", "PERIOD",
    "PLUGINS", "PRIMARY", "REPLACE", "RESET", "RESUME", "SCHEMA", "SECOND", "SESSION", "SET",
    "SHOW", "SINK", "SOURCE", "STRING", "STRUCT", "SUBJECT", "SYSTEM", "TABLES", "TIME",
    "TIMEOUT", "TIMESTAMP", "TYPE", "TYPES", "UNDEFINE", "VARCHAR", "VARIABLES", "YEAR", "ZONE",
];

/// Whether an upper-case word must be quoted to be an identifier.
pub fn is_reserved(word: &str) -> bool {
    KEYWORDS.binary_search(&word).is_ok() && NOT_RESERVED.binary_search(&word).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_lists_are_sorted_and_every_free_word_is_a_keyword() {
        assert!(KEYWORDS.is_sorted() && NOT_RESERVED.is_sorted());
        for word in NOT_RESERVED {
            assert!(KEYWORDS.binary_search(word).is_ok(), "{word}");
        }
        assert!(is_reserved("TOPIC") && is_reserved("DAYS") && !is_reserved("DAY"));
    }
}
