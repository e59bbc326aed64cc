"""The same on Quix Streams: one state a user, in RocksDB with a changelog topic.

python quix.py BOOTSTRAP INPUT OUTPUT FOLDER      in an environment of its own, with quixstreams
"""

import sys
from datetime import datetime
from typing import Any

from quixstreams import Application, State

MINUTE_MS, FIVE_MINUTES_MS, HOUR_MS = 60_000, 300_000, 3_600_000


def judge(message: dict[str, Any], state: State) -> dict[str, Any] | None:
    """The alert, or None. The state is the trailing hour: time, cents, location of each transaction."""
    now = round(datetime.fromisoformat(message["timestamp"]).timestamp() * 1000)
    hour = [each for each in state.get("hour", []) if each[0] > now - HOUR_MS]
    hour.append([now, round(message["amount"] * 100), message["location"]])
    state.set("hour", hour)
    rules = []
    if sum(1 for each in hour if each[0] > now - MINUTE_MS) > MOST_IN_A_MINUTE:
        rules.append("velocity")
    if sum(each[1] for each in hour) > MOST_IN_AN_HOUR * 100:
        rules.append("spent")
    if len({each[2] for each in hour if each[0] > now - FIVE_MINUTES_MS}) > MOST_LOCATIONS:
        rules.append("places")
    return {"transaction_id": message["transaction_id"], "rules": rules} if rules else None


if __name__ == "__main__":
    bootstrap, source, target, folder, *limits = sys.argv[1:]
    MOST_IN_A_MINUTE, MOST_IN_AN_HOUR, MOST_LOCATIONS = map(int, limits)
    app = Application(
        broker_address=bootstrap,
        consumer_group=f"quix-{target}",
        auto_offset_reset="earliest",
        state_dir=folder,
        loglevel="WARNING",
    )
    stream = app.dataframe(app.topic(source, value_deserializer="json", key_deserializer="bytes"))
    stream = stream.apply(judge, stateful=True).filter(lambda alert: alert is not None)
    stream.to_topic(app.topic(target, value_serializer="json", key_serializer="bytes"))
    app.run()
