//! What usage is, for each aggregation that entitlements can be limited by.
//!
//! Not here: aggregations for queries alone, and merging (`metering::accumulator`).

use super::ledger::check;

#[test]
fn count_counts_events_whatever_they_hold() {
    check(
        "
        meter calls count
        feature calls calls
        rule warn 100%
        entitle acme calls 2        => 0/2
        use acme many of calls      => 1/2
        use acme -5 of calls        => 2/2; calls warn:100% crossed (usage)
        ",
    );
}

#[test]
fn a_multiplied_sum() {
    check(
        "
        meter cost sum*0.5
        feature cost cost
        entitle acme cost 10        => 0/10
        use acme 3 of cost          => 1.5/10
        use acme -1 of cost         => 1/10
        ",
    );
}

#[test]
fn max_is_the_greatest_value_of_the_window() {
    check(
        "
        meter peak max
        feature peak peak
        rule warn 80%
        entitle acme peak 100 day   => 0/100
        use acme -7 of peak         => 0/100
        use acme 70 of peak         => 70/100
        use acme 80 of peak         => 80/100; peak warn:80% crossed (usage)
        use acme 20 of peak         => 80/100
        clock 2026-03-02
        use acme 20 of peak         => 20/100
        ",
    );
}

#[test]
fn latest_is_the_value_with_the_latest_time_and_may_fall() {
    check(
        "
        meter seats latest
        feature seats seats
        rule warn 80% resolved
        clock 2026-03-01 12:00
        entitle acme seats 100      => 0/100
        use acme 85 of seats        => 85/100; seats warn:80% crossed (usage)
        use acme 10 of seats from 2026-03-01 11:00 => 85/100
        use acme 10 of seats        => 10/100; seats warn:80% resolved (usage)
        ",
    );
}

#[test]
fn unique_counts_different_values() {
    check(
        "
        meter users unique
        feature users users
        rule warn 2
        entitle acme users 10 day   => 0/10
        use acme ann of users       => 1/10
        use acme ann of users       => 1/10
        use acme bob of users       => 2/10; users warn:2 crossed (usage)
        clock 2026-03-02
        use acme ann of users       => 1/10
        ",
    );
}

#[test]
fn bucketed_max_sums_the_greatest_of_each_bucket() {
    check(
        "
        meter peaks max/hour
        feature peaks peaks
        entitle acme peaks 100 day  => 0/100
        use acme 5 of peaks         => 5/100
        use acme 3 of peaks         => 5/100
        clock 2026-03-01 01:30
        use acme 4 of peaks         => 9/100
        use acme 7 of peaks from 2026-03-01 00:10 => 11/100
        use acme 2 of peaks         => 11/100
        ",
    );
}

#[test]
fn bucketed_sum_is_the_sum() {
    check(
        "
        meter parts sum/hour
        feature parts parts
        entitle acme parts 100 day  => 0/100
        use acme 5 of parts         => 5/100
        clock 2026-03-01 01:30
        use acme 4 of parts         => 9/100
        ",
    );
}

#[test]
fn a_group_value_too_many_moves_nothing() {
    let mut script = String::from(
        "
        meter calls sum by=model
        feature calls calls
        entitle acme calls 5000     => 0/5000
        ",
    );
    for number in 1..=1_000 {
        script.push_str(&format!("use acme 1 of calls model=m{number} => {number}/5000\n"));
    }
    script.push_str("use acme 1 of calls model=more => 1000/5000; uncounted group_limit\n");
    script.push_str("use acme 1 of calls model=m7 => 1001/5000\n");
    script.push_str("use acme 1 of calls => 1002/5000\n");
    super::ledger::check_once(&script);
}
