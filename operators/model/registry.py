"""What the models' topic holds: the newest weights of each model, kept versions, and the commands in force."""

from collections.abc import Iterable

from operators.model.control import PREFIX, Action, Control
from operators.model.scoring import Weights, WeightsError
from operators.model.versions import version_key
from operators.transactions.messages import Messages


class NoSuchModel(ValueError):
    """A model or a version that the topic does not hold; the text says what it holds."""


class Registry:
    """Reads messages of the models' topic, those of a partition in order; of each key the last one counts.

    What can't be read is passed over and counted in `refused`.
    """

    def __init__(self, batches: Iterable[Messages] = ()) -> None:
        self.newest: dict[str, Weights] = {}
        self.refused = 0
        self._kept: dict[str, Weights] = {}
        self._controls: dict[str, Control] = {}
        for batch in batches:
            for key, value in zip(batch.keys, batch.values, strict=True):
                self._add((key or b"").decode(errors="replace"), value)

    def _add(self, key: str, value: bytes | None) -> None:
        if not value:
            for held in (self._kept, self._controls, self.newest):
                held.pop(key, None)
            return
        try:
            if key.startswith(PREFIX):
                self._controls[key] = Control.from_json(value)
                return
            weights = Weights.from_json(value)
        except WeightsError:
            self.refused += 1
            return
        if key == version_key(weights.name, weights.version):
            self._kept[key] = weights
        elif "@" not in key:
            self.newest[weights.name] = weights

    @property
    def names(self) -> list[str]:
        """The models that ever published."""
        return sorted(self.newest)

    @property
    def promoted(self) -> str | None:
        """The champion by command; None: the first model of `model.toml`."""
        control = self._controls.get(f"{PREFIX}champion")
        return control.model if control else None

    @property
    def rules_only(self) -> bool:
        """Whether no score decides."""
        control = self._controls.get(f"{PREFIX}scoring")
        return control is not None and control.action == "rules_only"

    def frozen(self, name: str) -> Control | None:
        """The command that holds a model at its version; None where it publishes."""
        control = self._controls.get(PREFIX + name)
        return control if control and control.action != "unfreeze" else None

    def in_force(self, name: str) -> Weights:
        """The weights that score. Raises NoSuchModel."""
        control = self.frozen(name)
        if control is not None and control.weights is not None:
            return control.weights
        if name not in self.newest:
            known = ", ".join(self.names) or "none that has published"
            raise NoSuchModel(f"there is no model {name!r}: the topic has {known}")
        return self.newest[name]

    def kept(self, name: str) -> list[Weights]:
        """The versions that can be rolled back to, the newest first. Raises NoSuchModel."""
        self.in_force(name)
        found = [weights for weights in self._kept.values() if weights.name == name]
        return sorted(found, key=lambda weights: -weights.version)

    def version(self, name: str, version: int) -> Weights:
        """A kept version. Raises NoSuchModel."""
        versions = {weights.version: weights for weights in self.kept(name)}
        if version not in versions:
            known = ", ".join(map(str, versions)) or "none"
            raise NoSuchModel(f"version {version} of {name} is not kept: there is {known}")
        return versions[version]

    def command(self, action: Action, name: str, version: int | None, *, by: str, reason: str, at: int) -> Control:
        """A command about a model that there is, with the weights that it needs. Raises NoSuchModel."""
        weights = self.in_force(name) if name else None
        if action == "rollback" and version is not None:
            weights = self.version(name, version)
        return Control(action, name, by, reason, at, weights if action in {"freeze", "rollback"} else None)
