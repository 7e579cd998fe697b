"""`make reference`: writes the pages that come from the code."""

from pathlib import Path

from tests.pages import api_page, command_page

PAGES = {"popk/API.md": api_page.page, "popk/COMMANDS.md": command_page.page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (Path(__file__).parents[2] / name).write_text(page(), encoding="utf-8")
        print(name)
