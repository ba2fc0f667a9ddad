"""Put a real run's table and figure into README.md: `python docs/refresh_readme.py [STUDY_FOLDER]`.

The table comes from STUDY_FOLDER/tables/main.md (default: runs/quickstart), the figures from figures/*.svg in
it; they go to docs/pictures/, and the README shows one. Only what stands between the markers is replaced.

With `--report` the study's whole page and the pictures that the README links go to docs/STUDY/ instead:
`python docs/refresh_readme.py --report runs/lavit_paper`.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHOWN = "forest"  # the figure in the README
KEPT = ("report.html", "tables/main.md", "figures/forest.svg", "figures/marginal.svg", "figures/kept.png")


def replace(text: str, marker: str, content: str) -> str:
    """Return `text` with `content` between ``<!-- marker -->`` and ``<!-- /marker -->``.

    Raises:
        ValueError: the two markers do not occur exactly once, in this order.
    """
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"README.md needs one pair of markers <!-- {marker} --> … <!-- /{marker} -->")
    return pattern.sub(lambda match: f"{match[1]}{content.strip()}\n{match[2]}", text)


def refresh(study: Path, root: Path = ROOT) -> list[Path]:
    """Refresh `root`/README.md from the finished `study` folder; return the files that were written."""
    table = study / "tables" / "main.md"
    figures = sorted((study / "figures").glob("*.svg"))
    shown = next((figure for figure in figures if figure.stem == SHOWN), None)
    if not table.is_file() or shown is None:
        missing = table if not table.is_file() else study / "figures" / f"{SHOWN}.svg"
        raise FileNotFoundError(f"{missing} is not there: run `./run demo` first")

    pictures = root / "docs" / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    written = [Path(shutil.copy(figure, pictures / f"{study.name}-{figure.name}")) for figure in figures]

    readme = root / "README.md"
    text = replace(readme.read_text(encoding="utf-8"), "quickstart-table", table.read_text(encoding="utf-8"))
    picture = f"![Effect of each level on the headline, with intervals](docs/pictures/{study.name}-{shown.name})"
    readme.write_text(replace(text, "quickstart-figure", picture), encoding="utf-8")
    return [readme, *written]


def keep_report(study: Path, root: Path = ROOT) -> list[Path]:
    """Copy the page of the finished `study` folder and what the README links of it to `root`/docs/STUDY/."""
    missing = [study / name for name in KEPT if not (study / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{missing[0]} is not there: run `lavit run study={study.name}` first")
    folder = root / "docs" / study.name
    folder.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copy(study / name, folder / Path(name).name)) for name in KEPT]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", type=Path, default=ROOT / "runs" / "quickstart")
    parser.add_argument("--report", action="store_true", help="keep the study's page under docs/ instead")
    arguments = parser.parse_args()
    for path in (keep_report if arguments.report else refresh)(arguments.study):
        print(path)
