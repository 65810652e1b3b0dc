//! The joins, one file each; what they share is in `rows.rs`.

mod foreign_key;
mod rows;
mod stream_stream;
mod stream_table;
mod table_table;
mod window;

pub(crate) use foreign_key::ForeignKeyJoin;
pub(crate) use stream_stream::StreamStreamJoin;
pub(crate) use stream_table::StreamTableJoin;
pub(crate) use table_table::TableTableJoin;
