"""The collector leaves alone what was there at the start, and still finds circles."""

import gc
import weakref

from flows import collector


class Circle:
    def __init__(self) -> None:
        self.itself = self


def test_what_was_there_is_left_alone_and_circles_are_found() -> None:
    thresholds = gc.get_threshold()
    try:
        collector.settle()
        assert gc.isenabled()
        assert gc.get_threshold() == collector.THRESHOLDS
        assert gc.get_freeze_count() > 1000
        circle = weakref.ref(Circle())
        gc.collect()
        assert circle() is None
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
