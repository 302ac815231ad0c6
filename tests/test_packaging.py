"""pyproject.toml is the one place that says what is needed; every other file agrees with it."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import gensar_lite

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIRED = [
    Requirement(text)
    for text in [*PROJECT["dependencies"], *(r for rs in EXTRAS.values() for r in rs)]
]


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    pairs = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line) for line in lines]
    assert all(pairs), [line for line, pair in zip(lines, pairs, strict=True) if not pair]
    assert len({canonicalize_name(pair[1]) for pair in pairs}) == len(lines)
    return {canonicalize_name(pair[1]): pair[2] for pair in pairs}


@pytest.mark.parametrize("needed", REQUIRED, ids=lambda r: r.name)
def test_every_dependency_has_a_pin_in_its_range(needed, pins):
    name = canonicalize_name(needed.name)
    assert name in pins, f"constraints.txt has no pin of {name}"
    assert needed.specifier.contains(pins[name], prereleases=True)


def test_no_pin_is_of_the_project_itself(pins):
    assert canonicalize_name(PROJECT["name"]) not in pins


def test_environment_yml_asks_for_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    assert environment["channels"] == ["conda-forge"]
    *conda, last = environment["dependencies"]
    version = next(line.partition("=")[2] for line in conda if line.startswith("python="))
    assert version in SpecifierSet(PROJECT["requires-python"])
    assert "pip" in conda
    assert len(conda) == 2, "what else is needed stands in pyproject.toml"
    assert last == {"pip": ["-c constraints.txt", f"-e .[{','.join(sorted(EXTRAS))}]"]}


def test_makefile_and_workflow_install_the_same():
    extras = f".[{','.join(sorted(EXTRAS))}]"
    assert f"-c constraints.txt -e '{extras}'" in (ROOT / "Makefile").read_text()
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]
    steps = [step.get("run") for step in job["steps"]]
    assert "make test" in steps
    python = next(
        step["with"]["python-version"]
        for step in job["steps"]
        if "setup-python" in step.get("uses", "")
    )
    assert python in SpecifierSet(PROJECT["requires-python"])


def test_ci_run_calls_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("make test")
    subprocess.run(["bash", "-n", script], check=True)


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["version"] == gensar_lite.__version__ == citation["version"]
    assert PROJECT["license"] == citation["license"]


def test_contributing_shows_the_tree_as_it_is():
    """Every room and file at the package's top stands in the tree, and nothing else does."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    tree = text.split("```")[1]
    shown = set(re.findall(r"(?<![\w/])(\w+(?:/|\.py))(?=[ ,\n])", tree.split("gensar_lite/\n")[1]))
    package = ROOT / "gensar_lite"
    there = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    there |= {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    inner = {f"{path.parent.name}/" for path in package.glob("*/*/__init__.py")}
    assert shown - inner == there
    assert inner <= shown
    for name in re.findall(
        r"`((?:tests|data_download|reports|config|data|training)/[\w./]+\.\w+)`", text
    ):
        if "NAME" not in name:
            assert (ROOT / name).exists() or (package / name).exists(), name
