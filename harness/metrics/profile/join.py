"""Entries of a profiler joined with the operators of the file that ran.

An operator that the runtime itself ran is known by its index. What a delegate ran carries no
such index: TensorFlow Lite hands it the graph in partitions (``graph_info.cc``), in whose order
it makes and runs operators of its own. They are aligned with the file's by what can be made of
what, and joined only where every best alignment agrees; the others stay unjoined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.profile import kinds
from harness.metrics.profile.align import align
from harness.metrics.profile.record import (
    MAX_KEPT,
    MAX_UNSEEN,
    Profile,
    ProfiledOperator,
    totals,
)
from harness.simulation.elements import Graph, Subgraph
from harness.stats.midmean import middle_half, midmean

#: Letters of a name that are kept.
_NAME = 300


def join(
    message: Mapping[str, Any], graph: Graph | None, *, timed: bool, note: str = ""
) -> Profile:
    """A profile from the checked message of an agent (``messages.profile``) and the file's graph.

    What ran in another graph than the main one is in the time of the operator that called it, a
    loop or a branch, and only counted. Without a graph nothing is joined, and ``note`` says why.
    ``timed`` is false where the times of this kind of device mean nothing: they are left out.
    """
    runs = int(message["runs"])
    events = [event for event in message["operators"] if not event.get("graph")]
    entries = [
        ProfiledOperator(
            place=place,
            name=str(event["name"])[:_NAME],
            type=kinds.plain(str(event["name"]))[:_NAME],
            node=None,
            output="",
            shape=None,
            dtype="",
            time_ns=None,
            calls=event["calls"] / runs,
            delegated=event["delegated"],
        )
        for place, event in enumerate(events)
    ]
    if timed:
        times, robust = _times(events, runs)
        entries = [
            replace(entry, time_ns=float(time)) for entry, time in zip(entries, times, strict=True)
        ]
    unseen: list[tuple[int, str, str]] = []
    if graph is not None:
        nodes = [event["node"] for event in events]
        covered = _joined(entries, nodes, graph.main)
        unseen = [
            (operator.index, operator.name, _output(graph.main, operator.index))
            for operator in graph.operators
            if operator.index not in covered
        ]
    shown = entries
    if len(entries) > MAX_KEPT:
        most = sorted(entries, key=lambda item: -(item.time_ns or 0.0))[:MAX_KEPT]
        shown = sorted(most, key=lambda item: item.place)
    elapsed = message.get("elapsed")
    if elapsed is not None:
        elapsed = midmean(np.array(elapsed, np.float64))
    return Profile(
        operators=tuple(shown),
        runs=runs,
        resolution_ns=float(message.get("resolution_ns") or 0),
        count=len(entries),
        sum_ns=sum(item.time_ns or 0.0 for item in entries) if timed else None,
        elapsed_ns=elapsed if timed else None,
        types=totals(entries),
        unseen=tuple(unseen[:MAX_UNSEEN]),
        unseen_count=len(unseen),
        inside=len(message["operators"]) - len(events),
        timed=timed,
        robust=timed and robust,
        note=note,
    )


def _times(events: Sequence[Mapping[str, Any]], runs: int) -> tuple[NDArray[np.float64], bool]:
    """Per inference, ns (n,), and whether disturbed runs are left out.

    Where each run is known, means over the middle half of the runs by their sum: the same runs
    for all operators, so that the parts still add up.
    """
    if events and all(event.get("times") is not None for event in events):
        each = np.array([event["times"] for event in events], np.float64)
        return each[:, middle_half(each.sum(axis=0))].mean(axis=1), True
    return np.array([event["time"] / runs for event in events], np.float64), False


def _joined(
    entries: list[ProfiledOperator], nodes: Sequence[int | None], part: Subgraph
) -> set[int]:
    """Put into ``entries`` what is known of each; the nodes that have been found."""
    own: dict[int, int] = {}
    seen = Counter(nodes)
    for place, (entry, node) in enumerate(zip(entries, nodes, strict=True)):
        # A number that comes twice counts in more than one graph: the body of a loop, say.
        usable = node is not None and node < len(part.operators) and seen[node] == 1
        if usable and node is not None and part.operators[node].name == entry.name:
            own[node] = place
    covered = set(own)
    for node, place in own.items():
        entries[place] = _named(entries[place], part, node)
    groups = _groups(entries, set(own.values()))
    partitions = _partitions(part, set(own))
    if len(groups) != len(partitions):
        groups = [[place for group in groups for place in group]]
        partitions = [[node for partition in partitions for node in partition]]
    for places, candidates in zip(groups, partitions, strict=True):
        if len(places) == 1 and kinds.is_whole(entries[places[0]].name):
            entries[places[0]] = replace(entries[places[0]], covers=len(candidates))
            covered.update(candidates)
            continue
        for place, node in _aligned(entries, places, candidates, part):
            entries[place] = _named(entries[place], part, node)
            covered.add(node)
    return covered


def _groups(entries: Sequence[ProfiledOperator], own: Collection[int]) -> list[list[int]]:
    """Places of what delegates ran, without a break in each group."""
    groups: list[list[int]] = []
    open_ = False
    for place, entry in enumerate(entries):
        inside = place not in own and entry.delegated is not False
        if inside and not open_:
            groups.append([])
        if inside:
            groups[-1].append(place)
        open_ = inside
    return groups


def _partitions(part: Subgraph, own: Collection[int]) -> list[list[int]]:
    """Nodes that a delegate has, in the partitions and the order in which it gets them.

    Partitions alternate: each takes every node of its kind whose inputs are there.
    """
    makers = {index: node.index for node in part.operators for index in node.made}
    needs = [{makers[i] for i in node.used if i in makers} for node in part.operators]
    feeds: dict[int, list[int]] = {}
    for index, makes in enumerate(needs):
        makes.discard(index)
        for maker in makes:
            feeds.setdefault(maker, []).append(index)
    ready = [index for index, makes in enumerate(needs) if not makes]
    found: list[list[int]] = []
    kind = bool(ready) and ready[0] not in own
    while ready:
        now = [index for index in ready if (index not in own) == kind]
        ready = [index for index in ready if (index not in own) != kind]
        taken: list[int] = []
        while now:
            index = heappop(now)
            taken.append(index)
            for user in feeds.get(index, ()):
                needs[user].discard(index)
                if not needs[user]:
                    if (user not in own) == kind:
                        heappush(now, user)
                    else:
                        ready.append(user)
        ready.sort()
        if kind and taken:
            found.append(taken)
        kind = not kind
    return found


def _aligned(
    entries: Sequence[ProfiledOperator],
    places: Sequence[int],
    candidates: Sequence[int],
    part: Subgraph,
) -> list[tuple[int, int]]:
    """Pairs of place and node that every best alignment has."""
    classes = [kinds.class_of(part.operators[node], part.tensors) for node in candidates]
    distinct = sorted(set(classes))
    of_class = np.array([distinct.index(name) for name in classes], np.int64)
    rows: dict[str, NDArray[np.int64]] = {}

    def weights(index: int) -> NDArray[np.int64]:
        name = entries[places[index]].name
        if name not in rows:
            table = np.array([kinds.weight(name, kind) for kind in distinct] or [0], np.int64)
            rows[name] = table[of_class]
        return rows[name]

    found = align(len(places), len(candidates), weights)
    return [
        (places[index], candidates[other])
        for index, (other, sure) in enumerate(found)
        if other is not None and sure
    ]


def _named(entry: ProfiledOperator, part: Subgraph, node: int) -> ProfiledOperator:
    operator = part.operators[node]
    tensor = part.tensors[operator.made[0]] if operator.made else None
    return replace(
        entry,
        type=operator.name[:_NAME],
        node=node,
        output=_output(part, node),
        shape=tensor.shape if tensor else None,
        dtype=tensor.dtype if tensor else "",
    )


def _output(part: Subgraph, node: int) -> str:
    made = part.operators[node].made
    text = part.tensors[made[0]].name[:_NAME] if made else ""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
