"""The lean init passes the tests of the Python init that apply to it."""

from __future__ import annotations

# ruff: noqa: F401
from support.lean_fixtures import any_init, init, machine, mode, public_init, pytest_generate_tests
from test_broken_output import (test_file_size_limit, test_refusal_to_a_stderr_that_takes_nothing,
                                test_stderr_that_takes_nothing)
from test_early_signals import (test_child_that_ends_at_once, test_early_signal_reaches_the_main_child,
                                test_early_signal_with_a_mask_at_entry, test_every_signal_ignored_at_start,
                                test_several_early_signals_all_arrive, test_sigchld_blocked_at_start,
                                test_sigchld_ignored_at_start)
from test_exit_codes import (test_all_exit_codes, test_death_by_every_signal, test_path_of_the_command_is_its_argv,
                             test_script_without_an_interpreter_line, test_search_in_path,
                             test_search_in_the_current_folder, test_search_without_path)
from test_faults import (process_group_limit, test_no_dev, test_no_proc, test_read_only_root,
                         test_reaping_frees_processes_under_a_limit, test_resources_gone_after_the_start,
                         test_user_without_passwd_entry)
from test_idle import test_idle_init_is_not_woken, test_nothing_is_held_open
from test_reaping import (test_a_live_parent_keeps_its_zombie, test_first_thread_gone_first, test_init_within_init,
                          test_orphans_are_reaped, test_orphans_of_a_killed_init, test_reaped_pid_is_free)
from test_signals import (test_every_signal_arrives_once, test_group_gets_signals_only_when_asked,
                          test_real_time_signals_queue, test_signal_ends_a_main_child_that_does_not_catch_it,
                          test_signals_in_a_burst_arrive_once, test_stopped_main_child_goes_on)
from test_soak import test_all_signals_of_a_soak_arrive, test_soak
from test_storms import (test_main_child_exits_amid_a_storm, test_main_child_killed_amid_a_storm, test_nested_storm,
                         test_orphans_flat_out, test_orphans_in_one_instant, test_signals_amid_a_storm)
from test_transparency import (test_arguments, test_command_of_any_bytes, test_current_folder, test_environment,
                               test_file_size_signal_has_its_default, test_inherited_descriptors, test_inherited_state,
                               test_odd_environment, test_process_group_of_its_own, test_really_empty_environment,
                               test_sigpipe_has_its_default)

# QEMU's user mode sorts the environment, renumbers real-time signals, keeps some signals from the program, and has its
# own thread and descriptors. The other tests do not depend on the machine, and take long.
NATIVE_ONLY = {
    "test_death_by_every_signal", "test_environment", "test_every_signal_arrives_once",
    "test_every_signal_ignored_at_start",
    "test_idle_init_is_not_woken", "test_inherited_state", "test_nothing_is_held_open", "test_odd_environment",
    "test_real_time_signals_queue", "test_signal_ends_a_main_child_that_does_not_catch_it",
    "test_signals_in_a_burst_arrive_once", "test_resources_gone_after_the_start",
    "test_main_child_exits_amid_a_storm", "test_main_child_killed_amid_a_storm", "test_nested_storm",
    "test_orphans_flat_out", "test_soak", "test_all_signals_of_a_soak_arrive", "test_early_signal_with_a_mask_at_entry",
    "test_early_signal_reaches_the_main_child", "test_several_early_signals_all_arrive",
    "test_stderr_that_takes_nothing",
}
