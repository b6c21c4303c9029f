//! What the table of design 5.3 leaves between its rows.
//!
//! Not here: the rows themselves (`rows`), laws over any history (`laws`).

use super::ledger::{check, crossings_of_last_step};

#[test]
fn corrections_take_the_sum_below_zero_but_nothing_shows_it() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80% left:100 resolved => warn:left:100 crossed (rule_created)
        use acme -50                => 0/100
        use acme 60                 => 10/100
        use acme 120                => 130/100; warn:80% crossed (usage)
        use acme -500               => 0/100; warn:80% resolved (usage)
        use acme 449                => 79/100
        use acme 1                  => 80/100; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn a_late_event_leaves_the_present_alone() {
    check(
        "
        clock 2026-03-02
        entitle acme tokens 100 day => 0/100
        rule warn 80%
        use acme 70                 => 70/100
        use acme 500 from 2026-03-01 23:59:59 => 70/100
        clock 2026-03-03
        use acme 79                 => 79/100
        use acme 9 from 2026-03-02 12:00 => 79/100
        use acme 1 from 2026-03-02 12:00 => 79/100; warn:80% late crossed (usage)
        use acme 1 from 2026-03-03  => 80/100; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn overflow_is_uncounted_and_moves_nothing() {
    check(
        "
        entitle acme tokens unlimited => 0/unlimited
        rule warn 79228162514264337593543950335
        use acme 79228162514264337593543950330 => 79228162514264337593543950330/unlimited
        use acme 6                  => 79228162514264337593543950330/unlimited; \
            uncounted value_out_of_range
        use acme 0.5                => 79228162514264337593543950330/unlimited; \
            uncounted value_out_of_range
        use acme 1e400              => 79228162514264337593543950330/unlimited; \
            uncounted value_out_of_range
        use acme 5                  => 79228162514264337593543950335/unlimited; \
            warn:79228162514264337593543950335 crossed (usage)
        ",
    );
}

#[test]
fn what_is_no_number_is_uncounted_once_an_event() {
    check(
        "
        feature words tokens
        use acme NaN                => no value; uncounted value_not_numeric
        entitle acme tokens 100     => 0/100
        entitle acme words 50       => tokens 0/100, words 0/50
        use acme NaN                => tokens 0/100, words 0/50; uncounted value_not_numeric
        use acme many               => tokens 0/100, words 0/50; uncounted value_not_numeric
        ",
    );
}

#[test]
fn several_features_on_one_meter_each_have_their_own_lines() {
    check(
        "
        feature words tokens
        rule warn 80%
        entitle acme tokens 100     => 0/100
        use acme 30                 => 30/100
        entitle acme words 50       => tokens 30/100, words 0/50
        use acme 40                 => tokens 70/100, words 40/50; words warn:80% crossed (usage)
        use acme 10                 => tokens 80/100, words 50/50; tokens warn:80% crossed (usage)
        ",
    );
}

#[test]
fn meters_do_not_mix() {
    check(
        "
        feature images images
        rule warn 80%
        entitle acme tokens 100     => 0/100
        entitle acme images 10      => images 0/10, tokens 0/100
        use acme 8 of images        => images 8/10, tokens 0/100; images warn:80% crossed (usage)
        use acme 80                 => images 8/10, tokens 80/100; tokens warn:80% crossed (usage)
        ",
    );
}

#[test]
fn a_rule_for_some_customers_concerns_nobody_else() {
    check(
        "
        entitle acme tokens 100     => 0/100
        entitle bold tokens 100     => 0/100
        rule warn 80% customers=bold
        use acme 100                => 100/100
        use bold 100                => 100/100; bold warn:80% crossed (usage)
        ",
    );
}

#[test]
fn a_rule_deleted_while_its_line_is_passed_says_nothing() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80% resolved
        use acme 85                 => 85/100; warn:80% crossed (usage)
        unrule warn
        use acme -50                => 35/100
        use acme 60                 => 95/100
        rule warn 80%               => warn:80% crossed (rule_created)
        ",
    );
}

#[test]
fn the_usage_period_and_the_kind_of_an_entitlement_never_change() {
    check(
        "
        entitle acme tokens 100 month => 0/100
        use acme 10                 => 10/100
        entitle acme tokens 200 day => 10/200
        entitle acme tokens boolean => 10/200
        clock 2026-03-02
        use acme 10                 => 20/200
        clock 2026-04-01
        use acme 5                  => 5/200
        ",
    );
}

#[test]
fn an_entitlement_made_again_starts_anew() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn 80%
        use acme 85                 => 85/100; warn:80% crossed (usage)
        revoke acme tokens
        use acme 50                 => no value
        entitle acme tokens 100     => 0/100
        use acme 80                 => 80/100; warn:80% crossed (usage)
        ",
    );
}

#[test]
fn a_deleted_customer_counts_nothing_and_disturbs_nobody() {
    check(
        "
        entitle acme tokens 100     => 0/100
        entitle bold tokens 100     => 0/100
        rule warn 80%
        delete acme
        use acme 90                 => no value
        use bold 90                 => 90/100; bold warn:80% crossed (usage)
        rule more 85%               => bold more:85% crossed (rule_created)
        entitle cold tokens 10      => 0/10
        use cold 9                  => 9/10; cold warn:80% crossed (usage); \
            cold more:85% crossed (usage)
        ",
    );
}

#[test]
fn a_slice_cut_before_a_rule_was_made_does_not_end_its_sweep() {
    check(
        "
        entitle acme tokens 100     => 0/100
        entitle bold tokens 100     => 0/100
        use acme 50                 => 50/100
        use bold 50                 => 50/100
        lazily rule low 50%
        slice 0 1                   => acme low:50% crossed (rule_created)
        lazily rule mid 40%
        slice 1 2                   => bold mid:40% crossed (rule_created); \
            bold low:50% crossed (rule_created)
        sweep                       => acme mid:40% crossed (rule_created)
        slice 0 4000000000
        ",
    );
}

#[test]
fn a_customer_made_twice_is_one_customer() {
    check(
        "
        entitle acme tokens 100     => 0/100
        use acme 50                 => 50/100
        create acme
        entitle bold tokens 100     => 0/100
        delete acme
        create acme
        use acme 50                 => no value
        rule low left:100           => bold low:left:100 crossed (rule_created)
        ",
    );
}

#[test]
fn whatever_touches_a_customer_brings_it_up_to_date_first() {
    check(
        "
        entitle acme tokens 100     => 0/100
        entitle bold tokens 100     => 0/100
        entitle cold tokens 100     => 0/100
        entitle dear tokens 100     => 0/100
        use acme 50                 => 50/100
        use bold 50                 => 50/100
        use cold 50                 => 50/100
        use dear 50                 => 50/100
        lazily rule warn 50% 80%
        use acme 50                 => 100/100; acme warn:50% crossed (rule_created); \
            acme warn:80% crossed (usage)
        entitle bold tokens 60      => 50/60; bold warn:50% crossed (rule_created); \
            bold warn:80% crossed (limit_changed)
        revoke cold tokens          => cold warn:50% crossed (rule_created)
        delete dear                 => dear warn:50% crossed (rule_created)
        sweep
        ",
    );
}

#[test]
fn the_falling_of_a_value_by_an_edit_is_not_blamed_on_the_next_event() {
    let script = "
        entitle acme tokens 100
        rule warn 80% resolved hysteresis=20
        use acme 85
        use acme -10
        lazily rule warn 80% resolved hysteresis=0
        use acme 1";
    let crossings = crossings_of_last_step(script);
    let got: Vec<_> = crossings.iter().map(|it| (it.cause.name(), it.event)).collect();
    assert_eq!(got, [("rule_changed", None)]);
}

#[test]
fn a_crossing_carries_everything_a_notification_shows() {
    let script = "
        entitle acme tokens 1000
        rule warn 80% left:150 900
        use acme 790
        clock 2026-03-09 10:00
        use acme 72";
    let crossings = crossings_of_last_step(script);
    let text: Vec<String> = crossings
        .iter()
        .map(|it| {
            format!(
                "{} at {}: {} -> {} of {:?}, left {:?}, {}..{}, at {}, event {:?}, generation {}",
                it.line.kind.name(),
                it.level,
                it.previous_usage,
                it.value.usage,
                it.value.limit,
                it.value.balance,
                it.value.window.from,
                it.value.window.to,
                it.at,
                it.event,
                it.identity.generation,
            )
        })
        .collect();
    let window = "2026-03-01T00:00:00Z..2026-04-01T00:00:00Z, at 2026-03-09T10:00:00Z";
    let value = "790 -> 862 of Some(1000), left Some(138)";
    let rest = "event Some(0), generation 0";
    assert_eq!(
        text,
        [
            format!("usage_percentage at 800: {value}, {window}, {rest}"),
            format!("balance_value at 150: {value}, {window}, {rest}"),
        ]
    );
    for crossing in &crossings {
        let id = crossing.notification_id();
        assert_eq!(id.bits() >> 80, crossing.at.as_ms() as u128, "the id carries the stamp");
    }
}
