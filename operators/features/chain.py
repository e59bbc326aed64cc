"""The windows of all entities of a plan one after the other, without the engine: for a history, or an example."""

from collections.abc import Sequence

from operators.features.labels import Labelled
from operators.features.plan import Plan
from operators.features.windows import Row, Windows
from operators.transactions.records import Label, Transaction


class Chain:
    """One key group for each entity. In: transactions in the order in which they came; out: a row of `plan.columns` for
    each. A repeated transaction is not told apart. The same calls give the same rows."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.windows = [Windows(entity) for entity in plan.entities]
        self.takes_labels = any(entity.has_labels for entity in plan.entities)

    def update(self, transactions: Sequence[Transaction]) -> list[Row]:
        """Enter the transactions, and return the whole row of each."""
        rows: list[Row] = [()] * len(transactions)
        for number, windows in enumerate(self.windows):
            own = windows.update(transactions, rows)
            rows = own if number == 0 else [row + more for row, more in zip(rows, own, strict=True)]
        return rows

    def full_from(self) -> dict[str, int]:
        """From which event time on each column's window is full; a derived field is with all that it is made of."""
        full = {name: time for windows in self.windows for name, time in windows.full_from().items()}
        for field, features in self.plan.made_of.items():
            full[field] = max((full[name] for name in features & full.keys()), default=full.get(field, 0))
        return full

    def labels(self, labels: Sequence[Label]) -> None:
        """Enter labels: each counts for the events after its arrival. Those that are made complete by a transaction
        which has come since the last call are entered too."""
        if not self.takes_labels:
            return
        for windows in self.windows:
            if windows.plan.takes_told_labels:
                windows.labels([Labelled.of(label, windows.plan) for label in labels])
            if windows.plan.memory is not None:
                completed = windows.complete(labels)
                for other in self.windows:
                    if other.plan.takes_completed_labels:
                        other.labels([label.of(other.plan) for label in completed])
