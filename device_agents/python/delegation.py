"""Who runs which operator of a graph, as far as the runtime's own list tells.

Delegates leave the operators that they replace in the list and add their own behind, called
``DELEGATE``. The list is private to the runtimes: where one is without it, nothing is known.
"""


def on_cpu(interpreter):
    """``delegated`` of PROTOCOL.md for a graph on the CPU, where XNNPACK is the delegate.

    An operator is XNNPACK's when the way back from the graph's outputs does not pass it.
    """
    try:
        own, made = _operators(interpreter)
        wanted = {int(detail["index"]) for detail in interpreter.get_output_details()}
    except Exception:  # whatever a runtime without the list raises
        return None
    used = set(wanted).union(*(inputs for _, inputs, _ in own))
    wanted.update(index for _, _, outputs in own for index in outputs if index not in used)
    producers = {}
    for place, (_, inputs, outputs) in enumerate(own):
        producers.update((index, (place, inputs)) for index in outputs)
    for inputs, outputs in made:
        producers.update((index, (None, inputs)) for index in outputs)
    left = {place for place, (_, _, outputs) in enumerate(own) if not outputs}
    open_, met = list(wanted), set()
    for place in left:
        open_.extend(own[place][1])
    while open_:
        index = open_.pop()
        if index in met or index not in producers:
            continue
        met.add(index)
        place, inputs = producers[index]
        if place is not None:
            left.add(place)
        open_.extend(inputs)
    return {
        "accelerator": "xnnpack" if made else "cpu",
        "nodes": len(own) - len(left),
        "total": len(own),
        "partitions": len(made),
    }


def taken(interpreter, name):
    """Operators of the graph, those called ``name`` that a delegate runs, and its nodes for them.

    All ``None`` where the runtime does not tell.
    """
    try:
        own, made = _operators(interpreter)
    except Exception:  # as above
        return None, None, None
    asked = [outputs for called, _, outputs in own if called == name]
    nodes = [outputs for outputs in asked if any(outputs <= by for _, by in made)]
    partitions = [by for _, by in made if any(outputs <= by for outputs in asked)]
    return len(own), len(nodes), len(partitions)


def _operators(interpreter):
    """(name, inputs, outputs) of the graph's operators, (inputs, outputs) of the delegates'."""
    own, made = [], []
    for node in interpreter._get_ops_details():
        inputs = {int(index) for index in node["inputs"] if index >= 0}
        outputs = {int(index) for index in node["outputs"] if index >= 0}
        if node["op_name"] == "DELEGATE":
            made.append((inputs, outputs))
        else:
            own.append((str(node["op_name"]), inputs, outputs))
    return own, made
