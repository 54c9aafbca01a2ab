#!/usr/bin/env python3
"""Does what a guide says, in a copy of the tree, so that a guide that no longer works is a failing test.

  tests/guides/run_guide.py docs/adding_an_op.md [--work DIR]

Of the guide's fenced blocks, `LANGUAGE PATH` makes a new file, `diff` is applied to the tree, and `sh run` is executed from its root; all in
the order of the page. Other blocks are only read. The copy holds the files that git tracks, as they are in the working tree; it stays in
DIR (default: build/guides/NAME), so that a second run builds little.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
from tracked_files import tracked_files

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FENCE = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<body>.*?)^```$", re.M | re.S)


def copy_tree(work):
    wanted = set(tracked_files(ROOT))
    present = {str(path.relative_to(work)) for path in work.rglob("*") if path.is_file() and path.relative_to(work).parts[0] != "build"} if work.exists() else set()
    for name in present - wanted:
        (work / name).unlink()
    for name in wanted:
        source, target = ROOT / name, work / name
        if target.exists() and target.read_bytes() == source.read_bytes():
            continue  # keeps its time stamp, and what was built from it
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        os.utime(target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("guide", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path)
    arguments = parser.parse_args()
    work = (arguments.work or ROOT / "build/guides" / arguments.guide.stem).resolve()
    copy_tree(work)
    environment = {**os.environ, "CMAKE_BUILD_PARALLEL_LEVEL": str(len(os.sched_getaffinity(0)))}
    if shutil.which("ninja"):
        environment["CMAKE_GENERATOR"] = "Ninja"
    made = ran = 0
    for block in FENCE.finditer(arguments.guide.read_text()):
        words, body = block["info"].split(), block["body"]
        if words == ["diff"]:
            made += 1
            applied = subprocess.run(["patch", "-p1", "--no-backup-if-mismatch", "--fuzz=0"], cwd=work, input=body, text=True, capture_output=True)
            if applied.returncode != 0:
                sys.exit(f"{arguments.guide}: this change no longer applies:\n{body}\n{applied.stdout}{applied.stderr}")
        elif words == ["sh", "run"]:
            ran += 1
            print(f"$ {body}", end="", flush=True)
            if subprocess.run(["bash", "-eu", "-o", "pipefail", "-c", body], cwd=work, env=environment).returncode != 0:
                sys.exit(f"{arguments.guide}: this command failed:\n{body}")
        elif len(words) == 2:
            made += 1
            target = work / words[1]
            if target.exists():
                sys.exit(f"{arguments.guide}: {words[1]} is there already: a guide's example needs a name of its own")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(body)
    if not made or not ran:
        sys.exit(f"{arguments.guide}: {made} changes and {ran} commands: nothing was tried")
    print(f"{arguments.guide}: {made} changes applied, {ran} command blocks run")


if __name__ == "__main__":
    main()
