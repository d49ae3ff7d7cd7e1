"""From files to a configuration that is known to be right. Floor 2: reads files only.

    1. `files` and `document` read YAML strictly and expand references.
    2. `model` says what each key may be; the plug-ins' settings are part of it.
    3. `check` says what must be true between keys.

Every step goes as far as it can, so that all problems are told at once: what is wrong
in one route keeps nobody from learning what is wrong in another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from gateway.config.check import check
from gateway.config.document import Value
from gateway.config.files import directory, read_files
from gateway.config.model import Config, language
from gateway.config.registry import Registry
from gateway.config.report import KeyPath, Mark, Report
from gateway.config.traces import Traces
from gateway.config.wording import explain
from gateway.errors import ConfigError

# What a file must hold besides its tables, for these to be checked on their own.
_FRAME: Final[Mapping[str, Any]] = {"version": 1, "secret": "-" * 32}
_PROCESS: Final = {"workers", "store"}
_NAMED_BY: Final = {"provider": "providers", "upstream": "upstreams"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration without problems, and what is unwise in it.

    `document` is what was read, with its references put in, and `base` where its own
    paths start from: `load_again` makes the same of them in another process. `marks`
    tell where each value stands in the files.
    """

    config: Config
    warnings: tuple[str, ...]
    document: Value = field(repr=False)
    base: Path
    marks: Mapping[KeyPath, Mark] = field(default_factory=dict, repr=False)


def load(
    source: Path | str,
    registry: Registry,
    environ: Mapping[str, str],
    *,
    traces: Traces | None = None,
) -> Loaded:
    """Load a file (a `Path`) or a text (a `str`).

    Raises `ConfigError` with every problem there is. `traces` takes note of the files
    that were looked at, in any case.
    """
    report = Report() if traces is None else Report(traces=traces)
    given = read_files(source, environ, report)
    model = language(registry)
    context = {"base": directory(source)}
    config: Config | None = None
    try:
        config = model.model_validate(given, context=context)
        report.traces.named_in(config)
    except ValidationError as error:
        explain(error, model, report)
    if config is not None and not report.problems:
        check(config, registry, report, range(len(config.routes)))
    else:
        sound, numbers = _sound_part(given, report)
        check(model.model_validate(sound, context=context), registry, report, numbers)
    if config is None or report.problems:
        # Outside of `except`: Pydantic's error could show what it was given.
        raise report.error()
    warnings = tuple(report.warnings())
    return Loaded(config, warnings, given, directory(source), report.marks)


def load_again(document: Value, base: Path, registry: Registry) -> Loaded:
    """Load what another process of ours has found good, without its files.

    Raises `ConfigError` when something it names is not there any more.
    """
    try:
        config = language(registry).model_validate(document, context={"base": base})
    except ValidationError as error:
        # Which values came from outside is not known here, so none is shown.
        places = [details["loc"] for details in error.errors(include_input=False)]
    else:
        return Loaded(config, (), document, base)
    raise ConfigError(
        [f"{'.'.join(map(str, place))}: not what it was any more" for place in places]
    )


def _sound_part(given: Value, report: Report) -> tuple[dict[str, Any], Sequence[int]]:
    """Give what has no problem yet, and the numbers its routes have in the files.

    A route that names a provider or upstream with a problem is left out too.
    """
    hurt = {path[:2] for path in report.broken}
    whole: dict[str, Any] = given if isinstance(given, dict) else {}
    sound: dict[str, Any] = {
        table: {
            name: entry
            for name, entry in whole[table].items()
            if (table, name) not in hurt
        }
        for table in {"store", *_NAMED_BY.values()} & whole.keys()
        if (table,) not in hurt
    }

    def is_sound(number: int, route: dict[str, Any]) -> bool:
        return ("routes", number) not in hurt and not any(
            (table, route.get(key)) in hurt or ((table,) in hurt and key in route)
            for key, table in _NAMED_BY.items()
        )

    routes = [] if ("routes",) in hurt else whole.get("routes", [])
    numbers = [n for n, route in enumerate(routes) if is_sound(n, route)]
    tables = {**sound, "routes": [routes[number] for number in numbers]}
    if "workers" in whole and not {path[0] for path in hurt if path} & _PROCESS:
        tables["workers"] = whole["workers"]
    return {**_FRAME, **tables}, numbers
