"""First models in files: the record of the models' topic."""

import os
from pathlib import Path

from operators.model.first import FirstModel
from operators.model.scoring import WeightsError


def write_first(path: Path, model: FirstModel) -> None:
    """The record of the models' topic as a file, which is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(model.to_json())
    os.replace(partial, path)


def read_first(path: Path) -> FirstModel:
    """The model that `write_first` wrote. Raises ValueError, which names the file, and OSError."""
    try:
        model = FirstModel.from_json(path.read_bytes())
    except WeightsError as error:
        raise ValueError(f"{path}: {error}") from error
    if model is None:
        raise ValueError(f"{path}: weights alone: a model to begin with is what `fraudflow train` writes")
    return model
