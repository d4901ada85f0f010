"""The rules of the house: who may import what, and how a public function looks."""

import ast
import dataclasses
import fnmatch
import graphlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from configs import common

ROOT = Path(__file__).parents[1]
PACKAGES = ("merclip_jax", "configs", "data_builders")

# Rooms and modules in the order of the house: each imports what stands before it, in
# its own line or above. So models know no training, training no result, none an app.
ORDER = """
typing errors stopping files atomic lock printable declared naming packaged command
aborting place processes facs
compile_cache
models losses augment faces text data scoring
systems
weights training results
job
making
build final experiment staged beside
dry_run convert compare card explaining explain report
video predict export web
main
""".split()
# Modules that take values: no flags, no ConfigDict, no files, no orbax.
PURE = (
    "models.*",
    "losses.*",
    "augment.*",
    "facs",
    "data.sampling",
    "scoring.metrics",
    "scoring.chance",
    "scoring.au_metrics",
    "training.step",
    "training.optim",
    "training.finetune",
)
STANDARD = {"collections", "dataclasses", "functools", "itertools", "math", "numbers"}
STANDARD |= {"contextlib", "contextvars", "operator", "random", "re", "typing"}
ARRAYS = {"flax", "jax", "numpy", "optax"}
# What the package needs beyond jax, flax, optax and numpy. flax itself imports orbax.
BLOCKED = (
    "absl array_record av beartype cv2 dlib ftfy gradio grain huggingface_hub "
    "hypothesis jaxtyping jinja2 jsonschema mapie matplotlib ml_collections openpyxl "
    "pandas PIL safetensors sklearn tensorboardX tensorflow tensorflow_datasets "
    "tokenizers torch tqdm transformers"
).split()


def modules(package):
    """Dotted name below the package -> path."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        if path.name != "__init__.py":
            parts = path.relative_to(ROOT / package).with_suffix("").parts
            found[".".join(parts)] = path
    return found


MODULES = {package: modules(package) for package in PACKAGES}
OURS = MODULES["merclip_jax"]


def imports(path):
    """Absolute dotted names that a file imports, wherever in it.

    But not under TYPE_CHECKING: what only an annotation names is never imported.
    """
    found = set()
    tree = ast.parse(path.read_text())
    tree.body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def top(names):
    return {name.split(".")[0] for name in names}


def own(path):
    """Modules of merclip_jax that a file imports, as in FLOOR."""
    found = set()
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "merclip_jax":
            below = ".".join(parts[1:])
            if below not in OURS:  # a name inside a module
                below = ".".join(parts[1:-1])
            if below:
                found.add(below)
    return found


def room(name):
    return name.split(".")[0]


@pytest.mark.parametrize("name", sorted(OURS))
def test_imports_point_one_way(name):
    assert room(name) in ORDER, f"merclip_jax/{room(name)} needs a place in {__file__}"
    place = ORDER.index(room(name))
    later = {other for other in own(OURS[name]) if ORDER.index(room(other)) > place}
    assert not later, f"{name} imports what stands after {room(name)}"


def test_rooms_have_no_cycle_inside():
    """A module and another of its room never import each other, by any way."""
    graph = {name: own(path) for name, path in OURS.items()}
    tuple(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize(
    "name", [n for n in sorted(OURS) if any(fnmatch.fnmatch(n, p) for p in PURE)]
)
def test_the_core_takes_values(name):
    """No flags, no ConfigDict, no files: jax, flax, optax, numpy and plain Python."""
    outside = top(imports(OURS[name])) - {"merclip_jax"}
    assert outside <= STANDARD | ARRAYS, outside - STANDARD - ARRAYS
    called = {
        node.func.id
        for node in ast.walk(ast.parse(OURS[name].read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"open", "print", "exec", "eval", "__import__"}


ONLY = {
    "orbax": {"training.checkpoint", "weights.arrays"},
    "ml_collections": {
        "experiment",
        "main",
        "build",
        "dry_run",
        "staged",
        "beside",
        "explaining.finished",
    }
    | {name for name in OURS if room(name) in ("job", "making")},
    "absl": {"weights.__main__", "convert", "main", "command"},
    "grain": {"data.batches", "data.store"},
    "cv2": {
        *("data.decode", "data.dynamic_image", "faces.align", "faces.detectors"),
        *("video.decode", "video.motion", "video.render", "video.windows"),
    },
    "av": {"video.decode", "video.render"},
    "mapie": {"scoring.conformal"},
    "gradio": {"web"},
    "tensorflow_datasets": {"data.records", "data.encoded"},
    "dlib": {"faces.detectors"},
    "skimage": {"data.flow"},
    "jaxtyping": {"typing"},
    "tensorboardX": {"training.scalars"},
    "huggingface_hub": {"weights.hub", "results.model_card"},
    "tokenizers": {"text.tokenizer"},
    "ftfy": {"text.tokenizer"},
    "jinja2": {
        *("results.report", "results.model_card", "results.index", "video.page"),
    },
    "jsonschema": {"results.card"},
    "matplotlib": {"results.figures"},
    "sklearn": {"explaining.saw", "scoring.au_calibration"},
}


@pytest.mark.parametrize("library", sorted(ONLY))
def test_a_library_has_its_place(library):
    users = {name for name, path in OURS.items() if library in top(imports(path))}
    assert users <= ONLY[library]


def test_configs_import_the_class_map_and_dataclasses_of_numbers():
    """What a config is made of: values, never a function of the package."""
    for path in MODULES["configs"].values():
        others = top(imports(path)) - {"configs", "ml_collections", "dataclasses", "re"}
        assert others <= {"data_builders", "merclip_jax"}, path
        names = {n for n in imports(path) if n.startswith("data_builders")}
        assert {n.rpartition(".")[0] for n in names} <= {"data_builders.tasks"}, path
    for name in imports(Path(common.__file__)):
        kind = name.rpartition(".")[2]
        if name.startswith("merclip_jax"):
            assert dataclasses.is_dataclass(getattr(common, kind)), name
    standard = {"collections", "dataclasses", "itertools", "re"}
    assert top(imports(MODULES["data_builders"]["tasks"])) <= standard


def test_builders_import_facs_faces_sampling_and_the_decoder_only():
    for path in MODULES["data_builders"].values():
        used = {name for name in own(path) if room(name) != "faces"}
        plain = {"facs", "atomic", "errors", "files", "lock", "printable"}
        assert used <= plain | {"data.sampling", "data.encoded"}, path
        assert not top(imports(path)) & {"configs", "jax", "flax", "ml_collections"}


def test_the_package_does_not_import_its_users():
    for path in OURS.values():
        users = {"configs", "data_builders", "tests", "benchmarks", "notebooks"}
        assert not top(imports(path)) & users, path


@pytest.mark.parametrize("package", PACKAGES)
def test_tensorflow_and_torch_are_never_imported(package):
    for path in MODULES[package].values():
        assert not top(imports(path)) & {"tensorflow", "torch"}, path


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_imported_by_a_string(package):
    for path in MODULES[package].values():
        text = path.read_text()
        assert "import_module" not in text, path
        assert "__import__" not in text, path


def functions(path):
    """Public functions and methods of public classes: (name, node)."""
    for node in ast.parse(path.read_text()).body:
        if getattr(node, "name", "_").startswith("_"):
            continue
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name[0] != "_":
                    yield f"{node.name}.{inner.name}", inner


ALL = [
    pytest.param(path, id=f"{package}.{name}")
    for package in PACKAGES
    for name, path in MODULES[package].items()
]


@pytest.mark.parametrize("path", ALL)
def test_public_things_have_docstrings(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path} has no docstring"
    lacking = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not lacking


@pytest.mark.parametrize("path", ALL)
def test_options_are_keyword_only(path):
    """At most one default by position: the argument that all callers know."""
    many = [name for name, node in functions(path) if len(node.args.defaults) > 1]
    assert not many


@pytest.mark.parametrize("path", ALL)
def test_arguments_are_named(path):
    """No `**kwargs` pass-through; `released` of the configs is a set of values."""
    passed = [
        name
        for name, node in functions(path)
        if node.args.kwarg and (path.parent.name, name) != ("configs", "finish")
    ]
    assert not passed


@pytest.mark.parametrize(
    "name",
    [n for n in sorted(OURS) if room(n) in ("augment", "losses")]
    + ["training.step", "training.optim"],
)
def test_randomness_comes_in_by_a_key(name):
    """... and where only arrays follow, it comes first."""
    text = OURS[name].read_text()
    assert "np.random" not in text
    for function, node in functions(OURS[name]):
        names = [argument.arg for argument in node.args.args]
        if "key" in names and room(name) == "augment":
            assert names[0] == "key", function


@pytest.mark.parametrize("path", ALL)
def test_files_stay_readable(path):
    """100-250 lines is the aim; 450 is where a file must be divided."""
    assert len(path.read_text().splitlines()) <= 450


LEAN = """
import sys

BLOCKED = {blocked!r}


class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)


before = set(sys.modules)
assert not before & set(BLOCKED), before & set(BLOCKED)
import importlib

import flax
import jax
import numpy
import optax
import scipy.special  # jax needs SciPy

needed = {{name.split(".")[0] for name in sys.modules}}
BLOCKED = set(BLOCKED) - needed  # what these four import themselves
assert BLOCKED >= {hard!r}, needed
sys.meta_path.insert(0, Block())
try:
    import grain
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the blocker does not block")
known = set(sys.modules)
for name in {names!r}:
    importlib.import_module(name)
extra = {{n.split(".")[0] for n in set(sys.modules) - known}} - {{"merclip_jax"}}
print(sorted(extra - set(sys.stdlib_module_names) - needed))
"""


def test_model_and_training_import_with_four_libraries_alone():
    """jax, flax, optax, numpy and what these import; nothing else of our list."""
    names = [
        "merclip_jax.models.mer_clip",
        "merclip_jax.losses.contrastive",
        "merclip_jax.losses.classification",
        "merclip_jax.training.optim",
        "merclip_jax.training.step",
        "merclip_jax.training.programs",
        "merclip_jax.training.flops",
        "merclip_jax.training.rates",
        "merclip_jax.augment.clips",
        "merclip_jax.systems.mer_clip",
        "merclip_jax.systems.micro_au_clip",
        "merclip_jax.training.finetune",
    ]
    hard = set(BLOCKED) - {"absl"}
    code = LEAN.format(blocked=BLOCKED, names=names, hard=hard)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    extra = set(ast.literal_eval(done.stdout))
    assert not extra, f"imported beyond jax, flax, optax, numpy: {extra}"
