"""What all Kafka clients of the flow share: errors told in words, topics that are missing, and how they are made."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from time import monotonic
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import ClusterMetadata
from confluent_kafka.cimpl import NewTopic

log = logging.getLogger(__name__)

TIMEOUT_S = 15.0
"""How long a broker may take to answer at the start, where nothing can go on without it."""

REFUSAL_S = 2.0
"""After so long a refused password or certificate is believed: another broker of the list may have taken it."""

_REFUSED = (KafkaError._AUTHENTICATION, KafkaError._SSL)
_WHEN = re.compile(r" \(after \d+ms in state .*\)$")

CONSUMER_OPTIONS = ("fetch.", "queued.", "auto.offset.", "isolation.", "check.crcs", "max.poll.")


class KafkaUnavailable(RuntimeError):
    """No broker answered in time; the message has the reason that the client reported."""


class KafkaRefused(KafkaUnavailable):
    """The client does not take its options, or the brokers not who asks: no waiting helps. The message says why."""


class TopicProblem(RuntimeError):
    """A topic is missing, or could not be made."""


class Complaints:
    """What a client reported of its connections, given to librdkafka as `error_cb`.

    A wrong password or an unknown host shows elsewhere only as a time-out: `why()` is what to add to that message.
    """

    def __init__(self, client: str) -> None:
        self._client = client
        self._seen: dict[str, None] = {}
        self.refused = False
        """A broker does not take the password or token, or has a certificate that is not trusted."""

    def __call__(self, error: KafkaError) -> None:
        self.refused |= error.code() in _REFUSED
        text = _WHEN.sub("", error.str())
        if text in self._seen:
            return
        if len(self._seen) == 50:
            self._seen.clear()  # bounded; after so many different ones they may be logged again
        self._seen[text] = None
        log.warning("%s: %s", self._client, text)

    def why(self) -> str:
        """The latest reasons, or an empty text."""
        causes = [text for text in self._seen if "brokers are down" not in text]
        return "; ".join((causes or list(self._seen))[-2:])


def bootstrap(config: Mapping[str, str]) -> str:
    """Where the brokers of `config` are, for messages."""
    return config.get("bootstrap.servers") or config.get("metadata.broker.list") or "(no bootstrap.servers)"


def unavailable(config: Mapping[str, str], seconds: float, complaints: Complaints) -> KafkaUnavailable:
    """The error for a broker that did not answer within `seconds`."""
    why = complaints.why() or "no reason given"
    if "brokers are down" in why and config.get("security.protocol", "plaintext").lower() == "plaintext":
        why += " (or they want TLS or a password: FRAUD_KAFKA_CONFIG_SECURITY_PROTOCOL is not set)"
    if complaints.refused:
        return KafkaRefused(f"Kafka at {bootstrap(config)} can't be used: {why}")
    return KafkaUnavailable(f"no answer from Kafka at {bootstrap(config)} within {seconds:g} s: {why}")


def options_refused(failure: KafkaException) -> KafkaRefused:
    """The error for a client that can't be made with its options."""
    why = failure.args[0].str().rstrip(".")
    return KafkaRefused(f"the Kafka client refuses its options (FRAUD_KAFKA_CONFIG_…): {why}")


def cluster_metadata(
    client: Any, config: Mapping[str, str], complaints: Complaints, timeout: float = TIMEOUT_S
) -> ClusterMetadata:
    """The cluster's brokers and topics as `client` (of any kind) sees them. Raises KafkaUnavailable."""
    deadline = monotonic() + timeout
    while True:
        try:
            metadata: ClusterMetadata = client.list_topics(timeout=min(REFUSAL_S, max(0.1, deadline - monotonic())))
            return metadata
        except KafkaException as error:
            client.poll(0)  # only here does the client hand over what it has to say of its connections
            if complaints.refused or monotonic() >= deadline:
                raise unavailable(config, timeout, complaints) from error


def missing(topics: Iterable[str], metadata: ClusterMetadata) -> list[str]:
    """Those of `topics` that the cluster does not have (or does not let this user see), in the order given."""
    known = {name for name, topic in metadata.topics.items() if topic.error is None and topic.partitions}
    return [topic for topic in topics if topic not in known]


def missing_message(topics: Sequence[str], config: Mapping[str, str]) -> str:
    """What to tell a user whose topics are missing."""
    names = ", ".join(topics)
    return (
        f"Kafka at {bootstrap(config)} has no topic {names} (or this user may not see it). "
        "To make every topic that is missing: python -m fraudflow topics create"
    )


def without_consumer_options(config: Mapping[str, str]) -> dict[str, str]:
    """The options for a client that reads nothing, which would complain about those that only concern reading."""
    return {option: value for option, value in config.items() if not option.startswith(CONSUMER_OPTIONS)}


def admin_client(config: Mapping[str, str], complaints: Complaints) -> AdminClient:
    """A client for topics. Keep it in a variable: one that is collected cancels what it was asked for.

    Raises KafkaRefused.
    """
    settings: dict[str, Any] = {"log_level": "0", **without_consumer_options(config), "error_cb": complaints}
    try:
        return AdminClient(settings)
    except KafkaException as failure:
        raise options_refused(failure) from failure


def missing_topics(config: Mapping[str, str], topics: Iterable[str], *, timeout: float = TIMEOUT_S) -> list[str]:
    """Those of `topics` that do not exist, in the order given. Makes none. Raises KafkaUnavailable."""
    complaints = Complaints("kafka admin")
    admin = admin_client(config, complaints)
    return missing(topics, cluster_metadata(admin, config, complaints, timeout))


class TopicSpec(NamedTuple):
    """A topic as it should be: `replication` -1 and `max_message_bytes` None leave it to the broker. With
    `stamped_by_broker` a message has the time at which it came, whatever its producer's clock says."""

    name: str
    partitions: int = 1
    compacted: bool = False
    replication: int = -1
    max_message_bytes: int | None = None
    stamped_by_broker: bool = False

    def settings(self) -> dict[str, str]:
        """The topic's own settings, as Kafka names them."""
        settings = {"cleanup.policy": "compact"} if self.compacted else {}
        if self.stamped_by_broker:
            settings["message.timestamp.type"] = "LogAppendTime"
        if self.max_message_bytes is not None:
            settings["max.message.bytes"] = str(self.max_message_bytes)
        return settings


def create_topics(config: Mapping[str, str], specs: Iterable[TopicSpec], *, timeout: float = 30.0) -> list[str]:
    """Make those of the topics that do not exist and return their names; the others are left as they are.

    Raises TopicProblem with every topic that could not be made and why, and KafkaUnavailable.
    """
    complaints = Complaints("kafka admin")
    admin = admin_client(config, complaints)
    wanted = {spec.name: spec for spec in specs}
    absent = missing(wanted, cluster_metadata(admin, config, complaints))
    if not absent:
        return []
    new = [
        NewTopic(
            name,
            num_partitions=wanted[name].partitions,
            replication_factor=wanted[name].replication,
            config=wanted[name].settings(),
        )
        for name in absent
    ]
    made, problems = [], []
    futures: dict[str, Future[None]] = admin.create_topics(new, operation_timeout=timeout, request_timeout=timeout)
    for name, future in futures.items():
        try:
            future.result()
            made.append(name)
        except KafkaException as failure:
            error: KafkaError = failure.args[0]
            if error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                problems.append(f"{name}: {error.str()}")
    if problems:
        raise TopicProblem(f"Kafka at {bootstrap(config)} did not make " + "; ".join(problems))
    return made
