"""Three real brokers: each partition has a copy on every one, so that one may go."""

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from confluent_kafka.cimpl import NewTopic

from tests.servers.kafka import Kafka, new_cluster_id
from tests.servers.process import free_ports

REPLICATED = {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "min.insync.replicas": "2",
    "controller.quorum.bootstrap.servers": "",
}


class Node(Kafka):
    """One of several brokers, on ports that the others know."""

    start_timeout = 180.0

    def __init__(self, number: int, cluster_id: str, port: int, controller: int, voters: str) -> None:
        listener = f"PLAINTEXT://127.0.0.1:{port}"
        super().__init__(
            {
                **REPLICATED,
                "node.id": str(number),
                "listeners": f"{listener},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": listener,
                "controller.quorum.voters": voters,
            }
        )
        self.cluster_id = cluster_id
        self._own = f"127.0.0.1:{port}"

    def prepare(self) -> None:
        """As a single one, but for its address."""
        super().prepare()
        self.bootstrap = self._own


class Brokers:
    """The cluster, for as long as the block runs."""

    def __init__(self) -> None:
        ports, cluster = free_ports(6), new_cluster_id()
        voters = ",".join(f"{number + 1}@127.0.0.1:{ports[number + 3]}" for number in range(3))
        self.nodes = [Node(number + 1, cluster, ports[number], ports[number + 3], voters) for number in range(3)]
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in ports[:3])

    def __enter__(self) -> Self:
        try:
            # Together: none is ready before a second one is.
            with ThreadPoolExecutor(3) as pool:
                list(pool.map(Node.__enter__, self.nodes))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.__exit__(None, None, None)

    def create_topic(self, name: str, partitions: int = 4, **settings: str) -> None:
        """Make a topic with three copies."""
        config = {key.replace("_", "."): value for key, value in settings.items()}
        admin = self.nodes[0].admin()
        admin.create_topics([NewTopic(name, partitions, 3, config=config)])[name].result()
        Kafka.wait_until(lambda: name in admin.list_topics(timeout=5).topics)

    def leader(self, topic: str, partition: int) -> Node:
        """The node that leads a partition."""
        found = self.nodes[0].admin().list_topics(topic, timeout=10).topics[topic].partitions[partition].leader
        return self.nodes[found - 1]
