//! The lines that make tests of the suite's functions.

/// Makes a test of every behaviour that a store must show.
///
/// `backend` is a [`Backend`](tollgate_scenario::Backend); every test begins with a fresh store of it.
/// What the store can do beyond is added by name, each a method of [`Subject`](crate::Subject): `durable`,
/// `shared = …`, `bounded = …`, `corruptible = …`, `limits_apart`. Two suites in one file go into two
/// modules.
#[macro_export]
macro_rules! store_suite {
    (backend = $backend:expr $(, $capability:ident $(= $value:expr)?)* $(,)?) => {
        fn tollgate_subject() -> $crate::Subject {
            $crate::Subject::new($backend)$(.$capability($($value)?))*
        }
        $crate::__store_tests!(always, __tests);
        $($crate::__store_tests!($capability, __tests);)*
    };
}

/// Makes a test of every behaviour that a store of limits must show.
///
/// `store` is an expression that makes an empty [`LimitStore`](tollgate::LimitStore). `bounded = …` is one
/// that makes a store whose bound of cells is reached within [`MAX_TRIES`](crate::MAX_TRIES) of them.
#[macro_export]
macro_rules! limit_store_suite {
    (store = $store:expr $(, bounded = $bounded:expr)? $(,)?) => {
        $crate::__limit_tests!($store,
            every_check_is_that_of_the_model
            looking_counts_nothing
            partitions_and_limits_are_apart
            what_is_given_back_can_be_taken_again
            threads_never_overshoot
            taking_and_giving_back_at_once_loses_nothing
            a_clock_set_back_gives_nothing_twice
            expiry_forgets_only_what_says_nothing
            extreme_quotas_and_times
        );
        $($crate::__limit_tests!($bounded, a_full_store_forgets_nothing);)?
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __limit_tests {
    ($store:expr, $($name:ident)*) => {$(
        #[test]
        fn $name() {
            $crate::limits::$name(&|| $store);
        }
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ($($area:ident: $($name:ident)*;)*) => {$($(
        #[test]
        fn $name() {
            $crate::suite::$area::$name(&tollgate_subject());
        }
    )*)*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __table {
    ($($area:ident: $($name:ident)*;)*) => {
        vec![$($((stringify!($name), $crate::suite::$area::$name as fn(&$crate::Subject)),)*)*]
    };
}

/// The behaviours, by capability.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_tests {
    (always, $apply:ident) => {
        $crate::$apply! {
            administration:
                what_is_not_there_is_refused
                accounts_are_listed_by_name
                accounts_keep_what_is_not_given
                tokens_keep_what_is_not_given
                tokens_are_listed_by_account
                a_token_never_changes_its_account
                scopes_are_given_in_the_askers_bits
                revocation_is_at_once_and_for_good
                rotation_puts_a_new_token_beside_the_old
                deposits_add_up_and_never_overflow
                a_name_and_the_stores_own_reference_mean_the_same
                names_are_taken_as_they_are
                unknown_is_no_resolution;
            admission:
                a_limit_lets_its_quota_through
                partitions_are_counted_apart
                a_refusal_by_a_limit_consumes_nothing
                requests_and_executions_are_counted_as_they_say
                the_first_check_that_fails_decides
                peeking_and_observing_change_nothing
                a_shadow_limit_lets_through
                a_tokens_own_quota_is_taken
                cost_and_burst_are_heeded
                a_plain_token_may_be_admitted_with_its_look_up
                senders_are_approved_by_account
                detail_has_every_check;
            idempotency:
                a_key_is_claimed_once
                a_completed_response_is_replayed
                what_is_settled_without_a_response
                a_key_without_a_price
                an_orphan_stays_in_flight
                a_stale_outcome_is_fenced_off
                a_key_is_forgotten_after_its_retention
                only_executions_take_a_number;
            money:
                money_is_held_then_posted_or_freed
                settling_twice_is_settling_once
                a_lease_ends_by_its_rule
                a_lease_that_ended_frees_its_money
                refunds_are_once_per_reference
                refunds_are_bounded
                a_refund_always_fits
                a_finished_record_is_kept_for_its_retention
                expire_counts_what_ended
                caps_count_what_is_posted_and_held
                shadow_caps_and_ended_leases
                a_tokens_caps_survive_its_rotation
                accounts_are_apart;
            time:
                a_clock_set_back_gives_nothing_twice
                a_clock_set_back_undoes_nothing
                the_latest_time_is_a_time
                the_epoch_is_a_time
                a_time_beyond_the_range_is_refused;
            revision:
                every_change_is_seen_by_the_next_admission
                other_changes_are_not_taken_for_one
                a_revision_never_comes_again;
            extremes:
                amounts_of_64_bits
                long_lists
                empty_lists
                a_name_of_128_odd_bytes
                a_response_of_a_mebibyte
                sixteen_limits_and_extreme_quotas;
            races:
                a_quota_is_exact
                duplicates_run_once
                a_wallet_is_emptied_exactly
                settling_at_once_posts_once
                settling_races_with_the_end_of_the_lease
                revoking_races_with_use
                rotating_races_with_use
                changing_settings_races_with_admissions
                creating_at_once_creates_once
                refunding_at_once_gives_back_once
                everything_at_once;
            model:
                random_stories_end_as_in_the_model;
        }
    };
    (durable, $apply:ident) => {
        $crate::$apply! {
            durability:
                everything_outlives_a_restart
                the_last_command_outlives_a_restart
                what_falls_due_after_a_restart
                credentials_from_before_a_restart;
        }
    };
    (shared, $apply:ident) => {
        $crate::$apply! {
            sharing:
                a_change_is_seen_through_the_other_handle
                a_revocation_is_seen_through_the_other_handle
                handles_that_race_stay_exact;
        }
    };
    (bounded, $apply:ident) => {
        $crate::$apply! {
            bounds:
                full_of_accounts
                full_of_tokens
                full_of_cells
                full_of_claims
                full_of_reservations
                full_of_one_accounts_part;
        }
    };
    (corruptible, $apply:ident) => {
        $crate::$apply! {
            damage:
                a_damaged_token_lets_nobody_in
                a_damaged_account_decides_nothing
                a_damaged_wallet_spends_nothing
                a_damaged_claim_neither_replays_nor_runs
                a_damaged_reservation_posts_nothing
                a_damaged_cell_counts_nothing;
        }
    };
    // It makes the suite more lenient, and adds no test.
    (limits_apart, $apply:ident) => {};
}

/// A behaviour by name: it panics where a subject does not show it.
pub type Behaviour = (&'static str, fn(&crate::Subject));

/// The behaviours that every store must show, for those who run them in their own way.
#[must_use]
pub fn behaviours() -> Vec<Behaviour> {
    crate::__store_tests!(always, __table)
}

/// The behaviours of durable stores.
#[must_use]
pub fn durable_behaviours() -> Vec<Behaviour> {
    crate::__store_tests!(durable, __table)
}

/// The behaviours of stores with several handles.
#[must_use]
pub fn shared_behaviours() -> Vec<Behaviour> {
    crate::__store_tests!(shared, __table)
}
