//! The aggregate functions with their documentation.

use super::{AggregateFunction, AggregateInfo};
use crate::expr::functions::{About, Example, FunctionKind, Signature};

/// Every aggregate function, by name.
pub(crate) fn built_in() -> Vec<AggregateInfo> {
    use AggregateFunction::*;
    vec![
        info("ATTR", Attr, "The value if all rows of the group share one, else NULL.", &["T -> T"]).note("NULL counts as a value.").arg("value", "The value.").over("V INT", &["3", "3"], "ATTR(V)", "3").over("V INT", &["3", "4"], "ATTR(V)", "NULL"),
        info("AVG", Avg, "The mean of the values, NULLs left out.", &["I -> D", "L -> D", "D -> D"]).note("0.0 when there is no value. INT values are added up in 32 bits, as ksqlDB does.").arg("value", "The numbers.").over("V INT", &["1", "NULL", "4"], "AVG(V)", "2.5"),
        info("COLLECT_LIST", CollectList, "All values as an array.", &["T -> [T]"]).note("NULLs are kept. No more than `ksql.functions.collect_list.limit` values.").arg("value", "The values.").over("V INT", &["3", "NULL", "3"], "COLLECT_LIST(V)", "ARRAY[3, NULL, 3]"),
        info("COLLECT_SET", CollectSet, "The distinct values as an array.", &["T -> [T]"]).note("In the order in which they came, NULL being a value. No more than `ksql.functions.collect_set.limit` values.").arg("value", "The values.").over("V INT", &["3", "1", "3"], "COLLECT_SET(V)", "ARRAY[3, 1]"),
        info("CORRELATION", Correlation, "The Pearson correlation of two numbers.", &["num, num -> D"]).note("Pairs with a NULL are left out; NaN while there are too few.").arg("x", "The first number.").arg("y", "The second number.").over("X INT, Y INT", &["1, 2", "2, 4", "3, 6"], "CORRELATION(X, Y)", "1.0"),
        info("COUNT", Count, "The number of rows, or of values that are not NULL.", &["-> L", "T -> L"]).arg("value", "The values; with * or without an argument, rows are counted.").over("V INT", &["1", "NULL", "4"], "COUNT(*)", "3").over("V INT", &["1", "NULL", "4"], "COUNT(V)", "2"),
        info("COUNT_DISTINCT", CountDistinct, "About how many distinct values there are.", &["T -> L"]).note("Estimated with HyperLogLog; nearly exact for small sets.").arg("value", "The values.").over("V STRING", &["'a'", "'b'", "'a'"], "COUNT_DISTINCT(V)", "2"),
        info("EARLIEST_BY_OFFSET", EarliestByOffset, "The value that came first, or the first n.", &["T -> T", "T, B -> T", "T, I n -> [T]", "T, I n, B ignoreNulls -> [T]"]).arg("value", "The values.").arg("ignoreNulls", "Whether NULLs are passed over; a constant, TRUE unless given.").arg("n", "How many values; a constant.").over("V INT", &["NULL", "7", "8"], "EARLIEST_BY_OFFSET(V)", "7").over("V INT", &["NULL", "7", "8"], "EARLIEST_BY_OFFSET(V, FALSE)", "NULL").over("V INT", &["NULL", "7", "8", "9"], "EARLIEST_BY_OFFSET(V, 2)", "ARRAY[7, 8]"),
        info("HISTOGRAM", Histogram, "How often each value occurs.", &["S -> {S:L}"]).note("At most 1000 distinct values; later ones are not counted.").arg("value", "The texts to count.").over("V STRING", &["'a'", "'b'", "'a'"], "HISTOGRAM(V)", "MAP('a' := 2, 'b' := 1)"),
        info("LATEST_BY_OFFSET", LatestByOffset, "The value that came last, or the last n.", &["T -> T", "T, B -> T", "T, I n -> [T]", "T, I n, B ignoreNulls -> [T]"]).arg("value", "The values.").arg("ignoreNulls", "Whether NULLs are passed over; a constant, TRUE unless given.").arg("n", "How many values; a constant.").over("V INT", &["7", "8", "NULL"], "LATEST_BY_OFFSET(V)", "8").over("V INT", &["7", "8", "NULL"], "LATEST_BY_OFFSET(V, FALSE)", "NULL").over("V INT", &["7", "8", "9"], "LATEST_BY_OFFSET(V, 2)", "ARRAY[8, 9]"),
        info("MAX", Max, "The greatest value.", &["I -> I", "L -> L", "D -> D", "N -> N", "S -> S", "Y -> Y", "DT -> DT", "TM -> TM", "TS -> TS"]).note("NULLs are left out. Texts are compared by UTF-16 code units.").arg("value", "The values.").over("V INT", &["1", "4", "NULL", "3"], "MAX(V)", "4").over("V STRING", &["'b'", "'abc'"], "MAX(V)", "'b'"),
        info("MIN", Min, "The least value.", &["I -> I", "L -> L", "D -> D", "N -> N", "S -> S", "Y -> Y", "DT -> DT", "TM -> TM", "TS -> TS"]).note("NULLs are left out. Texts are compared by UTF-16 code units.").arg("value", "The values.").over("V INT", &["1", "4", "NULL", "3"], "MIN(V)", "1").over("V DATE", &["'2024-02-29'", "'2023-12-31'"], "MIN(V)", "'2023-12-31'"),
        info("STDDEV_SAMP", StddevSamp, "Deprecated: the variance of a sample.", &["I -> D", "L -> D", "D -> D"]).note("It is the variance, as in ksqlDB; use STDDEV_SAMPLE.").arg("value", "The numbers.").over("V INT", &["2", "4", "6"], "STDDEV_SAMP(V)", "4.0"),
        info("STDDEV_SAMPLE", StddevSample, "The standard deviation of a sample.", &["I -> D", "L -> D", "D -> D"]).note("0.0 for fewer than two values.").arg("value", "The numbers.").over("V INT", &["2", "4", "6"], "STDDEV_SAMPLE(V)", "2.0").over("V INT", &["2"], "STDDEV_SAMPLE(V)", "0.0"),
        info("SUM", Sum, "The sum of the values, NULLs left out.", &["I -> I", "L -> L", "D -> D", "N -> N"]).note("INT and BIGINT wrap around when they overflow; a row that makes a DECIMAL overflow is reported and not added.").arg("value", "The numbers.").over("V INT", &["1", "NULL", "4"], "SUM(V)", "5").over("V DECIMAL(4, 2)", &["1.25", "0.75"], "SUM(V)", "2.00"),
        info("SUM_LIST", SumList, "The sum of the elements of arrays.", &["[I] -> I", "[L] -> L", "[D] -> D"]).note("NULL arrays and elements are left out.").arg("value", "Arrays of numbers.").over("V ARRAY<INT>", &["ARRAY[1, 2]", "ARRAY[3]"], "SUM_LIST(V)", "6"),
        info("TOPK", TopK, "The k greatest values, with other columns of their rows if asked.", &["I, I -> [I]", "L, I -> [L]", "D, I -> [D]", "S, I -> [S]", "T, U... other, I k -> [<sort_col T, col0 U>]"]).note("NULLs are left out; of equal values the earlier counts. With more values of the row each element is a STRUCT of sort_col, col0, col1, ….").arg("value", "The values; rows are compared by it.").arg("k", "How many; a constant.").arg("other", "Other values of the rows, given with the first one.").over("V INT", &["1", "4", "3", "4"], "TOPK(V, 3)", "ARRAY[4, 4, 3]").over("V INT, W STRING", &["1, 'a'", "4, 'b'", "3, 'c'"], "TOPK(V, W, 2)", "ARRAY[STRUCT(sort_col := 4, col0 := 'b'), STRUCT(sort_col := 3, col0 := 'c')]"),
        info("TOPKDISTINCT", TopKDistinct, "The k greatest distinct values.", &["I, I -> [I]", "L, I -> [L]", "D, I -> [D]", "N, I -> [N]", "S, I -> [S]", "Y, I -> [Y]", "DT, I -> [DT]", "TM, I -> [TM]", "TS, I -> [TS]"]).note("NULLs are left out.").arg("value", "The values.").arg("k", "How many; a constant.").over("V INT", &["1", "4", "3", "4"], "TOPKDISTINCT(V, 2)", "ARRAY[4, 3]"),
    ]
}

fn info(
    name: &str,
    function: AggregateFunction,
    summary: &str,
    signatures: &[&str],
) -> AggregateInfo {
    let about = About::new(name, FunctionKind::Aggregate, "AGGREGATE", summary);
    let signatures = signatures.iter().map(|text| Signature::parse(text)).collect();
    AggregateInfo { about, function, signatures, user: vec![] }
}

impl AggregateInfo {
    fn arg(mut self, name: &str, doc: &str) -> Self {
        self.about.arguments.push((name.to_owned(), doc.to_owned()));
        self
    }

    fn over(mut self, columns: &str, rows: &[&str], call: &str, gives: &str) -> Self {
        self.about.examples.push(Example::over(columns, rows, call, gives));
        self
    }

    fn note(mut self, text: &str) -> Self {
        self.about.note = text.to_owned();
        self
    }
}
