"""The result card as text for a terminal."""

import textwrap
from collections.abc import Mapping

WIDTH = 80
_INNER = WIDTH - 4


def format_card(card: Mapping) -> str:
    """Lay a card out in a box of at most 80 columns, ready to print."""
    groups = [_headline(card), _about(card), _score_table(card), _yardsticks(card)]
    groups += [_matrix(card), _provenance(card)]
    groups += [[line for note in card["notes"] for line in _wrap(f"! {note}", "  ")]]
    rule = "─" * (WIDTH - 2)
    body = f"\n├{rule}┤\n".join(
        "\n".join(f"│ {line:<{_INNER}} │" for line in group)
        for group in groups
        if group
    )
    return f"╭{rule}╮\n{body}\n╰{rule}╯"


def percent_of_ceiling(card: Mapping) -> float | None:
    """UF1 in percent of the ceiling's UF1, where the card has a ceiling."""
    ceiling = card["ceiling"]
    if not ceiling or not ceiling["uf1"]:
        return None
    return 100 * card["scores"]["uf1"]["mean"] / ceiling["uf1"]


def _headline(card: Mapping) -> list[str]:
    return _wrap(card["title"], "")


def _about(card: Mapping) -> list[str]:
    task, protocol = card["task"], card["protocol"]
    seeds = ", ".join(map(str, protocol["seeds"]))
    dropped = f" · {len(task['dropped'])} dropped" if task["dropped"] else ""
    return [
        *_field("task", f"{task['name']} ({task['dataset']})"),
        *_field("clips", f"{task['clips']} of {task['subjects']} subjects{dropped}"),
        *_field("protocol", f"{protocol['name']} · folds {protocol['folds']}"),
        *_field("seeds", seeds),
        *_field("recipe", card["recipe"]),
        *_field("selection", card["selection"]),
        *_field("input", card["input_contract"]),
    ]


def _score_table(card: Mapping) -> list[str]:
    lines = [f"{'':<10}{'mean':>8}   {'95 % interval':^15}{'sd over seeds':>15}"]
    for key in ("uf1", "uar", "acc"):
        score = card["scores"][key]
        low, high, sd = score["low"], score["high"], score["sd"]
        interval = "-" if low is None else f"{low:.3f} – {high:.3f}"
        spread = "-" if sd is None else f"{sd:.4f}"
        mean = score["mean"]
        lines.append(f"{key.upper():<10}{mean:>8.4f}   {interval:^15}{spread:>15}")
    ceiling, oracle = card["ceiling"], card["oracle"]
    if card["selection"] == "oracle":
        lines += _wrap("Selected on the test subjects: a bound, not a result.", "  ")
    if ceiling:
        lines += _wrap(
            f"UF1 is {percent_of_ceiling(card):.1f} % of the ceiling "
            f"{ceiling['uf1']:.4f} ({ceiling.get('name', 'ceiling')}).",
            "  ",
        )
    if oracle:
        lines += _wrap(
            f"Upper bound, selected on test, no result: UF1 {oracle['uf1']:.4f}.", "  "
        )
    return lines


def _yardsticks(card: Mapping) -> list[str]:
    chance = card["chance"]
    prior = chance["prior_uf1"]
    guess = f"{prior['mean']:.3f} (95 %: {prior['low']:.3f} – {prior['high']:.3f})"
    return [
        "UF1 without learning anything",
        f"  {'guessing by class frequency':<45}{guess}",
        f"  {'always the most frequent class':<45}{chance['majority_uf1']:.3f}",
        f"  {_selected(chance['epochs']):<45}{chance['best_on_test_uf1']:.3f}",
    ]


def _selected(epochs: int) -> str:
    return f"guessing, best of {epochs} epochs picked on test"


def _matrix(card: Mapping) -> list[str]:
    """Counts summed over seeds, rows truth; names are cut to fit the width."""
    names = card["task"]["classes"]
    matrix = card["scores"]["confusion_matrix"]
    cell = min(13, (_INNER - 24) // len(names))
    head = "".join(f"{name[: cell - 1]:>{cell}}" for name in names)
    lines = [f"{'true / predicted':<16}{head}{'F1':>8}"]
    for name, row, score in zip(
        names, matrix, card["scores"]["per_class"], strict=True
    ):
        counts = "".join(f"{count:>{cell}}" for count in row)
        lines.append(f"{name[:15]:<16}{counts}{score['f1']:>8.3f}")
    return lines


def _provenance(card: Mapping) -> list[str]:
    lineage = "; ".join(card["lineage"]) or "no weights were loaded"
    versions = ", ".join(f"{k} {v}" for k, v in sorted(card["versions"].items()))
    return [
        *_field("weights", lineage),
        *_field("versions", versions),
        *_field("clip list", card["task"]["clip_list_sha256"][:16]),
        *_field("config", card["config_sha256"][:16]),
        *_field("card", card["card_sha256"][:16]),
    ]


def _field(name: str, value: str) -> list[str]:
    return _wrap(f"{name:<11}{value}", " " * 11)


def _wrap(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _INNER, subsequent_indent=indent) or [""]
