"""One page over many runs: their scores, task by task, with links to their reports."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from merclip_jax.printable import printable
from merclip_jax.results.card import CardError, read_card
from merclip_jax.results.counted import counted
from merclip_jax.results.report import beside


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """Folders with a card among some folders and all below them, in their order.

    Args:
        folders: of runs, or of folders of runs.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        own = [path.parent for path in sorted(folder.rglob("card.json"))]
        found |= dict.fromkeys(own or [folder])
    return list(found)


def render_index(folders: Sequence[Path], *, out: Path, title: str) -> str:
    """The page.

    Args:
        folders: of runs.
        out: where the page will lie, from which links lead to the reports.
        title: its heading.
    """
    runs, failed = [], []
    for folder in folders:
        try:
            runs.append(_run(folder, out))
        except (OSError, CardError) as error:
            failed.append(str(error))
    groups: dict[tuple, list[dict]] = {}
    for run in runs:
        key = run["task"], tuple(score["name"] for score in run["scores"])
        groups.setdefault(key, []).append(run)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["counted"] = counted
    template = environment.from_string(beside("index.html.j2"))
    page = template.render(
        title=title,
        runs=runs,
        groups=[
            {
                "task": task,
                "columns": columns,
                # The best first, by the first score.
                "runs": sorted(own, key=lambda r: (-r["scores"][0]["mean"], r["name"])),
            }
            for (task, columns), own in sorted(groups.items())
        ],
        failed=failed,
        script=Markup(beside("sort.js")),
    )
    return printable(page)


def _run(folder: Path, out: Path) -> dict:
    card = read_card(folder / "card.json")
    report = folder / "report.html"
    page = report if report.exists() else folder / "card.json"
    where = os.path.relpath(page.resolve(), out.parent.resolve())
    chance = [row for block in card["chance"] for row in block["rows"]]
    return {
        "name": folder.name,
        # A name may hold what an address must not.
        "href": quote(where.replace(os.sep, "/")),
        "system": card["system"],
        "task": card["task"]["name"],
        "scores": card["scores"][0]["rows"],
        "guess": chance[0]["value"] if chance else None,
        "clips": card["task"]["clips"],
        "seeds": len(card["protocol"]["seeds"]),
        "protocol": card["protocol"]["name"],
        "recipe": card["recipe"],
        "selection": card["selection"],
        "input": card["input_contract"],
        "hours": card["compute"].get("training_hours"),
        "notes": len(card["notes"]),
    }
