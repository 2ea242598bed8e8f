#!/usr/bin/env python3
"""Turns captured files of real publishers into messages, as a fetcher would publish them.

    examples/captured/convert.py DATA OUT

DATA is a folder of captured files, of which those below are known; OUT gets, for
each, OUT/<data type>/<file>.<n>.ndjson with one record a line and at most 5,000
lines (one message each), and OUT/records.tsv with the records of each file.
examples/captured/run.sh does this and sends them through the whole pipeline.

    market/pystock/<day>_prices.csv.gz       daily bars of an exchange
    market/yahoo/chart-*, historical-*       bars, quote-* and quoteSummary-all-* quotes (JSON)
    market/yfinance/<symbol>-1d-*.csv.gz     bars with the source's errors in them
    market/lean/{coarse,crypto,tick}         a day's universe, minutes, trades
    market/{oil,plotly,vega,zipline}         small histories
    options/{yahoo,etf-chains,lean}          chains
    forecasts/{yahoo,flusight}               analysts' targets; quantiles of epidemic models

A fetcher reads a file format and renames fields. It judges nothing: what is
missing, NaN, negative or garbage goes out as it stands, for the pipeline to judge.
Python's standard library is all that it needs.
"""

import csv
import datetime as dt
import decimal
import gzip
import io
import json
import pathlib
import re
import sys
import zipfile
import zoneinfo

LINES = 5000
NEW_YORK = zoneinfo.ZoneInfo("America/New_York")


def number(text, empty=None):
    """The number as Python reads it; text that is none stays as it is."""
    if text == "":
        return empty
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            pass
    return text


def pandas(text):
    """The number as pandas reads it: what is absent is NaN."""
    return number(text, float("nan"))


def rows(path):
    """The rows of a CSV file as dictionaries."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as f:
        yield from csv.DictReader(f)


def unzipped(path):
    """The rows of a CSV file without a header, in a zip of one file."""
    with zipfile.ZipFile(path) as z, z.open(z.namelist()[0]) as f:
        yield from csv.reader(io.TextIOWrapper(f, "utf-8"))


def renamed(record, names, **more):
    """The named fields of a record that has them: an absent key stays absent."""
    return {ours: record[theirs] for ours, theirs in names.items() if theirs in record} | more


def bar(symbol, time, row, source, read=number, names=("Open", "High", "Low", "Close", "Volume")):
    o, h, l, c, v = (read(row[n]) for n in names)
    return {"symbol": symbol, "timestamp": time, "price": c, "open": o, "high": h, "low": l, "close": c, "volume": v, "source": source}


def day_of(name):
    """20140403.csv.gz and 20160801_prices.csv.gz are of a day."""
    return dt.datetime.strptime(re.match(r"\d{8}", name)[0], "%Y%m%d").date()


# --- market -----------------------------------------------------------------


def pystock(path):
    for r in rows(path):
        yield "market_data", bar(r["symbol"], r["date"], r, "pystock", names=("open", "high", "low", "close", "volume"))


def yahoo_chart(path):
    for result in json.loads(path.read_text())["chart"]["result"]:
        quote = result["indicators"]["quote"][0]
        for i, time in enumerate(result.get("timestamp", [])):
            values = {name: quote[name][i] for name in ("open", "high", "low", "close", "volume") if name in quote}
            yield "market_data", {"symbol": result["meta"]["symbol"], "timestamp": time, "price": values.get("close"), **values, "source": "yahoo_finance"}


QUOTE = {"symbol": "symbol", "timestamp": "regularMarketTime", "price": "regularMarketPrice", "volume": "regularMarketVolume", "bid": "bid", "ask": "ask",
         "high": "regularMarketDayHigh", "low": "regularMarketDayLow", "open": "regularMarketOpen", "close": "regularMarketPreviousClose",
         "change": "regularMarketChange", "change_percent": "regularMarketChangePercent", "market_cap": "marketCap", "pe_ratio": "trailingPE",
         "eps": "epsTrailingTwelveMonths", "dividend_yield": "dividendYield", "beta": "beta"}


def yahoo_quote(path):
    for quote in json.loads(path.read_text())["quoteResponse"]["result"]:
        yield "market_data", renamed(quote, QUOTE, source="yahoo_finance")


def yahoo_summary(path):
    for result in json.loads(path.read_text())["quoteSummary"]["result"]:
        parts = {}
        for name in ("defaultKeyStatistics", "summaryDetail", "price"):
            parts |= result.get(name, {})
        yield "market_data", renamed(parts, QUOTE, source="yahoo_finance")
        if "financialData" in result:
            day = dt.datetime.fromtimestamp(parts["regularMarketTime"], dt.timezone.utc).date()
            yield "forecasts", target(parts["symbol"], result["financialData"], prediction_date=day.isoformat())


def yfinance(path):
    """3988-HK-1d-bad-div.csv.gz is of 3988.HK; its times have the exchange's offset."""
    symbol = re.sub(r"-1[dh]-.*", "", path.name).replace("-", ".")
    for r in rows(path):
        yield "market_data", bar(symbol, r.get("Datetime") or r.get("Date"), r, "yfinance", pandas)


def lean_coarse(path):
    """Security id, symbol, close, volume, dollar volume, fundamentals, price factor, split factor."""
    with gzip.open(path, "rt", newline="") as f:
        for _, symbol, close, volume, *_ in csv.reader(f):
            yield "market_data", {"symbol": symbol, "timestamp": day_of(path.name).isoformat(), "price": number(close), "close": number(close),
                                  "volume": number(volume), "source": "lean"}


def lean_crypto(path):
    """Milliseconds since midnight UTC; open, high, low, close, volume."""
    midnight = dt.datetime.combine(day_of(path.name), dt.time(), dt.timezone.utc)
    for ms, *values in unzipped(path):
        time = midnight + dt.timedelta(milliseconds=int(ms))
        yield "market_data", bar(path.parent.name.upper(), time.isoformat(), dict(zip("ohlcv", values)), "lean", names="ohlcv")


def lean_tick(path):
    """Milliseconds since midnight in New York; price in 1/10,000, size, exchange, conditions, suspicious."""
    midnight = dt.datetime.combine(day_of(path.name), dt.time(), NEW_YORK)
    for ms, price, size, *_ in unzipped(path):
        time = midnight + dt.timedelta(milliseconds=int(ms))
        yield "market_data", {"symbol": path.parent.name.upper(), "timestamp": time.isoformat(), "price": float(decimal.Decimal(price) / 10000),
                              "volume": number(size), "source": "lean"}


def oil(path):
    for r in rows(path):
        yield "market_data", {"symbol": "BRENT", "timestamp": r["Date"], "price": number(r["Price"]), "source": "eia"}


def plotly(path):
    names = [f"AAPL.{n}" for n in ("Open", "High", "Low", "Close", "Volume")]
    for r in rows(path):
        yield "market_data", bar("AAPL", r["Date"], r, "plotly", names=names) | {"sma_20d": number(r["mavg"])}


def vega(path):
    """Its dates are text that no program wrote: Jan 1 2000."""
    for r in rows(path):
        yield "market_data", {"symbol": r.get("symbol", "^GSPC"), "timestamp": r["date"], "price": number(r["price"]), "source": "vega"}


def zipline(path):
    for r in rows(path):
        yield "market_data", bar(path.name.split(".")[0], r["date"], r, "zipline", names=("open", "high", "low", "close", "volume"))


# --- options ----------------------------------------------------------------


def yahoo_options(path):
    names = {"contract_symbol": "contractSymbol", "strike_price": "strike", "expiration_date": "expiration", "last_price": "lastPrice", "bid": "bid",
             "ask": "ask", "volume": "volume", "open_interest": "openInterest", "implied_volatility": "impliedVolatility", "timestamp": "lastTradeDate"}
    for chain in json.loads(path.read_text())["optionChain"]["result"]:
        if chain.get("quote"):
            yield "market_data", renamed(chain["quote"], QUOTE, source="yahoo_finance")
        for options in chain["options"]:
            for kind in ("calls", "puts"):
                for contract in options[kind]:
                    yield "options_data", renamed(contract, names, underlying_symbol=chain["underlyingSymbol"], option_type=kind[:-1], source="yahoo_finance")


def etf_chain(path):
    captured = json.loads((path.parent / "meta.json").read_text())["utc"]
    for r in rows(path):
        yield "options_data", {
            "underlying_symbol": path.name.split(".")[0], "contract_symbol": r["contractSymbol"], "expiration_date": r["expiry"], "option_type": r["type"],
            "strike_price": pandas(r["strike"]), "last_price": pandas(r["lastPrice"]), "bid": pandas(r["bid"]), "ask": pandas(r["ask"]),
            "volume": pandas(r["volume"]), "open_interest": pandas(r["openInterest"]), "implied_volatility": pandas(r["impliedVolatility"]),
            "timestamp": captured, "source": "yfinance"}


def etf_meta(path):
    meta = json.loads(path.read_text())
    for symbol, t in meta["tickers"].items():
        yield "market_data", {"symbol": symbol, "timestamp": meta["utc"], "price": t["spot_live"], "close": t["spot"], "source": "yfinance"}


def lean_options(path):
    """The first row, without an expiry, is the underlying."""
    day = day_of(path.name.split("_")[-1]).isoformat()
    underlying = path.parent.name.upper()
    for r in rows(path):
        prices = {n: number(r[n]) for n in ("open", "high", "low", "close", "volume")}
        if not r["#expiry"]:
            yield "market_data", {"symbol": underlying, "timestamp": day, "price": prices["close"], **prices, "source": "lean"}
            continue
        expiry = day_of(r["#expiry"])
        strike = decimal.Decimal(r["strike"])
        yield "options_data", {
            "underlying_symbol": underlying, "contract_symbol": f"{underlying:6}{expiry:%y%m%d}{r['right']}{int(strike * 1000):08d}",
            "expiration_date": expiry.isoformat(), "strike_price": number(r["strike"]), "option_type": r["right"], "last_price": prices["close"],
            "volume": prices["volume"], "open_interest": number(r["open_interest"]), "timestamp": day, "source": "lean",
            **{n: number(r[n]) for n in ("implied_volatility", "delta", "gamma", "theta", "vega", "rho") if n in r}}


# --- forecasts --------------------------------------------------------------


def target(symbol, data, **more):
    names = {"predicted_price": "targetMeanPrice", "confidence_interval_lower": "targetLowPrice", "confidence_interval_upper": "targetHighPrice"}
    return renamed(data, names, symbol=symbol, model_name="analysts' target", model_version="financialData", forecast_horizon_days=365, **more)


def yahoo_target(path):
    """The response says no date, and nothing is made up."""
    symbol = path.stem.removeprefix("quoteSummary-financialData-")
    for result in json.loads(path.read_text())["quoteSummary"]["result"]:
        yield "forecasts", target(symbol, result["financialData"])


def flusight(path):
    """One forecast for each place and week: the median, within the 95 % interval.
    A sampled path is a forecast of its own; one of categories has no median. A
    week is NA where the forecast is of a season."""
    day, model = path.name.removesuffix(".csv.gz")[:10], path.name.removesuffix(".csv.gz")[11:]
    forecasts = {}
    for r in rows(path):
        sample = r["output_type_id"] if r["output_type"] == "sample" else ""
        key = r["location"], r["horizon"], r["target"], sample or r["output_type"]
        forecasts.setdefault(key, {})["0.5" if sample else r["output_type_id"]] = number(r["value"])
    for (location, horizon, what, kind), values in forecasts.items():
        weeks = number(horizon)
        yield "forecasts", {
            "symbol": location, "model_name": model, "model_version": f"{what}, {kind}", "forecast_horizon_days": weeks * 7 if isinstance(weeks, int) else weeks,
            "prediction_date": day, "predicted_price": values.get("0.5"), "confidence_interval_lower": values.get("0.025"),
            "confidence_interval_upper": values.get("0.975"), "component_predictions": values}


# --- files ------------------------------------------------------------------

FILES = [
    ("market/pystock/*.csv.gz", pystock), ("market/yahoo/chart-*.json", yahoo_chart), ("market/yahoo/historical-*.json", yahoo_chart),
    ("market/yahoo/quote-*.json", yahoo_quote), ("market/yahoo/quoteSummary-*.json", yahoo_summary), ("market/yfinance/*.csv.gz", yfinance),
    ("market/lean/coarse/*.csv.gz", lean_coarse), ("market/lean/crypto/*/*.zip", lean_crypto), ("market/lean/tick/*/*.zip", lean_tick),
    ("market/oil/*.csv.gz", oil), ("market/plotly/*.csv", plotly), ("market/vega/*.csv", vega), ("market/zipline/*.csv.gz", zipline),
    ("options/yahoo/*.json", yahoo_options), ("options/etf-chains/*/*.csv.gz", etf_chain), ("options/etf-chains/*/meta.json", etf_meta),
    ("options/lean/*/*/*.csv.gz", lean_options), ("forecasts/yahoo/*.json", yahoo_target), ("forecasts/flusight/*.csv.gz", flusight),
]


class Out:
    """The messages of one captured file."""

    def __init__(self, folder, name):
        self.folder, self.name, self.lines, self.counts = folder, name.replace("/", "~"), {}, {}

    def add(self, data_type, record):
        lines = self.lines.setdefault(data_type, [])
        lines.append(json.dumps(record))
        self.counts[data_type] = self.counts.get(data_type, 0) + 1
        if len(lines) == LINES:
            self.write(data_type)

    def write(self, data_type):
        if lines := self.lines.get(data_type):
            part = (self.counts[data_type] - 1) // LINES
            folder = self.folder / data_type
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{self.name}.{part}.ndjson").write_text("".join(line + "\n" for line in lines))
            lines.clear()


def main(data, folder):
    data, folder = pathlib.Path(data), pathlib.Path(folder)
    known, table = set(), ["file\tdata type\trecords"]
    for pattern, read in FILES:
        for path in sorted(data.glob(pattern)):
            known.add(path)
            name = str(path.relative_to(data))
            out = Out(folder, name)
            for data_type, record in read(path):
                out.add(data_type, record)
            for data_type in out.counts:
                out.write(data_type)
            table += [f"{name}\t{t}\t{n}" for t, n in out.counts.items()] or [f"{name}\t\t0"]
    if not known:
        sys.exit(f"convert.py: no file that is known in {data}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "records.tsv").write_text("\n".join(table) + "\n")
    for path in sorted(p for p in data.rglob("*") if p.is_file() and p not in known and p.parent != data):
        print(f"not converted: {path.relative_to(data)}", file=sys.stderr)
    print(f"{len(known)} files, {sum(int(line.split(chr(9))[2]) for line in table[1:])} records")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
