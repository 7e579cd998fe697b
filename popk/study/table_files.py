"""Large tables as Parquet or CSV, written piece by piece: never a whole one in memory."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from popk.spec.problem import PopkError, Problem

Kind = Literal["parquet", "csv"]


class TableFile:
    """A table that is being written."""

    def __init__(self, part: Path, kind: Kind, note: str) -> None:
        self._part, self._kind, self._note = part, kind, note
        self._file: Any = None
        self._writer: Any = None
        self._schema: Any = None

    def write(self, columns: Mapping[str, np.ndarray | list[str]]) -> None:
        """Add rows; the first ones decide the columns and their types."""
        rows = pa.table({name: pa.array(values) for name, values in columns.items()})
        if self._writer is None:
            self._schema = rows.schema.with_metadata({"note": self._note})
            self._file = self._part.open("wb")
            if self._kind == "csv":
                if self._note:
                    self._file.write(f"# {self._note}\n".encode())
                self._writer = pyarrow.csv.CSVWriter(self._file, self._schema)
            else:
                self._writer = pyarrow.parquet.ParquetWriter(self._file, self._schema)
        self._writer.write_table(rows.cast(self._schema))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
            self._file.close()


@contextmanager
def table_file(path: Path, kind: Kind, note: str = "") -> Iterator[TableFile]:
    """A table file that is put in place when all of it is written, and left out where it is not.

    Parameters
    ----------
    path
        Of the finished file.
    kind
        "parquet" or "csv".
    note
        Stands in the file: a comment line, or metadata named ``note``.

    Raises
    ------
    popk.PopkError
        If it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table = TableFile(part, kind, note)
        try:
            yield table
        finally:
            table.close()
        if part.exists():
            part.replace(path)
    except (OSError, pa.ArrowException) as error:
        raise PopkError(
            Problem(
                file=str(path),
                found=f"a table that cannot be written ({error})",
                expected="a folder that may be written, with space left",
                cure="mend that and give the command again",
            ),
            unreadable=True,
        ) from None
    finally:
        with suppress(OSError):
            part.unlink()
