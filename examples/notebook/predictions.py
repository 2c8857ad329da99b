"""How good are the predictions? Run as a script, or cell by cell: each `# %%` begins one in VS Code,
Spyder, PyCharm and, with jupytext, in Jupyter. Python 3.9 and its standard library are enough; with
pandas the frames become DataFrames.

    python examples/notebook/predictions.py --account main

TRADEWIND_URL and TRADEWIND_KEY say where and as whom; left out, it is the server of `npm start`.
"""

# %% Where the server is
import argparse
import csv
import gzip
import io
import json
import os
import pathlib
import urllib.error
import urllib.parse
import urllib.request
from decimal import Decimal, localcontext

try:
    import pandas
except ImportError:
    pandas = None

arguments = argparse.ArgumentParser(description="How good are the predictions?")
arguments.add_argument("--account", default="main")
# A notebook's own arguments are not ours.
account = arguments.parse_known_args()[0].account

url = os.environ.get("TRADEWIND_URL", "http://localhost:4000")
home = pathlib.Path(os.environ.get("TRADEWIND_HOME", ".tradewind"))
key = os.environ.get("TRADEWIND_KEY") or (home / "admin-key").read_text().strip()


# %% One request
def send(path, body=None):
    """The answer to a request, unpacked. A refusal says in JSON why."""
    headers = {"authorization": f"Bearer {key}", "accept-encoding": "gzip"}
    if body is not None:
        headers["content-type"] = "application/json"
    request = urllib.request.Request(url + path, body, headers)
    try:
        response = urllib.request.urlopen(request)
    except urllib.error.HTTPError as refused:
        raise SystemExit(f"{refused.code}: {refused.read().decode()}") from None
    packed = response.headers.get("content-encoding") == "gzip"
    return (gzip.GzipFile(fileobj=response) if packed else response), response.headers


def query(document, **variables):
    """The data of a query; an error of any field ends it with its code and message."""
    body = json.dumps({"query": document, "variables": variables}).encode()
    answer = json.load(send("/graphql", body)[0])
    for error in answer.get("errors", []):
        raise SystemExit(f"{error['extensions']['code']}: {error['message']}")
    return answer["data"]


def table(rows, columns):
    """Prints rows of cells; None is a dash."""
    texts = [columns, *([("-" if cell is None else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[place]) for row in texts) for place in range(len(columns))]
    for row in texts:
        print("  ".join(text.rjust(width) for text, width in zip(row, widths)))
    print()


def rounded(number, digits=4):
    return None if number is None else f"{number:.{digits}f}"


# %% A frame: whole columns of one moment
FRAME = """query ($account: ID!) {
  predictionFrame(account: $account, limit: 100000) {
    count truncated asOfSeq
    predictedAt symbol modelVersion price horizonMinutes direction confidence actualReturn correct
  }
}"""
frame = query(FRAME, account=account)["predictionFrame"]
facts = {name: frame.pop(name) for name in ("count", "truncated", "asOfSeq")}
print(f"{facts['count']} rows as of seq {facts['asOfSeq']}, older ones match: {facts['truncated']}\n")

if pandas is not None:
    predictions = pandas.DataFrame(frame)
    predictions["predictedAt"] = pandas.to_datetime(predictions["predictedAt"])
    print(predictions.tail(5).to_string(index=False), "\n")
else:
    columns = list(frame)
    table(list(zip(*frame.values()))[-5:], columns)

# %% Amounts are strings: as Decimal they are exact
prices = [Decimal(price) for price in frame["price"] if price is not None]
if prices:
    floats = sum(float(price) for price in prices)
    with localcontext() as context:
        # Python rounds to 28 digits unless it is told; an amount has up to 38.
        context.prec = 60
        print(f"sum of the prices: {sum(prices)} exactly, {floats!r} as floats\n")

# %% How good they were: by the server, over all that there are
ACCURACY = """query ($account: ID!) {
  predictionAccuracy(account: $account, groupBy: [MODEL_VERSION, HORIZON], minSamples: 30) {
    modelVersion horizonMinutes resolved pending lowSample
    accuracy { value low high } meanConfidence brier ece
  }
}"""
groups = query(ACCURACY, account=account)["predictionAccuracy"]
table(
    [
        [
            group["modelVersion"],
            group["horizonMinutes"],
            group["resolved"],
            group["pending"],
            *(rounded((group["accuracy"] or {}).get(part), 3) for part in ("value", "low", "high")),
            *(rounded(group[name]) for name in ("meanConfidence", "brier", "ece")),
            "few" if group["lowSample"] else "",
        ]
        for group in groups
    ],
    ["model", "minutes", "resolved", "pending", "accuracy", "low", "high", "confidence", "brier", "ece", ""],
)

# %% The same from the columns: right is what has an outcome and agreed with it
tally = {}
for model, minutes, correct in zip(frame["modelVersion"], frame["horizonMinutes"], frame["correct"]):
    if correct is not None:
        right, all_of_it = tally.get((model, minutes), (0, 0))
        tally[model, minutes] = (right + correct, all_of_it + 1)
if not facts["truncated"]:
    theirs = {(g["modelVersion"], g["horizonMinutes"]): g["resolved"] for g in groups if g["resolved"]}
    ours = {name: count for name, (_right, count) in tally.items()}
    print("the frame and the server count", "alike" if ours == theirs else "at different moments", "\n")

# %% More rows than a frame has: streamed as CSV, in constant memory, of one moment
names = urllib.parse.urlencode({"account": account, "format": "csv", "columns": "predictedAt,symbol,price"})
stream, headers = send(f"/export/predictions?{names}")
rows = 0
highest = {}
for row in csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8", newline="")):
    rows += 1
    if row["price"]:
        highest[row["symbol"]] = max(highest.get(row["symbol"], Decimal(0)), Decimal(row["price"]))
print(f"{rows} rows exported as of seq {headers['x-as-of-seq']}")
table(sorted(highest.items()), ["symbol", "highest price"])
