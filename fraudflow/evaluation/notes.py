"""What people are told who would look for a score in vain, or trust windows that are not full."""

from fraudflow.evaluation.history import History
from fraudflow.evaluation.judged import Judged
from fraudflow.evaluation.replay import Replay
from operators.times import iso

SHORTER_DELAYS = (("1d", 86_400_000), ("1h", 3_600_000), ("1m", 60_000), ("1s", 1_000))


def why_no_score(replay: Replay, history: History, delay: int) -> str | None:
    """Why there is no score where no label came in time to learn from."""
    span = history.rows[-1].transaction.event_time - history.rows[0].transaction.event_time
    if replay.trainer is None or replay.judged.has_scores or span > delay:
        return None
    if all(row.is_fraud is None for row in history.rows):
        return "no score: the file holds no label to learn from"
    shorter = next((text for text, size in SHORTER_DELAYS if size <= span // 4), "0s")
    return (
        f"no score: no label arrives within the history ({_words(span)}) with a label delay of {_words(delay)}: "
        f"try --label-delay {shorter}"
    )


def warming_up(replay: Replay, judged: Judged) -> dict[str, str]:
    """The features whose windows were filling for more than a tenth of what is judged, with the time from which on they
    are full: the windows begin empty with the history."""
    if not len(judged):
        return {}
    begins, ends = int(judged.time[0]), int(judged.time[-1])
    full = replay.features.chain.full_from()
    return {name: iso(time) for name, time in sorted(full.items()) if time > begins + (ends - begins) / 10}


def _words(milliseconds: int) -> str:
    """A duration for people: `7 d`, `8 h`."""
    size, unit = next(
        ((size, unit) for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)) if milliseconds >= size),
        (1_000, "s"),
    )
    return f"{milliseconds / size:.3g} {unit}"
