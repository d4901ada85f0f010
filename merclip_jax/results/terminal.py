"""The result card as text for a terminal."""

import textwrap
from collections.abc import Callable, Mapping

from merclip_jax.results.counted import counted

WIDTH = 80
_INNER = WIDTH - 4


def format_card(card: Mapping) -> str:
    """Lay a card out in a box of at most 80 columns, ready to print."""
    headline, *details = card["scores"]
    # The score first, then what guessing would have given, then the details.
    groups = [_wrap(card["title"], ""), _about(card), _headline(card, headline)]
    groups += [_split(part) for part in card["splits"]]
    groups += [_BY_KIND[block["kind"]](block) for block in card["chance"]]
    for i, block in enumerate(details):
        # What the first table is of, its columns say; another may be of other clips.
        title = _wrap(block["title"], "") if i and block["kind"] == "table" else []
        groups.append(title + _BY_KIND[block["kind"]](block))
    groups += [_provenance(card)]
    groups += [[line for note in card["notes"] for line in _wrap(f"! {note}", "  ")]]
    rule = "─" * (WIDTH - 2)
    body = f"\n├{rule}┤\n".join(
        "\n".join(f"│ {line:<{_INNER}} │" for line in group)
        for group in groups
        if group
    )
    return f"╭{rule}╮\n{body}\n╰{rule}╯"


def percent_of_ceiling(card: Mapping) -> float | None:
    """The first score in percent of the ceiling's, where the card has a ceiling."""
    first, ceiling = card["scores"][0]["rows"][0], card["ceiling"]
    # Real datasets have none; a procedural one knows its own.
    if not ceiling or not ceiling[first["key"]]:
        return None
    return 100 * first["mean"] / ceiling[first["key"]]


def _about(card: Mapping) -> list[str]:
    task, protocol = card["task"], card["protocol"]
    seeds = ", ".join(map(str, protocol["seeds"]))
    dropped = f" · {len(task['dropped'])} dropped" if task["dropped"] else ""
    subjects = counted(task["subjects"], "subject")
    trained, frozen = (
        sum(row[column] for row in card["parameters"])
        for column in ("trained", "frozen")
    )
    return [
        *_field("task", f"{task['name']} ({task['dataset']})"),
        *_field("clips", f"{task['clips']} of {subjects}{dropped}"),
        *_field("protocol", f"{protocol['name']} · folds {protocol['folds']}"),
        *_field("seeds", seeds),
        *_field("recipe", card["recipe"]),
        *_field("selection", card["selection"]),
        *_field("input", card["input_contract"]),
        *_field("parameters", f"{trained:,} trained, {frozen:,} frozen"),
    ]


def _scores(block: Mapping) -> list[str]:
    lines = [f"{'':<10}{'mean':>8}   {'95 % interval':^15}{'sd over seeds':>15}"]
    for score in block["rows"]:
        low, high, sd = score["low"], score["high"], score["sd"]
        interval = "-" if low is None else f"{low:.3f} – {high:.3f}"
        spread = "-" if sd is None else f"{sd:.4f}"
        name, mean = score["name"], score["mean"]
        lines.append(f"{name:<10}{mean:>8.4f}   {interval:^15}{spread:>15}")
    return lines


def _headline(card: Mapping, block: Mapping) -> list[str]:
    lines = _scores(block)
    first = block["rows"][0]
    if card["ceiling"]:
        limit = card["ceiling"][first["key"]]
        lines += _wrap(
            f"{first['name']} is {percent_of_ceiling(card):.1f} % of the ceiling "
            f"{limit:.4f} ({card['ceiling'].get('name', 'ceiling')}).",
            "  ",
        )
    if card["oracle"]:
        lines += _wrap(
            "Upper bound, selected on test, no result: "
            f"{first['name']} {card['oracle'][first['key']]:.4f}.",
            "  ",
        )
    return lines


def _split(part: Mapping) -> list[str]:
    clips, subjects = (
        counted(part["clips"], "clip"),
        counted(part["subjects"], "subject"),
    )
    title = f"{part['name']}: {clips} of {subjects}"
    return [*_wrap(title, ""), *_scores(part["scores"])]


def _chance(block: Mapping) -> list[str]:
    lines = _wrap(block["title"], "")
    for row in block["rows"]:
        value = f"{row['value']:.3f}"
        if row["low"] is not None:
            value += f" (95 %: {row['low']:.3f} – {row['high']:.3f})"
        lines.append(f"  {row['name']:<45}{value}")
    return lines


def _table(block: Mapping) -> list[str]:
    cell = min(12, (_INNER - 16) // len(block["columns"]))
    head = "".join(f"{name[: cell - 1]:>{cell}}" for name in block["columns"])
    lines = [f"{'':<16}{head}"]
    for row in block["rows"]:
        cells = ("-" if row[c] is None else row[c] for c in block["columns"])
        shown = (
            f"{c:>{cell}.3f}" if isinstance(c, float) else f"{c:>{cell}}" for c in cells
        )
        lines.append(f"{row['name'][:15]:<16}{''.join(shown)}")
    return lines


def _matrix(block: Mapping) -> list[str]:
    """Counts, rows truth; names are cut to fit the width."""
    names = block["columns"]
    cell = min(13, (_INNER - 16) // len(names))
    head = "".join(f"{name[: cell - 1]:>{cell}}" for name in names)
    lines = [f"{'true / predicted':<16}{head}"]
    for row in block["rows"]:
        counts = "".join(f"{count:>{cell}}" for count in row["counts"])
        lines.append(f"{row['name'][:15]:<16}{counts}")
    return lines


def _shares(block: Mapping) -> list[str]:
    """Nothing: two pictures, for the report."""
    del block
    return []


_BY_KIND: dict[str, Callable[[Mapping], list[str]]] = {
    "scores": _scores,
    "table": _table,
    "matrix": _matrix,
    "shares": _shares,
    "chance": _chance,
}


def _provenance(card: Mapping) -> list[str]:
    lineage = "; ".join(card["lineage"]) or "no weights were loaded"
    versions = ", ".join(f"{k} {v}" for k, v in sorted(card["versions"].items()))
    where = "; ".join(
        # Of one machine there is nothing to tell: which members need not be listed.
        f"{', '.join(members)}: {name}" if len(card["machines"]) > 1 else name
        for name, members in card["machines"].items()
    )
    return [
        *_field("weights", lineage),
        *_field("trained on", where),
        *_field("versions", versions),
        *_field("clip list", card["task"]["clip_list_sha256"][:16]),
        *_field("config", card["config_sha256"][:16]),
        *_field("card", card["card_sha256"][:16]),
    ]


def _field(name: str, value: str) -> list[str]:
    return _wrap(f"{name:<11}{value}", " " * 11)


def _wrap(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _INNER, subsequent_indent=indent) or [""]
