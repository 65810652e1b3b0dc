//! Values as SQL text: what examples of the function reference show.

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;

use super::eval::cast;

/// The element at `at` as SQL has it: `NULL`, `1`, `2.50`, `'a'`, `ARRAY[…]`, `MAP('k' := …)` with its
/// keys sorted, `STRUCT(F := …)`. Dates and times are quoted ISO text, BYTES quoted base64.
pub fn literal_text(array: &dyn Array, at: usize) -> String {
    if array.is_null(at) {
        return "NULL".into();
    }
    match array.data_type() {
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(at);
            let items: Vec<String> = (0..items.len()).map(|i| literal_text(&items, i)).collect();
            format!("ARRAY[{}]", items.join(", "))
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(at);
            let (keys, values) = (entries.column(0), entries.column(1));
            let mut entries: Vec<String> = (0..entries.len())
                .map(|i| format!("{} := {}", literal_text(keys, i), literal_text(values, i)))
                .collect();
            entries.sort();
            format!("MAP({})", entries.join(", "))
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let fields: Vec<String> = fields
                .iter()
                .zip(columns)
                .map(|(field, column)| format!("{} := {}", field.name(), literal_text(column, at)))
                .collect();
            format!("STRUCT({})", fields.join(", "))
        }
        DataType::Utf8View
        | DataType::Binary
        | DataType::Date32
        | DataType::Time32(_)
        | DataType::Timestamp(..) => format!("'{}'", cast::text(array, at).replace('\'', "''")),
        _ => cast::text(array, at),
    }
}
