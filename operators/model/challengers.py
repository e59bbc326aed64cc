"""Several models in one `model.toml`: the first one, and those that challenge it."""

from difflib import get_close_matches

import msgspec

from operators.model.specification import Learning, ModelError, Specification


def models_of(specification: Specification) -> tuple[Specification, ...]:
    """The first model and its challengers, each as if it stood alone. Raises ModelError."""
    first = msgspec.structs.replace(specification, challengers=())
    models = [first]
    for challenger in specification.challengers:
        left = tuple(feature for feature in first.features if feature.name not in challenger.without)
        try:
            learning = msgspec.convert({**msgspec.structs.asdict(first.learning), **challenger.learning}, Learning)
        except msgspec.ValidationError as error:
            raise ModelError(f"challenger {challenger.name!r}, learning: {error}") from error
        changed = {"name": challenger.name, "features": (*left, *challenger.features), "learning": learning}
        models.append(msgspec.structs.replace(first, **changed, prior=challenger.prior or first.prior))
    return tuple(models)


def seen_by_any(specification: Specification) -> Specification:
    """The first model with the features of all: what is encoded once for every model."""
    own = (feature for challenger in specification.challengers for feature in challenger.features)
    return msgspec.structs.replace(specification, features=(*specification.features, *own), challengers=())


def check_challengers(specification: Specification) -> dict[str, Specification]:
    """The challengers by name. Raises ModelError where names are not told apart or not known."""
    models = [specification.name]
    features = {feature.name for feature in specification.features}
    known = sorted(features)
    for challenger in specification.challengers:
        where = f"challenger {challenger.name!r}"
        if challenger.name in models:
            raise ModelError(f"{where}: another model has that name")
        models.append(challenger.name)
        for name in challenger.without:
            if name not in known:
                nearest = get_close_matches(name, known, n=1)
                hint = f": did you mean {nearest[0]!r}?" if nearest else ""
                raise ModelError(f"{where}, without: there is no feature {name!r}{hint}")
        for feature in challenger.features:
            if feature.name in features:
                raise ModelError(f"{where}: feature {feature.name!r} is there already: give its own another name")
            features.add(feature.name)
    return {model.name: model for model in models_of(specification)[1:]}
