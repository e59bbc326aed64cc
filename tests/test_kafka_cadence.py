"""Sources whose epochs have fallen out of step find each other again, and stay together."""

import random

import pytest

from connectors.cadence import Cadence

INTERVAL = 1.0


class Source:
    """A source as the engine drives it: what it may do, and when its epoch ends."""

    def __init__(self, clock, start, poll):
        self.cadence = Cadence(clock)
        self.started = self.wakes = start
        self.epoch = 0
        self.poll = poll
        self.served = 0

    def activate(self, now, frontier):
        """As the engine does at a wake-up: messages if the epoch is open, its end if the interval is over."""
        if frontier < self.epoch:
            self.wakes = now  # waits, and looks again at once
            return
        self.cadence.asked()
        self.served += 1
        self.wakes = now + self.cadence.awake(self.poll(now))
        if now - self.started >= INTERVAL:
            self.cadence.ended()
            self.started = now
            self.epoch += 1


def waiting(starts, seconds=40, poll=lambda now: 0.003, keep_in_step=True, stall=0.0):
    """The share of the last ten seconds in which each source had to wait for another one."""
    now = 0.0
    sources = [Source(lambda: now, start, poll) for start in starts]
    if not keep_in_step:
        for source in sources:
            source.cadence.awake = lambda wanted: wanted
    waited = [0] * len(sources)
    closed_at, frontier = 0.0, 0
    ticks = 0
    while now < seconds:
        now += 0.001
        lowest = min(source.epoch for source in sources)
        if lowest > frontier and closed_at == 0.0:
            closed_at = now + stall
        if closed_at and now >= closed_at:
            frontier, closed_at = lowest, 0.0
        for number, source in enumerate(sources):
            if source.wakes <= now:
                source.activate(now, frontier)
            if now > seconds - 10:
                ticks += 1
                waited[number] += source.epoch > frontier
    return [count / (ticks / len(sources)) for count in waited]


@pytest.mark.parametrize("starts", [(0.0, 0.5), (0.0, 0.3, 0.9), (0.0, 0.999), (0.0, 0.1, 0.2, 0.3)])
def test_sources_that_begin_apart_come_together(starts):
    assert max(waiting(starts, keep_in_step=False)) > 0.08
    assert max(waiting(starts)) < 0.02


def test_they_stay_together_though_they_are_woken_at_odd_times():
    chance = random.Random(1)
    assert max(waiting((0.0, 0.4), poll=lambda now: chance.uniform(0, 0.05))) < 0.02


def test_the_time_that_an_epoch_takes_to_close_does_not_add_up():
    assert max(waiting((0.0, 0.4), stall=0.1)) < 0.13


def test_a_source_alone_is_not_slowed_down():
    now = 0.0
    source = Source(lambda: now, 0.0, lambda now: 0.003)
    while now < 10:
        now += 0.001
        if source.wakes <= now:
            source.activate(now, source.epoch)
    assert source.served > 0.9 * 10 / 0.004
    assert source.epoch in (9, 10)


def test_until_the_interval_is_known_nothing_is_changed():
    cadence = Cadence()
    cadence.asked()
    assert cadence.awake(0.0) == 0.0
    cadence.ended()
    cadence.asked()
    assert cadence.awake(0.5) == 0.5
