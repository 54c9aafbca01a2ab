"""The files of this repository, by name relative to its root: what git tracks or would, or all but what is made where there is no git."""
import pathlib
import shutil
import subprocess

MADE = {".git", "build", "runs"}


def tracked_files(root):
    if (root / ".git").exists() and shutil.which("git"):  # a copy in an ignored folder of another repository is none of its files
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root, capture_output=True)
        if listed.returncode == 0:
            return [name for name in listed.stdout.decode().split("\0") if name and (root / name).is_file()]
    files = (path.relative_to(root) for entry in root.iterdir() if entry.name not in MADE for path in [entry, *entry.rglob("*")] if path.is_file())
    return [str(name) for name in files if "__pycache__" not in name.parts]
