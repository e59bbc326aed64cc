"""What the steps are made with: the operators as the settings, the rules and the model have them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flows.exchange import Routing, columns_mark
from flows.framing import decoder_of
from flows.settings import Settings
from operators.decisions.decide import Decider, Thresholds
from operators.features.fields import Fields
from operators.features.passes import check_passes
from operators.features.plan import LabelMemory, Plan, known_in
from operators.model.challengers import models_of, seen_by_any
from operators.model.contest import NO_MODELS, Contest
from operators.model.encoding import Encoder
from operators.model.files import load_model
from operators.model.first import FirstModel
from operators.model.join import LabelJoin
from operators.model.specification import Specification
from operators.rules import ChangeReader, RuleSet, Start, load_rules
from operators.transactions.formats import Limits


class Parts:
    """Reads the rules and the model that the settings name. Raises RuleError, ModelError.

    `start` is what the topics of rules and lists hold already: the windows of its rules are kept too. Of `first`,
    models that were trained on a history, the one of this name is scored with until there is a newer one, and a trainer
    without a state of its own goes on from it.
    """

    def __init__(self, settings: Settings, start: Start, first: Mapping[str, FirstModel] = NO_MODELS) -> None:
        self.settings = settings
        self.start = start
        self.rules, self.model, self.fields = read_files(settings.rules_file, settings.model_file)
        known_name = known_in(self.fields)
        self.models = models_of(self.model) if self.model else ()
        model_names = seen_by_any(self.model).names if self.model else ()
        names = (*self.rules.names, *start.names, *model_names)
        room = max(1, settings.max_pending_labels // settings.key_groups)
        self.plan = Plan.of(
            names,
            allowed_lateness=settings.allowed_lateness,
            repeats=True,
            fields=self.fields,
            memory=LabelMemory(settings.label_maturity, room),
        )
        definitions = (self.fields.definition(name) for name in self.plan.columns if name in self.fields)
        self.columns = columns_mark((*self.plan.columns, *definitions))
        self.routing = Routing(settings.key_groups, settings.shards)
        self.decoder = decoder_of(settings, limits(settings))
        self.changes = ChangeReader(self.plan.name, known_name, settings.list_topic)
        self._encoder = Encoder(seen_by_any(self.model), self.plan) if self.model else None
        self.first = {model.name: first[model.name] for model in self.models if model.name in first}
        for model in self.models:
            if model.name in self.first:
                self.first[model.name].pipeline(model)  # refused here, before anything runs

    def decider(self) -> Decider:
        """Of one shard."""
        thresholds = Thresholds(self.settings.review_threshold, self.settings.block_threshold)
        plan, models = self.plan, self.model_names
        decider = Decider(
            self.rules, plan.name, self._encoder, thresholds, self.start, plan.columns, models, plan.made_of
        )
        for first in self.first.values():
            decider.use(first.weights)
        return decider

    def label_join(self, state: bytes | None) -> LabelJoin:
        """Of one shard, with its share of the room."""
        room = max(1, self.settings.max_pending_labels // self.settings.shards)
        return LabelJoin(maturity=self.settings.label_maturity, max_pending=room, snapshot=state)

    @property
    def model_names(self) -> list[str]:
        """The first model of `model.toml`, then its challengers."""
        return [model.name for model in self.models]

    def contest(self, state: bytes | None) -> Contest:
        """The one of the flow, where all models learn."""
        assert self.models, "without a model there is no step that trains"
        return Contest(
            self.models,
            state,
            review_threshold=self.settings.review_threshold,
            block_threshold=self.settings.block_threshold,
            maturity=self.settings.label_maturity,
            first=self.first,
            sees=self._sees(),
        )

    def _sees(self) -> dict[str, frozenset[str]]:
        """The encoded features of each model that does not see all."""
        everything = frozenset(self._encoder.vocabulary if self._encoder else ())
        sees = {model.name: frozenset(Encoder(model, self.plan).vocabulary) for model in self.models}
        return {name: seen for name, seen in sees.items() if seen != everything}


class Files(NamedTuple):
    """What the files of rules and model hold, and the derived fields of both."""

    rules: RuleSet
    model: Specification | None
    fields: Fields


def read_files(rules_file: Path, model_file: Path | None) -> Files:
    """The files together, which may use each other's derived fields. Raises RuleError, ModelError, FieldError."""
    elsewhere = load_model(model_file).fields if model_file else ()
    rules = load_rules(rules_file, elsewhere)
    model = load_model(model_file, rules.fields) if model_file else None
    fields = Fields((*rules.fields, *elsewhere))
    check_passes(fields)
    return Files(rules, model, fields)


def model_beside(settings: Settings) -> Specification | None:
    """The model whose derived fields rules may use; None where its file is not there, for rules do without. Raises
    ModelError."""
    return load_model(settings.model_file) if settings.model_file and settings.model_file.exists() else None


def limits(settings: Settings) -> Limits:
    """What a message may be: the settings of the same names."""
    named: dict[str, Any] = {field: getattr(settings, field) for field in Limits._fields}
    return Limits(**named)
