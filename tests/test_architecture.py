import ast
import importlib
import pathlib

import pytest

import blade_tf

PACKAGE = pathlib.Path(blade_tf.__file__).parent

# Imports point downward: a module may import those of the rows above its own, and its own package.
LAYERS = [
    ["arguments", "files", "image", "image_codecs", "least_squares", "names", "native", "norms", "parallel", "quiet"],
    ["config", "flow_io", "image_io", "integrate", "losses", "metrics", "structure_tensor"],
    ["align_stock", "interpolation", "pdes", "report", "select_stock", "stock"],
    ["ops"],
    ["align_ops", "convolution", "layers", "level_set_ops", "select_ops"],
    ["operators", "selection", "step_ops"],
    ["flux", "pair_ops", "sampling"],
    ["flux_ops", "pairs", "resample_ops"],
    ["rates"],
    ["evolution", "forms", "resampling", "restoration", "upscaling"],
    ["data", "models"],
    ["colour"],
    ["export", "image_files"],
    ["apply", "apps", "baselines", "references", "start", "summaries"],
    ["tasks"],
    ["evaluate", "train"],
    ["bench", "compare", "demo", "results"],
    ["cli"],
]
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
ABSL = {"cli"}
# Keras asks for these names; what they do is documented with its classes.
KERAS = {"build", "call", "compute_output_spec", "from_config", "get_config"}

PATHS = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
MODULES = pytest.mark.parametrize("path", PATHS, ids=str)


def part(path):
    """The first name below blade_tf: a module, or a package as one."""
    return path.parts[0].removesuffix(".py")


def tree(path):
    return ast.parse((PACKAGE / path).read_text(), str(path))


def imported(path):
    """The dotted names that a module imports, wherever in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def public(body):
    kinds = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef
    return [node for node in body if isinstance(node, kinds) and not node.name.startswith("_")]


def exported(path):
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return ast.literal_eval(node.value)
    return None


def test_the_layers_are_those_of_the_package():
    assert {part(path) for path in PATHS} - {"__init__"} == set(RANKS)


@MODULES
def test_imports_point_downward(path):
    for name in imported(path):
        top, _, rest = name.partition(".")
        if top != "blade_tf" or path == pathlib.Path("__init__.py"):
            continue
        target = rest.split(".")[0]
        assert target in RANKS, f"{path} imports {name}"
        assert target == part(path) or RANKS[target] < RANKS[part(path)], f"{path} imports {name}"


def test_the_package_itself_imports_no_program():
    """`import blade_tf` is for those who build models: training, evaluation and the programs are imported by name."""
    names = {name.split(".")[1] for name in imported(pathlib.Path("__init__.py")) if name.startswith("blade_tf.")}
    assert names
    assert max(RANKS[name] for name in names) <= RANKS["models"]


@MODULES
def test_only_programs_read_flags(path):
    if part(path) not in ABSL:
        assert not [name for name in imported(path) if name.split(".")[0] == "absl" or "config_flags" in name]


@MODULES
def test_public_names_are_declared(path):
    names = exported(path)
    defined = public(tree(path).body)
    if names is None:
        # Programs have one entry, and a package that only gathers modules has nothing.
        assert [node.name for node in defined] == (["main"] if part(path) == "cli" and path.stem != "__init__" else [])
        return
    module = importlib.import_module(".".join(["blade_tf", *path.with_suffix("").parts]).removesuffix(".__init__"))
    assert not [name for name in names if not hasattr(module, name)]
    assert not [name for name in names if name.startswith("_")]


@MODULES
def test_public_functions_and_classes_are_documented(path):
    missing = []
    for node in public(tree(path).body):
        bodies = [node, *(public(node.body) if isinstance(node, ast.ClassDef) else [])]
        missing += [f"{path}:{n.lineno}: {n.name}" for n in bodies if n.name not in KERAS and not ast.get_docstring(n)]
    assert missing == []
    if part(path) != "cli" or path.stem != "__init__":
        assert ast.get_docstring(tree(path))


@MODULES
def test_modules_stay_small(path):
    assert len((PACKAGE / path).read_text().splitlines()) <= 350
