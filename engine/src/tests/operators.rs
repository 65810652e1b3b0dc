//! What each operator does, as scripts.

use millstream_sql::syntax::ast::RelationKind::{Stream, Table};
use millstream_sql::syntax::ast::WindowKind;

use super::*;

fn count_stream(window: Option<AggregateWindow>, emit_final: bool) -> Dataflow {
    dataflow("Q", vec![source("S", Stream), count_and_sum(0, key(), window, emit_final)], "OUT")
}

#[test]
fn a_filter_on_a_stream_drops_and_on_a_table_deletes() {
    let over_two = |kind| {
        dataflow("Q", vec![source("S", kind), filter(0, greater(value(), number(2)), kind)], "OUT")
    };
    check(
        &over_two(Stream),
        false,
        "
        S 1 a 1
        S 2 a 3
          a 3 @2
        S 3 a -
        S 4 b 4
          b 4 @4
        ",
    );
    check(
        &over_two(Table),
        false,
        "
        S 1 a 1
        S 2 a 3
          a 3 @2 was -
        S 3 a 5
          a 5 @3 was 3
        S 4 a 2
          a - @4 was 5
        S 5 a -
        S 6 b -
        S 7 a 9
          a 9 @7 was -
        ",
    );
}

#[test]
fn a_table_lets_one_net_change_leave_an_epoch() {
    check(
        &dataflow("Q", vec![source("S", Table)], "OUT"),
        true,
        "
        S 1 a 1
        S 2 b 2
        S 3 a 3
          b 2 @2 was -
          a 3 @3 was -
        ;
        S 4 a 4
        S 5 a 3
        S 6 b -
          b - @6 was 2
        ;
        S 7 b 1
        S 8 b -
        ",
    );
}

#[test]
fn groups_count_each_row_or_once_per_epoch() {
    check(
        &count_stream(None, false),
        false,
        "
        S 5 a 1
          a 1 1 @5 was -
        S 3 a 2
          a 2 3 @5 was 1 1
        S 9 b -
        S 9 b 7
          b 1 7 @9 was -
        ",
    );
    check(
        &count_stream(None, false),
        true,
        "
        S 5 a 1
        S 6 b 1
        S 7 a 2
          b 1 1 @6 was -
          a 2 3 @7 was -
        ;
        S 8 a 0
          a 3 3 @8 was 2 3
        ",
    );
}

#[test]
fn a_table_takes_the_old_row_back_before_it_adds_the_new_one() {
    let by_parity = || {
        let group = modulo(value(), number(2));
        dataflow("Q", vec![source("S", Table), count_and_sum(0, group, None, false)], "OUT")
    };
    check(
        &by_parity(),
        false,
        "
        S 1 a 2
          0 1 2 @1 was -
        S 2 a 4
          0 1 4 @2 was 1 2
        S 3 a 5
          0 0 0 @3 was 1 4
          1 1 5 @3 was -
        S 4 a -
          1 0 0 @4 was 1 5
        ",
    );
    check(
        &by_parity(),
        true,
        "
        S 1 a 2
        S 2 b 3
          0 1 2 @1 was -
          1 1 3 @2 was -
        ;
        S 3 a 4
        S 4 b 2
          1 0 0 @4 was 1 3
          0 2 6 @4 was 1 2
        ",
    );
}

#[test]
fn late_rows_count_until_the_grace_is_over() {
    check(
        &count_stream(window(WindowKind::Tumbling { size_ms: 10 }, 5), false),
        false,
        "
        S 2 a 1
          a [0,10) 1 1 @2 was -
        S 14 a 1
          a [10,20) 1 1 @14 was -
        S 9 a 1
          a [0,10) 2 2 @9 was 1 1
        S 15 b 1
          b [10,20) 1 1 @15 was -
        S 9 a 1
        S 11 a 1
          a [10,20) 2 2 @14 was 1 1
        ",
    );
}

#[test]
fn a_row_counts_in_every_hopping_window_of_its_time() {
    check(
        &count_stream(window(WindowKind::Hopping { size_ms: 10, advance_ms: 5 }, 0), false),
        true,
        "
        S 7 a 1
        S 12 a 2
          a [0,10) 1 1 @7 was -
          a [5,15) 2 3 @12 was -
          a [10,20) 1 2 @12 was -
        ;
        S 20 a 4
          a [15,25) 1 4 @20 was -
          a [20,30) 1 4 @20 was -
        ",
    );
}

#[test]
fn final_results_leave_once_when_stream_time_has_passed() {
    check(
        &count_stream(window(WindowKind::Tumbling { size_ms: 10 }, 2), true),
        false,
        "
        S 1 b 1
        S 3 a 2
        S 11 a 5
        S 9 a 1
        S 12 c 1
          a [0,10) 2 3 @9 was -
          b [0,10) 1 1 @1 was -
        S 9 a 1
        S 25 c 1
          a [10,20) 1 5 @11 was -
          c [10,20) 1 1 @12 was -
        ",
    );
}

#[test]
fn sessions_grow_merge_and_end() {
    check(
        &count_stream(window(WindowKind::Session { gap_ms: 5 }, 20), false),
        false,
        "
        S 10 a 1
          a [10,10) 1 1 @10 was -
        S 13 a 2
          a [10,10) - @10 was 1 1
          a [10,13) 2 3 @13 was -
        S 20 a 4
          a [20,20) 1 4 @20 was -
        S 17 a 8
          a [10,13) - @13 was 2 3
          a [20,20) - @20 was 1 4
          a [10,20) 4 15 @20 was -
        S 50 b 1
          b [50,50) 1 1 @50 was -
        S 24 a 1
        ",
    );
    check(
        &count_stream(window(WindowKind::Session { gap_ms: 5 }, 20), false),
        true,
        "
        S 10 a 1
        S 13 a 2
        S 20 a 4
          a [10,13) 2 3 @13 was -
          a [20,20) 1 4 @20 was -
        ;
        S 17 a 8
        S 18 a 1
          a [10,13) - @13 was 2 3
          a [20,20) - @20 was 1 4
          a [10,20) 5 16 @20 was -
        ",
    );
}
