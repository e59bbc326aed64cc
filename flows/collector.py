"""Python's garbage collector, set for a process that holds many small objects for long and makes few circles."""

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 100)
"""Net new objects before a young collection; young ones before a middle one; middle ones before a full one."""


def settle() -> None:
    """Call it once all is loaded and built: what is there now is never looked through again.

    A log of a key is an object that the collector visits, and none of them is ever in a circle. With Python's own
    thresholds (700, 10, 10) the windows of 200,000 users that come one by one cost a fifth more time, and one batch
    waited 150 ms for a full collection; with these, 9 ms for the growth of a dictionary. What is in a circle after all,
    such as rules that were replaced, is still found, only later.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
