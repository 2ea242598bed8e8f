#!/usr/bin/env python3
"""Publishes a quote as a fetcher does: one JSON record, the symbol as ordering key.

    make run                                # in another terminal: Pub/Sub on 127.0.0.1:8085
    pip install google-cloud-pubsub
    PUBSUB_EMULATOR_HOST=127.0.0.1:8085 GOOGLE_CLOUD_PROJECT=local python3 examples/publish.py

Without PUBSUB_EMULATOR_HOST it publishes to the project on Google Cloud.
An event_id makes a second sending of the same record add nothing.
"""

import datetime
import json
import os

from google.cloud import pubsub_v1

publisher = pubsub_v1.PublisherClient(publisher_options=pubsub_v1.types.PublisherOptions(enable_message_ordering=True))
topic = publisher.topic_path(os.environ["GOOGLE_CLOUD_PROJECT"], "market-data")
now = datetime.datetime.now(datetime.timezone.utc).isoformat()
quote = {"symbol": "AAPL", "timestamp": now, "price": 185.92, "bid": 185.9, "ask": 185.94, "volume": 1_200_300, "market_cap": None, "source": "example"}
message_id = publisher.publish(
    topic, json.dumps(quote).encode(), ordering_key=quote["symbol"],
    symbol=quote["symbol"], source=quote["source"], timestamp=now, message_type="market_data", event_id=f"example-{quote['symbol']}-{now}").result()
print("published", message_id)
