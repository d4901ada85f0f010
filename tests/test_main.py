"""The command line: help, and errors that say what to do."""

import os
import subprocess
import sys

import pytest

from tests import mini

CONFIG = mini.ROOT / "configs" / "synthetic_3class.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("main")
    env = os.environ | {"PYTHONPATH": str(mini.ROOT), "JAX_PLATFORMS": "cpu"}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "merclip_jax.main", *arguments],
            env=env,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )

    run.folder = folder
    return run


@pytest.fixture(scope="module")
def runs(run):
    """All the commands below."""
    commands = {
        "help": ["--help"],
        "nothing": [],
        "unknown key": [f"--config={CONFIG}", "--workdir=w", "--config.train.epoch=3"],
        "bad type": [f"--config={CONFIG}", "--workdir=w", "--config.train.epochs=ten"],
        "extra": [f"--config={CONFIG}", "--workdir=w", "epochs=3"],
        "no config": ["--config=configs/nothing.py", "--workdir=w"],
        "bad argument": [f"--config={CONFIG}:recipe=best", "--workdir=w"],
        "no data": [f"--config={CONFIG}", "--workdir=w", "--config.data.data_dir=d"],
        "no folder": [f"--config={CONFIG}", "--workdir=w", "--beside=casme2_3class"],
        "bad row": [
            f"--config={CONFIG}",
            "--workdir=w",
            "--config.train.epochs",  # its value is a word of its own
            "3",
            "--beside=v=ablations:wording_ck",
        ],
        "no owners data": [
            f"--config={mini.ROOT}/configs/casme2_3class.py",
            "--workdir=w",
            "--config.data.data_dir=d",
        ],
    }
    return {name: run(*arguments) for name, arguments in commands.items()}


def failed(done, *messages, traceback=False):
    """It failed with its message, and with no traceback before it."""
    assert done.returncode == 1, done
    text = done.stdout + done.stderr
    for message in messages:
        assert message in text, text
    assert ("Traceback" in text) == traceback, text


def test_help_shows_how_to_use_it(runs):
    done = runs["help"]
    text = done.stdout + done.stderr
    assert "python -m merclip_jax.main --config=configs/synthetic_3class.py" in text
    for flag in ("--config", "--workdir", "--compile_cache", "recipe=paper|released"):
        assert flag in text
    assert "Traceback" not in text


def test_required_flags_are_named(runs):
    failed(runs["nothing"], "--config", "--workdir")


def test_an_unknown_key_names_the_key_that_was_meant(runs):
    failed(runs["unknown key"], "no key", "--config.train.epoch=3", '"epochs"')


def test_a_value_of_the_wrong_type_is_named(runs):
    failed(runs["bad type"], "train.epochs", "ten")


def test_words_that_are_no_flags_are_refused(runs):
    failed(runs["extra"], "epochs=3")


def test_a_config_file_that_is_not_there_is_named(runs):
    failed(runs["no config"], "configs/nothing.py")


def test_an_unknown_config_argument_lists_the_known_ones(runs):
    message = "recipe='best': expected one of ['paper', 'released']"
    failed(runs["bad argument"], message)


def test_another_run_is_named_by_folder_and_config(runs):
    failed(runs["no folder"], "--beside=casme2_3class: expected FOLDER=CONFIG")
    failed(runs["bad row"], "--beside=v=ablations:wording_ck", "'wording_ck': expected")


def test_a_missing_dataset_says_what_to_type(runs, run):
    failed(
        runs["no data"],
        "error: dataset 'synthetic/tiny' is not built",
        "python -m data_builders.build --dataset=synthetic/tiny",
        "--config.data.data_dir",
    )
    assert not (run.folder / "w").exists()


def test_a_missing_dataset_of_owners_says_how_to_get_it(runs):
    failed(
        runs["no owners data"],
        "How to get it: http",
        "--dataset=casme2/cropped --manual_dir=",
    )
