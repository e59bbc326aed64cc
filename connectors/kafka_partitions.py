"""Partitions that are added to a topic while it is read: noticed and told, since the engine finds its parts only once.

What it does on error: a broker that does not answer is asked again later. Nothing else waits for it.
"""

import logging
import threading
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaException

from connectors.kafka import TIMEOUT_S, Complaints, admin_client
from connectors.notify import notifier

log = logging.getLogger(__name__)

EVERY_S = 30.0


class PartitionWatch:
    """Looks at the topics every half minute, in a thread that ends with the process."""

    def __init__(self, config: Mapping[str, str], topics: Sequence[str]) -> None:
        self._complaints = Complaints("kafka partitions")
        self._admin = admin_client(config, self._complaints)
        self._topics = tuple(topics)
        self._first: dict[str, int] = {}
        self._told: dict[str, int] = {}

    def start(self) -> None:
        """Begin to watch: what is there at the first look is what the flow reads."""
        threading.Thread(target=self._run, name="partitions", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self.look()
            pause.wait(EVERY_S)

    def look(self) -> None:
        """Tell topics that have more partitions than at the first look, each growth once."""
        try:
            found = self._admin.list_topics(timeout=TIMEOUT_S).topics
        except KafkaException:
            return  # the sources say what is wrong with the broker
        for topic in self._topics:
            now = len(found[topic].partitions) if topic in found else 0
            known = self._told.setdefault(topic, self._first.setdefault(topic, now))
            if now > known:
                self._told[topic] = now
                more = f"{topic} has {now} partitions, {now - self._first[topic]} more than when the flow started"
                log.error("%s: they are read from their beginning once it is started again", more)
                notifier().restart(more)
