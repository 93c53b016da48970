"""What is there for other people's machines agrees with what this one is made of."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def needed(dockerfile: str) -> set[str]:
    """Debian's packages that a Dockerfile installs."""
    (line,) = re.findall(r"--no-install-recommends ([\w+ ]+)", (ROOT / dockerfile).read_text())
    return set(line.split())


def test_containers_have_what_make_needs() -> None:
    assert needed("Dockerfile") == {"g++", "make", "perl"}
    assert needed(".devcontainer/Dockerfile") == {"g++", "git", "make", "perl"}
    bases = {
        (ROOT / name).read_text().partition("FROM ")[2].split()[0]
        for name in ("Dockerfile", ".devcontainer/Dockerfile")
    }
    assert len(bases) == 1


def test_devcontainer() -> None:
    folder = ROOT / ".devcontainer"
    told = json.loads((folder / "devcontainer.json").read_text())
    assert (folder / told["build"]["dockerfile"]).exists()
    user = told["remoteUser"]
    assert f"USER {user}" in (folder / "Dockerfile").read_text()
    assert re.search(r"stamp-test\b", told["postCreateCommand"])


def test_the_image_takes_extras_that_there_are() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (default,) = re.findall(r"ARG EXTRAS=(\S+)", (ROOT / "Dockerfile").read_text())
    assert set(default.split(",")) <= set(extras)


def test_workflow_runs_both_commands_and_keeps_the_report() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/sterna.yml").read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    runs = [step["run"] for step in steps if "run" in step]
    assert any(run.startswith("make sim") for run in runs)
    assert "make test" in runs
    assert "make check" in runs
    (kept,) = (step for step in steps if "upload-artifact" in step.get("uses", ""))
    assert "report.html" in kept["with"]["path"]
    for name in ("make sim", "make test"):
        assert name in README


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["rep"], ["report"]),
        (["sim", "--sched"], ["--schedule", "--scheduler"]),
        (["sim", "--schedule", "w"], ["windows"]),
    ],
)
def test_completion_in_bash(
    words: list[str], offered: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sw.cli.main import main

    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.sh"
    script.write_text(capsys.readouterr().out)
    given = " ".join(f"'{word}'" for word in words)
    code = (
        f"source {script}; COMP_WORDS=(sterna {given}); COMP_CWORD={len(words)}; "
        'complete -p sterna > /dev/null && _shtab_sterna; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == offered
