"""Which models score, with which weights, and which one decides: what the shards hold."""

from collections.abc import Mapping, Sequence

import msgspec

from operators.model.control import Control
from operators.model.encoding import Input
from operators.model.scoring import Scorer, Weights


class ModelsState(msgspec.Struct, array_like=True, frozen=True):
    """Everything `ModelsInForce` knows, the weights as their records."""

    weights: list[bytes] = []
    frozen: list[str] = []
    champion: str | None = None
    rules_only: bool = False


class ModelsInForce:
    """The champion decides, the challengers score beside it; the first of `names` is the champion until another one is
    promoted. Weights and commands count in the order in which they come.

    A frozen model keeps the weights that the command brought, whatever is published meanwhile. A model that `names`
    does not know is passed over; a champion that is no longer among them gives way to the first. Where the rules alone
    decide, the models score on, to be judged.
    """

    def __init__(self, names: Sequence[str], state: ModelsState | None = None) -> None:
        self.names = tuple(names)
        self.rules_only = False
        self._promoted: str | None = None
        self._frozen: set[str] = set()
        self._scorers = {name: Scorer(None) for name in self.names}
        if state is not None:
            self._restore(state)

    @property
    def champion(self) -> str | None:
        """The name of the model that decides; None without models."""
        if self._promoted in self._scorers:
            return self._promoted
        return self.names[0] if self.names else None

    @property
    def weights(self) -> Weights | None:
        """The champion's; None where it has none yet."""
        return self.scorer.weights

    @property
    def scorer(self) -> Scorer:
        """The champion's."""
        champion = self.champion
        return _NONE if champion is None else self._scorers[champion]

    def use(self, weights: Weights) -> None:
        """Score with these from now on, whatever their version, unless the model is frozen."""
        if weights.name in self._scorers and weights.name not in self._frozen:
            self._scorers[weights.name] = Scorer(weights)

    def obey(self, control: Control) -> None:
        """The command is in force from now on."""
        match control.action:
            case "rules_only" | "resume":
                self.rules_only = control.action == "rules_only"
            case "promote":
                self._promoted = control.model
            case "unfreeze":
                self._frozen.discard(control.model)
            case "freeze" | "rollback":
                self._frozen.discard(control.model)
                if control.weights is not None:
                    self.use(control.weights)
                self._frozen.add(control.model)

    def beside(self, inputs: Sequence[Input]) -> tuple[str, Mapping[str, Sequence[float | None]]]:
        """The champion's name, and the scores of every other model that has weights; nothing where there is one."""
        if len(self._scorers) < 2:
            return "", {}
        champion = self.champion
        others = {
            name: scorer.scores(inputs)
            for name, scorer in self._scorers.items()
            if name != champion and scorer.weights is not None
        }
        return champion or "", others

    def state(self) -> ModelsState:
        """For the snapshot."""
        weights = [scorer.weights.to_json() for scorer in self._scorers.values() if scorer.weights is not None]
        return ModelsState(weights, sorted(self._frozen), self._promoted, self.rules_only)

    def _restore(self, state: ModelsState) -> None:
        for record in state.weights:
            self.use(Weights.from_json(record))
        self._frozen = set(state.frozen)
        self._promoted, self.rules_only = state.champion, state.rules_only


_NONE = Scorer(None)
