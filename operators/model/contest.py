"""The models that learn side by side: who decides, what they are told, and what happens to them by itself."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from operators.measurements import Point, Value
from operators.model.comparison import LEAST_EXAMPLES, Comparison, ComparisonState
from operators.model.control import BY_ITSELF, Action, Control
from operators.model.events import TOLD, ModelEvent
from operators.model.first import FirstModel
from operators.model.join import Example
from operators.model.safety import Band, SafetyState
from operators.model.scoring import Weights
from operators.model.specification import Specification
from operators.model.state import StateError, decode_state, encode_state, kind_of
from operators.model.training import Output as Learned
from operators.model.training import Trainer
from operators.model.versions import given_up

STATE_VERSION = 1
Output = Learned | Control

NO_MODELS: Mapping[str, FirstModel] = {}
"""Nothing was trained before."""
ALL: Mapping[str, frozenset[str]] = {}
"""Every model sees every encoded feature."""
PUT_BACK = frozenset({"freeze", "rollback", "unfreeze", "promote", "resume"})
"""Commands after which what was measured says nothing of what decides now."""


class Contest:
    """Owns the trainer of each model, the first of `models` the champion until another one is promoted. All learn the
    same matured examples; each is judged by the score that it gave at the decision. `sees` has the encoded features of
    each model that does not see all.

    Challengers are compared with the champion (`Comparison`) and, with `promotion.automatic`, take its place. Where the
    champion's log-loss leaves its band (`Band`), or weights are no longer finite, it gives a command by itself
    (`safety.action`): back to the older version that would have done best; where none is good enough, or a frozen model
    fails, rules only. Commands come from the models' topic, more than once where it is read again: one that was the
    last of its key is passed over. Its own ones count at once.

    A contest made from a snapshot continues to the bit, also from that of a single trainer, as flows before it stored;
    challengers that are new begin anew, those that are gone are forgotten; StateError where the first model is another.
    A model without a state goes on from the one of its name in `first`.
    """

    def __init__(
        self,
        models: Sequence[Specification],
        snapshot: bytes | None = None,
        *,
        review_threshold: float = 0.5,
        block_threshold: float = 0.9,
        maturity: int = 0,
        first: Mapping[str, FirstModel] = NO_MODELS,
        sees: Mapping[str, frozenset[str]] = ALL,
    ) -> None:
        state = _state(snapshot, models[0].name)
        names = [model.name for model in models]
        self._first, self._sees = models[0], sees
        self.champion = state.champion if state.champion in names else names[0]
        self.rules_only = state.rules_only
        self._obeyed = dict(state.obeyed)
        self.trainers = {
            model.name: Trainer(
                model,
                state.trainers.get(model.name),
                review_threshold=review_threshold,
                block_threshold=block_threshold,
                maturity=maturity,
                first=first.get(model.name),
            )
            for model in models
        }
        self.comparisons = {
            name: Comparison(self._first.promotion, state.comparisons.get(name)) for name in names if len(names) > 1
        }
        self.band = Band(self._first.safety, self._first.prior, state.band)
        self._since = state.since  # from when on decisions are those of what decides now; None: not known yet
        self._clock = state.clock
        self._past = {name: dict(state.past.get(name, {})) for name in names}

    def learn(self, examples: Iterable[Example], now: int) -> list[Output]:
        """Judges and learns the examples in order, model by model; what is published and found on the way."""
        batch = list(examples)
        if batch:
            self._clock = max(self._clock, batch[-1].matured_at)
        output: list[Output] = []
        for name, trainer in self.trainers.items():
            output += self._reported(name, trainer.learn(self._seen(name, batch), now), now)
        for example in batch:
            if not example.corrects:
                output += self._watch(example, now)
        return output

    def _seen(self, name: str, batch: Sequence[Example]) -> Iterable[Example]:
        """The examples as one model knows them: its own score, its own features."""
        if len(self.trainers) == 1:
            return batch
        sees = self._sees.get(name)
        return (
            example._replace(
                score=example.score_of(name),
                input=example.input if sees is None else {k: v for k, v in example.input.items() if k in sees},
            )
            for example in batch
        )

    def _watch(self, example: Example, now: int) -> Iterator[Output]:
        self.band.know(example.is_fraud)
        score = example.score_of(self.champion)
        if score is None:
            return
        for name, comparison in self.comparisons.items():
            other = example.score_of(name) if name != self.champion else None
            if other is not None:
                comparison.add(score, other, example.is_fraud)
                if comparison.gains.number % LEAST_EXAMPLES == 0 and comparison.is_better and not comparison.told:
                    comparison.told = True
                    yield from self._better(name, comparison, now)
                    return
        trainer = self.trainers[self.champion]
        if self._since is None:
            if trainer.examples >= self._first.safety.after:
                self._since = self._clock
        elif example.event_time >= self._since and not self.rules_only:
            sees = self._sees.get(self.champion)
            x = example.input if sees is None else {k: v for k, v in example.input.items() if k in sees}
            if self.band.add(score, x, example.is_fraud, example.event_time):
                yield from self._out_of_band(trainer, now)

    def _better(self, name: str, comparison: Comparison, now: int) -> Iterator[Output]:
        reason = f"{comparison} than {self.champion}'s"
        if self._first.promotion.automatic and not self.trainers[name].frozen:
            yield from self._command("promote", name, reason, now)
        else:
            yield from self._tell("better", name, f"{reason}: `fraudflow model promote {name}` lets it decide", now)

    def _out_of_band(self, trainer: Trainer, now: int) -> Iterator[Output]:
        action, name, reason = self._first.safety.action, trainer.specification.name, str(self.band)
        weights = self.band.best(self._past[name].values()) if action == "rollback" else trainer.published
        if action == "tell":
            yield from self._tell("out_of_band", name, reason, now)
            self.band.begin()
        elif action == "rules_only" or trainer.frozen or weights is None:
            yield from self._command("rules_only", "", f"{name}: {reason}", now)
        else:
            yield from self._command(action, name, reason, now, weights)

    def _command(
        self, action: Action, name: str, reason: str, now: int, weights: Weights | None = None
    ) -> Iterator[Output]:
        control = Control(action, name, BY_ITSELF, reason, now, weights)
        yield control
        yield from self.obey(control, now)

    def _tell(self, event: str, name: str, message: str, now: int) -> list[Output]:
        version = self.trainers[name].version
        return self._told([ModelEvent(event, name, version, self._clock, message, by=BY_ITSELF)], now)

    def _told(self, output: Iterable[Learned], now: int) -> list[Output]:
        """Each event as a point, too; published versions are remembered; broken weights are mended."""
        told: list[Output] = []
        for one in output:
            told.append(one)
            if isinstance(one, Weights):
                past = self._past[one.name]
                past[one.version] = (self._clock, one)
                for version in given_up(one.version, latest=1):
                    past.pop(version, None)
            elif isinstance(one, ModelEvent):
                if (point := one.to_point()) is not None:
                    told.append(point)
                if one.event == "not_published":
                    told += self._mend(one, now)
        return told

    def _mend(self, event: ModelEvent, now: int) -> Iterator[Output]:
        """Weights that are not finite stay so for ever: back to the last ones that were."""
        trainer = self.trainers[event.model]
        if trainer.frozen:
            return  # by the command that the first of these events of a batch has led to
        if trainer.published is not None:
            yield from self._command("rollback", event.model, event.message, now, trainer.published)
        else:
            trainer.begin_anew()

    def _reported(self, name: str, learned: list[Learned], now: int) -> list[Output]:
        """What a trainer gave, and with its points how its model compares."""
        told = self._told(learned, now)
        if name != self.champion and any(isinstance(one, Point) for one in learned):
            told += self._compared(name)
        return told

    def _compared(self, name: str) -> Iterator[Point]:
        comparison, trainer = self.comparisons[name], self.trainers[name]
        if comparison.gains.number < LEAST_EXAMPLES:
            return
        fields: dict[str, Value] = {
            "gain": comparison.gains.mean,
            "gain_at_least": comparison.low,
            "examples": comparison.gains.number,
            "frauds": comparison.frauds,
        }
        time_ns = self._clock * 1_000_000 + trainer.version % 1_000_000
        yield Point("model_comparison", {"model": name, "champion": self.champion}, fields, time_ns)

    def flush(self, now: int) -> list[Output]:
        """Publishes what was learned since the last time, if anything was: for the end of the input."""
        trainers = self.trainers.items()
        return [one for name, trainer in trainers for one in self._reported(name, trainer.flush(now), now)]

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
            message = f"{control.action}: no model is called that; there is {known}"
            return self._told([_event(control, "refused", 0, message)], now)
        told = self._about(control)
        return self._told([told, *self._do(control, now)], now)

    def _do(self, control: Control, now: int) -> list[Learned]:
        trainer = self.trainers.get(control.model)
        if (control.action in PUT_BACK and control.model in {"", self.champion}) or control.action == "promote":
            self.band.begin()
            self._since = None
        match control.action:
            case "rules_only" | "resume":
                self.rules_only = control.action == "rules_only"
            case "promote":
                self.champion = control.model
                self.comparisons = {name: Comparison(self._first.promotion) for name in self.comparisons}
            case "freeze" if trainer:
                trainer.freeze()
            case "unfreeze" if trainer:
                return trainer.unfreeze(now)
            case "rollback" if trainer and control.weights:
                trainer.roll_back(control.weights)
        return []

    def _about(self, control: Control) -> ModelEvent:
        trainer = self.trainers.get(control.model)
        newest = trainer.version if trainer else 0
        version = control.weights.version if control.weights else newest
        match control.action:
            case "freeze":
                message = f"stays at version {version}; it learns on and publishes nothing"
            case "rollback":
                message = f"back at version {version}, from {newest}, and frozen there"
            case "unfreeze":
                message = "publishes again"
            case "promote":
                message = f"decides, instead of {self.champion}"
            case "rules_only":
                message = "no score decides"
            case "resume":
                message = f"the scores of {self.champion} decide again"
        return _event(control, TOLD[control.action], version, message)

    def snapshot(self) -> bytes:
        """Everything it knows."""
        state = _State(
            trainers={name: trainer.snapshot() for name, trainer in self.trainers.items()},
            champion=self.champion,
            rules_only=self.rules_only,
            obeyed=self._obeyed,
            comparisons={name: comparison.state() for name, comparison in self.comparisons.items()},
            band=self.band.state(),
            since=self._since,
            clock=self._clock,
            past=self._past,
        )
        return encode_state("contest", STATE_VERSION, state)


def _event(control: Control, event: str, version: int, message: str) -> ModelEvent:
    text = f"{message} (by {control.by}: {control.reason})"
    return ModelEvent(event, control.model, version, control.at, text, by=control.by, reason=control.reason)


class _State(msgspec.Struct, array_like=True):
    trainers: dict[str, bytes] = {}
    champion: str = ""
    rules_only: bool = False
    obeyed: dict[str, bytes] = {}
    comparisons: dict[str, ComparisonState] = {}
    band: SafetyState | None = None
    since: int | None = None
    clock: int = 0
    past: dict[str, dict[int, tuple[int, Weights]]] = {}


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
