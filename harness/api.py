"""The harness from Python: what the command line does, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config import find_device, load_suite
from harness.config.sources import joined_dataset, named_dataset, source_model
from harness.domain import Policy, Preprocessing, Suite
from harness.errors import UsageError
from harness.orchestrate import Outcome, Stop, execute, known_names, make_plan
from harness.orchestrate import convert as conversion
from harness.orchestrate import search as searching
from harness.orchestrate.convert import Converted
from harness.orchestrate.debug import Effort as Effort
from harness.orchestrate.debug import Examination
from harness.orchestrate.debug import debug as examine
from harness.orchestrate.events import Listener
from harness.orchestrate.preflight import preflight as look_over
from harness.recipes import parse_recipe
from harness.recipes.process import TIMEOUT
from harness.reports import FORMATS, RunView, frame, job_rows, view_run
from harness.reports.inspection import Inspection, inspect_file
from harness.store import DEFAULT_STORE, Store
from harness.transports import TRANSPORTS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False)
class RunResult:
    """A run that was executed or loaded."""

    view: RunView
    outcome: Outcome | None = None

    def __repr__(self) -> str:
        return f"<run {self.id}: {len(self.view.jobs)} jobs, {self.view.run.status}>"

    def _repr_html_(self) -> str:
        html: str = self.table().to_html(escape=True)
        return html

    @property
    def id(self) -> str:
        """The run's id."""
        return self.view.run.id

    def table(self) -> pd.DataFrame:
        """One row per job: the stable columns, then size_ratio, accuracy_delta and speed_up."""
        return frame(self.view.jobs)

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per job with the stable columns."""
        return job_rows(self.view.jobs)

    def text(self, format: str = "table", width: int = 100) -> str:
        """The rows as ``table``, ``json``, ``csv`` or ``markdown``."""
        if format not in FORMATS:
            raise UsageError(f"unknown format {format!r}", hint="known: " + ", ".join(FORMATS))
        return FORMATS[format](self.view, width)

    def report(self, path: str | Path) -> Path:
        """Write the self-contained HTML report; returns where it is."""
        from harness.reports import html

        return html.write(self.view, Path(path))


def run(
    suite: str | Path | Suite | None = None,
    *,
    devices: Collection[str] = (),
    recipes: Collection[str] = (),
    trials: int | None = None,
    resume: str | None = None,
    store: str | Store = DEFAULT_STORE,
    tell: Listener = lambda event: None,
    stop: Stop | None = None,
) -> RunResult:
    """Run a suite (a file, a shipped name, or a ``Suite``), or resume a run.

    Raises ``UsageError`` before anything starts if something is wrong; what fails later is
    a record of its job and never an exception.
    """
    if (suite is None) == (resume is None):
        raise UsageError("give either a suite, or a run to resume")
    opened = store if isinstance(store, Store) else None
    plan = None
    if suite is not None:
        if not isinstance(suite, Suite):
            policy = {} if trials is None else {"trials": trials}
            suite = load_suite(
                suite, known_names(), devices=devices, recipes=recipes, policy=policy
            )
        plan = make_plan(suite)
    elif devices or recipes or trials is not None:
        raise UsageError(
            "a resumed run keeps its own devices, recipes and trials",
            hint="start a new run to change them",
        )
    if opened is None:
        assert isinstance(store, str)
        opened = Store(store, create=resume is None)
    outcome = execute(opened, plan=plan, resume=resume, tell=tell, stop=stop)
    return RunResult(view_run(opened, outcome.run), outcome)


def convert(
    model: str,
    recipes: Sequence[str],
    out: str | Path,
    *,
    calibration: str | None = None,
    training: str | None = None,
    preprocessing: Preprocessing | None = None,
    labels: str | Path | None = None,
    task: str = "classification",
    image_size: tuple[int, int] | None = None,
    done: Callable[[Converted], None] = lambda converted: None,
    progress: Callable[[str, Mapping[str, Any]], None] = lambda recipe, said: None,
    stopped: Callable[[], bool] = lambda: False,
    timeout: float = TIMEOUT,
    memory_limit_gb: float = 0,
    tensorboard: str | Path | None = None,
) -> list[Converted]:
    """Convert a model into ``.tflite`` files in ``out``, one per recipe, with their manifests.

    ``model`` is whatever a suite's ``file`` may be; ``recipes`` may hold ``"all"``;
    ``calibration`` and ``training`` are an ``.npz``, a folder of images or ``"digits"``.
    Raises ``UsageError`` for what can never work; a conversion that fails is in the result.
    """
    return conversion.convert(
        source_model(model, preprocessing, labels, task),
        recipes,
        Path(out),
        conversion.Splits(
            named_dataset("calibration", calibration, image_size),
            named_dataset("training", training, image_size),
        ),
        done=done,
        progress=progress,
        stopped=stopped,
        timeout=timeout,
        memory_limit=int(memory_limit_gb * 1e9),
        tensorboard=Path(tensorboard).absolute() if tensorboard else None,
    )


def preflight(model: str) -> Sequence[Mapping[str, Any]]:
    """What quantization-aware training would do with each layer: name, type, status, reason."""
    return look_over(source_model(model))


def debug(
    model: str,
    recipe: str,
    data: str,
    *,
    calibration: str | None = None,
    training: str | None = None,
    preprocessing: Preprocessing | None = None,
    image_size: tuple[int, int] | None = None,
    effort: Effort | None = None,
    progress: Callable[[str, Mapping[str, Any]], None] = lambda recipe, said: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Examination:
    """Rank a model's operators by what quantizing them costs, on labelled samples ``data``.

    Raises ``UsageError`` for a recipe that cannot keep operators in float,
    ``ConversionError`` where a file cannot be made or compared.
    """
    evaluation = named_dataset("evaluation", data, image_size)
    assert evaluation is not None
    return examine(
        source_model(model, preprocessing),
        recipe,
        evaluation,
        conversion.Splits(
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
    store: str | Store = DEFAULT_STORE,
    tell: Listener = lambda event: None,
    stop: Stop | None = None,
) -> searching.Found:
    """The best variant that loses at most ``max_accuracy_drop`` points of accuracy.

    Called again with the same arguments it goes on where it stopped. Raises ``UsageError`` for
    what can never work.
    """
    dataset = joined_dataset(data, calibration, training, image_size)
    named = source_model(model, preprocessing)
    suite = Suite(
        name=f"search {named.name}",
        models=(replace(named, dataset=dataset.name),),
        datasets={dataset.name: dataset},
        recipes=tuple(
            text
            for text in recipes or searching.FIRST
            if recipes or calibration or training or not parse_recipe(text).recipe.needs_calibration
        ),
        devices=tuple(find_device(name, TRANSPORTS) for name in dict.fromkeys(devices)),
        backends=(),
        policy=Policy(trials=Policy().trials if trials is None else trials),
    )
    opened = store if isinstance(store, Store) else Store(store, create=True)
    goal = searching.Goal(minimize, max_accuracy_drop / 100, budget_minutes * 60)
    return searching.search(opened, suite, goal, tell=tell, stop=stop)


def load(run_id: str = "last", *, store: str | Store = DEFAULT_STORE) -> RunResult:
    """A run from the store: its id, an unambiguous beginning of one, or ``last``."""
    opened = store if isinstance(store, Store) else Store(store, create=False)
    return RunResult(view_run(opened, run_id))


def inspect(file: str | Path) -> Inspection:
    """What is in a ``.tflite`` file: ``.as_dict()`` holds all of it.

    Raises ``ModelError`` for a damaged or foreign file.
    """
    return inspect_file(Path(file))
