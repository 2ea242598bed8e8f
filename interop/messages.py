"""What is published, and what must become of it.

The messages are those of an ordinary Python publisher: google-cloud-pubsub,
json.dumps, one record a message, ordering key = symbol, floats with the noise of
float32, NaN tokens, timestamps with and without an offset, nulls, numbers as
strings, batches as JSON arrays and lines, the same message twice under one
event_id, and bad records.

The expectation beside each record is worked out here, with decimal and datetime
alone, so that no reader and no writer of the lake is its own judge. The same
seed gives the same messages.
"""

import dataclasses
import datetime as dt
import decimal
import json
import random
import struct

UTC = dt.timezone.utc

# The columns of each type, by what they hold, as docs/format.md and the
# definitions say. The identity columns are added by columns().
PRICES, CENTS, FLOATS, INTS, STRINGS, TIMES, DATES = "decimal(18,8)", "decimal(18,2)", "float64", "int64", "string", "timestamp(us,UTC)", "date"


def _columns(text):
    pairs = (item.split(":") for item in text.split())
    kinds = {"p": PRICES, "c": CENTS, "f": FLOATS, "i": INTS, "n": "int32", "s": STRINGS, "t": TIMES, "d": DATES, "b": "binary"}
    return {name: kinds[kind] for name, kind in pairs}


IDENTITY = _columns("_id:s _index:n _published_at:t _schema_version:s _flags:i")

FIELDS = {
    "market_data": _columns(
        "symbol:s timestamp:t price:p open:p high:p low:p close:p volume:i market_cap:c pe_ratio:f eps:p dividend_yield:f rsi_14d:f"
        " sma_20d:p volatility_30d:f beta:f bid:p ask:p change:f change_percent:f data_source:s created_at:t version:s"),
    "options_data": _columns(
        "underlying_symbol:s contract_symbol:s expiration_date:d strike_price:p option_type:s bid:p ask:p last_price:p mark_price:p"
        " bid_ask_spread:p intrinsic_value:p time_value:p volume:i open_interest:i bid_size:i ask_size:i delta:f gamma:f theta:f vega:f"
        " rho:f implied_volatility:f timestamp:t data_source:s created_at:t"),
    "forecasts": _columns(
        "symbol:s model_name:s model_version:s forecast_horizon_days:n predicted_price:p confidence_interval_lower:p"
        " confidence_interval_upper:p confidence_score:f ensemble_method:s ensemble_weights:s component_predictions:s"
        " feature_importance:s model_accuracy:f training_data_end_date:d prediction_date:d created_at:t expires_at:t"),
    "dead_letters": _columns(
        "dl_id:s data_type:s reason:s field:s value:s explanation:s schema_version:s message_id:s record_index:n published_at:t"
        " source:s attributes:s payload_ref:s data:b data_form:s topic:s ordering_key:s delivery_attempt:n"),
}

SYMBOL = {"market_data": "symbol", "options_data": "underlying_symbol", "forecasts": "symbol", "dead_letters": "data_type"}
EVENT_TIME = {"market_data": "timestamp", "options_data": "timestamp", "forecasts": "prediction_date", "dead_letters": "published_at"}
AMOUNT = {"market_data": "price", "options_data": "strike_price", "forecasts": "predicted_price", "dead_letters": None}
TOPIC = {"market_data": "market-data", "options_data": "options-data", "forecasts": "forecasts"}


def columns(data_type):
    """The columns of a table and their types, the partition columns apart."""
    return FIELDS[data_type] | IDENTITY


@dataclasses.dataclass
class Record:
    """One record: the JSON value sent, and the row or the reason expected."""

    sent: object
    row: dict | None = None
    reason: str | None = None


@dataclasses.dataclass
class Message:
    """One message to publish. Its identity is known once it has been accepted."""

    data_type: str
    records: list
    attributes: dict
    key: str = ""
    form: str = "one"  # one record, "array" or "lines"; bytes in records[0].sent go as they are
    id: str = ""

    def payload(self):
        if isinstance(self.records[0].sent, bytes):
            return self.records[0].sent
        if self.form == "one":
            return json.dumps(self.records[0].sent).encode()
        if self.form == "lines":
            return b"\n".join(json.dumps(r.sent).encode() for r in self.records)
        return json.dumps([r.sent for r in self.records]).encode()


def noisy(x):
    """x after a stay in a float32: 4.42 is 4.420000076293945."""
    return struct.unpack("f", struct.pack("f", x))[0]


def exact(x, scale=8):
    """The decimal a column of that scale must hold for x."""
    if x is None:
        return None
    text = x if isinstance(x, str) else repr(x)
    return decimal.Decimal(text).quantize(decimal.Decimal(1).scaleb(-scale), rounding=decimal.ROUND_HALF_EVEN)


class Publisher:
    """Makes the messages of one round."""

    def __init__(self, seed, days, symbols):
        self.random = random.Random(seed)
        self.days = days
        self.symbols = symbols
        self.number = 0

    def instant(self):
        """A time of a trading day: as sent, and as it must be read."""
        day = self.random.choice(self.days)
        t = dt.datetime.combine(day, dt.time(14, 30), UTC) + dt.timedelta(seconds=self.random.randrange(6 * 3600))
        if self.random.random() < 0.6:
            t += dt.timedelta(microseconds=self.random.randrange(1_000_000))
        style = self.random.randrange(4)
        if style == 0:
            return t.replace(tzinfo=None).isoformat(), t
        if style == 1:
            return t.astimezone(dt.timezone(dt.timedelta(hours=-5))).isoformat(), t
        if style == 2:
            return t.replace(tzinfo=None).isoformat(sep=" "), t
        return t.isoformat(), t

    def maybe(self, value, chance=0.15):
        return None if self.random.random() < chance else value

    def market(self):
        r = self.random
        symbol, (sent_time, time) = r.choice(self.symbols), self.instant()
        price = noisy(round(r.uniform(0.5, 900), 4))
        sent = {
            "symbol": symbol, "timestamp": sent_time, "price": price,
            "volume": self.maybe(r.choice([r.randrange(10**9), float(r.randrange(10**6)), str(r.randrange(10**6)), float("nan")])),
            "bid": self.maybe(noisy(price * 0.999)), "ask": self.maybe(round(price * 1.001, 6)),
            "high": self.maybe(noisy(price * 1.01)), "low": self.maybe(noisy(price * 0.98)),
            "open": self.maybe(noisy(price * 0.995)), "close": self.maybe(str(round(price, 2))),
            "change": self.maybe(r.choice([r.gauss(0, 3), float("nan"), float("inf")])), "change_percent": self.maybe(r.gauss(0, 1)),
            "market_cap": self.maybe(r.choice([r.randrange(10**13), round(r.uniform(1e6, 1e12), 2)])), "source": r.choice(["yahoo_finance", "alpha_vantage"]),
        }
        row = dict.fromkeys(FIELDS["market_data"])
        row |= {"symbol": symbol, "timestamp": time, "data_source": sent["source"], "version": "v1.2.0"}
        for name in ("price", "bid", "ask", "high", "low", "open", "close"):
            row[name] = exact(sent[name])
        row["market_cap"] = exact(sent["market_cap"], 2)
        row["volume"] = None if sent["volume"] in (None, ) or sent["volume"] != sent["volume"] else int(sent["volume"])
        for name in ("change", "change_percent"):
            v = sent[name]
            row[name] = None if v is None or v != v or v in (float("inf"), float("-inf")) else float(v)
        if r.random() < 0.3:
            stamp = time + dt.timedelta(seconds=1)
            sent["created_at"], row["created_at"] = stamp.isoformat(), stamp
        return symbol, Record(sent, row)

    def option(self):
        r = self.random
        symbol, (sent_time, time) = r.choice(self.symbols), self.instant()
        expiry = time.date() + dt.timedelta(days=r.randrange(1, 400))
        strike, kind = r.randrange(5, 900) / r.choice([1, 2, 4]), r.choice(["C", "P", "call", "put", "CALL"])
        sent = {
            "underlying_symbol": symbol, "contract_symbol": f"{symbol}{expiry:%y%m%d}{kind[0].upper()}{int(strike * 1000):08d}",
            "expiration_date": expiry.isoformat(), "strike_price": strike, "option_type": kind, "timestamp": sent_time, "source": "yahoo_finance",
            "bid": self.maybe(noisy(strike / 7)), "ask": self.maybe(noisy(strike / 6)), "last_price": self.maybe(round(strike / 6.5, 2)),
            "volume": self.maybe(r.randrange(5000)), "open_interest": self.maybe(float(r.randrange(5000))),
            "implied_volatility": self.maybe(r.choice([r.random(), 1e-05, 125.6, float("nan")])), "delta": self.maybe(r.uniform(-1, 1)),
        }
        if r.random() < 0.2:  # Yahoo leaves keys out
            for name in ("bid", "ask", "volume"):
                del sent[name]
        row = dict.fromkeys(FIELDS["options_data"])
        row |= {"underlying_symbol": symbol, "contract_symbol": sent["contract_symbol"], "expiration_date": expiry, "timestamp": time,
                "option_type": {"C": "call", "P": "put"}.get(kind, kind.lower()), "data_source": "yahoo_finance"}
        for name in ("strike_price", "bid", "ask", "last_price"):
            row[name] = exact(sent.get(name))
        for name in ("volume", "open_interest"):
            row[name] = None if sent.get(name) is None else int(sent[name])
        for name in ("implied_volatility", "delta"):
            row[name] = None if sent[name] is None or sent[name] != sent[name] else float(sent[name])
        return symbol, Record(sent, row)

    def forecast(self):
        r = self.random
        symbol, day = r.choice(self.symbols), r.choice(self.days)
        price = r.uniform(1, 900)
        weights = {"lstm": 0.5, "arima": 0.5}
        sent = {
            "symbol": symbol, "model_name": r.choice(["lstm", "gradient boosting + x", "arima"]), "model_version": "2.1",
            "forecast_horizon_days": r.choice([1, 5, 30]), "predicted_price": round(price, 8),
            "confidence_interval_lower": self.maybe(round(price * 0.9, 4)), "confidence_interval_upper": self.maybe(round(price * 1.1, 4)),
            "confidence_score": self.maybe(r.random()), "ensemble_method": self.maybe("mean", 0.5),
            "ensemble_weights": self.maybe(json.dumps(weights), 0.5), "prediction_date": day.isoformat(),
            "training_data_end_date": self.maybe((day - dt.timedelta(days=1)).isoformat()),
        }
        row = dict.fromkeys(FIELDS["forecasts"])
        row |= {k: sent[k] for k in ("symbol", "model_name", "model_version", "forecast_horizon_days", "confidence_score", "ensemble_method", "ensemble_weights")}
        for name in ("predicted_price", "confidence_interval_lower", "confidence_interval_upper"):
            row[name] = exact(sent[name])
        row["prediction_date"] = day
        row["training_data_end_date"] = sent["training_data_end_date"] and day - dt.timedelta(days=1)
        return symbol, Record(sent, row)

    def bad(self, data_type, record, reason, **changes):
        """A good record, spoilt."""
        sent = record.sent | changes
        return Record({k: v for k, v in sent.items() if v is not KeyError}, reason=reason)

    def single(self, data_type, symbol, record):
        time = str(record.sent.get("timestamp") or record.sent.get("prediction_date") or "") if isinstance(record.sent, dict) else ""
        return Message(data_type, [record], {"symbol": symbol, "source": "yahoo_finance", "timestamp": time, "message_type": data_type}, symbol)

    def batch(self, data_type, make, n, form, **attributes):
        records = [make()[1] for _ in range(n)]
        if form == "lines":
            attributes["content_type"] = "application/x-ndjson"
        return Message(data_type, records, {"source": "yahoo_finance"} | attributes, form=form)

    def messages(self, singles, batch):
        """A round: singles of each type, batches, repeats and bad ones."""
        kinds = {"market_data": self.market, "options_data": self.option, "forecasts": self.forecast}
        out = []
        for data_type, make in kinds.items():
            out += [self.single(data_type, *make()) for _ in range(singles)]
            out.append(self.batch(data_type, make, batch, "array"))
            out.append(self.batch(data_type, make, batch // 2, "lines"))
            self.number += 1
            # As backfills send: the producer's id and time, which survive a second sending.
            again = self.batch(data_type, make, batch // 2, "array", event_id=f"round-{self.number}-{self.random.random()}", published_at="2024-02-01T00:00:00Z")
            out += [again, again]
        return out + self.bad_ones()

    def bad_ones(self):
        m, o, f = self.market()[1], self.option()[1], self.forecast()[1]
        one = lambda data_type, record: Message(data_type, [record], {"source": "yahoo_finance"})
        good = [self.market()[1] for _ in range(5)]
        return [
            one("market_data", self.bad("market_data", m, "missing_required", symbol=KeyError)),
            one("market_data", self.bad("market_data", m, "missing_required", price=None)),
            one("market_data", self.bad("market_data", m, "not_finite", price=float("nan"))),
            one("market_data", self.bad("market_data", m, "rule_broken", price=-36.98)),
            one("market_data", self.bad("market_data", m, "fractional_integer", volume=50.29)),
            one("market_data", self.bad("market_data", m, "decimal_precision", price=8.942e-06 / 3)),
            one("market_data", self.bad("market_data", m, "bad_timestamp", timestamp="Ticker")),
            one("market_data", Record(b'{"symbol": "AAPL", "price": ', reason="json_syntax")),
            one("options_data", self.bad("options_data", o, "not_in_enum", option_type="straddle")),
            one("options_data", self.bad("options_data", o, "bad_timestamp", expiration_date="2024-02-30")),
            one("forecasts", self.bad("forecasts", f, "missing_required", model_name=None)),
            one("forecasts", self.bad("forecasts", f, "rule_broken", confidence_score=90.64)),
            Message("market_data", good[:3] + [self.bad("market_data", m, "rule_broken", volume=-1)] + good[3:], {"source": "yahoo_finance"}, form="array"),
        ]


def expected_rows(messages):
    """The rows that messages must become, each identity once, by data type."""
    rows = {}
    for m in messages:
        by_producer = m.attributes.get("event_id")
        for i, r in enumerate(m.records):
            if r.row is not None:
                identity = {"_id": f"e:{by_producer}" if by_producer else f"m:{m.id}", "_index": i, "_schema_version": None}
                rows.setdefault(m.data_type, {})[identity["_id"], i] = r.row | identity
    return {data_type: list(by_id.values()) for data_type, by_id in rows.items()}


def expected_reasons(messages):
    """How many dead letters of each reason messages must become."""
    counts = {}
    for m in messages:
        for r in m.records:
            if r.reason:
                counts[r.reason] = counts.get(r.reason, 0) + 1
    return counts


def records_sent(messages):
    return sum(len(m.records) for m in messages)
