import ast
import platform
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_source_root_is_no_package():
    folder = ROOT / "platform"
    assert not list(folder.glob("*.py")), "a .py directly in platform/ hides the standard library's module"
    assert [entry.name for entry in folder.iterdir() if not entry.name.startswith("__pycache__")] == ["segray"]


def test_the_standard_library_wins_here():
    assert platform.system()
    assert Path(platform.__file__).parent != ROOT / "platform"


@pytest.mark.parametrize("flags", [["-c"], ["-P", "-c"]], ids=["root on the path", "root off the path"])
def test_the_standard_library_wins_in_a_process_started_at_the_root(flags):
    code = "import platform, sys; print(platform.system())"
    done = subprocess.run([sys.executable, *flags, code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == platform.system()


@pytest.mark.parametrize("package", ["jobs", "serve"])
def test_entry_points_are_packages(package):
    assert (ROOT / package / "__init__.py").is_file()


def test_tests_are_no_packages_and_hide_nothing():
    assert not list((ROOT / "tests").rglob("__init__.py"))
    assert not (ROOT / "tests" / "platform").exists()


def _modules():
    return sorted((ROOT / "platform" / "segray").rglob("*.py"))


def test_no_folder_holds_more_modules_than_a_reader_can_survey():
    folders = Counter(module.parent.relative_to(ROOT) for module in _modules() if module.name != "__init__.py")
    crowded = {str(folder): number for folder, number in folders.items() if number > 15}
    assert not crowded, "split these folders into sub-rooms"


def test_a_public_class_name_means_one_thing():
    homes = defaultdict(list)
    for module in _modules():
        for node in ast.parse(module.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(module.relative_to(ROOT)))
    shared = {name: places for name, places in homes.items() if len(places) > 1}
    assert len(shared) <= 3, f"rename: {shared}"


def test_no_file_of_the_project_is_ignored_by_git():
    """What .gitignore hides is in no wheel, in no submitted job, and seen by no linter."""
    hidden = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    assert subprocess.run(hidden, cwd=ROOT, capture_output=True, text=True, check=True).stdout == ""
