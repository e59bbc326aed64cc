"""The picture of the topology, drawn from the topology itself, as Mermaid."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource

from flows.ends import Sinks, Sources
from flows.fraud import build
from flows.settings import Settings

SHAPES: Final = {"input": '(["{}"])', "output": '(["{}"])', "stateful_batch": '[("{}")]'}
"""Where records come from and go to; what keeps state. Everything else only reshapes or routes batches."""

OTHER: Final = '["{}"]'
ALSO_SHOWN: Final = ("decode", "decode_labels", "changes", "dead_letters", "partial_stats")
"""Steps without state that do more than that."""


def drawing(settings: Settings, *, every_step: bool = False) -> str:
    """The flow that these settings make. Raises what `build` raises."""
    source, sink = TestingSource[Any]([]), TestingSink[Any]([])
    sinks = Sinks(sink, sink, sink, sink, sink, influx=sink if settings.influx_url else None)
    return mermaid(build(settings, Sources(source, source, source, source), sinks), every_step=every_step)


def mermaid(flow: Dataflow, *, every_step: bool = False) -> str:
    """A Mermaid flowchart: a line for each step, then one for each way from step to step."""
    steps = {step.step_id: step for step in flow.substeps}
    kinds = {step_id: type(step).__name__ for step_id, step in steps.items()}
    names = {step_id: step_id.partition(".")[2] for step_id in steps}
    shown = [s for s in steps if every_step or kinds[s] in SHAPES or names[s] in ALSO_SHOWN]
    before = {step_id: list(_streams(step, step.ups_names)) for step_id, step in steps.items()}
    maker = {stream: step_id for step_id, step in steps.items() for stream in _streams(step, step.dwn_names)}
    lines = ["flowchart LR"]
    lines += [f"    {names[step]}{SHAPES.get(kinds[step], OTHER).format(names[step])}" for step in shown]
    for step in shown:
        origins = dict.fromkeys(_origins(step, before, maker, frozenset(shown)))
        lines += [f"    {names[origin]} --> {names[step]}" for origin in origins]
    return "\n".join(lines) + "\n"


def _origins(
    step: str, before: Mapping[str, list[str]], maker: Mapping[str, str], shown: frozenset[str]
) -> Iterator[str]:
    """The shown steps whose records come to a step, through what is not shown."""
    for stream in before[step]:
        origin = maker[stream]
        if origin in shown:
            yield origin
        else:
            yield from _origins(origin, before, maker, shown)


def _streams(step: Any, ports: list[str]) -> Iterator[str]:
    """The streams at some of a step's ports: one each, or several."""
    for name in ports:
        port = getattr(step, name)
        yield from port.stream_ids.values() if hasattr(port, "stream_ids") else (port.stream_id,)
