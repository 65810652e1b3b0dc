//! Functions from outside the library, given as Rust closures over one row's values.
//!
//! Slower than the library's own kernels, since each value is boxed; the seam for tests and for
//! user-defined functions.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array, new_null_array};
use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;

use super::{About, Call, Function, FunctionKind, Kernel, Signature, Variant};
use crate::error::{ErrorKind, Result, SqlError};

/// Computes a value from one row's arguments (NULL ones too), or says why it cannot. NULL of any type
/// may be given as [`ScalarValue::Null`].
type RowFunction = dyn Fn(&[ScalarValue]) -> std::result::Result<ScalarValue, String> + Send + Sync;

impl Function {
    /// A function without variants yet. A TABLE function's variants give an ARRAY, whose elements
    /// become the rows.
    pub fn new(name: &str, kind: FunctionKind, category: &str, summary: &str) -> Function {
        let about = About::new(&name.to_uppercase(), kind, category, summary);
        Function { about, variants: vec![], volatile: false }
    }

    /// Adds a way to call the function. `signature` is in the language of `signature.rs`, as in
    /// `S text, I n -> [S]`; lambdas are not offered.
    ///
    /// # Errors
    /// When the signature cannot be read.
    pub fn variant(
        mut self,
        signature: &str,
        each: impl Fn(&[ScalarValue]) -> std::result::Result<ScalarValue, String>
        + Send
        + Sync
        + 'static,
    ) -> Result<Function> {
        let signature = Signature::read(signature).map_err(|reason| {
            SqlError::new(
                ErrorKind::FunctionArgumentsMismatch,
                format!("{}: {reason}", self.name()),
                "Correct the signature.",
            )
        })?;
        self.variants.push(Variant { signature, returns: None, kernel: kernel(Arc::new(each)) });
        Ok(self)
    }
}

fn kernel(each: Arc<RowFunction>) -> Kernel {
    Box::new(move |call: &mut Call<'_, '_>| -> ArrayRef {
        let ty = call.ty.to_arrow();
        if call.rows == 0 {
            return new_empty_array(&ty);
        }
        let args = std::mem::take(&mut call.args);
        let mut results = Vec::with_capacity(call.rows);
        for row in 0..call.rows {
            let values: std::result::Result<Vec<ScalarValue>, _> =
                args.iter().map(|a| ScalarValue::try_from_array(&a.array, a.at(row))).collect();
            let result =
                values.map_err(|e| e.to_string()).and_then(|v| each(&v)).and_then(|v| fit(v, &ty));
            results.push(result.unwrap_or_else(|reason| {
                call.run.fail(row, reason.into());
                ScalarValue::Null
            }));
        }
        let null = ScalarValue::try_new_null(&ty).unwrap_or(ScalarValue::Null);
        let typed = results.into_iter().map(|v| if v.is_null() { null.clone() } else { v });
        ScalarValue::iter_to_array(typed).unwrap_or_else(|_| new_null_array(&ty, call.rows))
    })
}

/// The value, if it is of the type promised.
fn fit(value: ScalarValue, ty: &DataType) -> std::result::Result<ScalarValue, String> {
    if value.is_null() || value.data_type() == *ty {
        return Ok(value);
    }
    let given = value.data_type();
    value.cast_to(ty).map_err(|_| format!("the function gave {given}, not {ty}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Functions, Scope, bind};
    use crate::syntax::parse_expression;
    use crate::types::Schema;

    struct Only(Functions);

    impl Scope for Only {
        fn resolve(&self, _: Option<&str>, name: &str) -> Result<crate::expr::Expr> {
            Err(SqlError::new(ErrorKind::UnknownColumn, name.to_owned(), "None here."))
        }

        fn functions(&self) -> &Functions {
            &self.0
        }
    }

    #[test]
    fn a_registered_function_is_called_like_any_other() {
        let twice = Function::new("twice", FunctionKind::Scalar, "TEST", "Twice the value.")
            .variant("I value -> L", |args| match &args[0] {
                ScalarValue::Int32(Some(7)) => Err("seven is refused".into()),
                ScalarValue::Int32(Some(n)) => Ok(ScalarValue::Int64(Some(i64::from(*n) * 2))),
                _ => Ok(ScalarValue::Null),
            })
            .expect("a signature");
        let scope = Only(Functions::built_in().with([twice]));
        let eval = |text: &str| {
            let expr = parse_expression(text).and_then(|e| bind(&e, &scope)).expect(text);
            let compiled = crate::expr::compile(&expr, &Schema::default()).expect(text);
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
            let row = arrow::array::RecordBatch::try_new_with_options(
                Schema::default().to_arrow(),
                vec![],
                &options,
            );
            let mut errors = crate::expr::RowErrors::default();
            let array = compiled.evaluate(&row.expect("a row"), &Default::default(), &mut errors);
            let failed = errors.0.first().map(|e| e.message.to_string()).unwrap_or_default();
            crate::expr::literal::literal_text(&array, 0) + &failed
        };
        assert_eq!(eval("TWICE(21) + 1"), "43");
        assert_eq!(eval("Twice(CAST(NULL AS INT))"), "NULL");
        assert_eq!(eval("TWICE(7)"), "NULLseven is refused");
        assert_eq!(eval("UCASE('a')"), "'A'");
    }

    #[test]
    fn a_wrong_signature_is_refused() {
        let function = || Function::new("F", FunctionKind::Scalar, "TEST", "None.");
        for text in ["I", "[I -> I", "X -> I", "<a I -> I", "I -> "] {
            let made = function().variant(text, |_| Ok(ScalarValue::Null));
            assert!(made.is_err(), "{text}");
        }
    }
}
