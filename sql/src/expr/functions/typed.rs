//! From a plain Rust function over one row to a kernel over columns.
//!
//! `f2::<S, I, S>(|text, n| …)` makes a kernel of a function `(&str, i32) -> Outcome<String>`: a loop
//! over whole columns, monomorphic, without per-row dispatch. A NULL argument gives NULL without a
//! call, unless the parameter is marked [`Opt`].

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, GenericListArray,
    MapArray, PrimitiveArray, StringViewArray, StringViewBuilder, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType, i256,
};

use super::{Call, Kernel};
use crate::expr::eval::decimal::{self, DecimalColumn};
use crate::expr::eval::{Outcome, Value};
use crate::types::SqlType;

pub(crate) fn some<T>(value: T) -> Outcome<T> {
    Ok(Some(value))
}

/// A parameter type: how a column is opened and a row read.
pub(crate) trait Arg {
    type Col<'a>;
    type Item<'a>;

    fn open(value: &Value) -> Self::Col<'_>;
    /// `None` makes the result NULL.
    fn read<'a>(column: &Self::Col<'a>, row: usize) -> Option<Self::Item<'a>>;
}

/// A result type: how rows become a column.
pub(crate) trait Ret {
    type Item;

    fn build(items: Vec<Option<Self::Item>>, ty: &SqlType) -> ArrayRef;
}

/// An array and whether its one element stands for all rows.
pub(crate) struct Col<'a, A> {
    array: &'a A,
    step: usize,
}

impl<'a, A: Array> Col<'a, A> {
    fn at(&self, row: usize) -> Option<usize> {
        let at = row * self.step;
        self.array.is_valid(at).then_some(at)
    }
}

fn step(value: &Value) -> usize {
    usize::from(!value.scalar)
}

macro_rules! primitive {
    ($($name:ident: $arrow:ty),+) => {$(
        pub(crate) struct $name;

        impl Arg for $name {
            type Col<'a> = Col<'a, PrimitiveArray<$arrow>>;
            type Item<'a> = <$arrow as ArrowPrimitiveType>::Native;

            fn open(value: &Value) -> Self::Col<'_> {
                Col { array: value.array.as_primitive(), step: step(value) }
            }

            fn read<'a>(column: &Self::Col<'a>, row: usize) -> Option<Self::Item<'a>> {
                column.at(row).map(|at| column.array.value(at))
            }
        }

        impl Ret for $name {
            type Item = <$arrow as ArrowPrimitiveType>::Native;

            fn build(items: Vec<Option<Self::Item>>, _ty: &SqlType) -> ArrayRef {
                Arc::new(items.into_iter().collect::<PrimitiveArray<$arrow>>())
            }
        }
    )+};
}

primitive! {
    I: Int32Type, L: Int64Type, D: Float64Type, Dt: Date32Type, Tm: Time32MillisecondType,
    Ts: TimestampMillisecondType
}

pub(crate) struct B;

impl Arg for B {
    type Col<'a> = Col<'a, BooleanArray>;
    type Item<'a> = bool;

    fn open(value: &Value) -> Self::Col<'_> {
        Col { array: value.array.as_boolean(), step: step(value) }
    }

    fn read<'a>(column: &Self::Col<'a>, row: usize) -> Option<Self::Item<'a>> {
        column.at(row).map(|at| column.array.value(at))
    }
}

impl Ret for B {
    type Item = bool;

    fn build(items: Vec<Option<bool>>, _ty: &SqlType) -> ArrayRef {
        Arc::new(BooleanArray::from(items))
    }
}

pub(crate) struct S;

impl Arg for S {
    type Col<'a> = Col<'a, StringViewArray>;
    type Item<'a> = &'a str;

    fn open(value: &Value) -> Self::Col<'_> {
        Col { array: value.array.as_string_view(), step: step(value) }
    }

    fn read<'a>(column: &Self::Col<'a>, row: usize) -> Option<Self::Item<'a>> {
        column.at(row).map(|at| column.array.value(at))
    }
}

impl Ret for S {
    type Item = String;

    fn build(items: Vec<Option<String>>, _ty: &SqlType) -> ArrayRef {
        let mut builder = StringViewBuilder::with_capacity(items.len());
        items.iter().for_each(|item| builder.append_option(item.as_deref()));
        Arc::new(builder.finish())
    }
}

pub(crate) struct Y;

impl Arg for Y {
    type Col<'a> = Col<'a, BinaryArray>;
    type Item<'a> = &'a [u8];

    fn open(value: &Value) -> Self::Col<'_> {
        Col { array: value.array.as_binary(), step: step(value) }
    }

    fn read<'a>(column: &Self::Col<'a>, row: usize) -> Option<Self::Item<'a>> {
        column.at(row).map(|at| column.array.value(at))
    }
}

impl Ret for Y {
    type Item = Vec<u8>;

    fn build(items: Vec<Option<Vec<u8>>>, _ty: &SqlType) -> ArrayRef {
        Arc::new(items.iter().map(|item| item.as_deref()).collect::<BinaryArray>())
    }
}

/// A DECIMAL: unscaled value and scale.
pub(crate) struct N;

pub(crate) struct NCol<'a> {
    array: &'a ArrayRef,
    column: Option<DecimalColumn<'a>>,
    step: usize,
}

impl Arg for N {
    type Col<'a> = NCol<'a>;
    type Item<'a> = (i256, i32);

    fn open(value: &Value) -> NCol<'_> {
        NCol { array: &value.array, column: DecimalColumn::open(&value.array), step: step(value) }
    }

    fn read<'a>(column: &Self::Col<'a>, row: usize) -> Option<Self::Item<'a>> {
        let at = row * column.step;
        let values = column.column.as_ref().filter(|_| column.array.is_valid(at))?;
        Some((values.get(at), values.scale()))
    }
}

impl Ret for N {
    type Item = i256;

    fn build(items: Vec<Option<i256>>, ty: &SqlType) -> ArrayRef {
        let SqlType::Decimal { precision, scale } = ty else {
            unreachable!("a DECIMAL result has a DECIMAL type");
        };
        decimal::build(items, *precision, *scale)
    }
}

/// A parameter that takes NULL as `None`.
pub(crate) struct Opt<A>(PhantomData<A>);

impl<A: Arg> Arg for Opt<A> {
    type Col<'a> = A::Col<'a>;
    type Item<'a> = Option<A::Item<'a>>;

    fn open(value: &Value) -> Self::Col<'_> {
        A::open(value)
    }

    fn read<'a>(column: &Self::Col<'a>, row: usize) -> Option<Self::Item<'a>> {
        Some(A::read(column, row))
    }
}

/// A list result.
pub(crate) struct List<R>(PhantomData<R>);

impl<R: Ret> Ret for List<R> {
    type Item = Vec<Option<R::Item>>;

    fn build(items: Vec<Option<Self::Item>>, ty: &SqlType) -> ArrayRef {
        let (SqlType::Array(item), DataType::List(field)) = (ty, ty.to_arrow()) else {
            unreachable!("a list result has an ARRAY type");
        };
        let offsets =
            OffsetBuffer::from_lengths(items.iter().map(|i| i.as_ref().map_or(0, Vec::len)));
        let nulls = NullBuffer::from_iter(items.iter().map(Option::is_some));
        let flat = items.into_iter().flatten().flatten().collect();
        let values = R::build(flat, item);
        Arc::new(GenericListArray::<i32>::new(field, offsets, values, Some(nulls)))
    }
}

/// A map result; keys must differ.
pub(crate) struct MapOf<K, V>(PhantomData<(K, V)>);

impl<K: Ret, V: Ret> Ret for MapOf<K, V> {
    type Item = Vec<(K::Item, Option<V::Item>)>;

    fn build(items: Vec<Option<Self::Item>>, ty: &SqlType) -> ArrayRef {
        let (SqlType::Map(key, value), DataType::Map(field, _)) = (ty, ty.to_arrow()) else {
            unreachable!("a map result has a MAP type");
        };
        let DataType::Struct(fields) = field.data_type() else {
            unreachable!("a map's entries are structs");
        };
        let offsets =
            OffsetBuffer::from_lengths(items.iter().map(|i| i.as_ref().map_or(0, Vec::len)));
        let nulls = NullBuffer::from_iter(items.iter().map(Option::is_some));
        let (keys, values): (Vec<_>, Vec<_>) =
            items.into_iter().flatten().flatten().map(|(k, v)| (Some(k), v)).unzip();
        let columns = vec![K::build(keys, key), V::build(values, value)];
        let entries = StructArray::new(fields.clone(), columns, None);
        Arc::new(MapArray::new(field.clone(), offsets, entries, Some(nulls), false))
    }
}

/// Runs `each` for every row and builds the column; failures are reported with their row.
pub(crate) fn rows<R: Ret>(
    call: &mut Call<'_, '_>,
    mut each: impl FnMut(usize) -> Outcome<R::Item>,
) -> ArrayRef {
    let mut items = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        match each(row) {
            Ok(item) => items.push(item),
            Err(message) => {
                items.push(None);
                call.run.fail(row, message);
            }
        }
    }
    R::build(items, call.ty)
}

macro_rules! adapter {
    ($name:ident: $($arg:ident $col:ident $item:ident $i:tt),*) => {
        pub(crate) fn $name<$($arg: Arg + 'static,)* Out: Ret + 'static>(
            f: impl for<'a> Fn($($arg::Item<'a>),*) -> Outcome<Out::Item> + Send + Sync + 'static,
        ) -> Kernel {
            Box::new(move |call: &mut Call<'_, '_>| {
                let args = std::mem::take(&mut call.args);
                $(let $col = $arg::open(&args[$i]);)*
                rows::<Out>(call, |row| {
                    $(let Some($item) = $arg::read(&$col, row) else { return Ok(None) };)*
                    let _ = row;
                    f($($item),*)
                })
            })
        }
    };
}

adapter!(f1: A a x 0);
adapter!(f2: A a x 0, B2 b y 1);
adapter!(f3: A a x 0, B2 b y 1, C c z 2);
adapter!(f4: A a x 0, B2 b y 1, C c z 2, E e w 3);
adapter!(f5: A a x 0, B2 b y 1, C c z 2, E e w 3, F f5 v 4);
adapter!(f6: A a x 0, B2 b y 1, C c z 2, E e w 3, F f5 v 4, G g u 5);

macro_rules! writer {
    ($name:ident: $($arg:ident $col:ident $item:ident $i:tt),*) => {
        /// As its namesake without `w`, for STRING results written into a buffer that is reused.
        pub(crate) fn $name<$($arg: Arg + 'static),*>(
            f: impl for<'a> Fn($($arg::Item<'a>,)* &mut String) -> Outcome<()> + Send + Sync + 'static,
        ) -> Kernel {
            Box::new(move |call: &mut Call<'_, '_>| {
                let args = std::mem::take(&mut call.args);
                $(let $col = $arg::open(&args[$i]);)*
                let mut out = StringViewBuilder::with_capacity(call.rows);
                let mut text = String::new();
                let one = |row: usize, text: &mut String| -> Outcome<()> {
                    $(let Some($item) = $arg::read(&$col, row) else { return Ok(None) };)*
                    f($($item,)* text)
                };
                for row in 0..call.rows {
                    text.clear();
                    match one(row, &mut text) {
                        Ok(Some(())) => out.append_value(&text),
                        Ok(None) => out.append_null(),
                        Err(message) => {
                            out.append_null();
                            call.run.fail(row, message);
                        }
                    }
                }
                Arc::new(out.finish())
            })
        }
    };
}

writer!(w1: A a x 0);
writer!(w2: A a x 0, B2 b y 1);
writer!(w3: A a x 0, B2 b y 1, C c z 2);
