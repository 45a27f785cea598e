"""At a terminal, the lean init passes the tests of the Python init."""

from __future__ import annotations

# ruff: noqa: F401
from support.lean_fixtures import any_init, init, machine, pytest_generate_tests
from test_terminal import (mode, place, session, test_foreground_is_handed_over, test_foreground_is_not_stolen,
                           test_hangup, test_job_control, test_job_of_an_interactive_shell,
                           test_keys_reach_the_main_child_once, test_terminal_that_is_not_stdin)

# Its last signal is a real-time signal, which QEMU renumbers.
NATIVE_ONLY = {"test_keys_reach_the_main_child_once"}
