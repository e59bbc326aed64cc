"""Values of messages in error texts: short, whatever a message holds."""

LONGEST = 80


def shown(value: object) -> str:
    """The value as Python writes it, cut; of a list or an object only what it is: it may be nested without end."""
    if isinstance(value, dict):
        return "a JSON object"
    if isinstance(value, list | tuple):
        return "a JSON array"
    text = repr(value[:LONGEST] if isinstance(value, str | bytes) else value)
    return text if len(text) <= LONGEST + 2 else text[:LONGEST] + "…"
