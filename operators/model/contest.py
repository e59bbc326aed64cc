"""The models that learn side by side, and the commands that they obey."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from operators.model.control import Control
from operators.model.events import ModelEvent
from operators.model.first import FirstModel
from operators.model.join import Example
from operators.model.scoring import Weights
from operators.model.specification import Specification
from operators.model.state import StateError, decode_state, encode_state, kind_of
from operators.model.training import Output as Learned
from operators.model.training import Trainer

STATE_VERSION = 1
Output = Learned | Control

NO_MODELS: Mapping[str, FirstModel] = {}
"""Nothing was trained before."""

TOLD = {
    "freeze": "frozen",
    "unfreeze": "unfrozen",
    "rollback": "rolled_back",
    "promote": "promoted",
    "rules_only": "rules_only",
    "resume": "resumed",
}
"""What the event of a command is called."""


class Contest:
    """Owns the trainer of each model, and tells of each command what came of it.

    Commands come from the models' topic, more than once where it is read again: one that was the last of its key is
    passed over. A contest made from a snapshot continues to the bit, also from that of a single trainer, as flows
    before it stored; StateError where it can't. A model without a state goes on from the one of its name in `first`.
    """

    def __init__(
        self,
        models: Sequence[Specification],
        snapshot: bytes | None = None,
        *,
        review_threshold: float = 0.5,
        first: Mapping[str, FirstModel] = NO_MODELS,
    ) -> None:
        state = _state(snapshot, models[0].name)
        self.champion = state.champion if state.champion in {model.name for model in models} else models[0].name
        self.rules_only = state.rules_only
        self._obeyed = dict(state.obeyed)
        self.trainers = {
            model.name: Trainer(
                model, state.trainers.get(model.name), review_threshold=review_threshold, first=first.get(model.name)
            )
            for model in models
        }

    def learn(self, examples: Iterable[Example], now: int) -> list[Output]:
        """Judges and learns the examples in order, model by model; what is published and found on the way."""
        batch = list(examples)
        return [one for trainer in self.trainers.values() for one in _told(trainer.learn(batch, now))]

    def flush(self, now: int) -> list[Output]:
        """Publishes what was learned since the last time, if anything was: for the end of the input."""
        return [one for trainer in self.trainers.values() for one in _told(trainer.flush(now))]

    def heard(self, weights: Weights) -> None:
        """The topic holds this version: the next one has a higher number, also where the state was lost."""
        trainer = self.trainers.get(weights.name)
        if trainer is not None:
            trainer.version = max(trainer.version, weights.version)

    def obey(self, control: Control, now: int) -> list[Output]:
        """Does what the command says, and tells of it."""
        record = control.to_json()
        if self._obeyed.get(control.key) == record:
            return []
        self._obeyed[control.key] = record
        if control.model and control.model not in self.trainers:
            known = ", ".join(self.trainers)
            return _told(
                [_event(control, "refused", 0, f"{control.action}: no model is called that; there is {known}")]
            )
        return _told([*self._tell(control), *self._do(control, now)])

    def _do(self, control: Control, now: int) -> list[Learned]:
        trainer = self.trainers.get(control.model)
        match control.action:
            case "rules_only" | "resume":
                self.rules_only = control.action == "rules_only"
            case "promote":
                self.champion = control.model
            case "freeze" if trainer:
                trainer.freeze()
            case "unfreeze" if trainer:
                return trainer.unfreeze(now)
            case "rollback" if trainer and control.weights:
                trainer.roll_back(control.weights)
        return []

    def _tell(self, control: Control) -> list[Learned]:
        trainer = self.trainers.get(control.model)
        version = control.weights.version if control.weights else trainer.version if trainer else 0
        match control.action:
            case "freeze":
                message = f"stays at version {version}; it learns on and publishes nothing"
            case "rollback":
                message = f"back at version {version}, from {trainer.version if trainer else 0}, and frozen there"
            case "unfreeze":
                message = "publishes again"
            case "promote":
                message = f"decides, instead of {self.champion}"
            case "rules_only":
                message = "no score decides"
            case "resume":
                message = f"the scores of {self.champion} decide again"
        return [_event(control, TOLD[control.action], version, message)]

    def snapshot(self) -> bytes:
        """Everything it knows."""
        trainers = {name: trainer.snapshot() for name, trainer in self.trainers.items()}
        state = _State(trainers, self.champion, self.rules_only, self._obeyed)
        return encode_state("contest", STATE_VERSION, state)


def _event(control: Control, event: str, version: int, message: str) -> ModelEvent:
    text = f"{message} (by {control.by}: {control.reason})"
    return ModelEvent(event, control.model, version, control.at, text, by=control.by, reason=control.reason)


def _told(output: Iterable[Learned]) -> list[Output]:
    """Each event as a point, too."""
    told: list[Output] = []
    for one in output:
        told.append(one)
        if isinstance(one, ModelEvent) and (point := one.to_point()) is not None:
            told.append(point)
    return told


class _State(msgspec.Struct, array_like=True):
    trainers: dict[str, bytes] = {}
    champion: str = ""
    rules_only: bool = False
    obeyed: dict[str, bytes] = {}


def _state(snapshot: bytes | None, first: str) -> _State:
    if snapshot is None:
        return _State()
    if kind_of(snapshot) == "trainer":
        return _State({first: snapshot})
    state = decode_state(snapshot, "contest", STATE_VERSION, _State)
    if first not in state.trainers:
        raise StateError(
            f"the stored models are {', '.join(state.trainers)}, model.toml begins with {first!r}: "
            "give it back its name, or start with an empty recovery directory"
        )
    return state
