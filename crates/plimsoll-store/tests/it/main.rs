//! One suite of behaviours, run over SQLite, PostgreSQL and memory, and what only one of them can
//! show.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, also in what its functions share, and skips loudly"
)]

mod archive;
mod backup;
mod dedupe;
mod deliveries;
mod durability;
mod faults;
mod on_postgres;
mod on_sqlite;
mod primitive;
mod pruning;
mod sample;
mod tables;
mod usage;
mod world;

/// Makes a test of the store in memory out of each behaviour.
macro_rules! contract_in_memory {
    ($($module:ident::$behaviour:ident,)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $behaviour() {
                crate::$module::$behaviour(&crate::world::World::memory()).await;
            })*
        }
    };
}

/// Makes a test of each backend out of each behaviour.
macro_rules! contract {
    ($($module:ident::$behaviour:ident,)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                crate::$module::$behaviour(&crate::world::World::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                let Some(world) = crate::world::World::postgres().await else { return };
                crate::$module::$behaviour(&world).await;
            })*
        }
    };
}

contract! {
    primitive::values_come_back_as_they_were,
    primitive::a_batch_is_all_or_nothing,
    primitive::a_guard_refuses_its_batch_and_says_what_it_found,
    primitive::a_unique_value_refuses_by_the_statement_s_name,
    primitive::rows_affected_are_counted,
    primitive::what_is_not_valid_is_refused_as_such,
    primitive::a_refused_batch_harms_no_other,
    primitive::a_commit_is_seen_by_every_later_query,
    primitive::control_changes_are_numbered_without_gaps,
    primitive::a_closed_store_answers_unavailable,
    tables::meta_is_said_once_or_replaced,
    tables::the_log_is_fenced_and_read_in_pages,
    usage::usage_is_read_by_stamp_from_either_end,
    usage::uncounted_events_are_found_beside_their_log_rows,
    tables::checkpoints_replace_slices,
    tables::control_changes_are_read_in_order,
    tables::an_append_behind_the_control_head_is_refused,
    tables::resources_live_by_version_and_key,
    tables::resources_are_listed_in_pages,
    tables::the_parts_of_parts_are_deleted_with_the_whole,
    tables::a_resource_that_is_named_is_not_deleted,
    tables::subjects_belong_to_one_customer,
    tables::answers_are_kept_by_idempotency_key,
    tables::the_audit_trail_is_listed_newest_first,
    dedupe::segments_come_and_go,
    dedupe::a_number_is_used_once,
    dedupe::pieces_are_found_by_place_and_read_in_order,
    dedupe::segments_of_the_first_schema_are_still_read,
    archive::closed_windows_are_found_by_a_moment_in_them,
    archive::closed_cells_are_read_by_customer,
    archive::totals_are_read_by_time,
    archive::segments_are_listed_by_time,
    archive::the_log_is_read_from_a_time_on,
    pruning::a_base_counts_once_it_has_its_head,
    pruning::a_mark_keeps_its_first_time,
    pruning::everything_is_read_once_in_order,
    pruning::notifications_are_read_without_their_bodies,
    deliveries::an_identity_is_notified_once,
    deliveries::notifications_are_listed_by_every_filter,
    deliveries::what_is_due_comes_in_order,
    deliveries::results_of_many_attempts_are_one_batch,
    deliveries::a_final_delivery_is_changed_only_by_success,
    deliveries::a_disabled_channel_fails_what_is_open,
    deliveries::a_delivery_is_numbered_once_a_channel,
    durability::what_was_committed_is_there_after_reopening,
    durability::a_newer_store_is_refused,
    durability::an_altered_migration_is_refused,
    durability::a_half_restored_store_is_refused,
    backup::a_backup_is_consistent_while_commits_go_on,
    backup::a_backup_never_overwrites,
    backup::a_damaged_backup_restores_nothing,
    backup::only_an_empty_store_is_restored_into,
    backup::every_table_is_restored,
}

// Whatever is neither a file nor a second opening.
contract_in_memory! {
    primitive::values_come_back_as_they_were,
    primitive::a_batch_is_all_or_nothing,
    primitive::a_guard_refuses_its_batch_and_says_what_it_found,
    primitive::a_unique_value_refuses_by_the_statement_s_name,
    primitive::rows_affected_are_counted,
    primitive::what_is_not_valid_is_refused_as_such,
    primitive::a_refused_batch_harms_no_other,
    primitive::a_commit_is_seen_by_every_later_query,
    primitive::control_changes_are_numbered_without_gaps,
    tables::meta_is_said_once_or_replaced,
    tables::the_log_is_fenced_and_read_in_pages,
    tables::checkpoints_replace_slices,
    tables::control_changes_are_read_in_order,
    tables::an_append_behind_the_control_head_is_refused,
    tables::resources_live_by_version_and_key,
    tables::resources_are_listed_in_pages,
    tables::a_resource_that_is_named_is_not_deleted,
    tables::subjects_belong_to_one_customer,
    tables::answers_are_kept_by_idempotency_key,
    tables::the_audit_trail_is_listed_newest_first,
    deliveries::an_identity_is_notified_once,
    deliveries::notifications_are_listed_by_every_filter,
    deliveries::what_is_due_comes_in_order,
    deliveries::results_of_many_attempts_are_one_batch,
    deliveries::a_final_delivery_is_changed_only_by_success,
    deliveries::a_disabled_channel_fails_what_is_open,
    deliveries::a_delivery_is_numbered_once_a_channel,
}
