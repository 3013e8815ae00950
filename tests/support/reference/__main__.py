"""Write docs/reference anew, and remove what nothing makes any more."""

from __future__ import annotations

from tests.support.documents import ROOT
from tests.support.reference.pages import pages

FOLDER = ROOT / "docs" / "reference"

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        if not (FOLDER / name).exists() or (FOLDER / name).read_text("utf-8") != text:
            (FOLDER / name).write_text(text, "utf-8")
            print(f"docs/reference/{name}")
