//! Late events of windows that nobody used while they were open: with what such a window closed.
//!
//! Not here: windows that are archived, and the rest of row 11 (`time`).

use super::{
    history::{Applied, Step, rows_of},
    ledger::check,
};
use crate::{limits, time::DAY_MS};

#[test]
fn row_11_an_unused_window_keeps_the_limit_that_it_closed_with() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        rule warn 80%
        clock 2026-03-03 10:00
        entitle acme tokens 10 day  => 0/10
        clock 2026-03-05
        use acme 79 from 2026-03-01 12:00 => 0/10
        use acme 1 from 2026-03-01 12:00 => 0/10; warn:80% late crossed (usage)
        use acme 8 from 2026-03-03 09:00 => 0/10; warn:80% late crossed (usage)
        use acme 5 from 2026-03-04  => 0/10
        closed acme tokens          => 80/100 from 2026-03-01T00:00:00Z, \
            8/10 from 2026-03-03T00:00:00Z, 5/10 from 2026-03-04T00:00:00Z
        ",
    );
}

#[test]
fn row_11_of_several_limits_in_a_window_the_last_is_what_it_closed_with() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        clock 2026-03-02
        limit acme tokens 50        => 0/50
        clock 2026-03-02 10:00
        limit acme tokens 40        => 0/40
        limit acme tokens 30        => 0/30
        clock 2026-03-03
        limit acme tokens 20        => 0/20
        limit acme tokens 30        => 0/30
        clock 2026-03-04
        use acme 1 from 2026-03-01  => 0/30
        use acme 2 from 2026-03-02  => 0/30
        use acme 3 from 2026-03-03  => 0/30
        closed acme tokens          => 1/100 from 2026-03-01T00:00:00Z, \
            2/30 from 2026-03-02T00:00:00Z, 3/30 from 2026-03-03T00:00:00Z
        ",
    );
}

#[test]
fn row_11_limits_that_changed_at_their_moment_while_nobody_looked() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        limit acme tokens 50 2026-03-02 => 0/100
        limit acme tokens 10 2026-03-03 12:00 => 0/100
        clock 2026-03-06
        use acme 1 from 2026-03-01 23:59:59 => 0/10
        use acme 2 from 2026-03-02  => 0/10
        use acme 3 from 2026-03-03 11:00 => 0/10
        use acme 4 from 2026-03-05  => 0/10
        closed acme tokens          => 1/100 from 2026-03-01T00:00:00Z, \
            2/50 from 2026-03-02T00:00:00Z, 3/10 from 2026-03-03T00:00:00Z, \
            4/10 from 2026-03-05T00:00:00Z
        ",
    );
}

#[test]
fn row_11_a_limit_of_the_step_that_begins_a_window_is_not_of_those_before() {
    check(
        "
        show resets
        entitle acme tokens 100 day => 0/100
        clock 2026-03-04
        limit acme tokens 10        => 0/10; reset 0/100 to 0/100 skipped 2 (period)
        use acme 1 from 2026-03-01  => 0/10
        use acme 2 from 2026-03-03  => 0/10
        closed acme tokens          => 1/100 from 2026-03-01T00:00:00Z, \
            2/100 from 2026-03-03T00:00:00Z
        ",
    );
}

#[test]
fn row_11_an_unused_window_keeps_its_tiers() {
    check(
        "
        entitle acme tokens tiers:10,20 day => 0/unlimited
        rule warn tier:100
        clock 2026-03-02
        entitle acme tokens tiers:5 day => 0/unlimited
        clock 2026-03-03
        use acme 9 from 2026-03-01  => 0/unlimited
        use acme 1 from 2026-03-01  => 0/unlimited; warn:tier:100#10 late crossed (usage)
        use acme 5 from 2026-03-02  => 0/unlimited; warn:tier:100#5 late crossed (usage)
        ",
    );
}

#[test]
fn row_11_windows_before_a_new_anchor_keep_their_bounds() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        clock 2026-03-03 10:00
        reset acme tokens anew      => 0/100
        clock 2026-03-06
        use acme 1 from 2026-03-01 23:00 => 0/100
        use acme 2 from 2026-03-02 09:00 => 0/100
        use acme 4 from 2026-03-02 11:00 => 0/100
        use acme 8 from 2026-03-03 09:00 => 0/100
        use acme 16 from 2026-03-03 10:00 => 0/100
        use acme 32 from 2026-03-04 09:59:59 => 0/100
        use acme 64 from 2026-03-04 10:00 => 0/100
        closed acme tokens          => 1/100 from 2026-03-01T00:00:00Z, \
            6/100 from 2026-03-02T00:00:00Z, 8/100 from 2026-03-03T00:00:00Z, \
            48/100 from 2026-03-03T10:00:00Z, 64/100 from 2026-03-04T10:00:00Z
        ",
    );
}

#[test]
fn row_11_several_anchors_and_limits_each_with_their_windows() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        reset acme tokens anew 2026-03-02_06:00 => 0/100
        limit acme tokens 50 2026-03-03 12:00 => 0/100
        reset acme tokens anew 2026-03-04_18:00 => 0/100
        clock 2026-03-08
        use acme 1 from 2026-03-01 12:00 => 0/50
        use acme 2 from 2026-03-02 07:00 => 0/50
        use acme 3 from 2026-03-03 07:00 => 0/50
        use acme 4 from 2026-03-04 17:00 => 0/50
        use acme 5 from 2026-03-05 17:00 => 0/50
        use acme 6 from 2026-03-05 19:00 => 0/50
        closed acme tokens          => 1/100 from 2026-03-01T00:00:00Z, \
            0/100 from 2026-03-02T00:00:00Z, 2/100 from 2026-03-02T06:00:00Z, \
            3/50 from 2026-03-03T06:00:00Z, 4/50 from 2026-03-04T06:00:00Z, \
            5/50 from 2026-03-04T18:00:00Z, 6/50 from 2026-03-05T18:00:00Z
        ",
    );
}

#[test]
fn row_11_a_reset_that_keeps_its_anchor_leaves_the_windows_around_it() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        clock 2026-03-02 10:00
        reset acme tokens           => 0/100
        limit acme tokens 10        => 0/10
        clock 2026-03-05
        use acme 1 from 2026-03-01  => 0/10
        use acme 2 from 2026-03-02 09:00 => 0/10
        use acme 3 from 2026-03-02 11:00 => 0/10
        use acme 4 from 2026-03-03  => 0/10
        closed acme tokens          => 1/100 from 2026-03-01T00:00:00Z, \
            2/100 from 2026-03-02T00:00:00Z, 3/10 from 2026-03-02T10:00:00Z, \
            4/10 from 2026-03-03T00:00:00Z
        ",
    );
}

#[test]
fn row_11_windows_of_a_billing_cycle_that_moved_keep_their_bounds() {
    check(
        "
        entitle acme tokens 100 billing anchor=2026-02-05 => 0/100
        clock 2026-03-10
        entitle acme tokens 50 billing anchor=2026-03-20 => 0/50
        clock 2026-04-02
        use acme 1 from 2026-03-02  => 0/50
        use acme 2 from 2026-03-19  => 0/50
        use acme 4 from 2026-03-05  => 0/50
        use acme 8 from 2026-03-20  => 8/50
        use acme 16 from 2026-04-01 => 24/50
        closed acme tokens          => 1/100 from 2026-02-05T00:00:00Z, \
            6/50 from 2026-03-05T00:00:00Z
        value acme                  => 24/50
        ",
    );
}

#[test]
fn row_11_a_window_that_overage_was_carried_into_is_not_made_up() {
    check(
        "
        entitle acme tokens 10 day preserve => 0/10
        use acme 25                 => 25/10
        clock 2026-03-05
        entitle acme tokens 100 day preserve => 0/100
        clock 2026-03-06
        use acme 1 from 2026-03-02  => 0/100
        use acme 2 from 2026-03-04  => 0/100
        closed acme tokens          => 25/10 from 2026-03-01T00:00:00Z, \
            16/10 from 2026-03-02T00:00:00Z, 5/10 from 2026-03-03T00:00:00Z, \
            2/10 from 2026-03-04T00:00:00Z
        ",
    );
}

#[test]
fn row_11_a_line_that_came_after_an_unused_window_closed_does_not_stand_there() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        rule old 80%
        clock 2026-03-03 10:00
        rule new 50%
        clock 2026-03-05
        use acme 79 from 2026-03-02 => 0/100
        use acme 1 from 2026-03-02  => 0/100; old:80% late crossed (usage)
        use acme 50 from 2026-03-03 => 0/100; new:50% late crossed (usage)
        use acme 80 from 2026-03-04 => 0/100; new:50% late crossed (usage); \
            old:80% late crossed (usage)
        ",
    );
}

#[test]
fn row_11_a_line_is_known_to_windows_that_close_after_the_next_stamp() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        lazily rule new 50%
        clock 2026-03-04
        use acme 1                  => 1/100
        clock 2026-03-05
        use acme 50 from 2026-03-03 => 0/100
        use acme 49 from 2026-03-04 => 0/100; new:50% late crossed (usage)
        ",
    );
}

#[test]
fn row_11_a_line_that_was_enabled_since_does_not_stand_in_an_unused_window() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        rule warn 80% disabled
        clock 2026-03-02 10:00
        rule warn 80%
        clock 2026-03-03
        use acme 80 from 2026-03-01 => 0/100
        use acme 80 from 2026-03-02 => 0/100; warn:80% late crossed (usage)
        ",
    );
}

#[test]
fn row_11_windows_that_begin_again_know_what_there_is() {
    check(
        "
        set clock 2026-03-05
        entitle acme tokens 100 day => 0/100
        limit acme tokens 10        => 0/10
        rule warn 50%
        set clock 2026-03-02
        set clock 2026-03-05
        use acme 5 from 2026-03-03  => 0/10; warn:50% late crossed (usage)
        closed acme tokens          => 5/10 from 2026-03-03T00:00:00Z
        ",
    );
}

/// What a customer takes whose limit changed so many times a day, on so many days, and whose days
/// are all the same after that.
fn bytes_after(changing: usize, times: usize, quiet: usize) -> usize {
    let entitle = |limit| Step::Entitle { customer: 0, feature: 0, limit, period: 0 };
    let pass = Step::Wait { ms: DAY_MS };
    let mut steps = vec![entitle(Some(0))];
    for day in 0..changing {
        steps.push(pass.clone());
        steps.extend((1..times).map(|limit| entitle(Some(limit as i64))));
        steps.push(entitle(Some(if day % 2 == 0 { 50 } else { 0 })));
    }
    steps.extend(vec![pass; quiet]);
    // Time passes for a customer that something is asked of.
    steps.push(entitle(Some(50)));
    steps.push(entitle(Some(0)));
    let mut applied = Applied::new();
    for row in rows_of(&steps, 1) {
        applied.apply(&row);
    }
    applied.bytes()[1].len()
}

#[test]
fn terms_that_no_late_event_can_meet_are_forgotten() {
    let late_days = (limits::EVENT_LATE_MS / DAY_MS) as usize;
    let full = bytes_after(late_days + 20, 1, 1);
    assert_eq!(bytes_after(late_days + 60, 1, 1), full, "as many as there are windows");
    assert_eq!(bytes_after(late_days + 20, 3, 1), full, "once a window");
    let never_changed = bytes_after(0, 0, 1);
    assert!(full > never_changed + 10 * late_days, "{full} {never_changed}");
    assert_eq!(bytes_after(late_days + 20, 1, late_days + 2), never_changed);
}
