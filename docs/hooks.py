"""What makes a site of pages that are read in a checkout too.

Pages beside `docs/` join it under their own paths, links keep working from their new
place, and the reference has a page for every room of the package.
"""

import functools
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
HOME = "README.md"
BESIDE = ("configs/README.md", "benchmarks/README.md", "benchmarks/RESULTS.md")
BESIDE += ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
_LINK = re.compile(r"(!?)\[([^\]\n]*)\]\(([^)\s]+)\)")


@functools.cache
def _beside() -> dict[str, str]:
    """Path in the checkout -> path in the site, of pages that are not in docs/."""
    builders = ROOT.glob("data_builders/*/README.md")
    paths = (*BESIDE, *(p.relative_to(ROOT).as_posix() for p in sorted(builders)))
    return {HOME: "index.md"} | {path: path for path in paths}


def _rooms() -> dict[str, str]:
    """Path in the site -> text, of the reference's pages."""
    package = ROOT / "merclip_jax"
    rooms: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        parts = name.split(".")
        if not path.stem.startswith("__"):
            room = parts[1] if len(parts) > 2 else "top"
            rooms.setdefault(room, []).append(name)
    pages = {}
    for room, names in rooms.items():
        title = "merclip_jax" if room == "top" else f"merclip_jax.{room}"
        body = "\n".join(f"::: {name}\n" for name in names)
        pages[f"reference/{room}.md"] = f"# {title}\n\n{body}"
    lines = "\n".join(
        f"- [merclip_jax{'' if room == 'top' else '.' + room}]({room}.md): "
        + ", ".join(f"`{name.rpartition('.')[2]}`" for name in names)
        for room, names in sorted(rooms.items())
    )
    told = "Every public name, from its docstring. Shapes are in brackets, axis letters"
    told += " are those of [the architecture](../architecture.md)."
    pages["reference/index.md"] = f"# Reference\n\n{told}\n\n{lines}\n"
    return pages


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fills in the pages of the reference and of the datasets."""
    pages = sorted(_rooms(), key=lambda page: (not page.endswith("index.md"), page))
    datasets = sorted(page for page in _beside() if page.startswith("data_builders/"))
    for entry in config.nav:
        if "Reference" in entry:
            entry["Reference"] = pages
        if "Using it" in entry:
            titles = [{page.split("/")[1]: page} for page in datasets]
            entry["Using it"].insert(1, {"Each dataset": titles})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not in docs/."""
    for path, uri in _beside().items():
        text = (ROOT / path).read_text("utf-8")
        files.append(File.generated(config, uri, content=text))
    for uri, text in _rooms().items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Links as they must be from the page's place in the site."""
    here = page.file.src_uri
    moved = {uri: path for path, uri in _beside().items()}
    own = moved.get(here, f"docs/{here}")
    if here.startswith("reference/"):
        return markdown

    def link(found: re.Match) -> str:
        picture, text, target = found.groups()
        path, hash_, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target) or not path:
            return found[0]
        where = posixpath.normpath(posixpath.join(posixpath.dirname(own), path))
        there = ROOT / where
        if not there.exists():
            return found[0]  # no link but code, or MkDocs tells of it
        uri = _beside().get(where, where.removeprefix("docs/"))
        if files.get_file_from_path(uri) is None:
            return f"`{where}`"  # a source file, or a folder: it stands in a checkout
        way = posixpath.relpath(uri, posixpath.dirname(here) or ".")
        return f"{picture}[{text}]({way}{hash_}{anchor})"

    return _LINK.sub(link, markdown)
