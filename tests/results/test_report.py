"""The report stands alone, escapes everything, parses, and is the same every time."""

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from merclip_jax.results import card, figures, report

CLASSES = ("negative", "positive", "surprise")
VOID = {"meta", "link", "img", "br", "hr", "input"}
TEXTS = (
    "a combination of inner brow raiser and outer brow raiser",
    "left lip corner puller",
    "brow lowerer",
)


def _predictions(*, subjects=12, seeds=(0, 1, 2)) -> card.Predictions:
    """LOSO answers that are mostly right, with uneven subjects."""
    rng = np.random.default_rng(0)
    rows = []
    for subject in range(subjects):
        for clip in range(3 + (5 * subject) % 7):
            rows.append((subject, clip, rng.choice(3, p=(0.5, 0.2, 0.3))))
    members = []
    for seed in seeds:
        label = np.array([row[2] for row in rows])
        logits = 1.6 * np.eye(3)[label] + rng.normal(size=(len(rows), 3))
        names = np.array([f"synthetic/s{row[0]:02d}" for row in rows])
        members.append(
            card.Predictions(
                clip=np.array([f"synthetic/s{s:02d}/c{c:02d}" for s, c, _ in rows]),
                subject=names,
                fold=names,
                seed=np.full(len(rows), seed),
                label=label,
                logits=logits.astype(np.float32),
            )
        )
    return card.pool(members)


def _card(predictions: card.Predictions, **changes) -> dict:
    given = {
        "title": "MER-CLIP on synthetic/tiny, 3 classes",
        "task": "synthetic-3class",
        "dataset": "synthetic/tiny:1.0.0",
        "dataset_fingerprint": "3f" * 32,
        "classes": CLASSES,
        "protocol": "loso",
        "recipe": "paper",
        "selection": "last",
        "input_contract": "oracle-keyframes",
        "config": {f"block.option_{i}": i / 7 for i in range(30)},
        "predictions": predictions,
        "epochs": 20,
        "versions": {"jax": "0.10.2", "flax": "0.12.8", "python": "3.11.9"},
        "command": "python -m merclip_jax.main --config=configs/synthetic_3class.py "
        "--workdir=runs/demo",
        "ceiling": {"name": "Bayes ceiling", "uf1": 0.91, "uar": 0.9, "acc": 0.93},
        "lineage": ["random weights, seed 0"],
        "timing": {"train_seconds": 214.73},
        "notes": ["Frames of 48 pixels and an apex motion of 1.5 px, for two cores."],
    }
    return card.build_card(**given | changes)


def _curves(members=12, epochs=20) -> dict:
    rng = np.random.default_rng(1)
    e = np.arange(epochs) / epochs
    curves = {}
    for i in range(members):
        noise = rng.normal(size=(2, epochs)).cumsum(1) * 0.02
        curves[f"s{i:02d}-seed0"] = {
            "loss/contrastive": 2.7 * np.exp(-2 * e) + 0.3 + noise[0],
            "loss/classification": 0.5 * np.exp(-3 * e) + 0.05 + 0.4 * noise[1] ** 2,
            "weight/contrastive": 2 - e,
            "weight/classification": e,
            "lr": 1e-3 * (1 + np.cos(np.pi * e)) / 2,
        }
    return curves


def _frames(seed: int, *, size=48, apex=7) -> np.ndarray:
    """A face-like drawing whose mouth corner moves up to the apex and back."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    skin = np.array([201, 160, 134]) * (0.8 + 0.3 * rng.random())
    frames = []
    for t in range(16):
        move = 0.03 * max(0, 1 - abs(t - apex) / 7)
        face = np.ones((size, size, 3)) * skin
        face[((x - 0.5) / 0.42) ** 2 + ((y - 0.5) / 0.5) ** 2 > 1] = (70, 80, 92)
        for cx in (0.33, 0.67):
            face[((x - cx) / 0.07) ** 2 + ((y - 0.4) / 0.04) ** 2 < 1] = (40, 30, 28)
        lip = 0.74 + move - 2.2 * move * (np.abs(x - 0.5) / 0.2) ** 2
        face[(np.abs(y - lip) < 0.025) & (np.abs(x - 0.5) < 0.2)] = (150, 70, 66)
        face += rng.normal(size=face.shape) * 3
        frames.append(np.clip(face, 0, 255).astype(np.uint8))
    return np.stack(frames)


def _examples(count=3) -> list[card.Example]:
    rng = np.random.default_rng(2)
    examples = []
    for i in range(count):
        matches = [(text, 0.61 - 0.17 * j) for j, text in enumerate(TEXTS)]
        example = card.Example(
            clip=f"synthetic/s{i:02d}/c01",
            subject=f"synthetic/s{i:02d}",
            label=i % 3,
            logits=2 * np.eye(3)[(i + (i == 1)) % 3] + rng.normal(size=3) * 0.5,
            frames=_frames(i, size=(48, 64, 224)[i % 3]),
            au_text=TEXTS[0] if i != 1 else "dimpler on the right side",
            matches=matches,
        )
        examples.append(example)
    return examples


def demo_inputs() -> dict:
    predictions = _predictions()
    return {
        "card": _card(predictions),
        "predictions": predictions,
        "curves": _curves(),
        "examples": _examples(),
    }


@pytest.fixture(scope="module")
def demo() -> dict:
    return demo_inputs()


@pytest.fixture(scope="module")
def page(demo) -> str:
    return report.render_report(**demo)


class _Page(HTMLParser):
    """Checks nesting, collects tags, ids, text and what is loaded."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.tags, self.ids, self.loads, self.text = [], [], [], [], []
        self.alts, self.refs = [], []
        self.feed(page)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.loads += [attrs[k] for k in ("src", "href", "xlink:href") if k in attrs]
        self.refs += re.findall(r"url\(#([^)]+)\)", " ".join(map(str, attrs.values())))
        if tag == "img":
            self.alts.append(attrs.get("alt"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def test_page_parses_and_stands_alone(page):
    parsed = _Page(page)
    assert len(parsed.ids) == len(set(parsed.ids))
    inside = {f"#{name}" for name in parsed.ids}
    assert all(x.startswith("data:image/png;") or x in inside for x in parsed.loads)
    assert {f"#{name}" for name in parsed.refs} <= inside
    assert "http://" not in page and "https://" not in page and "@import" not in page
    assert not {"script", "iframe", "link"} & set(parsed.tags)
    assert parsed.tags.count("svg") == 4
    assert parsed.alts and all(parsed.alts)
    assert parsed.tags.count("article") == 3


def test_page_says_what_matters(page, demo):
    text = re.sub(r"\s+", " ", " ".join(_Page(page).text))
    scores = demo["card"]["scores"]
    for name in ("uf1", "uar", "acc"):
        assert f"{scores[name]['mean']:.3f}" in text
        assert f"{scores[name]['low']:.3f} – {scores[name]['high']:.3f}" in text
    for part in (
        f"{card.percent_of_ceiling(demo['card']):.0f} %",
        "predicts nothing about people",
        "Leave-one-subject-out",
        "annotated onset, apex and offset",
        "best of 20 epochs picked on test",
        "synthetic/s11",
        TEXTS[0],
        "dimpler on the right side",
        "configs/synthetic_3class.py",
        demo["card"]["card_sha256"],
        "block.option_29",
    ):
        assert part in text, part


def test_page_has_the_same_bytes_again(page, tmp_path):
    report.write_report(tmp_path / "report.html", **demo_inputs())
    assert (tmp_path / "report.html").read_bytes() == page.encode()


def test_everything_is_escaped(demo):
    evil = "<script>alert(1)</script>\"' onload=x"
    example = dataclasses.replace(
        demo["examples"][0],
        clip=evil,
        subject=evil,
        au_text=evil,
        matches=[(evil, 0.1)],
    )
    predictions = demo["predictions"]
    card = _card(
        predictions,
        title=evil,
        classes=(evil, "b", "c"),
        command=evil,
        config={evil: evil},
        notes=[evil],
        lineage=[evil],
        dataset=evil,
    )
    page = report.render_report(
        card=card, predictions=predictions, curves={}, examples=[example]
    )
    parsed = _Page(page)
    assert "script" not in parsed.tags
    assert "<script" not in page
    assert "".join(parsed.text).count("<script>") >= 8


def test_small_runs_make_a_page_too():
    """One subject, one seed, no ceiling, no curves, no examples."""
    predictions = _predictions(subjects=1, seeds=(0,))
    card = _card(predictions, ceiling=None, protocol="holdout", dataset="casme2")
    page = report.render_report(
        card=card, predictions=predictions, curves={}, examples=[]
    )
    text = " ".join(_Page(page).text)
    assert "no interval" in text and "of the ceiling" not in text
    assert "predicts nothing about people" not in text


def test_a_score_selected_on_test_is_called_a_bound(demo):
    card = _card(demo["predictions"], selection="oracle")
    page = report.render_report(**demo | {"card": card})
    assert "Selected on the test subjects." in page and "upper bound" in page


def test_wrong_inputs_are_named(demo):
    with pytest.raises(ValueError, match="other predictions"):
        report.render_report(**demo | {"predictions": _predictions(seeds=(5,))})
    broken = {"s03-seed0": {"loss/contrastive": np.ones(3)}}
    with pytest.raises(
        ValueError, match="curves of s03-seed0 lack loss/classification"
    ):
        report.render_report(**demo | {"curves": broken})
    float_frames = dataclasses.replace(
        demo["examples"][0], frames=np.zeros((4, 8, 8, 3), np.float32)
    )
    with pytest.raises(ValueError, match="s00/c01: expected frames .* float32"):
        report.render_report(**demo | {"examples": [float_frames]})
    late = dataclasses.replace(demo["examples"][0], apex=16)
    with pytest.raises(ValueError, match="s00/c01: apex 16 of 16 frames"):
        report.render_report(**demo | {"examples": [late]})


def test_apex_and_difference_follow_the_motion():
    frames = np.full((5, 10, 10, 3), 100, np.uint8)
    frames[3, 2:4, 2:4] = 110
    assert figures.apex_of(frames) == 3
    heat, gain = figures.onset_difference(frames, 3)
    assert gain == 26
    assert heat[2, 2].sum() > heat[0, 0].sum()
    np.testing.assert_array_equal(heat[0, 0], heat[9, 9])
    still, gain = figures.onset_difference(frames, 1)
    assert gain == 40 and np.ptp(still[..., 0]) == 0


def test_members_of_unlike_length_and_single_epochs_are_drawn():
    curves = _curves(members=2, epochs=4) | {"short": _curves(1, 1)["s00-seed0"]}
    panels = figures.curve_panels(curves)
    assert [panel["title"] for panel in panels][0] == "Contrastive loss"
    assert "over 4 epochs" in panels[0]["alt"]
    figures.curve_panels({"one": _curves(1, 1)["s00-seed0"]})
