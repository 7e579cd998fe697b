"""What the shell proposes for an argument: fit folders, model files, ready names. Cheap by design:
it looks at names and first lines, never into data.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

EXAMPLES = ("blinatumomab-infants", "phenobarb-neonates")
FIGURES = (
    "predictions", "residuals", "npde", "vpc", "pcvpc", "limits", "individuals", "exposure", "etas",
    "outliers", "sample", "forest", "priors", "sensitivity", "times",
)  # fmt: skip
"""Names that stand elsewhere too, where a look at them would take a second; a test compares."""


def fit_folders(incomplete: str) -> list[str]:
    """Fit folders whose path begins like this, or that lie one level further."""
    found: list[Path] = []
    for path in _here(incomplete):
        if (path / "fit.toml").is_file():
            found.append(path)
        else:
            found += sorted(deeper.parent for deeper in path.glob("*/fit.toml"))
    return list(map(str, found))


def model_files(incomplete: str) -> list[str]:
    """Model files whose path begins like this, or that lie one level further."""
    found: list[Path] = []
    for path in _here(incomplete):
        found += sorted(path.glob("*.toml")) if path.is_dir() else [path]
    return [str(path) for path in found if _is_model(path)]


def fits_and_models(incomplete: str) -> list[str]:
    """Either: what a command that simulates takes."""
    return list(dict.fromkeys([*fit_folders(incomplete), *model_files(incomplete)]))


def files_to_check(incomplete: str) -> list[str]:
    """Fit folders, model files and data files."""
    data = [str(path) for path in _here(incomplete) if path.suffix == ".csv"]
    return [*fits_and_models(incomplete), *data]


def ready_regimens(incomplete: str) -> list[str]:
    """Names of the regimens that popk brings along."""
    folder = Path(__file__).parents[1] / "spec" / "regimens"
    return _like(incomplete, (path.stem for path in folder.glob("*.toml")))


def patient_files(incomplete: str) -> list[str]:
    """TOML files that are no model and no fit, here or one level further."""
    found: list[Path] = []
    for path in _here(incomplete):
        found += sorted(path.glob("*.toml")) if path.is_dir() else [path]
    return [
        str(path)
        for path in found
        if path.suffix == ".toml" and path.name != "fit.toml" and not _is_model(path)
    ]


def example_names(incomplete: str) -> list[str]:
    """Of `popk init --example`."""
    return _like(incomplete, EXAMPLES)


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Words of a closed list."""

    def proposed(incomplete: str) -> list[str]:
        return _like(incomplete, words)

    return proposed


def listed(*words: str) -> Callable[[str], list[str]]:
    """Words of a closed list with commas between: the last one is completed."""

    def proposed(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        return [f"{before}{comma}{word}" for word in _like(last, words) if word not in taken]

    return proposed


figures = listed(*FIGURES, "all", "list")


def _like(incomplete: str, words: Iterable[str]) -> list[str]:
    return sorted(word for word in words if word.startswith(incomplete))


def _here(incomplete: str) -> list[Path]:
    """Files and folders whose path begins with what stands there; hidden ones only if asked."""
    place = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    start = "" if incomplete.endswith("/") else Path(incomplete).name
    try:
        names = sorted(path.name for path in place.iterdir())
    except OSError:
        return []
    return [
        place / name
        for name in names
        if name.startswith(start) and (start.startswith(".") or not name.startswith("."))
    ]


def _is_model(path: Path) -> bool:
    if path.suffix != ".toml":
        return False
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return any(line.startswith("structure") for line in file)
    except OSError:
        return False
