//! Design 5.3, rows 9 to 18.
//!
//! Not here: row 11 (`time`), 14, 15 and 17 (the engine: dedupe, crashes, channels).

use super::ledger::check;

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
