"""Replays a usage trace on a sandbox's own clock and counts everything again.

    plimsoll serve &   # prints a sandbox key
    python3 examples/trace.py http://127.0.0.1:8787 plm_test_… trace.csv

The trace has the columns TIMESTAMP,ContextTokens,GeneratedTokens, as the Azure LLM inference trace 2023
(CC-BY 4.0, Microsoft Azure Public Dataset) has them. The clock is set to the first day and moves with
the trace, so hours begin and end as they did then. At the end, totals must equal the sums of the file, and
notifications must be the ones that the few lines of `expected` compute.
"""

import csv, json, sys, urllib.error, urllib.request
from collections import defaultdict
from datetime import datetime, timedelta, timezone

url, key, path = sys.argv[1:4]
METERS = {"context": "ContextTokens", "generated": "GeneratedTokens"}
LIMITS = {"context": 12_000_000, "generated": 2_500_000}
PERCENT, EVERY = [10, 25, 50, 75, 90, 100], 1_000_000


def call(method, route, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(url + route, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {route}: {error.code} {error.read().decode()}")


def text(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03}Z"


def rows():
    with open(path, newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            time = datetime.strptime(row["TIMESTAMP"][:26], "%Y-%m-%d %H:%M:%S.%f")
            yield number, time.replace(tzinfo=timezone.utc), row


def expected(trace):
    """Every line that is crossed: (feature, kind, level, hour, event)."""
    used, crossed = defaultdict(int), set()
    for number, time, row in trace:
        hour = time.replace(minute=0, second=0, microsecond=0)
        for feature, column in METERS.items():
            before = used[feature, hour]
            after = used[feature, hour] = before + int(row[column])
            for percent in PERCENT:
                level = LIMITS[feature] * percent // 100
                if before < level <= after:
                    crossed.add((feature, "usage_percentage", str(level), text(hour)[:19] + "Z", str(number)))
            if before // EVERY < after // EVERY:
                level = str(after // EVERY * EVERY)
                crossed.add((feature, "every", level, text(hour)[:19] + "Z", str(number)))
    return crossed


def set_up(start):
    call("PUT", "/v1/clock", {"now": text(start)})
    for feature, column in METERS.items():
        call("POST", "/v1/meters", {"key": feature, "event_type": "llm.request", "aggregation": "sum",
                                    "value_property": f"$.{column}"})
        call("POST", "/v1/features", {"key": feature, "name": feature, "type": "metered", "meter": feature})
    call("POST", "/v1/customers", {"key": "azure", "name": "Azure"})
    for feature, limit in LIMITS.items():
        call("POST", "/v1/customers/azure/entitlements", {"feature": feature, "type": "metered",
             "limit": str(limit), "usage_period": {"interval": "hour"}})
    channel = call("POST", "/v1/channels", {"type": "webhook", "name": "nowhere", "disabled": True,
                                            "url": "https://example.com/", "event_types": []})
    lines = [{"kind": "usage_percentage", "value": str(it)} for it in PERCENT]
    call("POST", "/v1/rules", {"name": "lines", "type": "entitlements.balance.threshold", "channels": [channel["id"]],
                               "lines": lines + [{"kind": "every", "value": str(EVERY)}]})


def send(batch):
    call("PUT", "/v1/clock", {"now": text(batch[-1][1])})
    events = [{"specversion": "1.0", "id": str(number), "source": "azure", "type": "llm.request", "subject": "azure",
               "time": text(time), "data": {it: int(row[it]) for it in METERS.values()}} for number, time, row in batch]
    answer = call("POST", "/v1/events", events)
    assert answer == {"accepted": len(events), "duplicates": 0, "rejected": []}, answer


def pages(route):
    cursor = ""
    while cursor is not None:
        page = call("GET", f"{route}&limit=1000" + (f"&cursor={cursor}" if cursor else ""))
        yield from page["items"]
        cursor = page["next_cursor"]


trace = list(rows())
set_up(trace[0][1].replace(hour=0, minute=0, second=0, microsecond=0))
batch = []
for entry in trace:
    if batch and (entry[1].hour != batch[0][1].hour or len(batch) == 500):
        send(batch)
        batch = []
    batch.append(entry)
send(batch)
call("PUT", "/v1/clock", {"now": text(trace[-1][1] + timedelta(days=1))})

failures = 0
day = trace[0][1].strftime("%Y-%m-%dT00:00:00Z")
after = (trace[-1][1] + timedelta(days=1)).strftime("%Y-%m-%dT00:00:00Z")
for feature, column in METERS.items():
    usage = call("GET", f"/v1/usage?meter={feature}&from={day}&to={after}")["items"]
    got, want = sum(int(it["value"]) for it in usage), sum(int(row[column]) for _, _, row in trace)
    failures += got != want
    print(f"{feature}: {got} used, the file says {want}")
got = set()
for it in pages("/v1/notifications?type=entitlements.balance.threshold"):
    data = it["payload"]["data"]
    line = data["line"]
    got.add((data["feature"]["key"], line["kind"], line.get("step") or line["level"], data["window"]["from"],
             data["crossed_by"]["id"]))
want = expected(trace)
failures += len(got ^ want)
print(f"{len(got)} notifications, {len(want)} expected")
for it in sorted(got ^ want):
    print("only here:" if it in got else "missing:", it)
sys.exit(1 if failures else 0)
