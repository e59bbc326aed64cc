"""`python -m tests.servers kafka influxdb` starts real servers and prints where they are, until Ctrl-C."""

import signal
import sys
from contextlib import ExitStack, suppress

from tests.servers.influxdb import InfluxDB
from tests.servers.kafka import Kafka
from tests.servers.process import Server, ServerMissing

SERVERS: dict[str, type[Server]] = {"kafka": Kafka, "influxdb": InfluxDB}
SETTINGS = {"kafka": "FRAUD_KAFKA_BOOTSTRAP_SERVERS", "influxdb": "FRAUD_INFLUX_URL"}


def main(names: list[str]) -> int:
    """Start what is named and wait."""
    unknown = [name for name in names if name not in SERVERS]
    if unknown or not names:
        print(f"name one or more of: {', '.join(SERVERS)}", file=sys.stderr)
        return 2
    # As an exception a signal stops the servers too, also one that comes while they start.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        for name in names:
            try:
                server = stack.enter_context(SERVERS[name]())
            except ServerMissing as error:
                print(error, file=sys.stderr)
                return 1
            print(f"{SETTINGS[name]}={server.address()}", flush=True)
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
