"""Commands in the docs are right: they parse, and they run or say what they need."""

import os
import re
import shlex
import subprocess
import sys

import pytest

from data_builders import build, doctor
from merclip_jax import card, compare, explain, export, packaged, predict, report, web
from tests import mini

PAGES = sorted(
    page.relative_to(mini.ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "configs/*.md", "data_builders/*/README.md")
    for page in mini.ROOT.glob(pattern)
)
SCRIPTS = {
    "merclip": "merclip_jax.main",
    "merclip-build": "data_builders.build",
    "merclip-doctor": "data_builders.doctor",
    "merclip-convert": "merclip_jax.convert",
    "merclip-compare": "merclip_jax.compare",
    "merclip-card": "merclip_jax.card",
    "merclip-explain": "merclip_jax.explain",
    "merclip-report": "merclip_jax.report",
    "merclip-predict": "merclip_jax.predict",
    "merclip-web": "merclip_jax.web",
    "merclip-export": "merclip_jax.export",
}
# Those that parse their own words.
PARSERS = {
    "merclip_jax.card": card,
    "merclip_jax.explain": explain,
    "merclip_jax.report": report,
    "merclip_jax.predict": predict,
    "merclip_jax.web": web,
    "merclip_jax.export": export,
}
# Of other programs: installing, schedulers, this project's own tests and benchmarks.
OTHERS = ("make", "pip", "pre-commit", "sbatch", "srun", "gcloud", "kubectl", ".")
OTHERS += ("examples", "tests", "benchmarks", "venv", "contact_sheet")
# What a reader puts in their place.
PLACES = {"NAME": "synthetic_3class", "MEMBER": "s00-seed0"}


def blocks(page):
    """(what the block is titled, its text) of fenced and indented code."""
    text = (mini.ROOT / page).read_text()
    for title, body in re.findall(r"```(?:bash|sh)?([^\n]*)\n(.*?)```", text, re.S):
        yield title.strip(), body
    plain = re.sub(r"```.*?```", "", text, flags=re.S)
    for body in re.findall(r"(?:^ {4}\S[^\n]*\n(?: {4,}[^\n]*\n)*)+", plain, re.M):
        yield "", body


def commands(page):
    """(title, words) of each command; variables before it and remarks are cut off."""
    for title, body in blocks(page):
        for line in body.replace("\\\n", " ").splitlines():
            line = re.split(r"\s#(?:\s|$)", line.strip())[0]
            line = re.sub(r"^([A-Z_]+=\S+\s+)+", "", line)
            line = re.sub(r"^srun( --\S+)* ", "", line)
            if re.match(r"(python -m|python examples|merclip)\b", line):
                words = shlex.split(line.partition(" && ")[0])
                yield title, [PLACES.get(word, word) for word in words]


def module_of(words):
    """(module, its arguments), or (None, ...) for a program of another kind."""
    if words[:2] == ["python", "-m"]:
        return words[2], words[3:]
    return SCRIPTS.get(words[0]), words[1:]


ALL = [
    pytest.param(title, words, id=f"{page}-{' '.join(words)[:60]}")
    for page in PAGES
    for title, words in commands(page)
]


def test_the_pages_have_commands():
    assert len(ALL) > 40
    assert {"README.md", "docs/tutorial.md", "data_builders/smic/README.md"} <= {*PAGES}


@pytest.mark.parametrize(("title", "words"), ALL)
def test_it_is_a_command_that_there_is(title, words):
    module, given = module_of(words)
    given = [re.sub(r"\bNAME\b", "synthetic_3class", word) for word in given]
    if module == "data_builders.build":
        build._parser().parse_args(given)
    elif module == "data_builders.doctor":
        doctor._parser().parse_args(given)
    elif module == "merclip_jax.compare":
        asked = compare._parser().parse_known_args(given)[0]
        for config in asked.configs:
            packaged.find(config)
    elif module in PARSERS:
        PARSERS[module]._parser().parse_args(given)
    elif module in ("merclip_jax.main", "merclip_jax.convert"):
        pass  # absl's flags are parsed in `test_flags_are_known`
    elif words[:1] == ["python"] and words[1].startswith("examples/"):
        assert (mini.ROOT / words[1]).exists()
    else:
        name = module or words[0]
        assert any(part in OTHERS for part in name.split(".")), name


def test_flags_are_known():
    """In forks of one process: flags are global, and their modules slow to import."""
    asked = []
    for parameters in ALL:
        module, given = module_of(parameters.values[1])
        if module in ("merclip_jax.main", "merclip_jax.convert"):
            given = [re.sub(r"\bNAME\b", "synthetic_3class", word) for word in given]
            given = [re.sub(r"\$\w+", "1", word) for word in given]
            ends = [i for i, word in enumerate(given) if word in ("&", "...", "|")]
            asked.append((module, given[: min(ends, default=len(given))]))
    code = f"""
import os
import sys
from merclip_jax import command, convert, main, packaged
from merclip_jax.build import check
for module, given in {asked!r}:
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0, given
        continue
    sys.argv = packaged.found_in([module, *given])  # where a config's values are read
    assert command.parse(sys.argv) == [module]
    if module == "merclip_jax.main":
        check(main.CONFIG.value)
    os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=mini.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def needs_nothing(words):
    """Whether a command can be given on a machine without data or weights."""
    text = " ".join(words)
    real = re.search(r"--manual_dir|FILE|\.pth|\.pt\b|--init|weights/|DIR\b", text)
    config = re.search(r"--configs?[= ]\S*", text)
    drawn = "synthetic" in config[0] if config else "synthetic" in text
    return drawn and not real


@pytest.mark.parametrize(("title", "words"), ALL)
def test_titles_of_blocks_are_needs(title, words):
    """A title tells a need, and nothing else."""
    if title.startswith("title="):
        assert re.match(r'title="needs ', title)


def test_only_marked_blocks_of_the_guides_need_data():
    for page in ("docs/tutorial.md", "docs/howto.md"):
        for title, words in commands(page):
            compares = module_of(words)[0] == "merclip_jax.compare"
            example = words[0] == "python" and words[1].startswith("examples/")
            other = module_of(words)[0] in ("venv", *PARSERS)
            if not title and not compares and not example and not other:
                assert needs_nothing(words), (page, words)


@pytest.mark.whole
@pytest.mark.usefixtures("cache")
def test_the_tutorial_runs(tmp_path):
    """Every command of it in its order, with fewer epochs where it trains long."""
    ran = []
    for _, words in commands("docs/tutorial.md"):
        module, given = module_of(words)
        if module == "venv":
            continue
        if module == "merclip_jax.main" and "--config.data.dataset" not in str(given):
            given = [*given, "--config.train.epochs=1"]
        given = [word.replace("synthetic/tiny", mini.DATASET) for word in given]
        if module == "merclip_jax.main":
            given += [f"--config.data.dataset={mini.DATASET}"]
            given += ["--config.train.batch_size=8"]
        env = os.environ | {"PYTHONPATH": str(mini.ROOT), "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, "-m", module, *given],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        ran.append(module)
    assert ran.count("merclip_jax.main") == 3 and ran[-1] == "merclip_jax.compare"
    assert (tmp_path / "runs" / "first" / "report.html").exists()
