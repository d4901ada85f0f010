"""Compiled programs lie in the user's own folder, and in no other."""

import jax
import pytest

from merclip_jax import compile_cache
from merclip_jax.errors import UserError


@pytest.fixture(autouse=True)
def restored():
    names = ("jax_compilation_cache_dir", "jax_compilation_cache_max_size")
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_the_folder_is_made_for_the_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = compile_cache.default_folder()
    assert folder == tmp_path / "merclip_jax" / "programs"
    compile_cache.use(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert jax.config.jax_compilation_cache_dir == str(folder)
    compile_cache.use(folder)  # as it is


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path, mode):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(UserError, match=r"shared: compiled programs are run .*chmod"):
        compile_cache.use(folder)


def test_a_file_in_its_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: no folder for compiled programs"):
        compile_cache.use(tmp_path / "file")
