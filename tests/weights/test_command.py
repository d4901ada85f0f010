"""`python -m merclip_jax.convert` as a person calls it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from merclip_jax.weights import bundle, convert, table
from tests.weights import made, torch_files

STATES = made.states()
ROOT = Path(__file__).parents[2]


def command(*flags, cwd, module="merclip_jax.convert"):
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, flags)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_there_checked_and_back(tmp_path):
    made.save(tmp_path / "ssv2.safetensors", STATES["ssv2"])
    done = command("--src=ssv2.safetensors", "--dst=out", "--check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "local MHRA" in done.stdout and "unused: 6" in done.stdout
    assert "structure ssv2: temporal kernel 3, 2 local MHRA a block" in done.stdout
    done = command("--src=out", "--dst=b.safetensors", "--to=torch", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{len(STATES['ssv2'])} tensors under the authors' names" in done.stdout
    done = command("--src=out", "--dst=b.pth", "--to=torch", cwd=tmp_path)
    assert done.returncode == 1 and "ends in .safetensors" in done.stderr


def test_what_is_printed_moves_no_cursor(tmp_path):
    """Keys and names of files come from strangers."""
    evil = "x\x1b[2J\u202e"
    made.save(tmp_path / "odd.safetensors", STATES["ssv2"] | {evil: np.zeros(3)})
    done = command("--src=odd.safetensors", "--check", cwd=tmp_path)
    assert r"x\x1b[2J\u202e" in done.stdout and "\x1b" not in done.stdout
    made.save(tmp_path / "odd.safetensors", {evil: np.zeros(3)})
    done = command("--src=odd.safetensors", "--check", cwd=tmp_path)
    assert done.returncode == 1 and "\x1b" not in done.stderr


def test_weights_are_chosen_and_told(tmp_path):
    state, mean = STATES["ssv2"], {k: v * 0 + 1 for k, v in STATES["ssv2"].items()}
    torch_files.save(tmp_path / "w.pth", {"state_dict": state, "state_dict_ema": mean})
    done = command("--src=w.pth", "--check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "weights taken: state_dict (raw)" in done.stdout
    assert "also holds state_dict_ema (ema)" in done.stdout
    done = command("--src=w.pth", "--weights=ema", "--dst=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    arrays = bundle.read(tmp_path / "out").parts["video"].arrays
    assert (arrays["params/encoder/class_embedding"] == 1).all()


def test_unexplained_tensors_fail_the_check(tmp_path):
    state = STATES["ssv2"] | {"stray": np.zeros(3, np.float32)}
    made.save(tmp_path / "odd.safetensors", state)
    done = command("--src=odd.safetensors", "--check", "--dst=out", cwd=tmp_path)
    assert done.returncode == 1
    assert "UNEXPLAINED: 1\n  stray: no place for it" in done.stdout
    assert done.stderr.startswith("error: odd.safetensors: 1 problem")
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["odd.safetensors"]
    done = command("--src=odd.safetensors", "--check", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "error: 1 unexplained\n")


def test_the_table_counts_every_tensor(tmp_path):
    source = made.save(tmp_path / "m.safetensors", STATES["mer_clip"])
    found = convert.convert([source], new_head=True)
    fitted = found.parts["video"]
    lines = table.table(fitted).splitlines()
    header = lines[0].split("  ")
    assert header[0] == "part"
    total = next(line for line in lines if line.startswith("total")).split()
    tensors = sum(map(len, fitted.used.values()))
    assert total[1:] == [
        str(tensors),
        f"{sum(a.size for p, a in fitted.arrays.items() if p[0] == 'p'):,}",
        "2",
        str(len(fitted.dropped)),
    ]
    video = [key for key in STATES["mer_clip"] if not key.startswith("text_encoder.")]
    assert tensors + len(fitted.dropped) == len(video)
    rows = [line.split() for line in lines[1 : lines.index(lines[0]) + 13]]
    head = next(row for row in rows if row[:2] == ["emotion", "head"])
    assert "cls_head.* -> head/*" in " ".join(head) and head[-2:] == ["2", "0"]
    assert any(line.startswith("initialised: 2 (the last layer") for line in lines)
    assert "UNEXPLAINED" not in "\n".join(lines)


def test_every_path_of_every_family_is_in_a_group(tmp_path):
    for name, state in STATES.items():
        found = convert.convert([made.save(tmp_path / f"{name}.safetensors", state)])
        for fitted in found.parts.values():
            assert all(table.group(path) for path in fitted.arrays)


def test_help_lists_the_flags_and_the_room_runs_too(tmp_path):
    done = command("--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for shown in ("python -m merclip_jax.convert --src=FILE --dst=DIR", "--new_head"):
        assert shown.removeprefix("--") in done.stdout
    made.save(tmp_path / "k.safetensors", STATES["kinetics"])
    done = command(
        "--src=k.safetensors", "--check", cwd=tmp_path, module="merclip_jax.weights"
    )
    assert done.returncode == 0, done.stderr
    assert "structure kinetics" in done.stdout
