"""The README's example runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_python_example_answers() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "→" in done.stdout


def test_the_scripts_it_names_are_there() -> None:
    readme = (ROOT / "README.md").read_text()
    scripts = set(re.findall(r"\bscript/\w+", readme))
    assert scripts
    assert all((ROOT / script).is_file() for script in scripts)
