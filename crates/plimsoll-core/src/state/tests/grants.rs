//! Grants on entitlements: the order in which they burn, what becomes of them with time, and what
//! that does to lines. Each case reads like the row of the table that it stands for.
//!
//! Not here: lines without grants (`rows`).

use super::ledger::check;

#[test]
fn usage_beyond_everything_is_overage() {
    check(
        "
        entitle acme tokens 0       => 0/0
        grant acme tokens g 50      => 0/50
        use acme 80                 => 80/50
        grants acme tokens          => g 0
        ",
    );
}

#[test]
fn a_lower_priority_number_burns_first() {
    check(
        "
        entitle acme tokens 0 limit-priority=9 => 0/0
        grant acme tokens late 100 priority=2  => 0/100
        grant acme tokens soon 100 priority=1  => 0/200
        use acme 120                => 120/200
        grants acme tokens          => soon 0, late 80
        ",
    );
}

#[test]
fn of_one_priority_the_earlier_expiry_burns_first() {
    check(
        "
        entitle acme tokens 0       => 0/0
        grant acme tokens long 100 until=2026-03-30  => 0/100
        grant acme tokens short 100 until=2026-03-29 => 0/200
        grant acme tokens never 100 => 0/300
        use acme 120                => 120/300
        grants acme tokens          => short 0, long 80, never 100
        ",
    );
}

#[test]
fn of_one_expiry_the_older_burns_first() {
    check(
        "
        entitle acme tokens 0       => 0/0
        grant acme tokens first 100 => 0/100
        clock 2026-03-01 00:00:01
        grant acme tokens second 100 => 0/200
        use acme 120                => 120/200
        grants acme tokens          => first 0, second 80
        ",
    );
}

#[test]
fn the_limit_burns_at_its_own_priority() {
    check(
        "
        entitle acme tokens 100     => 0/100
        grant acme tokens before 10 priority=0 => 0/110
        grant acme tokens after 10 priority=2  => 0/120
        use acme 60                 => 60/120
        grants acme tokens          => before 0, after 10
        use acme 55                 => 115/120
        grants acme tokens          => before 0, after 5
        ",
    );
}

#[test]
fn grants_add_to_the_hard_limit_and_where_there_is_none_to_the_soft_one() {
    check(
        "
        rule warn soft:100 100%
        entitle acme tokens 100/50  => 0/100
        grant acme tokens g 20      => 0/120
        use acme 50                 => 50/120; warn:soft:100 crossed (usage)
        use acme 70                 => 120/120; warn:100% crossed (usage)
        ",
    );
    check(
        "
        rule warn soft:100
        entitle acme tokens -/50    => 0/50
        grant acme tokens g 20      => 0/70
        use acme 69                 => 69/70
        use acme 1                  => 70/70; warn:soft:100 crossed (usage)
        ",
    );
}

#[test]
fn a_grant_that_begins_later_waits() {
    check(
        "
        entitle acme tokens 10      => 0/10
        grant acme tokens g 100 from=2026-03-05 => 0/10
        use acme 30                 => 30/10
        grants acme tokens          => g 0 waits
        clock 2026-03-05
        pulse
        grants acme tokens          => g 80
        value acme                  => 30/110
        ",
    );
}

#[test]
fn what_becomes_available_absorbs_overage() {
    check(
        "
        entitle acme tokens 0       => 0/0
        use acme 25                 => 25/0
        grant acme tokens g 100     => 25/100
        use acme 25                 => 50/100
        grants acme tokens          => g 50
        ",
    );
}

#[test]
fn a_recurring_grant_is_set_back_to_its_amount() {
    check(
        "
        entitle acme tokens 0       => 0/0
        grant acme tokens g 100 every=day => 0/100
        use acme 120                => 120/100
        clock 2026-03-02 01:00
        grants acme tokens          => g 80
        value acme                  => 120/200
        use acme 30                 => 150/200
        clock 2026-03-03
        grants acme tokens          => g 100
        ",
    );
}

#[test]
fn a_reset_rolls_over_between_the_least_and_the_most() {
    check(
        "
        entitle acme tokens 0 day   => 0/0
        grant acme tokens most 100 rollover=0..50  => 0/100
        grant acme tokens least 30 rollover=10..30 => 0/130
        grant acme tokens all 5     => 0/135
        use acme 125                => 125/135
        grants acme tokens          => most 0, least 5, all 5
        clock 2026-03-02
        grants acme tokens          => most 0, least 10, all 5
        clock 2026-03-03
        use acme 1                  => 1/15
        ",
    );
    check(
        "
        entitle acme tokens 0 day   => 0/0
        grant acme tokens g 100 rollover=0..50 => 0/100
        use acme 10                 => 10/100
        clock 2026-03-02
        value acme                  => 0/50
        grants acme tokens          => g 50
        ",
    );
}

#[test]
fn reset_and_recurrence_of_one_moment_leave_the_whole_amount() {
    check(
        "
        entitle acme tokens 0 day   => 0/0
        grant acme tokens g 100 every=day rollover=0..20 => 0/100
        use acme 10                 => 10/100
        clock 2026-03-02
        grants acme tokens          => g 100
        ",
    );
}

#[test]
fn overage_is_dropped_at_reset_unless_it_is_preserved() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        use acme 110                => 110/100
        clock 2026-03-02
        value acme                  => 0/100
        ",
    );
    check(
        "
        entitle acme tokens 0 day preserve => 0/0
        grant acme tokens g 100 rollover=50..50 => 0/100
        use acme 110                => 110/100
        clock 2026-03-02
        value acme                  => 10/50
        grants acme tokens          => g 40
        ",
    );
}

#[test]
fn preserved_overage_wears_off_over_several_windows() {
    check(
        "
        show resets
        entitle acme tokens 100 day preserve => 0/100
        use acme 350                => 350/100
        clock 2026-03-03
        pulse                       => reset 350/100 to 150/100 skipped 1 (period)
        clock 2026-03-04
        pulse                       => reset 150/100 to 50/100 (period)
        clock 2026-03-05
        pulse                       => reset 50/100 to 0/100 (period)
        ",
    );
}

#[test]
fn carried_usage_fires_the_lines_that_it_is_past() {
    check(
        "
        entitle acme tokens 100 day preserve => 0/100
        rule warn 50% 80% left:200  => warn:left:200 crossed (rule_created)
        use acme 160                => 160/100; warn:50% crossed (usage); warn:80% crossed (usage)
        clock 2026-03-02
        pulse                       => warn:50% crossed (reset)
        use acme 30                 => 90/100; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn row_08_a_grant_that_expires_fires_what_the_value_is_past_now() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80%
        grant acme tokens g 100 priority=5 until=2026-03-10 => 0/200
        use acme 90                 => 90/200
        clock 2026-03-10
        pulse                       => warn:80% crossed (grant_expired)
        value acme                  => 90/100
        ",
    );
}

#[test]
fn what_an_expired_grant_covered_stays_covered() {
    check(
        "
        entitle acme tokens 100     => 0/100
        grant acme tokens g 50 until=2026-03-10 => 0/150
        use acme 60                 => 60/150
        clock 2026-03-10
        value acme                  => 60/150
        use acme 90                 => 150/150
        ",
    );
}

#[test]
fn row_08_voiding_a_grant_now_or_later() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80%
        grant acme tokens now 100 priority=5   => 0/200
        grant acme tokens later 100 priority=6 => 0/300
        use acme 90                 => 90/300
        void acme tokens now        => 90/200
        void acme tokens later 2026-03-03 => 90/200
        grants acme tokens          => later 100
        clock 2026-03-03
        pulse                       => warn:80% crossed (grant_voided)
        void acme tokens later      => 90/100
        ",
    );
}

#[test]
fn row_06_a_grant_arms_what_is_no_longer_reached() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80% left:10% resolved
        use acme 95                 => 95/100; warn:80% crossed (usage); \
            warn:left:10% crossed (usage)
        grant acme tokens g 100     => 95/200; warn:80% resolved (grant_active); \
            warn:left:10% resolved (grant_active)
        use acme 65                 => 160/200; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn corrections_give_back_what_was_burned_last() {
    check(
        "
        entitle acme tokens 0 limit-priority=9 => 0/0
        grant acme tokens one 50 priority=1 => 0/50
        grant acme tokens two 50 priority=2 => 0/100
        use acme 120                => 120/100
        use acme -30                => 90/100
        grants acme tokens          => one 0, two 10
        use acme -50                => 40/100
        grants acme tokens          => one 10, two 50
        use acme -100               => 0/100
        grants acme tokens          => one 50, two 50
        ",
    );
}

#[test]
fn a_correction_of_what_an_expired_grant_covered_moves_the_limit() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 100 90%
        grant acme tokens g 100 until=2026-03-10 => 0/200
        use acme 100                => 100/200; warn:100 crossed (usage)
        clock 2026-03-10
        value acme                  => 100/200
        use acme -40                => 60/160; warn:100 resolved (usage) \
            unsent: resolved_not_wanted
        use acme 84                 => 144/160; warn:100 crossed (usage); warn:90% crossed (usage)
        ",
    );
}

#[test]
fn grants_of_an_unlimited_entitlement_limit_nothing() {
    check(
        "
        entitle acme tokens unlimited => 0/unlimited
        grant acme tokens g 100     => 0/unlimited
        use acme 150                => 150/unlimited
        grants acme tokens          => g 0
        ",
    );
}

#[test]
fn latest_is_not_accumulated() {
    check(
        "
        meter seats latest
        feature seats seats
        entitle acme seats 0        => 0/0
        grant acme seats g 100      => 0/100
        use acme 15 of seats        => 15/100
        use acme 30 of seats        => 30/100
        use acme 10 of seats        => 10/100
        grants acme seats           => g 90
        ",
    );
}

#[test]
fn the_limit_of_a_period_is_whole_again_and_later_limits_come_in_time() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        grant acme tokens g 10 priority=5 => 0/110
        use acme 105                => 105/110
        limit acme tokens 50 2026-03-01 12:00 => 105/110
        clock 2026-03-01 12:00
        pulse
        value acme                  => 105/60
        clock 2026-03-02
        pulse
        value acme                  => 0/50
        ",
    );
}

#[test]
fn segments_end_where_something_happens_to_a_grant() {
    check(
        "
        entitle acme tokens 0       => 0/0
        grant acme tokens g 100 until=2026-03-03 => 0/100
        clock 2026-03-02
        use acme 50                 => 50/100
        clock 2026-03-03
        pulse
        segments acme tokens        => 50/0
        use acme 50                 => 100/50
        clock 2026-04-01
        pulse
        segments acme tokens        => 50/0, 50/50
        ",
    );
}

#[test]
fn what_absorbed_overage_was_burned() {
    check(
        "
        entitle acme tokens 10      => 0/10
        use acme 30                 => 30/10
        clock 2026-03-02
        grant acme tokens g 100 priority=5 => 30/110
        use acme 30                 => 60/110
        clock 2026-03-03
        void acme tokens g          => 60/60
        burned acme tokens          => g 50
        ",
    );
}

#[test]
fn what_burned_at_the_moment_at_which_a_segment_began_is_not_lost() {
    check(
        "
        entitle acme tokens 0       => 0/0
        grant acme tokens g 100     => 0/100
        use acme 50                 => 50/100
        void acme tokens g          => 50/50
        grant acme tokens h 10      => 50/60
        clock 2026-03-02
        void acme tokens h          => 50/50
        segments acme tokens        => 50/0
        burned acme tokens          => g 50
        ",
    );
}

#[test]
fn the_priority_of_the_limit_changes_with_the_terms() {
    check(
        "
        entitle acme tokens 10 limit-priority=9 => 0/10
        grant acme tokens g 10 priority=5 => 0/20
        entitle acme tokens 10 limit-priority=1 => 0/20
        use acme 10                 => 10/20
        grants acme tokens          => g 10
        ",
    );
}

#[test]
fn a_grant_that_expires_with_a_window_ends_in_it_however_late_that_is_seen() {
    for pulse in ["", "clock 2026-03-01 11:30\n pulse\n"] {
        let script = "
            entitle acme tokens 5 hour => 0/5
            grant acme tokens g 10 until=2026-03-01_12:00 => 0/15
            rule warn left:10
            PULSE
            clock 2026-03-01 12:30
            pulse                   => warn:left:10 crossed (grant_expired)
            closed acme tokens      => 0/5 from 2026-03-01T11:00:00Z
            ";
        check(&script.replace("PULSE", pulse));
    }
}
