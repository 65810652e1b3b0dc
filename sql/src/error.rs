//! Why a statement is refused: one error type for the whole crate.
//!
//! The kinds are Millstream's public error codes; `docs/errors.md` lists them. A kind says what rule
//! was broken, the span where, the message what exactly, the remedy what to do about it. Nothing else
//! in the crate formats errors for people.

use std::fmt;

/// A place in the statement text: byte offsets, end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

macro_rules! kinds {
    ($($(#[$meta:meta])* $variant:ident = $code:literal),+ $(,)?) => {
        /// The rule that a rejected statement broke. `code()` is the public, stable name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $($(#[$meta])* $variant),+ }

        impl ErrorKind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$variant),+];

            /// The public error code, such as `unknown-column`.
            pub fn code(self) -> &'static str {
                match self { $(ErrorKind::$variant => $code),+ }
            }
        }
    };
}

kinds! {
    Syntax = "syntax",
    NumberLiteralOutOfRange = "number-literal-out-of-range",
    WrongKeyKeyword = "wrong-key-keyword",
    InvalidWindowProperty = "invalid-window-property",
    UnknownSource = "unknown-source",
    SourceAlreadyExists = "source-already-exists",
    SourceInUse = "source-in-use",
    ReadOnlySource = "read-only-source",
    UnknownSourceAlias = "unknown-source-alias",
    UnknownColumn = "unknown-column",
    AmbiguousColumn = "ambiguous-column",
    ReservedColumnName = "reserved-column-name",
    DuplicateName = "duplicate-name",
    UnknownFunction = "unknown-function",
    FunctionArgumentsMismatch = "function-arguments-mismatch",
    AmbiguousFunctionCall = "ambiguous-function-call",
    NonLiteralArgument = "non-literal-argument",
    IncomparableTypes = "incomparable-types",
    LiteralNotConvertible = "literal-not-convertible",
    ComparisonWithNull = "comparison-with-null",
    PredicateNotBoolean = "predicate-not-boolean",
    InvalidArithmeticOperand = "invalid-arithmetic-operand",
    UnsupportedCast = "unsupported-cast",
    UntypedNull = "untyped-null",
    EmptyConstructor = "empty-constructor",
    ExpressionNotInGroupBy = "expression-not-in-group-by",
    GroupByWithoutAggregate = "group-by-without-aggregate",
    AggregateWithoutGroupBy = "aggregate-without-group-by",
    MisplacedAggregate = "misplaced-aggregate",
    AggregateUnsupportedOnTable = "aggregate-unsupported-on-table",
    AggregateStateUnsupportedByFormat = "aggregate-state-unsupported-by-format",
    InvalidGroupingList = "invalid-grouping-list",
    MisplacedTableFunction = "misplaced-table-function",
    UnsupportedWindowOnTable = "unsupported-window-on-table",
    WindowWithoutGroupBy = "window-without-group-by",
    MisplacedWindowBounds = "misplaced-window-bounds",
    EmitFinalWithoutWindow = "emit-final-without-window",
    RetentionTooShort = "retention-too-short",
    PersistentQueryOnWindowedTable = "persistent-query-on-windowed-table",
    KeyMissingInProjection = "key-missing-in-projection",
    KeyRepeatedInProjection = "key-repeated-in-projection",
    NoValueColumns = "no-value-columns",
    InvalidJoinCriteria = "invalid-join-criteria",
    MultipleJoinConditions = "multiple-join-conditions",
    JoinTypeMismatch = "join-type-mismatch",
    JoinNotOnTableKey = "join-not-on-table-key",
    JoinWindowMissing = "join-window-missing",
    JoinWindowNotAllowed = "join-window-not-allowed",
    UnsupportedJoinOrder = "unsupported-join-order",
    UnsupportedJoinType = "unsupported-join-type",
    UnsupportedForeignKeyJoin = "unsupported-foreign-key-join",
    SourceJoinedTwice = "source-joined-twice",
    JoinPartitionMismatch = "join-partition-mismatch",
    JoinWindowingMismatch = "join-windowing-mismatch",
    WindowedJoinNeedsRepartition = "windowed-join-needs-repartition",
    UnknownFormat = "unknown-format",
    TypeUnsupportedByFormat = "type-unsupported-by-format",
    SeveralColumnsUnsupportedByFormat = "several-columns-unsupported-by-format",
    NoneFormatWithColumns = "none-format-with-columns",
    KeyFormatWithoutKey = "key-format-without-key",
    OperationUnsupportedByFormat = "operation-unsupported-by-format",
    NameUnsupportedByFormat = "name-unsupported-by-format",
    MapInKey = "map-in-key",
    MapWithNonStringKeys = "map-with-non-string-keys",
    PropertyUnsupportedByFormat = "property-unsupported-by-format",
    WrappingNotApplicable = "wrapping-not-applicable",
    UnknownProperty = "unknown-property",
    MissingProperty = "missing-property",
    InvalidPropertyValue = "invalid-property-value",
    ConflictingProperties = "conflicting-properties",
    ColumnsMissing = "columns-missing",
    ColumnsWithSchemaId = "columns-with-schema-id",
    SchemaIdMismatch = "schema-id-mismatch",
    SchemaNotFound = "schema-not-found",
    MissingKeyColumn = "missing-key-column",
    InvalidHeaderType = "invalid-header-type",
    InvalidTimestampColumn = "invalid-timestamp-column",
    InsertIntoTable = "insert-into-table",
    InsertSchemaMismatch = "insert-schema-mismatch",
    InsertIntoUnwritableColumn = "insert-into-unwritable-column",
    InsertValuesMismatch = "insert-values-mismatch",
    PullQueryUnsupportedClause = "pull-query-unsupported-clause",
    PullQueryPseudoColumn = "pull-query-pseudo-column",
    TableNotMaterialized = "table-not-materialized",
    PullQueryNeedsTableScan = "pull-query-needs-table-scan",
    InvalidLimit = "invalid-limit",
    LimitNotAllowed = "limit-not-allowed",
    SerializationFailed = "serialization-failed",
    DecimalOverflow = "decimal-overflow",
    InvalidRecordTimestamp = "invalid-record-timestamp",
    // Ours, beyond the documented rules of ksqlDB.
    UnionMismatch = "union-mismatch",
    UnknownQuery = "unknown-query",
    UnknownTopic = "unknown-topic",
    IncompatibleReplacement = "incompatible-replacement",
    AssertionFailed = "assertion-failed",
    /// SELECT or PRINT was sent where statements are answered, not rows.
    QueryWithoutRows = "query-without-rows",
    /// STREAM is said of a table or TABLE of a stream: in DROP, ALTER, or before AS SELECT.
    WrongRelationKind = "wrong-relation-kind",
    // The statement is right, but Millstream cannot do it yet. Never counted as a correct rejection.
    Unsupported = "unsupported",
    // The node could not do what is right to ask: its disk failed, or it is stopping.
    NodeFailed = "node-failed",
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A refused statement. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    pub kind: ErrorKind,
    /// Where in the statement text; `None` when no single place is to blame.
    pub span: Option<Span>,
    /// What is wrong, one sentence, naming the thing: `no stream or table is called "ordrs"`.
    pub message: String,
    /// What to do about it, one sentence.
    pub remedy: String,
}

pub type Result<T, E = SqlError> = std::result::Result<T, E>;

impl SqlError {
    pub fn new(kind: ErrorKind, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { kind, span: None, message: message.into(), remedy: remedy.into() }
    }

    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, what, "Leave it out; README.md lists what is not there yet.")
    }

    /// The same error, at a place. An earlier place is kept: the innermost one is the most exact.
    #[must_use]
    pub fn at(mut self, span: Option<Span>) -> Self {
        if self.span.is_none() {
            self.span = span;
        }
        self
    }

    /// The error for people: message, the line with a caret under the place, and the remedy.
    pub fn render(&self, text: &str) -> String {
        let mut out = format!("error[{}]: {}\n", self.kind, self.message);
        if let Some(span) = self.span {
            let start = floor_boundary(text, span.start);
            let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
            let line_end = text[start..].find('\n').map_or(text.len(), |i| start + i);
            let line_no = text[..start].matches('\n').count() + 1;
            let column = text[line_start..start].chars().count();
            let end = floor_boundary(text, span.end).clamp(start, line_end);
            let width = text[start..end].chars().count().max(1);
            out.push_str(&format!(" --> line {line_no}, column {}\n", column + 1));
            out.push_str(&format!("  | {}\n", &text[line_start..line_end]));
            out.push_str(&format!("  | {}{}\n", " ".repeat(column), "^".repeat(width)));
        }
        if !self.remedy.is_empty() {
            out.push_str(&format!("  = {}\n", self.remedy));
        }
        out
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.kind)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, ". {}", self.remedy) }
    }
}

impl std::error::Error for SqlError {}
