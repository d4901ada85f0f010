"""The report stands alone, escapes everything, parses, and is the same every time."""

import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from merclip_jax.results import card as cards
from merclip_jax.results import figures, findings, report, shown
from merclip_jax.results.answers import Answers
from merclip_jax.results.terminal import percent_of_ceiling
from merclip_jax.scoring.predictions import Predictions, pool
from merclip_jax.scoring.tasks import EmotionTask
from merclip_jax.systems.mer_clip import MerClip
from merclip_jax.systems.system import Exhibit
from merclip_jax.training.step import SCALARS

CLASSES = ("negative", "positive", "surprise")
DRAWN = (*MerClip.scalars, *SCALARS)
VOID = {"meta", "link", "img", "br", "hr", "input"}
TEXTS = (
    "a combination of inner brow raiser and outer brow raiser",
    "left lip corner puller",
    "brow lowerer",
)


def _predictions(
    *, subjects=12, seeds=(0, 1, 2), classes=CLASSES, dataset="synthetic"
) -> Predictions:
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
        names = np.array([f"{dataset}/s{row[0]:02d}" for row in rows])
        members.append(
            Predictions(
                task=EmotionTask(classes),
                clip=np.array([f"{dataset}/s{s:02d}/c{c:02d}" for s, c, _ in rows]),
                subject=names,
                fold=names,
                split=np.full(len(rows), "clips"),
                seed=np.full(len(rows), seed),
                target=label,
                outputs={"logits": logits.astype(np.float32)},
            )
        )
    return pool(members)


def _card(predictions: Predictions, **changes) -> dict:
    given = {
        "title": "MER-CLIP on synthetic/tiny, 3 classes",
        "system": "MER-CLIP",
        "task": "synthetic-3class",
        "dataset": "synthetic/tiny:1.0.0",
        "dataset_fingerprint": "3f" * 32,
        "protocol": "loso",
        "recipe": "paper",
        "selection": "last",
        "input_contract": "oracle-keyframes",
        "config": {f"block.option_{i}": i / 7 for i in range(30)},
        "versions": {"jax": "0.10.2", "flax": "0.12.8", "python": "3.11.9"},
        "command": "python -m merclip_jax.main --config=configs/synthetic_3class.py "
        "--workdir=runs/demo",
        "ceiling": {"name": "Bayes ceiling", "uf1": 0.91, "uar": 0.9, "acc": 0.93},
        "lineage": ["random weights, seed 0"],
        "compute": {
            "training_hours": 0.06,
            "clips": 12345,
            "clips_per_second": 57.2,
            "energy_kwh": 0.003,
            "devices": "1 x cpu",
        },
        "notes": ["Frames of 48 pixels and an apex motion of 1.5 px, for two cores."],
        "parameters": [
            {"part": "encoder/block_*", "arrays": 28, "trained": 12345, "frozen": 0},
            {"part": "head", "arrays": 2, "trained": 0, "frozen": 678},
        ],
    }
    own = {"bound", "test_splits"} & changes.keys()
    answers = Answers(predictions, epochs=20, **{n: changes.pop(n) for n in own})
    return cards.build_card(answers, cards.Facts(**given | changes))


def _curves(members=12, epochs=20) -> dict:
    rng = np.random.default_rng(1)
    e = np.arange(epochs) / epochs
    curves = {}
    for i in range(members):
        noise = rng.normal(size=(2, epochs)).cumsum(1) * 0.02
        own = {
            "loss": 5 * np.exp(-2 * e),
            "loss/contrastive": 2.7 * np.exp(-2 * e) + 0.3 + noise[0],
            "loss/classification": 0.5 * np.exp(-3 * e) + 0.05 + 0.4 * noise[1] ** 2,
            "weight/contrastive": 2 - e,
            "weight/classification": e,
            "accuracy": 0.3 + 0.6 * e,
            "lr": 1e-3 * (1 + np.cos(np.pi * e)) / 2,
            "grad_norm": 3 * np.exp(-e),
            "param_norm": 20 + e,
        }
        curves[f"s{i:02d}-seed0"] = own
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


def _heat(i: int) -> np.ndarray:
    size = (48, 64, 224)[i % 3]
    y, x = np.mgrid[:size, :size] / size
    spot = np.exp(-60 * ((x - 0.7) ** 2 + (y - 0.75) ** 2))
    return np.linspace(0, 1, 16)[:, None, None] * spot


def _examples(count=3) -> list[shown.Example]:
    rng = np.random.default_rng(2)
    examples = []
    for i in range(count):
        label, guess = i % 3, (i + (i == 1)) % 3
        p = np.exp(2 * np.eye(3)[guess] + rng.normal(size=3) * 0.5)
        p /= p.sum()
        rows = [
            (0.61 - 0.17 * j, text, i != 1 and not j) for j, text in enumerate(TEXTS)
        ]
        rows += [(None, "dimpler on the right side", True)] if i == 1 else []
        examples.append(
            shown.Example(
                clip=f"synthetic/s{i:02d}/c01",
                subject=f"synthetic/s{i:02d}",
                true=CLASSES[label],
                guess=CLASSES[guess],
                bars=tuple(zip(CLASSES, p.tolist(), strict=True)),
                annotated=tuple(k == label for k in range(3)),
                answered=tuple(k == guess for k in range(3)),
                frames=_frames(i, size=(48, 64, 224)[i % 3]),
                apex=7,
                names={0: "onset", 7: "apex", 15: "offset"},
                exhibits=(Exhibit("AU text, cosine similarity", tuple(rows)),),
                heats=(("What speaks for AU12", _heat(i)),) if i < 2 else (),
            )
        )
    return examples


def _first_batch() -> shown.FirstBatch:
    frames = np.stack([_frames(i) for i in range(3)])
    names = tuple(f"synthetic/s{i:02d}/c01" for i in range(3))
    return shown.FirstBatch("s00-seed0", names, frames, frames[:, :, :, ::-1])


def _scatter() -> findings.Finding:
    rng = np.random.default_rng(4)
    svg = figures.scatter(
        rng.normal(size=(40, 2)),
        np.arange(40) % 3,
        CLASSES,
        np.arange(40) < 10,
        prefix="tsne0",
    )
    drawing = findings.Drawing(svg, "40 points", "before the head")
    return findings.Finding("Clips as the model holds them", "A note.", (drawing,))


def demo_inputs() -> dict:
    predictions = _predictions()
    return {
        "card": _card(predictions),
        "predictions": predictions,
        "scalars": DRAWN,
        "curves": _curves(),
        "examples": _examples(),
        "first_batch": _first_batch(),
        "findings": [findings.calibrated(predictions), _scatter()],
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
    assert not {"iframe", "link"} & set(parsed.tags)
    # One script, which sorts tables: it is of the package, and loads nothing.
    assert parsed.tags.count("script") == 1
    assert report.beside("sort.js") in page and "fetch" not in report.beside("sort.js")
    assert parsed.tags.count("svg") == 10
    assert parsed.alts and all(parsed.alts)
    assert parsed.tags.count("article") == 3


def test_page_says_what_matters(page, demo):
    text = re.sub(r"\s+", " ", " ".join(_Page(page).text))
    for row in demo["card"]["scores"][0]["rows"]:
        assert f"{row['mean']:.3f}" in text
        assert f"{row['low']:.3f} – {row['high']:.3f}" in text
    for part in (
        f"{percent_of_ceiling(demo['card']):.0f} %",
        "do not use it to judge anyone",
        "Leave-one-subject-out",
        "annotated onset, apex and offset",
        "best of 20 epochs picked on test",
        "synthetic/s11",
        TEXTS[0],
        "dimpler on the right side",
        "configs/synthetic_3class.py",
        demo["card"]["card_sha256"],
        "block.option_29",
        "What training saw first",
        "12,345",
        "Norm of the gradients",
        "Calibration",
        "Clips as the model holds them",
        "What speaks for AU12",
        "What it cost",
        "0.06 hours",
    ):
        assert part in text or part in page, part


def test_page_has_the_same_bytes_again(page):
    assert report.render_report(**demo_inputs()) == page


def test_everything_is_escaped(demo):
    evil = "<script>alert(1)</script>\"' onload=x"
    example = dataclasses.replace(
        demo["examples"][0],
        clip=evil,
        subject=evil,
        true=evil,
        bars=((evil, 0.5), ("b", 0.25), ("c", 0.25)),
        exhibits=(Exhibit(evil, ((0.1, evil, True),)),),
    )
    batch = dataclasses.replace(demo["first_batch"], member=evil, clips=(evil,) * 3)
    predictions = _predictions(classes=(evil, "b", "c"))
    card = _card(
        predictions,
        title=evil,
        command=evil,
        config={evil: evil},
        notes=[evil],
        lineage=[evil],
        dataset=evil,
        parameters=[{"part": evil, "arrays": 1, "trained": 1, "frozen": 0}],
    )
    page = report.render_report(
        card, predictions, examples=[example], first_batch=batch
    )
    parsed = _Page(page)
    assert parsed.tags.count("script") == page.count("<script") == 1
    assert "".join(parsed.text).count("<script>") >= 12


def test_heat_of_other_frames_is_refused(demo):
    wrong = dataclasses.replace(
        demo["examples"][0], heats=(("x", np.zeros((2, 3, 3))),)
    )
    with pytest.raises(ValueError, match="s00/c01: heat .2, 3, 3. of frames"):
        report.render_report(demo["card"], demo["predictions"], examples=[wrong])


def test_a_published_row_stands_beside_with_its_caveat():
    predictions = _predictions()
    card = _card(predictions, task="samm_3class")
    text = " ".join(_Page(report.render_report(card, predictions)).text)
    for part in ("Published on this task", "CausalNet", "test subject", "0.878"):
        assert part in text


def test_small_runs_make_a_page_too():
    """One subject, one seed, no ceiling, no curves, no examples."""
    predictions = _predictions(subjects=1, seeds=(0,))
    card = _card(predictions, ceiling=None, protocol="holdout", parameters=[])
    page = report.render_report(card, predictions)
    text = " ".join(_Page(page).text)
    assert "no interval" in text and "of the ceiling" not in text


def test_the_owners_splits_have_their_tables(demo):
    predictions = demo["predictions"]
    late = np.isin(predictions.subject, np.unique(predictions.subject)[6:])
    split = np.where(late, "test_b", "test_a")
    predictions = dataclasses.replace(predictions, split=split)
    card = _card(predictions, test_splits=("test_a", "test_b"))
    page = report.render_report(card, predictions)
    assert "test_a: " in page and "test_b: " in page


def test_the_page_says_which_member_was_trained_where(demo):
    machines = {"1 x cpu": ["s0-seed0"], "1 x cpu, then 4 x cpu": ["s1-seed0"]}
    card = _card(demo["predictions"], machines=machines)
    text = " ".join(_Page(report.render_report(card, demo["predictions"])).text)
    assert "1 x cpu (s0-seed0); 1 x cpu, then 4 x cpu (s1-seed0)." in text


def test_every_contract_and_selection_has_its_sentence(demo):
    """A card that the program can write says in words what it was given."""
    predictions = demo["predictions"]
    for changes, sentence in (
        ({"input_contract": "onset-offset"}, "but not its apex"),
        ({"selection": "inner"}, "subjects held out from the training subjects"),
        ({"protocol": "kfold"}, "the other groups only"),
    ):
        page = report.render_report(_card(predictions, **changes), predictions)
        assert sentence in " ".join(_Page(page).text)


def test_wrong_inputs_are_named(demo):
    with pytest.raises(ValueError, match="other predictions"):
        report.render_report(**demo | {"predictions": _predictions(seeds=(5,))})
    broken = {"s03-seed0": {"loss": np.ones(3)}}
    with pytest.raises(ValueError, match="curves of s03-seed0 lack loss/contrastive"):
        report.render_report(**demo | {"curves": broken})
    float_frames = dataclasses.replace(
        demo["examples"][0], frames=np.zeros((4, 8, 8, 3), np.float32)
    )
    with pytest.raises(ValueError, match="s00/c01: expected frames .* float32"):
        report.render_report(**demo | {"examples": [float_frames]})
    late = dataclasses.replace(demo["examples"][0], apex=16)
    with pytest.raises(ValueError, match="s00/c01: apex 16 of 16 frames"):
        report.render_report(**demo | {"examples": [late]})


def test_difference_follows_the_motion():
    frames = np.full((5, 10, 10, 3), 100, np.uint8)
    frames[3, 2:4, 2:4] = 110
    heat, gain = figures.onset_difference(frames, 3)
    assert gain == 26
    assert heat[2, 2].sum() > heat[0, 0].sum()
    np.testing.assert_array_equal(heat[0, 0], heat[9, 9])
    still, gain = figures.onset_difference(frames, 1)
    assert gain == 40 and np.ptp(still[..., 0]) == 0


def test_a_contact_sheet_is_a_png_of_all_clips():
    frames = np.stack([_frames(i) for i in range(3)])
    for clips in (frames, frames[..., :1]):
        picture = np.asarray(Image.open(io.BytesIO(figures.contact_sheet(clips))))
        assert picture.shape[:2] == (3 * 96, 4 * 96)  # 48 pixels, twice as large
        np.testing.assert_array_equal(
            picture[:96:2, :96:2], clips[0, 0].squeeze(), err_msg="the first onset"
        )


def test_members_of_unlike_length_and_single_epochs_are_drawn():
    curves = _curves(members=2, epochs=4) | {"short": _curves(1, 1)["s00-seed0"]}
    panels = figures.curve_panels(curves, DRAWN)
    assert [panel["title"] for panel in panels][1] == "Contrastive loss"
    assert "over 4 epochs" in panels[0]["alt"]
    figures.curve_panels({"one": _curves(1, 1)["s00-seed0"]}, DRAWN)
