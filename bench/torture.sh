#!/bin/sh
# Kills the real program 1,000 times under load and checks it against a ledger outside of it:
#
#     bench/torture.sh              1,000 rounds on SQLite
#     bench/torture.sh 200          200 rounds on SQLite
#     bench/torture.sh 200 postgres on PostgreSQL, where PLIMSOLL_TEST_POSTGRES_URL says
#
# Round for round the same as `cargo test -p plimsoll --test it torture`, which does a few.
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-1000}
backend=${2:-sqlite}
PLIMSOLL_TORTURE_ROUNDS=$rounds exec cargo test --release -p plimsoll --test it -- \
    --exact --nocapture "torture::killed_again_and_again_on_$backend"
