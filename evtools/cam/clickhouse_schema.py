# ruff: noqa: S608  (statements are made of names of ours, and of texts that `quoted` quotes)
"""The tables and views of the camera clickhouse, and how figures of hours are made anew."""

from collections.abc import Iterator, Mapping, Sequence
from string import Template
from typing import Any, Final

#: The version of the tables.
VERSION: Final = 1
#: From this version of the server on there is all that evcam uses: before it, times are whole
#: seconds, nothing is removed by TTL, and columns have no codecs.
MODERN: Final = (21, 8)
MICROS: Final = 1_000_000
#: Seconds.
HOUR: Final = 3600
_DAY_MICROS: Final = 24 * HOUR * MICROS

# fmt: off
#: Columns of the event log: their types, `Label` for a text of which there are few.
_EVENTS: Final = {
    "id": "UInt64", "cluster": "Label", "type": "Label", "day": "Date", "micros": "UInt64",
    "received": "UInt64", "hostname": "Label", "pid": "UInt64", "clock": "UInt64",
    "ahead": "Int32", "uuid": "String", "name": "Label", "retries": "UInt32", "args": "String",
    "kwargs": "String", "root_id": "String", "parent_id": "String", "eta": "String",
    "due": "UInt64", "expires": "String", "queue": "Label", "exchange": "Label",
    "routing_key": "Label", "runtime": "Nullable(Float64)", "result": "String",
    "exception": "String", "traceback": "String", "terminated": "Nullable(UInt8)",
    "signum": "Label", "expired": "Nullable(UInt8)", "requeue": "Nullable(UInt8)",
    "freq": "Nullable(Float64)", "active": "Nullable(UInt64)", "processed": "Nullable(UInt64)",
    "loadavg": "Array(Float64)", "sw_ident": "Label", "sw_ver": "Label", "sw_sys": "Label",
    "extra": "String",
}
EVENT_COLUMNS: Final = tuple(_EVENTS)
#: Which of them hold long texts, and grow steadily.
_LONG: Final = frozenset(
    ("args", "kwargs", "result", "exception", "traceback", "extra", "eta", "expires"),
)
_STEADY: Final = frozenset({"micros", "received", "clock"})
#: Steps of a task in the order of their precedence: of those of one moment, and of its ends.
_KINDS: Final = (
    "task-sent", "task-received", "task-started", "task-retried", "task-rejected",
    "task-cancelled", "task-revoked", "task-failed", "task-succeeded",
)
#: As states, those of the ends.
_ENDS: Final = ("RETRY", "REJECTED", "CANCELLED", "REVOKED", "FAILURE", "SUCCESS")

#: What is kept of a task: by column its aggregate function, the type of what it is of, and that,
#: with the weight by which the newest is found.  A step is a number that sorts by time: its
#: microseconds, its kind, and how often the task was retried.
_OF_TASK: Final = {
    "receipt_s": ("max", "UInt64", "if($kind = 1, $rank, 0)", ""),
    "first_receipt_s": ("min", "UInt64", "if($kind = 1, $rank, $most)", ""),
    "call_s": ("max", "UInt64", "if($kind = 0, $rank, 0)", ""),
    "start_s": ("max", "UInt64", "if($kind = 2, micros, 0)", ""),
    # A set of them would take as long to read as all the others.
    "first_retry_s": ("min", "UInt64", "if($kind = 3, micros, $most)", ""),
    "last_retry_s": ("max", "UInt64", "if($kind = 3, micros, 0)", ""),
    **{f"{name}_s": ("max", "UInt64", f"if($kind = {kind}, micros, 0)", "")
       for kind, name in enumerate(("rejected", "cancelled", "revoked", "failed", "succeeded"), 4)},
    "first_revoked_s": ("min", "UInt64", "if($kind = 6, micros, $most)", ""),
    "first_s": ("min", "UInt64", "received", ""),
    "last_s": ("max", "UInt64", "received", ""),
    "worker_ahead_s": ("max", "Int32", "if($kind BETWEEN 1 AND 8, $clock, $never)", ""),
    "client_ahead_s": ("max", "Int32", "if($kind = 0, $clock, $never)", ""),
    "worker_s": ("argMax", "String", "hostname", "if(hostname = '', 0, $at_worker)"),
    "client_s": ("argMax", "String", "hostname", "$at_client"),
    **{f"{name}_s": ("argMax", "String", name, f"if({name} = '', 0, $in_call)")
       for name in ("name", "args", "kwargs", "root_id", "parent_id")},
    **{f"{name}_s": ("argMax", "String", name, "$at_client")
       for name in ("queue", "exchange", "routing_key")},
    "eta_s": ("argMax", "String", "eta", "if(eta = '', $in_try, $in_try + $step)"),
    "due_s": ("argMax", "UInt64", "due", "if(eta = '', $in_try, $in_try + $step)"),
    "expires_s": ("argMax", "String", "expires", "if(expires = '', $in_try, $in_try + $step)"),
    "measured_s": ("argMax", "Float64", "ifNull(runtime, -1)", "if($kind = 8, micros, 0)"),
    "result_s": ("argMax", "String", "result", "if($kind = 8, micros, 0)"),
    **{f"{name}_s": ("argMax", "String", name,
                     "multiIf($kind = 7, 2 * $step + micros, $kind = 3, micros, 0)")
       for name in ("exception", "traceback")},
    # What is reported twice was true the first time.
    **{f"{name}_s": ("argMax", kind, f"ifNull({name}, 2)" if kind == "UInt8" else name,
                     "if($kind = 6, 2 * $step - micros, 0)")
       for name, kind in (("terminated", "UInt8"), ("signum", "String"), ("expired", "UInt8"))},
    "requeue_s": ("argMax", "UInt8", "ifNull(requeue, 2)", "if($kind = 4, micros, 0)"),
    "extra_s": ("argMax", "String", "extra", "if(extra = '' OR $kind = 15, 0, micros)"),
    "note_s": ("argMax", "String", "extra", "if($kind = 15, micros, 0)"),
    "noted_s": ("argMax", "String", "type", "if($kind = 15, micros, 0)"),
}
#: Which of them are columns of a view as they are: those have an underscore behind their names, for
#: a column that is named as what it is made of is taken for that.
_SHOWN: Final = frozenset(
    f"{name}_s" for name in (
        "worker", "client", "name", "args", "kwargs", "root_id", "parent_id", "queue", "exchange",
        "routing_key", "eta", "expires", "result", "exception", "traceback", "terminated", "signum",
        "expired", "requeue", "extra", "note",
    )
)
#: What is kept of a worker, likewise.
_OF_WORKER: Final = {
    "pid_s": ("argMax", "UInt64", "pid", "if($kind = 1, micros, 0)"),
    "freq_s": ("argMax", "Float64", "ifNull(freq, 0)", "$beat"),
    **{f"{name}_s": ("argMax", "UInt64", f"ifNull({name}, 0)", "$beat")
       for name in ("active", "processed")},
    "loadavg_s": ("argMax", "String", "toString(loadavg)", "$beat"),
    **{f"{name}_s": ("argMax", "String", name, "$beat")
       for name in ("sw_ident", "sw_ver", "sw_sys")},
    "beat_s": ("max", "UInt64", "$beat", ""),
    "online_s": ("max", "UInt64", "if(type = 'worker-online', micros, 0)", ""),
    "offline_s": ("max", "UInt64", "if(type = 'worker-offline', micros, 0)", ""),
    "told_s": ("max", "UInt64", "if($kind = 1, micros, 0)", ""),
    "heard_s": ("max", "UInt64", "received", ""),
    "extra_s": ("argMax", "String", "extra", "if(extra = '' OR $kind != 1, 0, micros)"),
}
# fmt: on

#: Names in the statements below.  Microseconds and `$step`, the next greater power of two, make
#: weights; `$never` is less than any clock is ahead.
_WORDS: Final = {
    "hour": f"{HOUR * MICROS}",
    "step": f"{2**52}",
    "never": f"{-(2**31)}",
    "most": f"{2**63}",
    "ends": "['" + "', '".join(_ENDS) + "']",
    "clock": "if(ahead = 0, $never, ahead)",
}
_KIND: Final = (
    "transform(CAST(type, 'String'), ["
    + ", ".join(f"'{kind}'" for kind in _KINDS)
    + "], [0, 1, 2, 3, 4, 5, 6, 7, 8], 15)"
)
#: What stands for what in the states of tasks, and of workers: their views have one select only,
#: as old servers do not find what is made in another.
_TERMS: Final = {
    "rank": "(least(retries, 511) * $step + micros)",
    "at_client": "if($kind = 0, least(retries, 1023) * $step + micros, 0)",
    "at_worker": "multiIf($kind = 1, (least(retries, 1022) + 1) * $step + micros, "
    "$kind BETWEEN 2 AND 8, micros, 0)",
    "in_call": "if($kind <= 1, ($kind * 1024 + least(retries, 1023)) * $step + micros, 0)",
    "in_try": "if($kind <= 1, least(retries, 511) * 2 * $step + micros, 0)",
    "kind": _KIND,
}
_WORKER_TERMS: Final = {
    "beat": "if($kind = 1 AND isNotNull(processed), micros, toUInt64(0))",
    "kind": "startsWith(CAST(type, 'String'), 'worker-')",
}

#: From what is kept of a task to what it means.  The rule is that of `evtools.state.attempts` as
#: far as it needs no more than that: an attempt begins with its receipt, and the newest is the one
#: of the highest number that was received last; an end counts if it is not before that.  A message
#: that was sent for a later attempt counts as long as no worker has it.  A worker may receive the
#: next attempt, and start it, before it reports that this one is to be retried; so a retry ends the
#: first attempt that is known, the second one if there were two, and a later one if it had started.
_TASK: Final = (
    """
  receipt % $step AS begun, call % $step AS called, intDiv(call, $step) AS recalled,
  if(receipt > 0, intDiv(receipt, $step), intDiv(call, $step)) AS tried,
  if(first_receipt = receipt OR receipt = 0, toUInt64(1), receipt % $step) AS since_at,
  intDiv(if(receipt > 0, first_receipt, call), $step) AS base
""",
    """
  greatest(tried, recalled) AS number,
  if(revoked < since_at, toUInt64(0), if(first_revoked >= since_at, first_revoked, revoked))
    AS revoked_at,
  if(start < since_at, toUInt64(0), start) AS start_at,
  recalled > tried AND receipt > 0 AND start < called AND succeeded < called
    AND failed < called AND revoked < called AND cancelled < called AND rejected < called AS resent,
  last_retry >= since_at AND multiIf(greatest(tried, recalled) = base, 1,
    greatest(tried, recalled) = base + 1,
    first_retry != last_retry, start >= since_at AND last_retry > start) AS was_retried
""",
    """
  multiIf(resent, 'RETRY', succeeded >= since_at, 'SUCCESS', failed >= since_at, 'FAILURE',
    revoked >= since_at, 'REVOKED', cancelled >= since_at, 'CANCELLED',
    rejected >= since_at, 'REJECTED', was_retried, 'RETRY', start_at > 0, 'STARTED',
    number > 0, 'RETRY', receipt > 0, 'RECEIVED', 'PENDING') AS state,
  multiIf(resent, toUInt64(0), succeeded >= since_at, succeeded, failed >= since_at, failed,
    revoked >= since_at, revoked_at, cancelled >= since_at, cancelled,
    rejected >= since_at, rejected, was_retried, last_retry, toUInt64(0)) AS ended_at,
  if(resent, toUInt64(0), start_at) AS started_at,
  if(resent, toUInt64(0), begun) AS received_at,
  if(recalled = number, called, toUInt64(0)) AS sent_at
""",
    # It waits from its sending, by the clock of the worker, where that of the client differs by a
    # second or more; a message that is delivered again, from its receipt.
    """
  multiIf(sent_at = 0, toInt64(0), toInt64(sent_at)
    + (if(worker_ahead = $never, 0, worker_ahead) - if(client_ahead = $never, 0, client_ahead))
    * 1000000) AS sent_there,
  toInt64(greatest(if(received_at > 0 AND (sent_there <= 0 OR sent_there > received_at
    OR first_receipt != receipt AND intDiv(first_receipt, $step) = tried
    AND sent_at < first_receipt % $step),
    toInt64(received_at), sent_there), toInt64(due))) AS waits_since
""",
)
_RUN: Final = (
    "if(state = 'SUCCESS' AND measured >= 0, measured, if(started_at = 0 OR ended_at < started_at, "
    "NULL, (ended_at - started_at) / 1000000.))"
)
_WAIT: Final = (
    "multiIf(started_at = 0 OR waits_since <= 0, NULL, due > started_at AND due < started_at + "
    "100000, 0., waits_since > started_at, NULL, (started_at - waits_since) / 1000000.)"
)
#: Of each delivery to a worker.  `steps` are pairs of a number, which sorts by time, kind and
#: number of retries, and the name of a worker.
_STEP_OF_ATTEMPT: Final = "micros * 4096 + $kind * 256 + least(retries, 255)"
_ATTEMPT: Final = (
    """
  if(arrayExists(x -> intDiv(x.1, 256) % 16 = 1, steps), arraySort(x -> (x.1 % 256, x.1),
    arrayFilter(x -> intDiv(x.1, 256) % 16 = 1, steps)), [(toUInt64(0), '')]) AS every,
  arrayFilter(x -> intDiv(x.1, 256) % 16 = 2, steps) AS starts,
  arrayMap(x -> intDiv(x.1, 4096), arrayFilter(x -> intDiv(x.1, 256) % 16 = 3, steps)) AS again,
  arrayFilter(x -> intDiv(x.1, 256) % 16 > 3, steps) AS ends
""",
    # The rows of ARRAY JOIN, which stands before this.
    """
  intDiv(mine.1, 4096) AS at, mine.1 % 256 AS tries,
  arraySort(arrayMap(x -> intDiv(x.1, 4096), arrayFilter(x -> x.2 = mine.2, every))) AS own,
  arraySort(arrayMap(x -> intDiv(x.1, 4096), arrayFilter(x -> x.2 = mine.2 OR mine.2 = '', starts)))
    AS own_starts,
  arrayMap(x -> x.1, arrayFilter(x -> x.2 = mine.2 OR mine.2 = '', ends)) AS own_ends,
  if(nth = length(every) OR next.1 % 256 > mine.1 % 256,
    again[toUInt64(mine.1 % 256 - every[1].1 % 256 + 1)], toUInt64(0)) AS retried_at
""",
    """
  if(own[1] = at, toUInt64(0), at) AS since_at,
  arrayConcat(arrayFilter(x -> x > at, own), [toUInt64($step)])[1] AS until_at,
  if(length(own_starts) = length(own), own_starts[indexOf(own, at)], toUInt64(0)) AS nth_start
""",
    # Columns that are used in lambdas only are not found by old servers.
    """
  if(nth_start > 0 OR until_at < since_at, nth_start,
    arrayFilter(x -> x >= since_at AND x < until_at, own_starts)[1]) AS start_at,
  if(until_at < since_at, emptyArrayUInt64(), arrayFilter(x ->
    intDiv(x, 4096) >= since_at AND intDiv(x, 4096) < until_at, own_ends)) AS fins
""",
    """
  arraySort(arrayMap(x -> intDiv(x, 256) % 16, fins))[-1] AS end_kind,
  if(end_kind > 0, intDiv(arrayFilter(x -> intDiv(x, 256) % 16 = end_kind, fins)[1], 4096),
    retried_at) AS end_at,
  multiIf(end_kind > 0, $ends[end_kind - 2], retried_at > 0, 'RETRY', start_at > 0, 'STARTED',
    tries > 0, 'RETRY', at > 0, 'RECEIVED', 'PENDING') AS status
""",
)
#: What stands before the second of them.
_EACH: Final = (
    "ARRAY JOIN arrayEnumerate(every) AS nth, every AS mine, "
    "arrayConcat(arraySlice(every, 2), [(toUInt64(0), '')]) AS next"
)

#: Figures of the tasks that ended in an hour, of a type and a queue, and of retries in it.
_OUTCOMES: Final = {
    "succeeded": "SUCCESS", "failed": "FAILURE", "revoked": "REVOKED",
    "rejected": "REJECTED", "cancelled": "CANCELLED",
}  # fmt: skip
_FIGURES: Final = {
    **{
        name: ("UInt64", f"countIf(is_end AND state = '{state}')")
        for name, state in _OUTCOMES.items()
    },
    "retried": ("UInt64", "sum(length(arrayFilter(x -> intDiv(x, $hour) = hours, again)))"),
    **{
        f"{of}_{name}": (
            kind,
            function.format(f"assumeNotNull({of})", f"is_end AND isNotNull({of})"),
        )
        for of in ("run", "wait")
        for name, kind, function in (
            ("count", "UInt64", "countIf({1})"),
            ("sum", "Float64", "sumIf({0}, {1})"),
            *((f"p{n}", "Float64", f"quantileExactIf(0.{n})({{0}}, {{1}})") for n in (50, 95, 99)),
            ("max", "Float64", "maxIf({0}, {1})"),
        )
    },
}
SNAPSHOTS: Final = {
    "cluster": "String", "evcam": "String", "sequence": "UInt64", "token": "String",
    "host": "String", "pid": "UInt64", "day": "Date", "started": "UInt64", "at": "UInt64",
    "since": "UInt64", "period": "Float64", "warm": "UInt8", "connected": "UInt8",
    "gaps": "String", "dropped": "UInt64", "missed": "UInt64", "events": "UInt64",
    "lost": "UInt64",
}  # fmt: skip


class Tables:
    """The statements that make the tables of evcam in a database, for one version of the server.

    With `cluster_name` all servers of that cluster make them, replicated, with a table beside each
    that has the parts of all shards.  Rows go after so many days, by table, 0 for never.
    """

    def __init__(
        self, database: str, *, is_modern: bool, cluster_name: str = "",
        days: Mapping[str, int],
    ) -> None:  # fmt: skip
        self.database, self.is_modern, self.cluster_name = database, is_modern, cluster_name
        self.days = days
        self._on_cluster = f" ON CLUSTER '{cluster_name}'" if cluster_name else ""
        #: Where rows are, if not in the table that they are written into.
        self.local = "_local" if cluster_name else ""

    def statements(self) -> Iterator[str]:
        """Yield the statements, in order; each does nothing where it was carried out before."""
        steady = ["cluster", "uuid", "micros", "id"]
        yield from self._table(
            "events", self._event_columns(), "Replacing", "received", steady, "day"
        )
        for name, key, states in (
            ("tasks", ("cluster", "uuid"), _OF_TASK),
            ("workers", ("cluster", "hostname"), _OF_WORKER),
        ):  # fmt: skip
            columns = dict.fromkeys(key, "String") | {"day": "Date"}
            for state, (function, kind, _, weight) in states.items():
                columns[state] = self._kept(function, kind, weight)
            order = [*key, "day"] if name == "workers" else list(key)
            by = "day" if name == "tasks" else "toYYYYMM(day)"
            yield from self._table(name, columns, "Aggregating", "", order, by)
            yield self._materialized(name, key, states)
        snapshots = ["cluster", "evcam", "sequence", "token"]
        yield from self._table("snapshots", SNAPSHOTS, "Replacing", "", snapshots, "toYYYYMM(day)")
        hours = ["cluster", "hour", "name", "queue"]
        columns = {
            "made": "UInt64", "cluster": "String", "hour": "DateTime('UTC')", "day": "Date",
            "name": "String", "queue": "String",
            **{name: kind for name, (kind, _) in _FIGURES.items()},
        }  # fmt: skip
        yield from self._table("hourly", columns, "Replacing", "made", hours, "toYYYYMM(day)")
        for name, question in self.views().items():
            yield f"CREATE VIEW IF NOT EXISTS {self.place(name)}{self._on_cluster} AS {question}"
        yield from self._table(
            "about", {"version": "UInt32", "form": "String"}, "Replacing", "", ["version"], ""
        )

    def place(self, name: str) -> str:
        """Return the name of a table or a view with its database."""
        return f"`{self.database}`.{name}"

    def _event_columns(self) -> dict[str, str]:
        columns = {}
        for name, kind in _EVENTS.items():
            columns[name] = (
                kind
                if kind != "Label"
                else "LowCardinality(String)"
                if self.is_modern
                else "String"
            )
            if self.is_modern and name in _LONG:
                columns[name] += " CODEC(ZSTD(1))"
            elif self.is_modern and name in _STEADY:
                columns[name] += " CODEC(Delta, ZSTD(1))"
        columns["timestamp"] = f"{self._moment_type} DEFAULT {self.moment('micros')}"
        return columns

    @property
    def _moment_type(self) -> str:
        return "DateTime64(6, 'UTC')" if self.is_modern else "DateTime('UTC')"

    def moment(self, micros: str) -> str:
        """Return an expression for microseconds as a time."""
        if self.is_modern:
            return f"fromUnixTimestamp64Micro(toInt64({micros}), 'UTC')"
        return f"toDateTime(intDiv({micros}, 1000000), 'UTC')"

    def _known(self, micros: str) -> str:
        return f"if({micros} = 0, NULL, {self.moment(micros)})"

    def _filled(self, text: str, terms: Mapping[str, str] = _TERMS) -> str:
        # Terms are made of others, these of words.
        for words in (terms, terms, _WORDS, _WORDS):
            text = Template(text).safe_substitute(words)
        return text

    def _table(
        self, name: str, columns: Mapping[str, str], kind: str, version: str,
        order: Sequence[str], partition: str,
    ) -> Iterator[str]:  # fmt: skip
        place, inner = self.place(f"{name}_raw"), self.place(f"{name}_raw{self.local}")
        listed = ", ".join(f"{column} {kinds}" for column, kinds in columns.items())
        arguments = version
        if self.cluster_name:
            where = f"/clickhouse/tables/{{shard}}/{self.database}/{name}"
            arguments = ", ".join(filter(None, (f"'{where}', '{{replica}}'", version)))
            kind = f"Replicated{kind}"
        statement = (
            f"CREATE TABLE IF NOT EXISTS {inner}{self._on_cluster} ({listed}) "
            f"ENGINE = {kind}MergeTree({arguments}) "
        )
        if partition:
            statement += f"PARTITION BY {partition} "
        statement += f"ORDER BY ({', '.join(order)})"
        if self.is_modern and partition:
            if self.days[name]:
                statement += f" TTL {self.ttl(name)}"
            settings = ["ttl_only_drop_parts = 1"]
            if not self.cluster_name:
                settings.append("non_replicated_deduplication_window = 1000")
            statement += f" SETTINGS {', '.join(settings)}"
        yield statement
        if self.cluster_name:
            # What is written again has to come to the same shard, or it would be there twice.
            key = f"cityHash64({', '.join(order[:2])})"
            yield (
                f"CREATE TABLE IF NOT EXISTS {place}{self._on_cluster} AS {inner} ENGINE = "
                f"Distributed('{self.cluster_name}', '{self.database}', '{name}_raw_local', {key})"
            )

    def ttl(self, name: str) -> str:
        """Return when a row of a table goes."""
        return f"day + toIntervalDay({self.days[name]})"

    def _materialized(self, name: str, key: Sequence[str], states: Mapping[str, Any]) -> str:
        # Of what is written here, into what is kept here.
        listed = [f"CAST({each}, 'String') AS {each}" for each in key] + ["day"]
        terms, condition = _TERMS, "uuid != ''"
        if states is _OF_WORKER:
            terms, condition = _WORKER_TERMS, "hostname != '' AND type != 'task-sent'"
        for state, (function, kind, of, weight) in states.items():
            arguments = _arguments(kind, of, weight)
            listed.append(f"{self._made(function, arguments, weight)} AS {state}")
        made = self._filled(
            f"SELECT {', '.join(listed)} FROM {self.place(f'events_raw{self.local}')} "
            f"WHERE {condition} GROUP BY {', '.join((*key, 'day'))}",
            terms,
        )
        return (
            f"CREATE MATERIALIZED VIEW IF NOT EXISTS {self.place(f'events_to_{name}')}"
            f"{self._on_cluster} TO {self.place(f'{name}_raw{self.local}')} AS {made}"
        )

    # What needs no weight is, where the server can do that, kept as a plain value, which is read
    # several times as fast as a state.

    def _kept(self, function: str, kind: str, weight: str) -> str:
        if weight or not self.is_modern:
            return f"AggregateFunction({function}, {kind}{', UInt64' if weight else ''})"
        return f"SimpleAggregateFunction({function}, {kind})"

    def _made(self, function: str, arguments: str, weight: str) -> str:
        if weight or not self.is_modern:
            return f"{function}State({arguments})"
        return f"{function}({arguments})"

    def _merged(self, function: str, state: str, weight: str) -> str:
        if weight or not self.is_modern:
            return f"{function}Merge({state})"
        return f"{function}({state})"

    # --- views ------------------------------------------------------------------------

    def _of_states(self, condition: str = "") -> str:
        # What is kept of each task, merged.
        merged = ", ".join(
            f"{self._merged(function, state, weight)} AS "
            + (state[:-1] if state in _SHOWN else state[:-2])
            for state, (function, _, _, weight) in _OF_TASK.items()
        )
        place = self.place("tasks_raw")
        return f"SELECT cluster, uuid, {merged} FROM {place} {condition} GROUP BY cluster, uuid"

    def _once_of_all_days(self) -> str:
        # Rows of one key are looked for within a day only, or all days would be read to find those
        # of one.  The day of an event is that of its receipt only if the clock of its sender is
        # far off: of those that evcams have then received on several days, the first counts.
        odd, key = f"intDiv(micros, {_DAY_MICROS}) != toUInt32(day)", "cluster, uuid, micros, id"
        place = self.place("events_raw")
        first = f"SELECT {key}, min(day) FROM {place} WHERE {odd} GROUP BY {key}"
        return (
            f" WHERE NOT ({odd}) OR ({key}, day) GLOBAL IN ({first}) "
            "SETTINGS do_not_merge_across_partitions_select_final = 1"
        )

    def _of_events(self) -> str:
        # Of each task the steps in the log, and what was raised in them.
        call = _arguments("String", "name", _OF_TASK["name_s"][3])
        made = (
            f"groupUniqArray(({_STEP_OF_ATTEMPT}, CAST(hostname, 'String'))) AS steps, "
            "groupUniqArray((if($kind IN (3, 7), micros, toUInt64(0)), "
            f"if($kind IN (3, 7), exception, ''))) AS raised, argMax({call}) AS called"
        )
        return (
            f"SELECT CAST(cluster, 'String') AS of_cluster, uuid, {made} "
            f"FROM {self.place('events_raw')} WHERE uuid != '' AND $kind < 15 "
            "GROUP BY of_cluster, uuid"
        )

    def _layered(self, inner: str, *layers: str) -> str:
        for layer in layers:
            inner = f"SELECT *, {layer} FROM ({inner})"
        return inner

    def _select(self, columns: Sequence[str], inner: str) -> str:
        return f"SELECT {', '.join(columns)} FROM ({inner})"

    def views(self) -> dict[str, str]:
        """Return the questions behind the views, by name."""
        return {name: self._filled(text) for name, text in self._views()}

    def _views(self) -> Iterator[tuple[str, str]]:
        known, order = self._known, ["timestamp", *EVENT_COLUMNS]
        yield (
            "events",
            f"SELECT {', '.join(order)} FROM {self.place('events_raw')} FINAL"
            + (self._once_of_all_days() if self.is_modern else ""),
        )
        inner = self._layered(self._of_states(), *_TASK)
        texts = (
            "root_id",
            "parent_id",
            "client",
            "queue",
            "exchange",
            "routing_key",
            "note",
            "extra",
        )

        def of_end(name: str, end: str) -> str:
            nothing = "''" if name == "signum" else "2"
            there = f"{end} >= since_at AND NOT resent AND {name}_ != {nothing}"
            return f"if({there}, {name}_, NULL) AS {name}"

        def text(name: str) -> str:
            return f"nullIf({name}_, '') AS {name}"

        columns = [
            "cluster", "uuid", "name_ AS name", "state", text("worker"),
            "if(receipt = 0 AND call = 0, NULL, number) AS retries", text("eta"), text("expires"),
            *(f"{known(f'{name}_at')} AS {name}"
              for name in ("sent", "received", "started", "ended")),
            f"{_RUN} AS runtime", "if(state = 'SUCCESS', nullIf(result_, ''), NULL) AS result",
            *(f"if(state IN ('FAILURE', 'RETRY'), nullIf({name}_, ''), NULL) AS {name}"
              for name in ("exception", "traceback")),
            *(of_end(name, "revoked") for name in ("terminated", "signum", "expired")),
            of_end("requeue", "rejected"),
            known("if(state = 'RETRY', last_retry, toUInt64(0))") + " AS retried",
            f"{_WAIT} AS wait", *map(text, ("args", "kwargs", *texts)),
            "nullIf(noted, '') AS note_type",
            known("first") + " AS first_heard", known("last") + " AS last_heard",
        ]  # fmt: skip
        yield "tasks", self._select(columns, inner)
        new = f"SELECT cluster, uuid FROM {self.place('tasks_raw')} WHERE day >= yesterday()"
        condition = f"WHERE day >= today() - 8 AND (cluster, uuid) GLOBAL IN ({new})"
        inner = self._layered(self._of_states(condition), *_TASK)
        yield "recent", self._select(columns, inner)
        steps, *others = _ATTEMPT
        inner = self._layered(self._of_events(), steps)
        inner = f"SELECT *, nth, mine, next FROM ({inner}) {_EACH}"
        columns = [
            "of_cluster AS cluster", "uuid", "nth - 1 AS place", "tries AS number",
            "called AS name", "status AS state", "nullIf(mine.2, '') AS worker",
            known("at") + " AS received", known("start_at") + " AS started",
            known("end_at") + " AS ended",
            "if(start_at = 0 OR end_at < start_at, NULL, (end_at - start_at) / 1e6) AS runtime",
            "nullIf(arrayFilter(x -> x.1 = end_at AND end_at > 0, raised)[1].2, '') AS exception",
        ]  # fmt: skip
        yield "attempts", self._select(columns, self._layered(inner, *others))
        merged = ", ".join(
            f"{self._merged(function, state, weight)} AS {state[:-1]}"
            for state, (function, _, _, weight) in _OF_WORKER.items()
        )
        inner = (
            f"SELECT cluster, hostname, {merged} FROM {self.place('workers_raw')} "
            "GROUP BY cluster, hostname"
        )
        columns = [
            "cluster", "hostname", "nullIf(pid_, 0) AS pid", "nullIf(freq_, 0) AS freq",
            *(f"if(beat_ = 0, NULL, {name}_) AS {name}"
              for name in ("active", "processed", "loadavg")),
            *map(text, ("sw_ident", "sw_ver", "sw_sys")),
            known("online_") + " AS online_since",
            known("if(offline_ > online_, offline_, toUInt64(0))") + " AS goodbye",
            known("told_") + " AS last_told", known("heard_") + " AS last_heard", text("extra"),
        ]  # fmt: skip
        yield "workers", self._select(columns, inner)
        own = "host", "pid", "period", "warm", "connected", "gaps", "dropped", "missed"
        times = "started", "since"
        newest = ", ".join(f"argMax({name}, at) AS {name}_" for name in (*times, *own))
        inner = (
            f"SELECT cluster, evcam, sequence, {newest}, max(at) AS at_, sum(events) AS events_, "
            f"sum(lost) AS lost_ FROM {self.place('snapshots_raw')} FINAL "
            "GROUP BY cluster, evcam, sequence"
        )
        columns = [
            "cluster", "evcam", "sequence",
            *(f"{known(f'{name}_')} AS {name}" for name in ("at", *times)),
            *(f"{name}_ AS {name}" for name in (*own, "events", "lost")),
        ]  # fmt: skip
        yield "snapshots", self._select(columns, inner)
        place = self.place("hourly_raw")
        # Of none there is no quantile.
        shown = {
            name: f"if(isNaN({name}), NULL, {name}) AS {name}"
            for name in _FIGURES if "_p" in name
        }  # fmt: skip
        columns = ["cluster", "hour", "name", "queue", *(shown.get(n, n) for n in _FIGURES)]
        newest = f"SELECT cluster, hour, max(made) FROM {place} GROUP BY cluster, hour"
        yield (
            "hourly",
            (
                f"SELECT {', '.join(columns)} FROM {place} FINAL "
                f"WHERE (cluster, hour, made) GLOBAL IN ({newest})"
            ),
        )

    def refresh(
        self, made: str, clusters: Sequence[str], hours: Sequence[int], days: Sequence[str]
    ) -> str:
        """Return the statement that makes the figures of some hours anew."""
        listed = ", ".join(quoted(each) for each in clusters)
        ended = ", ".join(f"'{kind}'" for kind in _KINDS[3:])
        within = ", ".join(map(str, hours))
        of_hours = (
            f"day IN ({', '.join(map(quoted, days))}) AND cluster IN ({listed}) "
            f"AND intDiv(micros, {HOUR * MICROS}) IN ({within})"
        )
        condition = (
            f"WHERE (cluster, uuid) GLOBAL IN (SELECT CAST(cluster, 'String'), uuid "
            f"FROM {self.place('events_raw')} WHERE {of_hours} AND type IN ({ended}))"
        )
        figures = ", ".join(function for _, function in _FIGURES.values())
        names = ("made", "cluster", "hour", "day", "name", "queue", *_FIGURES)
        again = (
            "SELECT CAST(cluster, 'String') AS cluster, uuid, groupUniqArray(micros) AS again "
            f"FROM {self.place('events_raw')} WHERE {of_hours} AND type = 'task-retried' "
            "GROUP BY cluster, uuid"
        )
        names_of_task = "cluster, uuid, name_, queue_, state, started_at, ended_at, measured"
        inner = (
            f"SELECT {names_of_task}, waits_since, due, again FROM "
            f"({self._layered(self._of_states(condition), *_TASK)}) AS of_states "
            f"ANY LEFT JOIN ({again}) AS of_log USING (cluster, uuid)"
        )
        inner = (
            f"SELECT *, hours FROM ({inner}) ARRAY JOIN arrayReduce('groupUniqArray', "
            "arrayMap(x -> intDiv(x, $hour), arrayConcat([ended_at], again))) AS hours"
        )
        inner = (
            f"SELECT *, {_RUN} AS run, {_WAIT} AS wait, "
            "state != 'RETRY' AND intDiv(ended_at, $hour) = hours AS is_end "
            f"FROM ({inner}) WHERE hours IN ({within})"
        )
        return self._filled(
            f"INSERT INTO {self.place('hourly_raw')} ({', '.join(names)}) "
            f"SELECT {made}, cluster, toDateTime(hours * {HOUR}, 'UTC') AS hour, "
            f"toDate(toDateTime(hours * {HOUR}, 'UTC'), 'UTC') AS day, name_, queue_, {figures} "
            f"FROM ({inner}) GROUP BY cluster, hours, name_, queue_"
        )


def _arguments(kind: str, of: str, weight: str) -> str:
    # Of an aggregate function; what has no weight has no value.
    value = f"CAST({of}, 'String')" if kind == "String" else f"to{kind}({of})"
    if not weight:
        return value
    nothing = "''" if kind == "String" else f"to{kind}(0)"
    return f"if(({weight}) = 0, {nothing}, {value}), toUInt64({weight})"


def quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
