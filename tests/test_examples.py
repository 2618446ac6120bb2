"""The notebook of the examples runs from top to bottom, and so does a benchmark that nobody runs every day."""

import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


def test_the_quickstart_runs(tmp_path):
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert any(cell.get("outputs") for cell in notebook.cells)


def test_the_benchmark_of_faults_tries_one():
    words = ["benchmarks/faults.py", "--only", "download", "--download_kills", "1"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert "| download | 1 | 0 |" in done.stdout, done.stderr
