"""Why a variant loses accuracy, and which one loses least."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.config.devices import find_device
from harness.config.sources import joined_dataset, named_dataset, source_model
from harness.domain import Policy, Preprocessing, Suite
from harness.orchestrate import search as searching
from harness.orchestrate.convert import Splits
from harness.orchestrate.debug import Effort as Effort
from harness.orchestrate.debug import Examination
from harness.orchestrate.debug import debug as examine
from harness.orchestrate.events import Listener
from harness.orchestrate.stop import Stop
from harness.store import DEFAULT_STORE, Store
from harness.transports import TRANSPORTS


def debug(
    model: str,
    recipe: str,
    data: str,
    *,
    calibration: str | None = None,
    training: str | None = None,
    preprocessing: Preprocessing | None = None,
    image_size: tuple[int, int] | None = None,
    output: int | None = None,
    effort: Effort | None = None,
    progress: Callable[[str, Mapping[str, Any]], None] = lambda recipe, said: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Examination:
    """Rank a model's operators by what quantizing them costs, on labelled samples ``data``.

    ``output`` is the index of the output to judge by, needed where there are several.
    Raises ``UsageError`` for a recipe that cannot keep operators in float,
    ``ConversionError`` where a file cannot be made or compared.
    """
    evaluation = named_dataset("evaluation", data, image_size)
    assert evaluation is not None
    return examine(
        source_model(model, preprocessing, output=output),
        recipe,
        evaluation,
        Splits(
            named_dataset("calibration", calibration, image_size),
            named_dataset("training", training, image_size),
        ),
        effort or Effort(),
        progress=progress,
        stopped=stopped,
    )


def search(
    model: str,
    data: str,
    *,
    calibration: str | None = None,
    training: str | None = None,
    max_accuracy_drop: float = 0.5,
    minimize: str = "latency",
    devices: Collection[str] = ("local",),
    recipes: Sequence[str] = (),
    budget_minutes: float = 30,
    trials: int | None = None,
    preprocessing: Preprocessing | None = None,
    image_size: tuple[int, int] | None = None,
    output: int | None = None,
    store: str | Store = DEFAULT_STORE,
    tell: Listener = lambda event: None,
    stop: Stop | None = None,
) -> searching.Found:
    """The best variant that loses at most ``max_accuracy_drop`` points of accuracy.

    Called again with the same arguments it goes on where it stopped. ``output`` is the index of
    the output that accuracy looks at, needed where there are several. Raises ``UsageError`` for
    what can never work.
    """
    dataset = joined_dataset(data, calibration, training, image_size)
    named = source_model(model, preprocessing, output=output)
    count = Policy().trials if trials is None else trials
    suite = Suite(
        name=f"search {named.name}",
        models=(replace(named, dataset=dataset.name),),
        datasets={dataset.name: dataset},
        recipes=tuple(recipes),
        devices=tuple(find_device(name, TRANSPORTS) for name in dict.fromkeys(devices)),
        backends=(),
        # So many and no more: the budget is better spent on other variants.
        policy=Policy(trials=count, max_trials=count),
    )
    opened = store if isinstance(store, Store) else Store(store, create=True)
    goal = searching.Goal(minimize, max_accuracy_drop / 100, budget_minutes * 60)
    splits = Splits(
        named_dataset("calibration", calibration, image_size),
        named_dataset("training", training, image_size),
    )
    return searching.search(opened, suite, splits, goal, tell=tell, stop=stop)
