"""The figures of RabbitMQ's health check are calculated and shown correctly."""

from __future__ import annotations

from collections import Counter
from typing import Optional

import pytest

from benchmarks.experiments import rabbitmq
from benchmarks.rabbit import Check


@pytest.mark.parametrize("totals, each", [([], 0), ([3], 3), ([0, 0, 0], 0), ([10, 12, 14], 2), ([20, 22, 25], 2.5),
                                          ([2, 0], 0)])
def test_zombies_of_a_check_are_counted_from_the_first_check_on(totals: list[int], each: float) -> None:
    assert rabbitmq.zombies_per_check(totals) == each


@pytest.mark.parametrize("budget, live, each, checks", [
    (1024, 24, 2.0, 500), (1024, 24, 0.0, None), (100, 200, 2.0, 0), (32768, 28, 2.8, 11692)])
def test_a_budget_is_used_up_by_the_zombies_of_the_checks(budget: int, live: int, each: float,
                                                          checks: Optional[int]) -> None:
    assert rabbitmq.checks_until(budget, live, each) == checks


def test_a_budget_is_told_as_checks_and_as_time_at_ten_seconds_each() -> None:
    assert rabbitmq.show_until(355) == "355 checks, 59.2 min"
    assert rabbitmq.show_until(None) == "never"


@pytest.mark.parametrize("codes, failed", [([], False), ([1, 1], False), ([1, 1, 1], True), ([1, 1, 0], False),
                                           ([1, 1, 0, 1, 1], False), ([0, 64, -9, 69], True)])
def test_three_failures_in_a_row_are_a_restart(codes: list[int], failed: bool) -> None:
    assert rabbitmq.has_failed([Check(code, 0.1, "") for code in codes]) == failed


@pytest.mark.parametrize("output, said", [
    ("", "nothing"), ("Status of node\nError:\n", "Error:"),
    ("Error:\n  inet_gethost: Could not fork(), errno = 11\nlast\n", "inet_gethost: Could not fork(), errno = 11"),
    ("first\n{:open_port, :eagain}\nlast", "{:open_port, :eagain}"),
    ("fork " + "x " * 200, "fork " + "x " * 65 + "[...]")])
def test_the_telling_line_of_an_error_is_shown(output: str, said: str) -> None:
    assert rabbitmq.explain(output) == said


def test_zombies_are_told_by_name() -> None:
    assert rabbitmq.describe_zombies(Counter()) == "no zombie"
    assert rabbitmq.describe_zombies(Counter(epmd=1, inet_gethost=3)) == "4 zombies (3 inet_gethost, 1 epmd)"
