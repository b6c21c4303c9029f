//! What happens by itself: periods, resets, clocks that were set, and events that come late.
//!
//! Not here: grants (`grants`), which lines fire in one window (`rows`).

use super::ledger::check;

#[test]
fn row_05_a_window_ends_also_when_no_usage_comes() {
    check(
        "
        show resets
        entitle acme tokens 100 day => 0/100
        use acme 90                 => 90/100
        clock 2026-03-01 23:59:59
        pulse
        clock 2026-03-02
        pulse                       => reset 90/100 to 0/100 (period)
        pulse
        clock 2026-03-03
        pulse                       => reset 0/100 to 0/100 (period)
        ",
    );
}

#[test]
fn row_05_periods_that_nobody_saw_are_one_reset() {
    check(
        "
        show resets
        entitle acme tokens 100 hour => 0/100
        use acme 90                 => 90/100
        clock 2026-03-08 00:30
        pulse                       => reset 90/100 to 0/100 skipped 167 (period)
        use acme 5                  => 5/100
        ",
    );
}

#[test]
fn usage_that_comes_first_brings_its_customer_up_to_date() {
    check(
        "
        show resets
        entitle acme tokens 100 day => 0/100
        use acme 90                 => 90/100
        clock 2026-03-02 10:00
        use acme 10                 => 10/100; reset 90/100 to 0/100 (period)
        pulse
        ",
    );
}

#[test]
fn every_length_of_period() {
    for (interval, end) in [
        ("hour", "2026-03-01 01:00"),
        ("day", "2026-03-02"),
        ("week", "2026-03-02"),
        ("month", "2026-04-01"),
        ("quarter", "2026-04-01"),
        ("half-year", "2026-07-01"),
        ("year", "2027-01-01"),
        ("billing", "2026-04-01"),
    ] {
        let script = "
            show resets
            entitle acme tokens 100 INTERVAL => 0/100
            use acme 90             => 90/100
            clock END
            pulse                   => reset 90/100 to 0/100 (period)
            ";
        check(&script.replace("INTERVAL", interval).replace("END", end));
    }
    check(
        "
        show resets
        entitle acme tokens 100 never => 0/100
        use acme 90                 => 90/100
        clock 2099-01-01
        pulse
        value acme                  => 90/100
        ",
    );
}

#[test]
fn an_anchor_on_the_31st_falls_on_the_last_day_of_a_shorter_month() {
    check(
        "
        show resets
        entitle acme tokens 100 month anchor=2026-01-31_08:00 => 0/100
        clock 2026-03-31 07:59:59
        pulse
        clock 2026-03-31 08:00
        pulse                       => reset 0/100 to 0/100 (period)
        clock 2026-04-30 08:00
        pulse                       => reset 0/100 to 0/100 (period)
        ",
    );
}

#[test]
fn the_anchor_of_a_billing_cycle_may_move() {
    check(
        "
        show resets
        entitle acme tokens 100 billing => 0/100
        use acme 90                 => 90/100
        entitle acme tokens 100 billing anchor=2026-03-10 => 90/100
        clock 2026-03-10
        pulse                       => reset 90/100 to 0/100 (period)
        clock 2026-04-10
        pulse                       => reset 0/100 to 0/100 (period)
        ",
    );
}

#[test]
fn a_billing_cycle_that_would_have_ended_goes_on_to_its_next_start() {
    check(
        "
        show resets
        entitle acme tokens 100 billing anchor=2026-02-20 => 0/100
        clock 2026-03-12
        use acme 90                 => 90/100
        entitle acme tokens 100 billing anchor=2026-03-05 => 90/100
        use acme 5                  => 95/100
        clock 2026-04-05
        pulse                       => reset 95/100 to 0/100 (period)
        clock 2026-05-05
        pulse                       => reset 0/100 to 0/100 (period)
        ",
    );
}

#[test]
fn a_manual_reset_keeps_the_period_or_begins_a_whole_one() {
    check(
        "
        show resets
        entitle acme tokens 100 day => 0/100
        clock 2026-03-01 10:00
        use acme 90                 => 90/100
        reset acme tokens           => 0/100; reset 90/100 to 0/100 (manual)
        clock 2026-03-02
        pulse                       => reset 0/100 to 0/100 (period)
        clock 2026-03-02 10:00
        reset acme tokens anew      => 0/100; reset 0/100 to 0/100 (manual)
        clock 2026-03-03
        pulse
        clock 2026-03-03 10:00
        pulse                       => reset 0/100 to 0/100 (period)
        ",
    );
}

#[test]
fn a_manual_reset_says_what_becomes_of_overage() {
    check(
        "
        entitle acme tokens 100     => 0/100
        clock 2026-03-05
        use acme 130                => 130/100
        reset acme tokens overage   => 30/100
        clock 2026-03-06
        use acme 100                => 130/100
        reset acme tokens           => 0/100
        ",
    );
}

#[test]
fn a_manual_reset_may_come_later() {
    check(
        "
        show resets
        entitle acme tokens 100     => 0/100
        use acme 90                 => 90/100
        reset acme tokens 2026-03-05 => 90/100
        clock 2026-03-05
        pulse                       => reset 90/100 to 0/100 (manual)
        ",
    );
}

#[test]
fn two_resets_of_one_moment_are_one() {
    check(
        "
        show resets
        entitle acme tokens 100     => 0/100
        clock 2026-03-05
        use acme 90                 => 90/100
        reset acme tokens           => 0/100; reset 90/100 to 0/100 (manual)
        use acme 10                 => 10/100
        reset acme tokens           => 10/100
        ",
    );
}

#[test]
fn row_05_a_reset_that_nobody_saw_is_told_beside_the_periods() {
    check(
        "
        show resets
        entitle acme tokens 100 day => 0/100
        use acme 90                 => 90/100
        reset acme tokens 2026-03-03_10:00 => 90/100
        clock 2026-03-05 12:00
        pulse                       => reset 90/100 to 0/100 skipped 1 (period); \
            reset 0/100 to 0/100 (manual); reset 0/100 to 0/100 skipped 1 (period)
        ",
    );
}

#[test]
fn row_05_a_manual_reset_arms_every_line() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80% resolved
        clock 2026-03-05
        use acme 90                 => 90/100; warn:80% crossed (usage)
        reset acme tokens           => 0/100
        use acme 80                 => 80/100; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn row_11_a_late_event_changes_the_window_that_it_belongs_to() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        rule warn 80%
        use acme 70                 => 70/100
        clock 2026-03-02
        use acme 79                 => 79/100
        use acme 9 from 2026-03-01 12:00 => 79/100
        closed acme tokens          => 79/100 from 2026-03-01T00:00:00Z
        use acme 1 from 2026-03-01 12:00 => 79/100; warn:80% late crossed (usage)
        closed acme tokens          => 80/100 from 2026-03-01T00:00:00Z
        use acme 1 from 2026-03-01 12:00 => 79/100
        use acme 1                  => 80/100; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn row_11_a_closed_window_keeps_its_limit_and_its_lines() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        rule old 80%
        use acme 70                 => 70/100
        clock 2026-03-02
        use acme 0                  => 0/100
        rule new 50%
        entitle acme tokens 10      => 0/10
        use acme 5 from 2026-03-01 12:00 => 0/10
        use acme 5 from 2026-03-01 12:00 => 0/10; old:80% late crossed (usage)
        closed acme tokens          => 80/100 from 2026-03-01T00:00:00Z
        ",
    );
}

#[test]
fn row_11_a_window_that_nobody_used_counts_late_events_too() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        rule warn 80% left:500      => warn:left:500 crossed (rule_created)
        clock 2026-03-04
        use acme 1                  => 1/100
        use acme 80 from 2026-03-02 12:00 => 1/100; warn:80% late crossed (usage)
        closed acme tokens          => 0/100 from 2026-03-01T00:00:00Z, \
            80/100 from 2026-03-02T00:00:00Z
        ",
    );
}

#[test]
fn row_11_the_rest_of_a_period_that_was_reset_is_a_window_of_its_own() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        clock 2026-03-01 10:00
        use acme 70                 => 70/100
        reset acme tokens           => 0/100
        clock 2026-03-02
        use acme 1                  => 1/100
        use acme 5 from 2026-03-01 12:00 => 1/100
        closed acme tokens          => 70/100 from 2026-03-01T00:00:00Z, \
            5/100 from 2026-03-01T10:00:00Z
        use acme 2 from 2026-03-01 09:00 => 1/100
        closed acme tokens          => 72/100 from 2026-03-01T00:00:00Z, \
            5/100 from 2026-03-01T10:00:00Z
        ",
    );
}

#[test]
fn row_11_what_came_before_the_entitlement_is_not_its_usage() {
    check(
        "
        clock 2026-03-05
        entitle acme tokens 100 day => 0/100
        rule warn 80%
        use acme 90 from 2026-03-04 12:00 => 0/100
        closed acme tokens
        use acme 90 from 2026-03-05 => 90/100; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn row_11_a_late_event_leaves_rollover_and_grants_alone() {
    check(
        "
        entitle acme tokens 0 day   => 0/0
        grant acme tokens g 100     => 0/100
        use acme 10                 => 10/100
        clock 2026-03-02
        use acme 20                 => 20/90
        use acme 50 from 2026-03-01 12:00 => 20/90
        closed acme tokens          => 60/100 from 2026-03-01T00:00:00Z
        grants acme tokens          => g 70
        ",
    );
}

#[test]
fn row_11_a_late_correction_resolves_in_its_window() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        rule warn 80% resolved
        use acme 90                 => 90/100; warn:80% crossed (usage)
        clock 2026-03-02
        use acme 1                  => 1/100
        use acme -30 from 2026-03-01 12:00 => 1/100; warn:80% late resolved (usage)
        use acme 20 from 2026-03-01 12:00 => 1/100; warn:80% late crossed (usage)
        ",
    );
}

#[test]
fn an_event_at_the_boundary_belongs_to_the_window_of_its_time() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        use acme 10                 => 10/100
        clock 2026-03-02 00:00:01
        use acme 5 from 2026-03-01 23:59:59 => 0/100
        use acme 7 from 2026-03-02  => 7/100
        closed acme tokens          => 15/100 from 2026-03-01T00:00:00Z
        ",
    );
}

#[test]
fn a_clock_that_is_set_passes_everything_on_the_way_in_order() {
    check(
        "
        show resets
        set clock 2026-03-01
        entitle acme tokens 100 day => 0/100
        rule warn 80%
        grant acme tokens g 100 priority=5 until=2026-03-02_12:00 => 0/200
        use acme 90                 => 90/200
        set clock 2026-03-04        => reset 90/200 to 0/200 (period); \
            reset 0/100 to 0/100 (period); reset 0/100 to 0/100 (period)
        use acme 80                 => 80/100; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn a_clock_goes_back_only_before_there_is_usage() {
    check(
        "
        show resets
        entitle acme tokens 100 day => 0/100
        set clock 2023-11-16 18:00
        use acme 10                 => 10/100
        set clock 2023-11-17        => reset 10/100 to 0/100 (period)
        use acme 20                 => 20/100
        set clock 2023-11-16
        use acme 5                  => 25/100
        ",
    );
}

#[test]
fn a_reset_that_someone_asked_for_is_told_by_itself() {
    check(
        "
        show resets
        entitle acme tokens 100 day => 0/100
        use acme 90                 => 90/100
        reset acme tokens 2026-03-03_10:00 => 90/100
        clock 2026-03-05
        pulse                       => reset 90/100 to 0/100 skipped 1 (period); \
            reset 0/100 to 0/100 (manual); reset 0/100 to 0/100 skipped 1 (period)
        ",
    );
}

#[test]
fn row_11_a_window_that_someone_began_keeps_its_start() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        use acme 90                 => 90/100
        clock 2026-03-01 10:00
        reset acme tokens           => 0/100
        clock 2026-03-02
        pulse
        use acme 5 from 2026-03-01 12:00 => 0/100
        closed acme tokens          => 90/100 from 2026-03-01T00:00:00Z, \
            5/100 from 2026-03-01T10:00:00Z
        ",
    );
}

#[test]
fn row_11_groups_that_cancel_out_are_kept() {
    check(
        "
        meter calls sum by=model
        feature calls calls
        rule warn 5@model
        entitle acme calls 100 day  => 0/100
        use acme 8 of calls model=a => 8/100; calls warn:5@a crossed (usage)
        use acme -8 of calls model=b => 0/100
        clock 2026-03-02
        use acme 1 of calls         => 1/100
        use acme 7 of calls model=a from 2026-03-01 12:00 => 1/100
        use acme 14 of calls model=b from 2026-03-01 12:00 => 1/100; \
            calls warn:5@b late crossed (usage)
        ",
    );
}
