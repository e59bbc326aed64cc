"""How a model developed over a replay: its weights, its quality, the drift that was found."""

from typing import NamedTuple

from operators.model.events import ModelEvent
from operators.model.scoring import Weights
from operators.model.training import Output

MOST = 400


class Stage(NamedTuple):
    """One publication: when (event time in milliseconds), the weights, and the prequential quality then."""

    time: int
    weights: Weights


class Course:
    """At most `MOST` publications, evenly spread over all (every second is let go when there are more), the last one,
    and every drift event."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.last: Stage | None = None
        self.drifts: list[ModelEvent] = []
        self._every = 1
        self._seen = 0

    def add(self, output: Output, now: int) -> None:
        """What the trainer gave at `now`."""
        if isinstance(output, ModelEvent):
            if output.event == "drift":
                self.drifts.append(output)
        elif isinstance(output, Weights):
            self.last = Stage(now, output)
            if self._seen % self._every == 0:
                self.stages.append(self.last)
                if len(self.stages) > MOST:
                    self.stages = self.stages[::2]
                    self._every *= 2
            self._seen += 1

    def all(self) -> list[Stage]:
        """The publications that were kept, the last one included."""
        if self.last is None or (self.stages and self.stages[-1] is self.last):
            return self.stages
        return [*self.stages, self.last]
