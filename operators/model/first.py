"""A model that was trained on a history: what a flow begins with, so that its first day is not blind."""

from typing import NamedTuple

import msgspec

from operators.model.pipeline import OnlinePipeline, PipelineState
from operators.model.scoring import Weights, WeightsError
from operators.model.specification import ModelError, Specification


class FirstModel(NamedTuple):
    """Weights to score with, and what a trainer needs to go on from them. Its record is that of the weights with one
    field more, `learned`, over which scorers pass: the optimiser's own memory, without which its next steps would be as
    long as its very first."""

    weights: Weights
    state: PipelineState

    def __str__(self) -> str:
        trained = self.weights.trained_on
        return (
            f"{self.weights.name!r} version {self.weights.version}, "
            f"which has learned from {trained.examples:,} examples, {trained.frauds:,} of them frauds"
        )

    def to_json(self) -> bytes:
        """The record; the same model gives the same bytes."""
        learned = msgspec.json.encode(msgspec.structs.asdict(self.state))
        return self.weights.to_json()[:-1] + b',"learned":' + learned + b"}"

    @classmethod
    def from_json(cls, record: bytes) -> "FirstModel | None":
        """The model in a record of the models' topic; None where it holds weights alone, as a flow's own trainer
        publishes them. Raises WeightsError."""
        weights = Weights.from_json(record)
        try:
            learned = _DECODER.decode(record).learned
        except msgspec.DecodeError as error:
            raise WeightsError(f"not the record of a first model: {error}") from error
        return None if learned is None else cls(weights, PipelineState(**msgspec.structs.asdict(learned)))

    def pipeline(self, specification: Specification) -> OnlinePipeline:
        """The pipeline as it was. Raises ModelError where the specification has another name or optimiser."""
        name, optimiser = specification.name, specification.learning.optimiser
        for what, is_now, was in (
            ("is named", name, self.weights.name),
            ("learns with", optimiser, self.state.optimiser),
        ):
            if is_now != was:
                raise ModelError(
                    f"the first model {what} {was!r}, the specification has {is_now!r}: set it back, or train anew"
                )
        return OnlinePipeline(specification, self.state)


class _Learned(PipelineState, array_like=False):
    """By name, for people and other programs."""


class _Record(msgspec.Struct):
    learned: _Learned | None = None


_DECODER = msgspec.json.Decoder(_Record)
