//! Why the engine stops: a query, or everything.

use millstream_sql::SqlError;

use crate::io::IoError;
use crate::state::StateError;

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("{0}")]
    Sql(#[from] SqlError),
    /// Rows that do not fit the plan: a mistake of the planner or of the io.
    #[error("the rows do not fit the plan: {0}")]
    Shape(String),
    #[error("no query is called {0}")]
    UnknownQuery(String),
    #[error("a query called {0} is running already")]
    QueryExists(String),
    /// A pull query for something that holds no state.
    #[error("{0} is not materialised by a running query")]
    NotMaterialized(String),
    #[error("the engine has stopped: {0}")]
    Stopped(String),
}

impl From<arrow::error::ArrowError> for EngineError {
    fn from(error: arrow::error::ArrowError) -> Self {
        EngineError::Shape(error.to_string())
    }
}

pub type Result<T> = std::result::Result<T, EngineError>;
