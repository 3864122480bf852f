"""Statistics of real containers, again and again."""

from __future__ import annotations

import resource
import time

import pytest

from tests.kernel.test_limits import limited
from tests.kernel.workshop import Workshop


def test_percent_of_a_busy_loop(workshop: Workshop) -> None:
    config = limited("/bin/sh", "-c", "while :; do :; done", cpu={"quota": 50_000, "period": 100_000})
    with workshop.create(config) as container:
        samples = container.watch_stats(1)
        container.start()
        next(samples)  # with its start in it
        for _ in range(2):
            found = next(samples)
            assert found.cpu_percent == pytest.approx(50, abs=5)
            assert found.seconds == pytest.approx(1, abs=0.3)


def test_it_waits_for_the_end_and_polls_nothing(workshop: Workshop) -> None:
    with workshop.create(limited("/bin/busybox", "sleep", "0.3")) as container:
        container.start()
        samples = container.watch_stats(30)
        begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_THREAD)
        assert list(samples) == []
        assert time.monotonic() - begin < 10
        assert resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before.ru_nvcsw <= 3
