"""The commands: list, show, replay."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fraudflow.dlq.letters import LetterId

app = typer.Typer(no_args_is_help=True, help="Look at dead letters, and put them back.")

Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only letters of this reason; can be repeated.")]
Topics = Annotated[list[str] | None, typer.Option("--topic", help="Only letters from this topic; can be repeated.")]
Since = Annotated[
    str | None, typer.Option(help="Only letters written since then: a time, or a duration back from now such as 2h.")
]
Until = Annotated[str | None, typer.Option(help="Only letters written before: a time, or a duration back from now.")]


@app.command("list")
def list_letters(
    *,
    reason: Reasons = None,
    topic: Topics = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many are shown.")] = 20,
) -> None:
    """A line for each dead letter: its id, when, why, where it came from; and how many there are by reason.

    Example: `python -m fraudflow dlq list --reason not_json --since 2h`
    """
    from flows.settings import Settings
    from fraudflow.dlq.letters import Wanted, read_letters
    from fraudflow.dlq.showing import show_list

    settings = Settings.load()
    wanted = Wanted(
        reasons=frozenset(reason or ()),
        topics=frozenset(topic or ()),
        since=moment(since, "--since"),
        until=moment(until, "--until"),
    )
    with told():
        show_list(read_letters(settings.kafka_config(), settings.dlq_topic, wanted, with_values=False), limit)


@app.command()
def show(
    letters: Annotated[list[str], typer.Argument(help="Ids as `list` shows them: partition/offset.", metavar="ID")],
) -> None:
    """All that is known of letters: every header, the key, and the message as it came.

    Example: `python -m fraudflow dlq show 3/1234 0/7`
    """
    from flows.settings import Settings
    from fraudflow.dlq.letters import Wanted, read_letters
    from fraudflow.dlq.showing import show_letters

    settings = Settings.load()
    ids = letter_ids(letters)
    with told():
        found = read_letters(settings.kafka_config(), settings.dlq_topic, Wanted(ids=ids)).letters
    show_letters(found)
    absent = sorted(ids - {letter.id for letter in found})
    if absent:
        typer.echo(f"{settings.dlq_topic} holds no letter {', '.join(map(str, absent))}", err=True)
        raise typer.Exit(1)


@app.command()
def replay(
    letters: Annotated[list[str] | None, typer.Argument(help="Ids as `list` shows them.", metavar="[ID]")] = None,
    *,
    reason: Reasons = None,
    topic: Topics = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[bool, typer.Option("--all", help="All there are; else ids or a filter must choose.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also those that were put back before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be put back.")] = False,
) -> None:
    """Put letters back into the topics they came from, with the key and value they had, and a header `replayed_from`.

    For when the cause is gone: a limit was raised, a producer's mistake is understood. Letters that were cut are
    refused. Each one that was put back is noted in the dead-letter topic, and is not put back again by mistake.

    Example: `python -m fraudflow dlq replay --reason amount_absurd --since 2024-12-04T10:00:00Z --dry-run`
    """
    from connectors.kafka import Complaints, admin_client, cluster_metadata
    from flows.settings import Settings
    from fraudflow.dlq.letters import Wanted, read_letters
    from fraudflow.dlq.replay import plan, put_back

    settings = Settings.load()
    if not (letters or reason or topic or since or until or everything):
        raise typer.BadParameter("say which: ids, a filter, or --all", param_hint="ID")
    wanted = Wanted(
        letter_ids(letters or ()),
        frozenset(reason or ()),
        frozenset(topic or ()),
        moment(since, "--since"),
        moment(until, "--until"),
    )
    config = settings.kafka_config()
    with told():
        complaints = Complaints("kafka admin")
        found = cluster_metadata(admin_client(config, complaints), config, complaints).topics
        read_by_flow = (*settings.transaction_topics, settings.label_topic)
        sources = {name: len(found[name].partitions) for name in read_by_flow if name in found}
        chosen, refused = plan(read_letters(config, settings.dlq_topic, wanted), sources=sources, again=again)
        for letter, why in refused:
            typer.echo(f"letter {letter.id} is not put back: {why}", err=True)
        if dry_run:
            for letter in chosen:
                typer.echo(
                    f"letter {letter.id} would go back to {letter.topic} ({letter.reason}, from {letter.source})"
                )
            typer.echo(f"{len(chosen)} letters would be put back, {len(refused)} not")
            return
        put_back(config, settings.dlq_topic, chosen, sources=sources, progress=lambda n: told_so_far(n, len(chosen)))
    typer.echo(f"{len(chosen)} letters were put back, {len(refused)} not")
    if refused and not chosen:
        raise typer.Exit(1)


def told_so_far(done: int, of: int) -> None:
    """Every thousand, on a terminal."""
    if sys.stderr.isatty() and (done % 1000 == 0 or done == of):
        print(f"\r{done:,} of {of:,}", end="\n" if done == of else "", file=sys.stderr, flush=True)


@contextmanager
def told() -> Iterator[None]:
    """What is wrong with Kafka, without a traceback."""
    from connectors.kafka import KafkaUnavailable, TopicProblem
    from fraudflow.dlq.replay import ReplayFailed

    try:
        yield
    except (KafkaUnavailable, TopicProblem, ReplayFailed) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def letter_ids(texts: "list[str] | tuple[str, ...]") -> "frozenset[LetterId]":
    """Raises BadParameter."""
    from fraudflow.dlq.letters import LetterId

    try:
        return frozenset(map(LetterId.parse, texts))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="ID") from None


def moment(text: str | None, option: str) -> int | None:
    """A time, or how long ago, in ms UTC. Raises BadParameter."""
    from operators.durations import PATTERN, parse_duration
    from operators.times import parse_time

    if text is None:
        return None
    try:
        if PATTERN.fullmatch(text.strip()):
            return int(time.time() * 1000) - parse_duration(text)
        return parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}, or a duration such as 2h", param_hint=option) from None
