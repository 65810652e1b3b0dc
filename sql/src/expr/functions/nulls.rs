//! NULL handling.

use arrow::array::{Array, BooleanArray};
use arrow::compute::kernels::zip::zip;

use super::{Call, Kernel, Library};
use crate::expr::eval::{compare, null_out};

pub(super) fn add(lib: &mut Library) {
    lib.category("NULL HANDLING");
    lib.add(
        "AS_VALUE",
        "The value itself; makes a copy of a key column for the value.",
        [(
            "T -> T",
            Box::new(|call: &mut Call<'_, '_>| call.args.remove(0).into_array(call.rows)) as Kernel,
        )],
    )
    .arg("value", "The value, of any type.")
    .example("AS_VALUE('a')", "'a'");
    lib.add("COALESCE", "The first value that is not NULL.", [("T, T... -> T", first_present())])
        .note("NULL if all are.")
        .arg("value", "The first value.")
        .arg("others", "More values of the same type.")
        .example("COALESCE(CAST(NULL AS INT), 0)", "0");
    lib.add(
        "IFNULL",
        "The first value, or the second if the first is NULL.",
        [("T, T -> T", first_present())],
    )
    .arg("value", "The value.")
    .arg("default", "What stands for it if it is NULL.")
    .example("IFNULL(CAST(NULL AS STRING), 'none')", "'none'");
    lib.add("NULLIF", "NULL if both values are equal, else the first.", [("T, T -> T", null_if())])
        .arg("value", "The value.")
        .arg("unwanted", "The value that becomes NULL.")
        .example("NULLIF('', '')", "NULL")
        .example("NULLIF('a', '')", "'a'");
}

fn first_present() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let mut args = std::mem::take(&mut call.args).into_iter();
        let Some(first) = args.next() else {
            return arrow::array::new_null_array(&call.ty.to_arrow(), call.rows);
        };
        let mut result = first.into_array(call.rows);
        for next in args {
            let Some(nulls) = result.logical_nulls().filter(|n| n.null_count() > 0) else { break };
            let present = BooleanArray::new(nulls.into_inner(), None);
            result = zip(&present, &result, &next.datum()).expect("all arguments have one type");
        }
        result
    })
}

fn null_if() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let second = call.args.remove(1);
        let first = call.args.remove(0);
        let equal = compare::compare(crate::expr::CompareOp::Equal, &first, &second, call.rows);
        null_out(first.into_array(call.rows), &equal)
    })
}
