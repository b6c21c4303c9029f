//! Kinds of lines beyond shares and values of usage: typed lines, tiers, shares of what is left,
//! lines on groups.
//!
//! Not here: what fires when, row by row (`rows`).

use super::ledger::check;

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

#[test]
fn a_line_on_every_multiple_does_not_catch_up_when_its_rule_is_enabled() {
    check(
        "
        entitle acme tokens 100     => 0/100
        rule warn every:10 disabled
        use acme 35                 => 35/100; \
            warn:every:10#30x3 crossed (usage) unsent: rule_disabled
        rule warn every:10
        use acme 10                 => 45/100; warn:every:10#40x1 crossed (usage)
        ",
    );
}
