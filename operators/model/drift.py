"""Drift: River's detectors on the log-loss of matured examples."""

from collections.abc import Iterable
from importlib.metadata import version
from typing import NamedTuple

import msgspec
from river import drift, stats

from operators.model.specification import Monitoring

RIVER = version("river")


class Drift(NamedTuple):
    """The log-loss rose: by which detector, from which mean to which, over how many examples each."""

    detector: str
    before: float
    after: float
    examples_before: int
    examples_after: int


class DriftState(msgspec.Struct, array_like=True):
    """Both detectors. ADWIN's buckets are in River's own encoding, which the same version of River reads."""

    river_version: str
    adwin: bytes
    adwin_detected: bool
    mean: float
    mean_n: float
    increase: float
    decrease: float
    least_increase: float
    most_decrease: float
    page_hinkley_detected: bool
    rise_n: int
    rise_mean: float
    found: list[str]


class DriftMonitor:
    """ADWIN and Page-Hinkley, one log-loss at a time, as far as they say that the model got worse.

    ADWIN looks both ways, and Page-Hinkley's fading sum climbs for a while after a fall; where the loss fell (a model
    that has just begun to learn) they begin anew and nothing is said. Restored exactly from its state; after a change
    of River's version ADWIN starts again from the `recent` log-losses, Page-Hinkley is exact even then.

    References: Bifet and Gavaldà, Learning from time-changing data with adaptive windowing, SDM 2007; Page, Continuous
    inspection schemes, Biometrika 41, 1954.
    """

    def __init__(self, settings: Monitoring, state: DriftState | None = None, recent: Iterable[float] = ()) -> None:
        self.adwin = drift.ADWIN(delta=settings.adwin_delta)  # type: ignore[no-untyped-call]
        self.page_hinkley = drift.PageHinkley(
            delta=settings.page_hinkley_delta, threshold=settings.page_hinkley_threshold, mode="up"
        )
        self._found: set[str] = set()
        # Where Page-Hinkley's sum was least is where the rise began: the mean since then is what it rose to.
        self._rise_n = 0
        self._rise_mean = 0.0
        if state is not None:
            self._restore(state, recent)

    def update(self, loss: float) -> list[Drift]:
        """The log-loss of the next matured example; the drifts that it completed."""
        drifts = [
            found for found in (self._adwin(loss), self._page_hinkley(loss)) if found and found.after > found.before
        ]
        self._found.update(found.detector for found in drifts)
        return drifts

    def _adwin(self, loss: float) -> Drift | None:
        detector = self.adwin
        total, width = detector.total + loss, int(detector.width) + 1
        if detector.drift_detected:  # River begins anew at the update after a detection
            total, width = loss, 1
        detector.update(loss)  # type: ignore[no-untyped-call]
        kept = int(detector.width)
        if not detector.drift_detected or not 0 < kept < width:
            return None
        return Drift("adwin", (total - detector.total) / (width - kept), detector.estimation, width - kept, kept)

    def _page_hinkley(self, loss: float) -> Drift | None:
        detector = self.page_hinkley
        if detector.drift_detected:
            self._rise_n = 0
            self._rise_mean = 0.0
        detector.update(loss)  # type: ignore[no-untyped-call]
        if detector._sum_increase == detector._min_increase:
            self._rise_n = 0
            self._rise_mean = 0.0
        else:
            self._rise_n += 1
            self._rise_mean += (loss - self._rise_mean) / self._rise_n
        before = int(detector._x_mean.n) - self._rise_n
        if not detector.drift_detected or not before:
            return None
        mean_before = (detector._x_mean.get() * detector._x_mean.n - self._rise_mean * self._rise_n) / before
        return Drift("page_hinkley", mean_before, self._rise_mean, before, self._rise_n)

    def note(self, detector: str) -> None:
        """Another detector found drift."""
        self._found.add(detector)

    def statistics(self) -> dict[str, float]:
        """ADWIN: the mean log-loss of its window. Page-Hinkley: how far its sum has risen, the threshold's measure."""
        detector = self.page_hinkley
        rise = detector._sum_increase - detector._min_increase if detector._x_mean.n else 0.0
        return {"adwin": float(self.adwin.estimation), "page_hinkley": float(rise)}

    def read(self) -> set[str]:
        """The detectors that found drift since this was last called."""
        found, self._found = self._found, set()
        return found

    def state(self) -> DriftState:
        """Everything both know."""
        detector = self.page_hinkley
        return DriftState(
            river_version=RIVER,
            adwin=self.adwin._helper.__getstate__(),
            adwin_detected=self.adwin.drift_detected,
            mean=detector._x_mean.get(),
            mean_n=detector._x_mean.n,
            increase=float(detector._sum_increase),
            decrease=detector._sum_decrease,
            least_increase=detector._min_increase,
            most_decrease=float(detector._max_decrease),
            page_hinkley_detected=detector.drift_detected,
            rise_n=self._rise_n,
            rise_mean=self._rise_mean,
            found=sorted(self._found),
        )

    def _restore(self, state: DriftState, recent: Iterable[float]) -> None:
        if state.river_version == RIVER:
            self.adwin._helper.__setstate__(state.adwin)
            self.adwin._drift_detected = state.adwin_detected
        else:
            for loss in recent:
                self.adwin.update(loss)  # type: ignore[no-untyped-call]
        detector = self.page_hinkley
        detector._x_mean = stats.Mean._from_state(state.mean_n, state.mean)
        detector._sum_increase, detector._sum_decrease = state.increase, state.decrease
        detector._min_increase = state.least_increase
        detector._max_decrease = state.most_decrease  # type: ignore[assignment]  # River begins with an int
        detector._drift_detected = state.page_hinkley_detected
        self._rise_n = state.rise_n
        self._rise_mean = state.rise_mean
        self._found = set(state.found)
