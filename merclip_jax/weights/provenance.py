"""Where weights come from: the account of a part, its lines on the card, its claim."""

from collections.abc import Mapping, Sequence

from merclip_jax.weights.families.numbers import Fit
from merclip_jax.weights.sources import Opened

RANDOM = "random initialisation (no pretrained weights)"
RANDOM_VIDEO = "video: random initialisation"
RANDOM_TEXT = "text: random tower (no published weights)"


def account(opened: Opened, fitted: Fit, part: str) -> dict:
    """The lineage of one fitted part: sources, and what became of every tensor."""
    found = {
        "part": part,
        "sources": opened.records[part],
        "module": opened.modules[part],
        "used": {path: list(keys) for path, keys in fitted.used.items()},
        "changed": fitted.changed,
        "initialised": fitted.initialised,
        "dropped": fitted.dropped,
        "parameters": fitted.parameters(fitted.used),
    }
    if part == "text" and opened.tokenizer:
        found["tokenizer_sha256"] = opened.tokenizer.sha256
    return found


def lineage_lines(lineages: Sequence[Mapping]) -> list[str]:
    """Sentences for the result card on what the weights started from."""
    if not lineages:
        return [RANDOM]
    parts = {lineage["part"] for lineage in lineages}
    lines = [] if "video" in parts else [RANDOM_VIDEO]
    lines += [_line(lineage) for lineage in lineages]
    return lines + ([] if "text" in parts else [RANDOM_TEXT])


def identity(lineages: Sequence[Mapping]) -> dict[str, object]:
    """What a run's claim on its folder says of its start: checksums of the files."""
    found: dict[str, object] = {}
    for lineage in lineages:
        sums = [record["sha256"] for record in lineage["sources"]]
        found[f"init.{lineage['part']}_sha256"] = sums
        if "tokenizer_sha256" in lineage:
            found["init.tokenizer_sha256"] = lineage["tokenizer_sha256"]
    return found


def reasons(of: Mapping[str, str]) -> dict[str, int]:
    """How often each reason occurs."""
    return {why: list(of.values()).count(why) for why in sorted(set(of.values()))}


def _line(lineage: Mapping) -> str:
    files = "; ".join(
        f"{r['family']} in {r['name']} ({r['bytes']} bytes, sha256 {r['sha256']})"
        for r in lineage["sources"]
    )
    line = (
        f"{lineage['part']}: {files}: {len(lineage['used'])} tensors, "
        f"{lineage['parameters']} parameters"
    )
    if "tokenizer_sha256" in lineage:
        line += f"; tokenizer of sha256 {lineage['tokenizer_sha256']}"
    for word in ("changed", "initialised", "dropped"):
        for why, count in reasons(lineage[word]).items():
            line += f"; {count} {word}: {why}"
    earlier = [e for r in lineage["sources"] for e in r.get("earlier", [])]
    return line + "".join(f"; trained from {e}" for e in earlier)
