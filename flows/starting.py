"""How a process of the flow begins: what is refused, and in which words; the state it goes on from; what it watches."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bytewax.dataflow import Dataflow

from connectors.clock import ClockWatch
from connectors.kafka import KafkaRefused, KafkaUnavailable, TopicProblem
from connectors.kafka_partitions import PartitionWatch
from connectors.kafka_source import part_names
from connectors.recovery import RecoveryRefused, Run, check, lock, stored_keys
from connectors.recovery_rows import forget_uncommitted
from connectors.redo.named import verify
from connectors.redo.store import RedoStore
from connectors.schema_registry import RegistryRefused, RegistryUnavailable
from flows.exchange import Routing
from flows.keeping import Incremental, Keeping, Nothing
from flows.settings import Settings, SettingsError
from operators.features.fields import FieldError
from operators.features.names import ENTITIES
from operators.features.passes import MOST_PASSES
from operators.model.specification import ModelError
from operators.rules import RuleError

REFUSALS = (
    SettingsError,
    RuleError,
    ModelError,
    FieldError,
    KafkaRefused,
    TopicProblem,
    RecoveryRefused,
    RegistryRefused,
)
UNAVAILABLES = (KafkaUnavailable, RegistryUnavailable)

REFUSED, UNAVAILABLE = 2, 75
"""Exit codes: a restart can't help; a restart may (EX_TEMPFAIL of sysexits.h)."""

SOURCES = tuple(f"fraud.{step}" for step in ("transactions_in", "labels_in", "rules_in", "models_in"))
PASSES = tuple(f"_{number}" for number in range(2, MOST_PASSES + 1))
"""How the windows of an entity are told apart that is gone through again for the sake of derived fields."""
LEFT_OUT = ("label_join", "train", "models_in", "models_out", "alerts_influx", "stats_influx")
"""Steps with state that settings can leave out; so can rules and the model with the windows of an entity."""


@contextmanager
def refusals_told() -> Iterator[None]:
    """What is refused is told in one message, without a traceback; the exit code says whether a restart may help."""
    try:
        yield
    except REFUSALS as error:
        print(f"fraudflow cannot start: {error}", file=sys.stderr)
        raise SystemExit(REFUSED) from None
    except UNAVAILABLES as error:
        print(f"fraudflow cannot start yet: {error}", file=sys.stderr)
        raise SystemExit(UNAVAILABLE) from None


class State:
    """What a run goes on from: owned from here on. Without a recovery directory there is none, and none is kept.

    Raises RecoveryRefused where another run owns the directory, or where it can't be read.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._store: RedoStore | None = None
        self.keeping: Keeping = Nothing()
        self.parts_read: set[str] = set()
        """The parts of sources that an earlier run has read."""
        if run.directory is not None:
            lock(run.directory, run.process, run.processes)
            stored = stored_keys(run.directory)
            self.parts_read = {part for step in SOURCES for part in stored.get(step, ())}
            self._store = RedoStore(run.directory, run.process, run.processes, run.backup)
            self.keeping = Incremental(self._store)

    def check(self, flow: Dataflow, settings: Settings) -> None:
        """Refuse what this flow would not find again, or can't be read; forget what nothing needs. Raises
        RecoveryRefused."""
        if self._store is None:
            return
        directory = self._store.recovery
        check(directory, step_ids(flow), expected_keys(settings))
        verify(directory)
        if self._run.process == 0:
            forget_uncommitted(directory)
        self._store.sweep()


def step_ids(flow: Dataflow) -> set[str]:
    """The ids of all steps that may have left state in a recovery directory."""
    present = {step.step_id for step in flow.substeps}
    entities = {f"{flow.flow_id}.{entity}{again}_windows" for entity in ENTITIES for again in ("", *PASSES)}
    return present | entities | {f"{flow.flow_id}.{step}" for step in LEFT_OUT}


def expected_keys(settings: Settings) -> dict[str, list[str]]:
    """The keys that the state of some steps can have, behind each the setting that makes them."""
    routing = Routing(settings.key_groups, settings.shards)
    config = settings.kafka_config()
    return {
        "fraud.user_windows:FRAUD_KEY_GROUPS": routing.groups,
        "fraud.decide:FRAUD_SHARDS": routing.shards,
        "fraud.transactions_in:FRAUD_TRANSACTION_TOPICS": part_names(config, settings.transaction_topics),
        "fraud.labels_in:FRAUD_LABEL_TOPIC": part_names(config, [settings.label_topic]),
        "fraud.rules_in:FRAUD_RULE_TOPIC": part_names(config, [settings.rule_topic, settings.list_topic]),
        "fraud.models_in:FRAUD_MODEL_TOPIC": part_names(config, [settings.model_topic]),
    }


def watch(settings: Settings, run: Run) -> None:
    """Look out, from now on, for what the engine would not notice: a clock that is put back, added partitions."""
    ClockWatch().start()
    if run.process == 0 and not settings.stop_at_end:
        PartitionWatch(settings.kafka_config(), (*settings.transaction_topics, settings.label_topic)).start()


def ready(settings: Settings, recovery: Path | None) -> str:
    """What is running, on what, from where: one line."""
    topics = ", ".join(settings.transaction_topics)
    influx = f"InfluxDB at {settings.influx_url}" if settings.influx_url else "no InfluxDB"
    state = f"state in {recovery}" if recovery else "no recovery directory: a restart begins anew"
    model = settings.model_file or "no model"
    if settings.schema_registry_url:
        topics += f" ({', '.join(settings.framed_topics)} by the schemas of {settings.schema_registry_url})"
    return (
        f"reading {topics} from Kafka at {settings.kafka_bootstrap_servers}; {settings.rules_file}, {model}; "
        f"alerts to {settings.alert_topic}; {influx}; {state}"
    )
