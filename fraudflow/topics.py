"""`fraudflow topics`: make the topics that the flow needs, and tell which are there."""

from typing import Annotated

import typer

from connectors.kafka import KafkaUnavailable, TopicProblem, TopicSpec, create_topics, missing_topics
from flows.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Make the topics that the flow needs, or list them.")

# Dead letters carry the message and headers that say why.
DLQ_MARGIN_BYTES = 65_536


def wanted_topics(settings: Settings, partitions: int, replication: int) -> list[TopicSpec]:
    """Every topic of the settings. What is one small ordered stream has one partition; the last word of rules, lists
    and models is kept by compaction."""

    def spec(name: str, count: int = partitions, **options: int | bool) -> TopicSpec:
        return TopicSpec(name, count, replication=replication, **options)  # type: ignore[arg-type]

    return [
        *(spec(topic, stamped_by_broker=True) for topic in settings.transaction_topics),
        spec(settings.label_topic, stamped_by_broker=True),
        spec(settings.rule_topic, 1, compacted=True),
        spec(settings.list_topic, 1, compacted=True),
        spec(settings.model_topic, 1, compacted=True),
        spec(settings.alert_topic),
        spec(settings.model_event_topic, 1),
        spec(settings.stats_topic, 1),
        spec(settings.dlq_topic, max_message_bytes=settings.max_message_bytes + DLQ_MARGIN_BYTES + 1_000_000),
    ]


@app.command()
def create(
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of the topics that carry transactions.")] = 6,
    replication: Annotated[int, typer.Option(help="Copies of each partition; -1 is the broker's default.")] = -1,
) -> None:
    """Make every topic that is missing; the others are left as they are.

    Example: `FRAUD_KAFKA_BOOTSTRAP_SERVERS=localhost:9092 python -m fraudflow topics create --partitions 12`
    """
    settings = Settings.load()
    specs = wanted_topics(settings, partitions, replication)
    try:
        made = create_topics(settings.kafka_config(), specs)
    except (KafkaUnavailable, TopicProblem) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    for spec in specs:
        kind = "compacted, " if spec.compacted else ""
        plural = "partition" if spec.partitions == 1 else "partitions"
        told = f"made ({kind}{spec.partitions} {plural})" if spec.name in made else "was there"
        typer.echo(f"{spec.name}: {told}")


@app.command("list")
def list_topics() -> None:
    """Tell which topics are there and which are missing (exit code 1).

    Example: `python -m fraudflow topics list`
    """
    settings = Settings.load()
    names = [spec.name for spec in wanted_topics(settings, 1, -1)]
    try:
        absent = missing_topics(settings.kafka_config(), names)
    except KafkaUnavailable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    for name in names:
        typer.echo(f"{name}: {'missing' if name in absent else 'there'}")
    if absent:
        typer.echo("To make what is missing: python -m fraudflow topics create", err=True)
        raise typer.Exit(1)
