"""From the bytes of a message to a `Transaction`, a `Label`, or a `DeadLetter`."""
