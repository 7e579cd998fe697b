"""The raw table: header, cells as text, and the line number of every row, without a meaning yet."""

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from popk.spec.problem import PopkError, Problem

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", " ": "space"}

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


@dataclass(frozen=True, eq=False)
class Table:
    """The cells of a delimited text file, stripped of blanks around them.

    Attributes
    ----------
    file, sha256
        Path as given, and hash of the file's bytes.
    columns
        Column name to one text per row, in file order.
    line
        [row] line number in the file, counted from 1.
    problems
        What is wrong with the table itself: repeated or empty names, rows of another length.
    """

    file: str
    sha256: str
    columns: Mapping[str, Sequence[str]]
    line: NDArray[np.int64]
    problems: tuple[Problem, ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.line)

    def keep(self, rows: NDArray[np.bool_]) -> "Table":
        """Return the table with only the rows where `rows` is True."""
        columns = {name: list(compress(cells, rows)) for name, cells in self.columns.items()}
        return Table(self.file, self.sha256, columns, self.line[rows], self.problems)


def read_table(path: str | Path, delimiter: str = ",", comment_column: str | None = None) -> Table:
    """Read a delimited text file; lines that are blank or begin with ``#`` are skipped.

    Parameters
    ----------
    path
        The file.
    delimiter
        What stands between two cells; a space stands for any number of them.
    comment_column
        If the first column has this name, a row with a letter in it is a comment.

    Raises
    ------
    PopkError
        If the file is missing, empty, not UTF-8, has no header or only one column.
    """
    file = str(path)
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(
            file,
            f"no readable file ({error.strerror or error})",
            "a text file with one row per event",
            "check the path; a path in a fit file is relative to that file's folder",
        ) from None
    lines = _split(_decode(file, raw), delimiter)
    first, header = next(lines, (0, []))
    while header and not header[-1]:  # a delimiter at the end of the header
        header.pop()
    if not header:
        raise _unreadable(file, "an empty file", "a header line and rows", "export the data again")
    if len(header) == 1:
        raise _one_column(file, first, header[0], delimiter)
    if all(NUMBER.fullmatch(name) for name in header):
        raise _unreadable(
            file,
            f"numbers in the first line: {', '.join(header)}",
            "a header line with column names such as ID, TIME, AMT, DV",
            "write the names above the data (a header line beginning with '#' is a comment)",
            first,
        )
    rows, numbers, problems = [], [], _header_problems(file, first, header)
    commented = header[0] == comment_column
    for number, cells in lines:
        if commented and any(letter.isalpha() for letter in cells[0]):
            continue
        while len(cells) > len(header) and not cells[-1]:
            cells.pop()
        if len(cells) == len(header):
            rows.append(cells)
            numbers.append(number)
        else:
            problems.append(_ragged(file, number, header, cells))
    if not rows and not problems:
        raise _unreadable(file, "a header and no rows", "rows below the header", "export again")
    columns: dict[str, Sequence[str]] = {}
    by_column = list(zip(*rows, strict=True)) or [()] * len(header)
    for name, cells in zip(header, by_column, strict=True):
        columns.setdefault(name, cells)  # of repeated names the first one stays
    return Table(
        file,
        hashlib.sha256(raw).hexdigest(),
        columns,
        np.array(numbers, dtype=np.int64),
        tuple(problems),
    )


def _decode(file: str, raw: bytes) -> list[str]:
    """Lines of a UTF-8 file with Unix, Windows or old Macintosh line ends."""
    raw = raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        return raw.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        pass
    problems = []
    for number, line in enumerate(raw.split(b"\n"), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            problems.append(
                Problem(
                    file=file,
                    line=number,
                    found=f"bytes that are not UTF-8 text (0x{line[error.start]:02x} at byte "
                    f"{error.start + 1} of the line)",
                    expected="UTF-8",
                    cure="save the file as 'CSV UTF-8', or delete the letter with the accent",
                )
            )
    raise PopkError(*problems, unreadable=True)


def _split(lines: list[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each line that is neither blank nor a comment."""
    for number, line in enumerate(lines, start=1):
        if line.startswith("#") or not line.strip(f"{delimiter} \t"):
            continue
        text = line.strip() if delimiter == " " else line
        # one line at a time: a quote left open must not swallow the rest of the file
        reader = csv.reader((text,), delimiter=delimiter, skipinitialspace=True)
        yield number, [cell.strip() for cell in next(reader)]


def _header_problems(file: str, line: int, header: list[str]) -> list[Problem]:
    problems = []
    for position, name in enumerate(header):
        if not name:
            problems.append(
                Problem(
                    file=file,
                    line=line,
                    found=f"no name for column {position + 1}",
                    expected="a name for every column",
                    cure="name the column, or delete it (row numbers need no column)",
                )
            )
        elif header.index(name) == position and header.count(name) > 1:
            problems.append(
                Problem(
                    file=file,
                    line=line,
                    key=name,
                    found=f"{header.count(name)} columns named {name!r}",
                    expected="a different name for every column",
                    cure="rename or delete all but one of them",
                )
            )
    return problems


def _ragged(file: str, line: int, header: list[str], cells: list[str]) -> Problem:
    # the ID helps to find the row, and it mostly stands before the fault
    subject = dict(zip(header, cells, strict=False)).get("ID")
    return Problem(
        file=file,
        line=line,
        subject=subject,
        found=f"{len(cells)} fields",
        expected=f"{len(header)} fields, as in the header",
        cure="look for a missing or extra delimiter, a decimal comma, or an open quote",
    )


def _one_column(file: str, line: int, name: str, delimiter: str) -> PopkError:
    other = next((d for d in DELIMITERS if d != delimiter and d in name), None)
    found = f"one column only, {name!r}, with a {DELIMITERS[delimiter]} as delimiter"
    expected = "columns ID, TIME, AMT and DV"
    if other is None:
        return _unreadable(file, found, expected, "export the data as comma-separated text", line)
    cure = f"the delimiter seems to be a {DELIMITERS[other]}: write delimiter = {other!r}"
    # TOML writes a tab within double quotes as \t
    return _unreadable(file, found, expected, cure.replace("'", '"'), line)


def _unreadable(
    file: str, found: str, expected: str, cure: str, line: int | None = None
) -> PopkError:
    problem = Problem(file=file, line=line, found=found, expected=expected, cure=cure)
    return PopkError(problem, unreadable=True)
