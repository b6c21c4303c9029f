//! Design 5.3, rows 1 to 8.
//!
//! Not here: later rows (`rows_from_9`), resets of row 5 (`time`), grants of rows 6 and 8
//! (`grants`).

use super::ledger::check;

#[test]
fn row_01_reaching_the_level_exactly_fires() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80% 90 left:5
        use acme 79.99              => 79.99/100
        use acme 0.01               => 80/100; warn:80% crossed (usage)
        use acme 9.99               => 89.99/100
        use acme 0.01               => 90/100; warn:90 crossed (usage)
        use acme 4.99               => 94.99/100
        use acme 0.01               => 95/100; warn:left:5 crossed (usage)
        ",
    );
}

#[test]
fn row_01_a_line_far_above_the_limit_is_reached_like_any_other() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 150% limit:100
        use acme 99                 => 99/100
        use acme 1                  => 100/100; warn:limit:100 crossed (usage)
        use acme 49                 => 149/100
        use acme 1                  => 150/100; warn:150% crossed (usage)
        ",
    );
}

#[test]
fn row_02_each_line_that_is_jumped_over_fires_ascending() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 100% 50% 80 left:40
        use acme 150                => 150/100; warn:50% crossed (usage); \
            warn:left:40 crossed (usage); warn:80 crossed (usage); warn:100% crossed (usage)
        ",
    );
}

#[test]
fn row_02_lines_of_several_rules_are_ascending_together() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule low 10% 90%
        rule mid 50% left:20
        use acme 95                 => 95/100; low:10% crossed (usage); mid:50% crossed (usage); \
            mid:left:20 crossed (usage); low:90% crossed (usage)
        ",
    );
}

#[test]
fn row_02_highest_fires_the_furthest_of_each_direction_only() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 50% 80 90% left:40 left:15 highest
        use acme 95                 => 95/100; warn:left:15 crossed (usage); \
            warn:90% crossed (usage)
        use acme 1                  => 96/100
        ",
    );
}

#[test]
fn row_02_highest_passed_lines_are_armed_again_without_resolved() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 50% 80% highest resolved
        use acme 85                 => 85/100; warn:80% crossed (usage)
        use acme -60                => 25/100; warn:80% resolved (usage)
        use acme 30                 => 55/100; warn:50% crossed (usage)
        ",
    );
}

#[test]
fn row_02_highest_takes_the_percentage_on_a_tie() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule one 80% 80 highest
        rule two 80 80% highest
        use acme 80                 => 80/100; one:80% crossed (usage); two:80% crossed (usage)
        ",
    );
}

#[test]
fn row_02_highest_is_about_one_rule_and_one_change() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule one 50% 80% highest
        rule two 60%
        use acme 50                 => 50/100; one:50% crossed (usage)
        use acme 50                 => 100/100; two:60% crossed (usage); one:80% crossed (usage)
        ",
    );
}

#[test]
fn row_03_each_multiple_fires_once_and_a_jump_fires_for_all() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule bell every:100
        use acme 99.99              => 99.99/100
        use acme 0.01               => 100/100; bell:every:100#100x1 crossed (usage)
        use acme 1                  => 101/100
        use acme 249                => 350/100; bell:every:100#300x2 crossed (usage)
        use acme 50                 => 400/100; bell:every:100#400x1 crossed (usage)
        use acme 0                  => 400/100
        ",
    );
}

#[test]
fn row_03_multiples_are_no_part_of_highest() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule bell every:30 50% 80% highest
        use acme 95                 => 95/100; bell:80% crossed (usage); \
            bell:every:30#90x3 crossed (usage)
        ",
    );
}

#[test]
fn row_03_multiples_that_are_left_are_armed_again() {
    check(
        "
        entitle acme tokens unlimited => 0/unlimited
        rule bell every:100 resolved hysteresis=10
        use acme 350                => 350/unlimited; bell:every:100#300x3 crossed (usage)
        use acme -55                => 295/unlimited
        use acme -115               => 180/unlimited; bell:every:100#200x2 resolved (usage)
        use acme 20                 => 200/unlimited; bell:every:100#200x1 crossed (usage)
        ",
    );
}

#[test]
fn row_03_a_new_line_fires_once_for_what_is_past() {
    check(
        "
        entitle acme tokens unlimited => 0/unlimited
        use acme 350                => 350/unlimited
        rule bell every:100         => bell:every:100#300x3 crossed (rule_created)
        rule soft every:100 quiet
        use acme 50                 => 400/unlimited; bell:every:100#400x1 crossed (usage); \
            soft:every:100#400x1 crossed (usage)
        ",
    );
}

#[test]
fn row_04_more_usage_above_a_crossed_line_fires_nothing() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80% left:20
        use acme 90                 => 90/100; warn:left:20 crossed (usage); \
            warn:80% crossed (usage)
        use acme 5                  => 95/100
        use acme 0                  => 95/100
        use acme 500                => 595/100
        ",
    );
}

#[test]
fn row_05_a_new_period_arms_every_line_and_resolves_nothing() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        rule warn 80% resolved
        use acme 90                 => 90/100; warn:80% crossed (usage)
        clock 2026-03-01 23:59:59
        value acme                  => 90/100
        clock 2026-03-02
        value acme                  => 0/100
        use acme 79                 => 79/100
        use acme 1                  => 80/100; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn row_05_a_burst_across_the_boundary_cannot_hide_a_crossing() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        rule warn 80%
        use acme 85                 => 85/100; warn:80% crossed (usage)
        clock 2026-03-05
        use acme 85                 => 85/100; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn row_05_a_falling_line_above_the_opening_balance_counts_as_passed() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        rule low left:100 left:500 left:99 left:20 => low:left:500 crossed (rule_created); \
            low:left:100 crossed (rule_created)
        clock 2026-03-02
        use acme 0                  => 0/100
        use acme 1                  => 1/100; low:left:99 crossed (usage)
        ",
    );
}

#[test]
fn row_05_periods_missed_are_one_reset() {
    check(
        "
        entitle acme tokens 100 hour => 0/100
        rule warn 80%
        use acme 90                 => 90/100; warn:80% crossed (usage)
        clock 2026-03-04 10:30
        use acme 10                 => 10/100
        use acme 70                 => 80/100; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn row_06_raising_the_limit_arms_what_is_no_longer_reached() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80% left:10 50 resolved
        use acme 95                 => 95/100; warn:50 crossed (usage); warn:80% crossed (usage); \
            warn:left:10 crossed (usage)
        entitle acme tokens 200     => 95/200; warn:80% resolved (limit_changed); \
            warn:left:10 resolved (limit_changed)
        ",
    );
}

#[test]
fn row_06_raising_the_limit_too_little_arms_nothing() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80% resolved
        use acme 95                 => 95/100; warn:80% crossed (usage)
        entitle acme tokens 115     => 95/115
        use acme 1                  => 96/115
        ",
    );
}

#[test]
fn row_06_no_limit_any_more_is_the_highest_limit() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80% left:10 90 resolved
        use acme 95                 => 95/100; warn:80% crossed (usage); \
            warn:left:10 crossed (usage); warn:90 crossed (usage)
        entitle acme tokens unlimited => 95/unlimited; warn:80% resolved (limit_changed); \
            warn:left:10 resolved (limit_changed)
        entitle acme tokens 100     => 95/100; warn:80% crossed (limit_changed); \
            warn:left:10 crossed (limit_changed)
        ",
    );
}

#[test]
fn row_07_a_line_that_was_armed_again_fires_again() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80%
        use acme 80                 => 80/100; warn:80% crossed (usage)
        entitle acme tokens 200     => 80/200; \
            warn:80% resolved (limit_changed) unsent: resolved_not_wanted
        use acme 79                 => 159/200
        use acme 1                  => 160/200; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn row_08_lowering_the_limit_fires_what_is_reached_now() {
    check(
        "
        entitle acme tokens 1000    => 0/1000
        rule warn 80% 100% left:10
        use acme 100                => 100/1000
        entitle acme tokens 110     => 100/110; warn:80% crossed (limit_changed); \
            warn:left:10 crossed (limit_changed)
        entitle acme tokens 105     => 100/105
        entitle acme tokens 100     => 100/100; warn:100% crossed (limit_changed)
        entitle acme tokens 50      => 100/50
        ",
    );
}

#[test]
fn row_08_a_limit_where_there_was_none() {
    check(
        "
        entitle acme tokens unlimited => 0/unlimited
        rule warn 80% left:10
        use acme 95                 => 95/unlimited
        entitle acme tokens 100     => 95/100; warn:80% crossed (limit_changed); \
            warn:left:10 crossed (limit_changed)
        ",
    );
}

#[test]
fn row_05_a_falling_line_that_a_group_opens_below_has_passed() {
    check(
        "
        meter calls sum by=model
        feature calls calls
        rule warn left:100@model left:90@model
        entitle acme calls 100 day  => 0/100
        use acme 5 of calls model=a => 5/100
        use acme 5 of calls model=a => 10/100; calls warn:left:90@a crossed (usage)
        clock 2026-03-02
        use acme 5 of calls model=a => 5/100
        use acme 5 of calls model=a => 10/100; calls warn:left:90@a crossed (usage)
        ",
    );
}
