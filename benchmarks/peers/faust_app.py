"""The same on Faust (faust-streaming): one table entry a user, in memory with a changelog topic.

python faust_app.py worker -l warning     in an environment of its own; PEER_… tell where and with what limits
"""

import os
from datetime import datetime
from typing import Any

import faust

MINUTE_MS, FIVE_MINUTES_MS, HOUR_MS = 60_000, 300_000, 3_600_000
MOST_IN_A_MINUTE, MOST_IN_AN_HOUR, MOST_LOCATIONS = map(int, os.environ["PEER_LIMITS"].split())

app = faust.App(
    f"faust-{os.environ['PEER_OUTPUT']}",
    broker=f"kafka://{os.environ['PEER_BOOTSTRAP']}",
    datadir=os.environ["PEER_FOLDER"],
    store="memory://",
    topic_partitions=4,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
)
transactions = app.topic(os.environ["PEER_INPUT"], value_serializer="json", key_serializer="raw")
alerts = app.topic(os.environ["PEER_OUTPUT"], value_serializer="json", key_serializer="raw")
hours: Any = app.Table("hours", default=list, partitions=4)


@app.agent(transactions)
async def judge(messages: Any) -> None:
    """Each transaction against the trailing hour of its user: time, cents, location."""
    async for message in messages:
        user = message["customer_id"]
        now = round(datetime.fromisoformat(message["timestamp"]).timestamp() * 1000)
        hour = [each for each in hours[user] if each[0] > now - HOUR_MS]
        hour.append([now, round(message["amount"] * 100), message["location"]])
        hours[user] = hour
        rules = []
        if sum(1 for each in hour if each[0] > now - MINUTE_MS) > MOST_IN_A_MINUTE:
            rules.append("velocity")
        if sum(each[1] for each in hour) > MOST_IN_AN_HOUR * 100:
            rules.append("spent")
        if len({each[2] for each in hour if each[0] > now - FIVE_MINUTES_MS}) > MOST_LOCATIONS:
            rules.append("places")
        if rules:
            await alerts.send(key=user.encode(), value={"transaction_id": message["transaction_id"], "rules": rules})


if __name__ == "__main__":
    app.main()
