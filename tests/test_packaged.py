"""Configs that came with the package are found by name."""

import pytest

from merclip_jax import packaged
from merclip_jax.errors import UserError
from tests import mini

CONFIGS = mini.ROOT / "configs"


def test_every_file_that_is_a_config_has_a_name():
    names = packaged.names()
    assert {"synthetic_3class", "fdp/casme2_5class", "micro_au_clip/synthetic"} <= {
        *names
    }
    for name in names:
        assert "def get_config(" in (CONFIGS / f"{name}.py").read_text()
    left = {p.relative_to(CONFIGS).with_suffix("").as_posix() for p in files()}
    assert left - {*names} == {"common", "synthetic", "fdp/base"}


def files():
    return [p for p in CONFIGS.rglob("*.py") if p.name != "__init__.py"]


@pytest.mark.parametrize(
    "given", ["samm_3class", "samm_3class.py", "configs/samm_3class.py"]
)
def test_a_name_is_the_packaged_file(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = packaged.find(f"{given}:recipe=released,seeds=3")
    assert found == f"{CONFIGS / 'samm_3class.py'}:recipe=released,seeds=3"
    assert packaged.find(given) == str(CONFIGS / "samm_3class.py")


def test_a_file_that_exists_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "configs" / "samm_3class.py"
    own.parent.mkdir()
    own.write_text("")
    assert packaged.find("configs/samm_3class.py:x") == "configs/samm_3class.py:x"
    assert packaged.find("samm_3class") == str(CONFIGS / "samm_3class.py")


def test_an_unknown_name_tells_the_nearest():
    with pytest.raises(UserError, match="did you mean samm_3class, "):
        packaged.find("configs/sam_3class.py")
    with pytest.raises(
        UserError, match=r"x/y: no such file, .*there are \['ablations', 'casme2_"
    ):
        packaged.find("x/y")


def test_a_command_line_names_it_in_either_way():
    path = str(CONFIGS / "samm_3class.py")
    assert packaged.found_in(["main", "--config=samm_3class", "--workdir=config"]) == [
        "main",
        f"--config={path}",
        "--workdir=config",
    ]
    assert packaged.found_in(["main", "--config", "samm_3class:seeds=2", "-v"]) == [
        "main",
        "--config",
        f"{path}:seeds=2",
        "-v",
    ]
    both = ["main", "--pretrain=samm_3class", "--config", "samm_3class"]
    wanted = ["main", f"--pretrain={path}", "--config", path]
    assert packaged.found_in(both) == wanted
    other = ["main", "--config.train.epochs=3", "--configs=x", "--config"]
    assert packaged.found_in(other) == other
