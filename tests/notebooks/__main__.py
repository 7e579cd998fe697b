"""``python -m tests.notebooks``: takes outputs and counts out of all notebooks, for clean diffs."""

import nbformat

from tests.notebooks.form import paths, stored, swept

if __name__ == "__main__":
    for path in paths():
        text = stored(swept(nbformat.read(path, as_version=4)))
        if text != path.read_text(encoding="utf-8"):
            path.write_text(text, encoding="utf-8")
            print(path.name)
