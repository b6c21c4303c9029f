//! Design 5.3, row by row.
//!
//! Not here: rows 11 and the resets of 5 (`time`), grants of 6 and 8 (`grants`), 14, 15 and 17 (the
//! engine: dedupe, crashes, channels).

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
fn row_09_a_rule_made() {
    check(
        "
        entitle acme tokens 100     => 0/100
        use acme 85                 => 85/100
        rule warn 80% 90% left:15   => warn:80% crossed (rule_created); \
            warn:left:15 crossed (rule_created)
        use acme 1                  => 86/100
        use acme 4                  => 90/100; warn:90% crossed (usage)
        ",
    );
}

#[test]
fn row_09_a_rule_made_on_a_customer_whose_period_ended_unnoticed() {
    check(
        "
        entitle acme tokens 100 day => 0/100
        use acme 85                 => 85/100
        clock 2026-03-02
        rule warn 80% left:100      => warn:left:100 crossed (rule_created)
        ",
    );
}

#[test]
fn row_09_a_rule_enabled() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80% disabled
        use acme 85                 => 85/100; warn:80% crossed (usage) unsent: rule_disabled
        rule warn 80%               => warn:80% crossed (rule_enabled)
        rule warn 80% disabled
        rule warn 80%
        ",
    );
}

#[test]
fn row_09_a_line_added() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 50%
        use acme 85                 => 85/100; warn:50% crossed (usage)
        rule warn 50% 80%           => warn:80% crossed (line_added)
        ",
    );
}

#[test]
fn row_09_a_line_changed_is_a_new_line() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80%
        use acme 85                 => 85/100; warn:80% crossed (usage)
        rule warn 82%               => warn:82% crossed (line_added)
        ",
    );
}

#[test]
fn row_09_a_line_added_again_is_new() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 50% 80%
        use acme 85                 => 85/100; warn:50% crossed (usage); warn:80% crossed (usage)
        rule warn 50%
        rule warn 50% 80%           => warn:80% crossed (line_added)
        ",
    );
}

#[test]
fn row_09_a_scope_widened_by_a_customer() {
    check(
        "
        entitle acme tokens 100     => 0/100
        entitle bold tokens 100     => 0/100
        rule warn 80% customers=acme
        use acme 85                 => 85/100; acme warn:80% crossed (usage)
        use bold 85                 => 85/100
        rule warn 80% customers=acme,bold => bold warn:80% crossed (scope_changed)
        rule warn 80%
        ",
    );
}

#[test]
fn row_09_a_scope_entered_again_is_a_new_chance() {
    check(
        "
        entitle acme tokens 100     => 0/100
        entitle bold tokens 100     => 0/100
        rule warn 80%
        use acme 85                 => 85/100; acme warn:80% crossed (usage)
        rule warn 80% customers=bold
        use acme 1                  => 86/100
        rule warn 80%               => acme warn:80% crossed (scope_changed)
        ",
    );
}

#[test]
fn row_09_a_scope_widened_by_a_feature() {
    check(
        "
        feature images images
        entitle acme tokens 100     => 0/100
        entitle acme images 10      => images 0/10, tokens 0/100
        rule warn 80% features=tokens
        use acme 9 of images        => images 9/10, tokens 0/100
        use acme 90                 => images 9/10, tokens 90/100; \
            tokens warn:80% crossed (usage)
        rule warn 80% features=tokens,images => images warn:80% crossed (scope_changed)
        rule warn 80% features=images
        rule warn 80%               => tokens warn:80% crossed (scope_changed)
        ",
    );
}

#[test]
fn row_09_an_entitlement_made() {
    check(
        "
        rule low left:50 left:10 80%
        entitle acme tokens 40      => 0/40; low:left:50 crossed (entitlement_created)
        use acme 30                 => 30/40; low:left:10 crossed (usage)
        ",
    );
}

#[test]
fn row_09_evaluate_on_create_false_counts_as_passed() {
    check(
        "
        entitle acme tokens 100     => 0/100
        use acme 85                 => 85/100
        rule made 80% 90% quiet
        rule made 80% 82% 90% quiet
        use acme 5                  => 90/100; made:90% crossed (usage)
        use acme -50                => 40/100; \
            made:90% resolved (usage) unsent: resolved_not_wanted
        use acme 45                 => 85/100; made:80% crossed (usage); made:82% crossed (usage)
        ",
    );
}

#[test]
fn row_09_evaluate_on_create_false_for_what_is_enabled_entered_or_entitled() {
    check(
        "
        entitle acme tokens 100     => 0/100
        entitle bold tokens 100     => 0/100
        use acme 85                 => 85/100
        rule off 80% quiet disabled
        rule off 80% quiet
        rule some 80% quiet customers=bold
        rule some 80% quiet
        rule low left:100 quiet
        entitle cold tokens 100     => 0/100
        use acme 1                  => 86/100
        use bold 1                  => 1/100
        use cold 1                  => 1/100
        ",
    );
}

#[test]
fn row_09_an_edit_leaves_other_lines_alone() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 50% 80%
        use acme 85                 => 85/100; warn:50% crossed (usage); warn:80% crossed (usage)
        rule warn 50% 80% 95%
        rule warn 80% 95%
        rule warn 80% 95% highest resolved
        rule warn 80% 95% features=tokens
        rule warn 80% 95% customers=acme
        rule warn 80% 95%
        rule other 99%
        use acme 10                 => 95/100; warn:95% crossed (usage)
        ",
    );
}

#[test]
fn row_10_a_value_that_falls_below_the_level_arms_the_line() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80% resolved
        use acme 80                 => 80/100; warn:80% crossed (usage)
        use acme -0.01              => 79.99/100; warn:80% resolved (usage)
        use acme 0.01               => 80/100; warn:80% crossed (usage)
        use acme -1                 => 79/100; warn:80% resolved (usage)
        ",
    );
}

#[test]
fn row_10_hysteresis_of_a_percentage_is_in_percent() {
    check(
        "
        entitle acme tokens 1000    => 0/1000
        rule warn 80% resolved hysteresis=5
        use acme 800                => 800/1000; warn:80% crossed (usage)
        use acme -50                => 750/1000
        use acme 60                 => 810/1000
        use acme -61                => 749/1000; warn:80% resolved (usage)
        use acme 51                 => 800/1000; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn row_10_hysteresis_of_a_value_is_in_its_unit() {
    check(
        "
        entitle acme tokens 1000    => 0/1000
        rule warn 800 resolved hysteresis=5
        use acme 800                => 800/1000; warn:800 crossed (usage)
        use acme -5                 => 795/1000
        use acme -1                 => 794/1000; warn:800 resolved (usage)
        ",
    );
}

#[test]
fn row_10_hysteresis_is_mirrored_for_a_falling_line() {
    check(
        "
        entitle acme tokens 1000    => 0/1000
        rule low left:200 resolved hysteresis=5
        use acme 800                => 800/1000; low:left:200 crossed (usage)
        use acme -5                 => 795/1000
        use acme -0.5               => 794.5/1000; low:left:200 resolved (usage)
        use acme 5                  => 799.5/1000
        use acme 0.5                => 800/1000; low:left:200 crossed (usage)
        ",
    );
}

#[test]
fn row_10_a_smaller_hysteresis_leaves_the_line() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80% resolved hysteresis=20
        use acme 80                 => 80/100; warn:80% crossed (usage)
        use acme -10                => 70/100
        rule warn 80% resolved hysteresis=5 => warn:80% resolved (rule_changed)
        use acme 10                 => 80/100; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn row_10_resolved_is_recorded_even_if_nobody_wants_it() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80%
        use acme 80                 => 80/100; warn:80% crossed (usage)
        use acme -1                 => 79/100; \
            warn:80% resolved (usage) unsent: resolved_not_wanted
        rule warn 80% disabled
        use acme 1                  => 80/100; warn:80% crossed (usage) unsent: rule_disabled
        use acme -1                 => 79/100; warn:80% resolved (usage) unsent: rule_disabled
        ",
    );
}

#[test]
fn row_12_without_a_limit_only_usage_has_lines() {
    check(
        "
        entitle acme tokens unlimited => 0/unlimited
        rule warn 80% left:10 limit:100 50 resolved
        use acme 49                 => 49/unlimited
        use acme 1                  => 50/unlimited; warn:50 crossed (usage)
        use acme 1000000            => 1000050/unlimited
        ",
    );
}

#[test]
fn row_13_a_limit_of_zero_is_reached_by_the_first_usage() {
    check(
        "
        rule warn 80% limit:100
        entitle acme tokens 0 day   => 0/0
        use acme 0                  => 0/0
        use acme 0.01               => 0.01/0; warn:80% crossed (usage); \
            warn:limit:100 crossed (usage)
        use acme 1                  => 1.01/0
        clock 2026-03-02
        use acme 0                  => 0/0
        use acme 1                  => 1/0; warn:80% crossed (usage); \
            warn:limit:100 crossed (usage)
        ",
    );
}

#[test]
fn row_13_a_limit_of_zero_is_left_at_zero() {
    check(
        "
        rule warn 80% resolved hysteresis=10
        entitle acme tokens 0       => 0/0
        use acme 5                  => 5/0; warn:80% crossed (usage)
        use acme -4.5               => 0.5/0
        use acme -0.5               => 0/0; warn:80% resolved (usage)
        use acme 1                  => 1/0; warn:80% crossed (usage)
        entitle acme tokens 100     => 1/100; warn:80% resolved (limit_changed)
        entitle acme tokens 0       => 1/0; warn:80% crossed (limit_changed)
        ",
    );
}

#[test]
fn row_13_a_limit_lowered_to_zero_before_any_usage() {
    check(
        "
        rule warn 80% left:0
        entitle acme tokens 100     => 0/100
        entitle acme tokens 0       => 0/0; warn:left:0 crossed (limit_changed)
        use acme 1                  => 1/0; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn row_16_a_disabled_rule_records_and_does_not_send() {
    check(
        "
        entitle acme tokens 100     => 0/100
        use acme 50                 => 50/100
        rule warn 50% 80% 90% disabled => \
            warn:50% crossed (rule_created) unsent: rule_disabled
        use acme 30                 => 80/100; warn:80% crossed (usage) unsent: rule_disabled
        use acme 1                  => 81/100
        rule warn 50% 80% 90%       => warn:50% crossed (rule_enabled); \
            warn:80% crossed (rule_enabled)
        ",
    );
}

#[test]
fn row_16_notified_before_a_disable_and_enable_is_not_said_again() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80% 90%
        use acme 80                 => 80/100; warn:80% crossed (usage)
        rule warn 80% 90% disabled
        use acme 15                 => 95/100; warn:90% crossed (usage) unsent: rule_disabled
        rule warn 80% 90%           => warn:90% crossed (rule_enabled)
        ",
    );
}

#[test]
fn row_16_enabled_and_edited_before_anybody_looked_still_fires() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80% disabled
        use acme 80                 => 80/100; warn:80% crossed (usage) unsent: rule_disabled
        lazily rule warn 80%
        lazily rule warn 80% customers=acme
        sweep                       => warn:80% crossed (rule_enabled)
        ",
    );
}

#[test]
fn row_18_a_boolean_entitlement_has_no_lines() {
    check(
        "
        feature sso boolean
        rule warn 1% left:5 1
        entitle acme sso boolean    => no value
        use acme 5                  => no value
        ",
    );
}

#[test]
fn typed_lines_stand_on_hard_soft_and_tier_limits() {
    check(
        "
        entitle acme tokens 1000/500tiers:100,200,400 => 0/1000
        rule near limit:80
        rule full limit:100
        rule soon soft:80
        rule soft soft:100
        rule tiers tier:75
        rule tier tier:100
        use acme 74                 => 74/1000
        use acme 1                  => 75/1000; tiers:tier:75#100 crossed (usage)
        use acme 25                 => 100/1000; tier:tier:100#100 crossed (usage)
        use acme 99                 => 199/1000; tiers:tier:75#200 crossed (usage)
        use acme 201                => 400/1000; tier:tier:100#200 crossed (usage); \
            tiers:tier:75#400 crossed (usage); soon:soft:80 crossed (usage); \
            tier:tier:100#400 crossed (usage)
        use acme 400                => 800/1000; soft:soft:100 crossed (usage); \
            near:limit:80 crossed (usage)
        use acme 200                => 1000/1000; full:limit:100 crossed (usage)
        ",
    );
}

#[test]
fn a_tier_warns_at_its_lower_bound_where_that_is_higher() {
    check(
        "
        entitle acme tokens unlimitedtiers:90,100 => 0/unlimited
        rule warn tier:75
        use acme 89                 => 89/unlimited; warn:tier:75#90 crossed (usage)
        use acme 1                  => 90/unlimited; warn:tier:75#100 crossed (usage)
        ",
    );
}

#[test]
fn tiers_that_change_arm_and_fire_like_limits() {
    check(
        "
        entitle acme tokens unlimitedtiers:100,200 => 0/unlimited
        rule tier tier:100 resolved
        use acme 150                => 150/unlimited; tier:tier:100#100 crossed (usage)
        limit acme tokens unlimitedtiers:120,200 => 150/unlimited; \
            tier:tier:100#100 resolved (limit_changed); tier:tier:100#120 crossed (limit_changed)
        limit acme tokens unlimitedtiers:120,150 => 150/unlimited; \
            tier:tier:100#150 crossed (limit_changed)
        ",
    );
}

#[test]
fn a_balance_line_may_be_a_share_of_the_limit() {
    check(
        "
        entitle acme tokens 200     => 0/200
        rule low left:10% left:0%
        use acme 179                => 179/200
        use acme 1                  => 180/200; low:left:10% crossed (usage)
        use acme 20                 => 200/200; low:left:0% crossed (usage)
        ",
    );
}

#[test]
fn row_13_typed_and_balance_shares_wait_for_the_first_usage() {
    check(
        "
        entitle acme tokens 0/0     => 0/0
        rule all limit:80 soft:80 left:10% 50%
        use acme 0                  => 0/0
        use acme 0.01               => 0.01/0; all:limit:80 crossed (usage); \
            all:soft:80 crossed (usage); all:left:10% crossed (usage); all:50% crossed (usage)
        ",
    );
}

#[test]
fn lines_on_groups_watch_the_usage_of_each_value_or_of_one() {
    check(
        "
        meter calls sum by=model,region
        feature calls calls
        entitle acme calls 100      => 0/100
        rule one 50@model:gpt
        rule each 40@model 25%@region
        use acme 30 of calls model=gpt region=eu => 30/100; calls each:25%@eu crossed (usage)
        use acme 30 of calls model=mini => 60/100
        use acme 10 of calls model=gpt => 70/100; calls each:40@gpt crossed (usage)
        use acme 10 of calls model=gpt region=us => 80/100; calls one:50@gpt crossed (usage)
        use acme 10 of calls model=mini region=us => 90/100; calls each:40@mini crossed (usage)
        use acme 5 of calls region=us => 95/100; calls each:25%@us crossed (usage)
        ",
    );
}

#[test]
fn lines_on_groups_follow_the_rows_too() {
    check(
        "
        meter calls sum by=model
        feature calls calls
        entitle acme calls 100 day  => 0/100
        use acme 60 of calls model=gpt => 60/100
        rule each 50%@model resolved => calls each:50%@gpt crossed (rule_created)
        entitle acme calls 200      => 60/200; calls each:50%@gpt resolved (limit_changed)
        use acme 40 of calls model=gpt => 100/200; calls each:50%@gpt crossed (usage)
        clock 2026-03-02
        use acme 100 of calls model=gpt => 100/200; calls each:50%@gpt crossed (usage)
        use acme 5 of calls model=gpt from 2026-03-01 12:00 => 100/200
        use acme 100 of calls model=mini from 2026-03-01 12:00 => 100/200; \
            calls each:50%@mini late crossed (usage)
        ",
    );
}
