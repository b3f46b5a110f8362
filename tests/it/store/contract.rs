//! Every test of the contract on every backend.

/// One test function for each case and backend.
macro_rules! contract {
    ($start:ident: $($module:ident { $($case:ident)+ })+) => {
        contract!(@ $start sqlite Sqlite $($module { $($case)+ })+);
        contract!(@ $start mariadb MariaDb $($module { $($case)+ })+);
        contract!(@ $start mysql MySql $($module { $($case)+ })+);
    };
    (@ $start:ident $backend:ident $variant:ident $($module:ident { $($case:ident)+ })+) => {
        mod $backend {
            $($(
                #[tokio::test]
                async fn $case() {
                    let backend = crate::store::bed::Backend::$variant;
                    crate::store::bed::$start(backend, crate::store::$module::$case).await;
                }
            )+)+
        }
    };
}

contract! { with:
    users {
        a_user_is_added_read_changed_and_removed
        names_are_compared_byte_by_byte
        password_hashes_come_in_pages_and_one_that_cannot_be_read_hides_no_other
        names_of_128_bytes_and_all_of_unicode_are_kept
        a_second_user_of_a_name_is_refused
        a_user_needs_a_policy_that_is_there
        users_come_in_pages_by_name
        a_hash_is_replaced_only_if_it_is_the_known_one
        removing_a_user_removes_its_devices_and_keeps_its_sessions
        changes_are_audited_without_secrets
    }
    devices {
        a_device_is_registered_judged_and_removed
        a_device_belongs_to_its_user_only
        a_device_is_enrolled_once_and_closes_the_enrolment
        an_enrolment_approves_the_device_that_waits_for_it
        certificates_and_devices_are_counted_apart
        the_end_of_a_device_comes_with_the_facts_and_goes_with_it
        devices_are_listed_by_user_and_age
    }
    second_factors {
        facts_hold_the_second_factor_and_its_policy
        of_two_daemons_one_takes_a_code
        a_code_is_taken_only_with_the_key_it_is_of
        a_recovery_code_is_used_once
        a_code_is_used_up_with_its_place_or_neither_is_taken
        a_second_factor_is_set_up_replaced_and_removed
        what_is_changed_is_audited_without_secrets
    }
    client_config {
        lines_come_with_the_facts_and_go_with_their_owner
        as_many_lines_as_there_may_be_are_all_there
        an_address_belongs_to_one_user_of_a_server
        a_change_to_what_has_changed_meanwhile_is_refused
        an_address_for_all_servers_and_for_one_is_given_once_at_a_time
        rows_by_hand_and_of_nobody_do_not_hold_an_address
    }
    imports {
        an_import_adds_users_and_devices_and_leaves_who_is_there
        an_import_that_fails_at_its_end_has_written_nothing
        tables_of_other_programs_are_read_as_text
    }
    fact_trace {
        whatever_others_change_of_a_standing_leaves_a_trace
        what_a_daemon_writes_all_the_time_leaves_none
        a_server_that_keeps_no_times_is_not_believed
        a_server_tells_in_one_answer_of_all_that_is_asked_for_by_the_clock
    }
    activity {
        activity_is_added_up_but_for_sessions
        the_audit_of_a_user_has_his_devices_and_nobody_elses
        failed_logins_of_a_user_are_listed_newest_first
    }
    policies {
        the_default_policy_is_there_from_the_start
        a_policy_is_added_replaced_and_removed
        a_policy_in_use_is_kept
        a_bad_name_of_a_policy_is_refused
        changes_of_two_operators_at_once_are_both_there
        hours_that_cannot_be_read_hide_no_other_policy_and_can_be_mended
    }
    hostile {
        a_name_that_is_made_to_harm_is_nobodys_and_every_table_stays
    }
    login {
        an_unknown_user_has_no_facts
        facts_are_the_user_its_policy_and_the_presented_device
        a_disabled_user_has_facts
        a_policy_that_is_gone_is_bad_data_and_not_the_default
        bad_data_is_named_by_place
        a_certificate_is_found_by_its_fingerprint_for_its_user_only
        logins_at_the_same_moment_get_what_each_would_get_alone
    }
    sessions {
        a_session_comes_back_as_it_was
        extremes_are_kept
        texts_too_long_are_cut_on_a_character
        a_lower_or_equal_version_changes_nothing
        a_closed_session_stays_as_it_is
        a_thousand_sessions_are_written_in_one_call
        of_one_session_twice_in_a_call_the_newer_counts
        another_id_for_a_known_instance_is_refused_and_the_rest_is_written
        two_daemons_write_at_once_and_the_highest_versions_stay
        open_sessions_are_those_of_the_server_that_have_not_ended
        standings_are_what_live_sessions_are_judged_by
        facts_tell_whose_time_was_over
        places_are_claimed_over_all_servers_and_claims_grow_old
        a_session_that_asks_once_more_has_its_place
        a_login_that_came_to_nothing_is_not_in_the_way_of_the_next
        sessions_make_room_for_a_newer_one
        sessions_are_filtered_newest_first
        sessions_are_found_by_the_start_of_their_id
        bad_session_rows_are_named
        a_session_that_nobody_holds_is_closed_by_hand
    }
    seen {
        a_server_is_seen_later_and_never_earlier_in_a_run
        open_sessions_come_with_the_zones_of_their_users
        who_carries_nothing_is_as_long_there_as_the_server_is_seen
        standings_of_users_are_those_on_all_servers
        changes_are_told_after_the_last_that_is_known
    }
    claims {
        of_two_that_replace_the_oldest_at_once_one_stays
        two_that_replace_the_oldest_at_once_share_two_places
        of_two_of_one_device_at_once_one_stays
        logins_at_the_same_moment_get_the_places_that_each_would_get_alone
        a_place_that_is_given_back_before_it_is_taken_is_free
        who_has_gone_takes_no_place
    }
    reports {
        spans_are_those_that_overlap_whatever_their_length
        spans_come_in_pages_and_each_session_once
        sessions_about_to_end_come_soonest_first
        only_closed_sessions_are_removed_oldest_first_in_batches
        ended_sessions_come_with_what_their_users_policy_keeps
        radacct_has_the_columns_of_freeradius
        every_cause_has_its_radius_word
    }
    usage {
        what_ended_sessions_used_counts_once_and_by_day
        open_sessions_count_by_their_own_row
        whoever_closes_a_session_first_its_days_are_those_of_its_row
        old_days_are_put_together_and_count_in_total
        grants_count_until_their_end
        no_number_of_an_operator_is_too_large_a_sum
        a_user_has_no_more_grants_than_can_be_read
        hours_that_cannot_be_read_let_nobody_in
    }
    lockouts {
        failures_of_others_are_read_oldest_first
        lockouts_are_listed_until_they_end_or_are_cleared
        an_event_that_is_written_again_is_there_once
        what_somebody_is_held_back_from_comes_back_as_it_was
    }
    commands {
        a_request_waits_until_it_is_handled
        a_request_that_cannot_be_read_hides_no_other
        requests_come_oldest_first_and_only_for_the_servers_asked
        a_request_needs_an_open_session
        handling_a_request_twice_keeps_the_first_time
    }
    schema {
        a_current_schema_stays_as_it_is
        a_newer_schema_is_refused
        a_broken_migration_is_named
        a_migration_that_is_missing_is_applied
    }
    plans {
        hot_queries_use_indexes
    }
    outage {
        a_lock_that_is_held_too_long_makes_a_write_unavailable
        a_closed_store_says_so
    }
}

mod empty {
    contract! { unmigrated:
        schema {
            an_empty_database_is_missing_its_schema
            a_dry_run_lists_and_changes_nothing
            two_daemons_migrate_at_once
            a_refused_migration_can_be_run_again
        }
    }
}
