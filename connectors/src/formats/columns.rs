//! Arrow builders for SQL types, as decoders fill them.
//!
//! Text is appended as a view into the block it came from where that saves a copy (more than twelve
//! bytes; shorter text lives in the view itself). Lists, maps and structs are laid out here rather
//! than with Arrow's own builders, so that a value of any depth is appended through one type.

use std::sync::Arc;

use arrow::array::builder::{
    BinaryBuilder, BooleanBuilder, NullBufferBuilder, PrimitiveBuilder, StringViewBuilder,
};
use arrow::array::{ArrayBuilder, ArrayRef, ListArray, MapArray, StructArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, FieldRef, Fields, Float64Type, Int32Type,
    Int64Type, Time32MillisecondType, TimestampMillisecondType,
};
use millstream_sql::types::SqlType;

use super::Payload;

/// Text up to this length is kept in the view itself.
const INLINE_BYTES: usize = 12;

/// A builder for one column, or for one part of a nested one.
pub(super) enum Builder {
    Boolean(BooleanBuilder),
    Int(PrimitiveBuilder<Int32Type>),
    Bigint(PrimitiveBuilder<Int64Type>),
    Double(PrimitiveBuilder<Float64Type>),
    Decimal(PrimitiveBuilder<Decimal128Type>, DecimalShape),
    WideDecimal(PrimitiveBuilder<Decimal256Type>, DecimalShape),
    Text(TextBuilder),
    Bytes(BinaryBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time32MillisecondType>),
    Timestamp(PrimitiveBuilder<TimestampMillisecondType>),
    List(Box<ListBuilder>),
    Map(Box<MapBuilder>),
    Struct(StructBuilder),
}

#[derive(Clone, Copy)]
pub(super) struct DecimalShape {
    pub precision: u8,
    pub scale: u8,
}

impl Builder {
    pub(super) fn new(ty: &SqlType) -> Builder {
        match ty {
            SqlType::Boolean => Builder::Boolean(BooleanBuilder::new()),
            SqlType::Int => Builder::Int(PrimitiveBuilder::new()),
            SqlType::Bigint => Builder::Bigint(PrimitiveBuilder::new()),
            SqlType::Double => Builder::Double(PrimitiveBuilder::new()),
            SqlType::Decimal { precision, scale } => {
                let shape = DecimalShape { precision: *precision, scale: *scale };
                match ty.to_arrow() {
                    data_type @ DataType::Decimal128(..) => {
                        Builder::Decimal(PrimitiveBuilder::new().with_data_type(data_type), shape)
                    }
                    data_type => {
                        let shape = DecimalShape { precision: shape.precision.min(76), ..shape };
                        Builder::WideDecimal(PrimitiveBuilder::new().with_data_type(data_type), shape)
                    }
                }
            }
            SqlType::String => Builder::Text(TextBuilder::new()),
            SqlType::Bytes => Builder::Bytes(BinaryBuilder::new()),
            SqlType::Date => Builder::Date(PrimitiveBuilder::new()),
            SqlType::Time => Builder::Time(PrimitiveBuilder::new()),
            SqlType::Timestamp => Builder::Timestamp(PrimitiveBuilder::new()),
            SqlType::Array(item) => Builder::List(Box::new(ListBuilder::new(ty, item))),
            SqlType::Map(key, value) => Builder::Map(Box::new(MapBuilder::new(ty, key, value))),
            SqlType::Struct(fields) => Builder::Struct(StructBuilder {
                fields: fields.iter().map(|f| Builder::new(&f.ty)).collect(),
                shape: match ty.to_arrow() {
                    DataType::Struct(shape) => shape,
                    _ => Fields::empty(),
                },
                nulls: NullBufferBuilder::new(0),
            }),
        }
    }

    /// Appends NULL.
    pub(super) fn null(&mut self) {
        match self {
            Builder::Boolean(b) => b.append_null(),
            Builder::Int(b) => b.append_null(),
            Builder::Bigint(b) => b.append_null(),
            Builder::Double(b) => b.append_null(),
            Builder::Decimal(b, _) => b.append_null(),
            Builder::WideDecimal(b, _) => b.append_null(),
            Builder::Text(b) => b.views.append_null(),
            Builder::Bytes(b) => b.append_null(),
            Builder::Date(b) => b.append_null(),
            Builder::Time(b) => b.append_null(),
            Builder::Timestamp(b) => b.append_null(),
            Builder::List(b) => b.end(false),
            Builder::Map(b) => b.end(false),
            Builder::Struct(b) => {
                b.fields.iter_mut().for_each(Builder::null);
                b.end(false);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Builder::Boolean(b) => b.len(),
            Builder::Int(b) => b.len(),
            Builder::Bigint(b) => b.len(),
            Builder::Double(b) => b.len(),
            Builder::Decimal(b, _) => b.len(),
            Builder::WideDecimal(b, _) => b.len(),
            Builder::Text(b) => b.views.len(),
            Builder::Bytes(b) => b.len(),
            Builder::Date(b) => b.len(),
            Builder::Time(b) => b.len(),
            Builder::Timestamp(b) => b.len(),
            Builder::List(b) => b.layout.len(),
            Builder::Map(b) => b.layout.len(),
            Builder::Struct(b) => b.nulls.len(),
        }
    }

    /// The array; the builder starts anew.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Boolean(b) => Arc::new(b.finish()),
            Builder::Int(b) => Arc::new(b.finish()),
            Builder::Bigint(b) => Arc::new(b.finish()),
            Builder::Double(b) => Arc::new(b.finish()),
            Builder::Decimal(b, _) => Arc::new(b.finish()),
            Builder::WideDecimal(b, _) => Arc::new(b.finish()),
            Builder::Text(b) => b.finish(),
            Builder::Bytes(b) => Arc::new(b.finish()),
            Builder::Date(b) => Arc::new(b.finish()),
            Builder::Time(b) => Arc::new(b.finish()),
            Builder::Timestamp(b) => Arc::new(b.finish()),
            Builder::List(b) => b.finish(),
            Builder::Map(b) => b.finish(),
            Builder::Struct(b) => b.finish(),
        }
    }
}

/// Text, as views into blocks where it pays.
pub(super) struct TextBuilder {
    views: StringViewBuilder,
    /// For each [`super::Block`] id, its number in `views`.
    blocks: hashbrown::HashMap<u32, u32>,
    /// The last of them: records of one block mostly come together.
    last: Option<(u32, u32)>,
}

impl TextBuilder {
    fn new() -> Self {
        Self { views: StringViewBuilder::new(), blocks: hashbrown::HashMap::new(), last: None }
    }

    pub(super) fn append(&mut self, text: &str) {
        self.views.append_value(text);
    }

    /// Appends a part of the payload as it stands. False, with nothing appended, when it is not UTF-8.
    pub(super) fn append_part(&mut self, payload: &Payload<'_>, part: &[u8]) -> bool {
        if part.len() > INLINE_BYTES
            && let Some(block) = payload.block
            && let Some(offset) = block.offset_of(part)
        {
            let number = self.block_number(block);
            return self.views.try_append_view(number, offset, part.len() as u32).is_ok();
        }
        match std::str::from_utf8(part) {
            Ok(text) => {
                self.views.append_value(text);
                true
            }
            Err(_) => false,
        }
    }

    fn block_number(&mut self, block: &super::Block) -> u32 {
        if let Some((id, number)) = self.last
            && id == block.id
        {
            return number;
        }
        let views = &mut self.views;
        let append = || views.append_block(block.buffer.clone());
        let number = *self.blocks.entry(block.id).or_insert_with(append);
        self.last = Some((block.id, number));
        number
    }

    fn finish(&mut self) -> ArrayRef {
        self.blocks.clear();
        self.last = None;
        Arc::new(self.views.finish())
    }
}

/// Where each list or map ends among its items, and which are NULL.
struct Layout {
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Layout {
    fn new() -> Self {
        Self { ends: vec![0], nulls: NullBufferBuilder::new(0) }
    }

    fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Ends a value whose items are all before `items`.
    fn end(&mut self, items: usize, present: bool) {
        self.ends.push(i32::try_from(items).expect("an epoch's budget is far below 2^31 items"));
        self.nulls.append(present);
    }

    fn finish(&mut self) -> (OffsetBuffer<i32>, Option<arrow::buffer::NullBuffer>) {
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        (OffsetBuffer::new(ScalarBuffer::from(ends)), self.nulls.finish())
    }
}

pub(super) struct ListBuilder {
    pub(super) item: Builder,
    field: FieldRef,
    layout: Layout,
}

impl ListBuilder {
    fn new(ty: &SqlType, item: &SqlType) -> Self {
        let DataType::List(field) = ty.to_arrow() else {
            unreachable!("an ARRAY is a List in Arrow");
        };
        Self { item: Builder::new(item), field, layout: Layout::new() }
    }

    /// Ends a list of all items appended since the last end.
    pub(super) fn end(&mut self, present: bool) {
        self.layout.end(self.item.len(), present);
    }

    fn finish(&mut self) -> ArrayRef {
        let (ends, nulls) = self.layout.finish();
        Arc::new(ListArray::new(self.field.clone(), ends, self.item.finish(), nulls))
    }
}

pub(super) struct MapBuilder {
    pub(super) key: Builder,
    pub(super) value: Builder,
    entries: FieldRef,
    layout: Layout,
}

impl MapBuilder {
    fn new(ty: &SqlType, key: &SqlType, value: &SqlType) -> Self {
        let DataType::Map(entries, _) = ty.to_arrow() else {
            unreachable!("a MAP is a Map in Arrow");
        };
        let (key, value) = (Builder::new(key), Builder::new(value));
        Self { key, value, entries, layout: Layout::new() }
    }

    /// Ends a map of all entries appended since the last end.
    pub(super) fn end(&mut self, present: bool) {
        self.layout.end(self.key.len(), present);
    }

    fn finish(&mut self) -> ArrayRef {
        let (ends, nulls) = self.layout.finish();
        let DataType::Struct(fields) = self.entries.data_type() else {
            unreachable!("a map's entries are a Struct in Arrow");
        };
        let columns = vec![self.key.finish(), self.value.finish()];
        let entries = StructArray::new(fields.clone(), columns, None);
        Arc::new(MapArray::new(self.entries.clone(), ends, entries, nulls, false))
    }
}

pub(super) struct StructBuilder {
    pub(super) fields: Vec<Builder>,
    shape: Fields,
    nulls: NullBufferBuilder,
}

impl StructBuilder {
    /// Ends a struct: every field has been appended.
    pub(super) fn end(&mut self, present: bool) {
        self.nulls.append(present);
    }

    fn finish(&mut self) -> ArrayRef {
        let len = self.nulls.len();
        let columns = self.fields.iter_mut().map(Builder::finish).collect();
        let nulls = self.nulls.finish();
        match StructArray::try_new_with_length(self.shape.clone(), columns, nulls, len) {
            Ok(array) => Arc::new(array),
            Err(e) => unreachable!("a struct's fields have one length and the declared types: {e}"),
        }
    }
}
