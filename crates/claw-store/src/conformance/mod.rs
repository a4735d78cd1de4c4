//! The conformance suite: what every engine must hold, as a library that any engine runs.
//!
//! An engine is done when the suite is green, and a bug found in one engine adds a case for all:
//!
//! ```text
//! async fn open() -> claw_store::conformance::Fixture { /* a store that nobody else uses, and empty */ }
//!
//! claw_store::conformance_suite!(open);
//! ```
//!
//! Cases take an empty [`Store`] and panic if it does not keep the contract.

pub mod chains;
pub mod claims;
pub mod documents;
pub mod leases;
pub mod lists;
pub mod lives;
mod model;
pub mod money;
mod random;
mod setting;
pub mod signals;
pub mod streams;
pub mod submits;

use std::any::Any;

use crate::Store;

/// An empty store with whatever must live as long as it.
pub struct Fixture {
    /// The store.
    pub store: Store,
    /// Dropped after the case: a temporary folder, a server.
    pub guard: Box<dyn Any + Send>,
}

/// Generates one test per case of the suite. Takes the name of an
/// `async fn() -> Fixture` beside it, called once a case.
#[macro_export]
macro_rules! conformance_suite {
    ($open:ident) => {
        $crate::conformance_suite! { @modules $open;
            claims {
                one_job_goes_to_one_of_sixteen_claimers,
                sixteen_workers_share_a_queue_without_doubles,
                the_highest_priority_goes_first_and_the_oldest_of_it,
                an_exclusive_workspace_runs_one_job_at_a_time,
                claimers_that_race_never_run_two_exclusive_jobs_of_a_workspace,
                a_cancelled_exclusive_job_makes_room_for_the_next,
                p13_an_exclusive_job_that_backs_off_lets_others_pass,
                a_job_without_a_workspace_is_never_exclusive,
                a_lapsed_lease_is_claimable_and_its_old_holder_refused,
                a_renewed_lease_does_not_lapse,
                a_job_whose_workers_keep_dying_fails_in_the_end,
                the_jobs_of_dead_workers_are_freed_before_their_leases_end,
                a_lapse_after_a_cancel_request_ends_the_job,
                a_job_that_backs_off_is_claimed_when_it_is_due,
                a_released_job_keeps_its_turn_and_a_retry_goes_to_the_end,
                next_due_tells_the_end_of_the_next_lease,
                random_lives_match_a_naive_queue,
            }
            lives {
                every_change_has_one_event_in_order,
                a_waiting_job_is_cancelled_at_once,
                a_running_job_is_asked_to_end_and_asking_twice_is_harmless,
                an_ended_job_cannot_be_cancelled,
                a_cancel_that_races_a_finish_leaves_one_end,
                a_finish_keeps_result_and_usage,
                a_finish_without_the_newest_lease_is_refused,
                p4_counts_follow_every_step_and_outlive_deletion,
                only_ended_jobs_are_deleted_and_nothing_of_them_stays,
                unknown_jobs_are_told_apart,
            }
            submits {
                a_job_reads_back_as_it_was_submitted,
                an_idempotency_key_returns_the_first_job,
                a_key_used_for_another_request_is_refused,
                another_owner_may_use_the_same_key,
                submits_that_race_with_one_key_make_one_job,
                an_id_is_used_once,
            }
            lists {
                p2_every_filter_and_order_equals_a_naive_one,
                search_takes_every_character_for_itself,
                an_empty_limit_returns_only_the_total,
            }
            streams {
                numbers_are_gapless_under_concurrent_appenders,
                a_batch_stays_together,
                a_tail_neither_misses_nor_doubles_while_four_append,
                a_tail_starts_where_it_is_told,
                numbers_go_on_after_a_trim,
                reading_back_returns_the_newest_first,
                appending_nothing_changes_nothing,
                streams_do_not_mix,
            }
            chains {
                records_follow_from_each_other_under_concurrent_appenders,
                pages_of_a_chain_join,
                a_trimmed_chain_keeps_the_hash_before_its_first_record,
                old_records_go_from_the_beginning_only,
                streams_are_listed_by_name,
            }
            money {
                r9_a_charge_counts_for_the_job_and_the_day,
                sums_do_not_drift,
                spending_is_summed_up_by_what_is_asked,
                a_run_counts_once_with_what_was_not_charged,
                sums_outlive_deleted_jobs,
                a_claim_passes_over_the_jobs_of_some_owners,
                p11_old_jobs_are_those_that_ended_long_ago_or_are_too_many,
                a_deleted_jobs_log_does_not_come_back,
                a_store_tells_its_size_and_that_it_is_well,
            }
            documents {
                a_document_reads_back_with_a_growing_version,
                of_two_writers_with_one_version_one_wins,
                absent_means_absent,
                a_delete_may_ask_for_a_version,
                a_version_does_not_come_back_after_a_delete,
                p3_pages_are_in_order_with_their_total,
                an_owner_narrows_the_list,
                r26_kinds_do_not_mix,
            }
            leases {
                a_lease_has_one_holder,
                of_sixteen_that_ask_one_gets_it,
                the_token_grows_with_each_change_of_holder,
                the_same_holder_keeps_its_token,
                a_lapsed_lease_is_free,
                only_the_newest_token_gives_a_lease_back,
            }
            signals {
                a_submit_wakes_who_waits_for_jobs,
                a_cancel_wakes_the_holder,
                an_append_wakes_who_follows_the_stream,
                a_refused_step_wakes_nobody,
                the_end_of_an_exclusive_job_wakes_who_waits_for_jobs,
            }
        }
    };
    (@modules $open:ident; $($module:ident { $($case:ident,)* })*) => {
        $(mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $case() {
                    let fixture = super::$open().await;
                    $crate::conformance::$module::$case(fixture.store.clone()).await;
                    drop(fixture);
                }
            )*
        })*
    };
}
