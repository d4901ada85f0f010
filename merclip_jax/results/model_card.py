"""A card as a model card of Hugging Face's hub: README.md beside the weights."""

from collections.abc import Mapping

from jinja2 import Environment, StrictUndefined

from merclip_jax.printable import printable
from merclip_jax.results import report
from merclip_jax.results.counted import counted

# The hub's names of what there is a name of.
_METRICS = {"uf1": "f1", "f1": "f1", "acc": "accuracy", "uar": "recall"}
# Marks that Markdown or HTML would take for orders.
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|#{}"})


def model_card(card: Mapping) -> str:
    """The text of the hub's README.md.

    Args:
        card: of `card.read_card`.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    task = card["task"]
    results = [
        EvalResult(
            task_type="video-classification",
            dataset_type=_plain(task["dataset"]),
            dataset_name=f"{_plain(task['dataset'])}, {_plain(task['name'])}",
            metric_type=_METRICS.get(row["key"], row["key"]),
            metric_name=f"{row['name']}, {card['protocol']['name']}",
            metric_value=row["mean"],
        )
        for row in card["scores"][0]["rows"]
    ]
    data = ModelCardData(
        model_name=_plain(card["title"]),
        library_name="merclip_jax",
        pipeline_tag="video-classification",
        tags=["micro-expressions", "action-units", "jax"],
        license="other",
        license_name="see-the-terms-of-the-dataset",
        eval_results=results,
    )
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["counted"] = counted
    template = environment.from_string(report.beside("model_card.md.j2"))
    text = template.render(
        card=_escaped(card),
        card_data=data.to_yaml(),
        paragraphs=_escaped(report.paragraphs(card)),
    )
    # Read as the hub will: what it would refuse is known now.
    return str(ModelCard(printable(text)))


def _plain(text: str) -> str:
    return " ".join(printable(text).split())


def _escaped(value: object) -> object:
    """All texts of a card, with no mark that Markdown would obey."""
    if isinstance(value, Mapping):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return _plain(value).translate(_MARKS) if isinstance(value, str) else value
