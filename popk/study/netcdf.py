"""Posterior draws as a netCDF file that ArviZ reads, written without importing ArviZ.

ArviZ takes longer to import than a fit takes; its format is one netCDF group for each group of
variables, with the coordinates in each.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from popk.study.labelled import SAMPLED, Labelled


def write_netcdf(path: Path, parts: Labelled) -> None:
    """Write one file with a group for each of the parts."""
    import h5netcdf

    created = datetime.now(UTC).isoformat()
    with h5netcdf.File(str(path), "w") as file:
        for name, variables in parts.groups.items():
            group = file.create_group(name)
            group.attrs.update({**parts.attrs, "created_at": created})
            _write_group(group, variables, parts, sampled=name in SAMPLED)


def _write_group(
    group: Any, variables: Mapping[str, np.ndarray], parts: Labelled, *, sampled: bool
) -> None:
    written: set[str] = set()

    def axis(name: str, labels: Sequence[Any]) -> str:
        if name not in written:
            group.dimensions[name] = len(labels)
            _write(group, name, (name,), np.asarray(labels))
            written.add(name)
        return name

    for name, values in variables.items():
        axes = []
        if sampled:
            axes = [axis("chain", range(values.shape[0])), axis("draw", range(values.shape[1]))]
        axes += [axis(d, parts.coords[d]) for d in parts.dims.get(name, [])]
        _write(group, name, tuple(axes), values)


def _write(group: Any, name: str, axes: tuple[str, ...], values: np.ndarray) -> None:
    if values.dtype.kind in "UO":
        import h5py

        variable = group.create_variable(name, axes, h5py.string_dtype())
        variable[...] = values.astype(object)
        return
    attrs = {}
    if values.dtype == bool:
        values, attrs = values.astype(np.int8), {"dtype": "bool"}
    options = {"compression": "gzip", "compression_opts": 1} if values.size > 1000 else {}
    variable = group.create_variable(name, axes, values.dtype, data=values, **options)
    variable.attrs.update(attrs)
