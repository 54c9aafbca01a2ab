#!/usr/bin/env python3
"""Which lines of the CUDA side the tests on the stand-in have run, by the counts that they left beside their objects.

  python3 tests/simt/coverage_test.py SOURCE_DIRECTORY OBJECT_DIRECTORY GCOV      exits 1 where a kernel file has less than 90 % of its lines run
"""
import pathlib
import re
import subprocess
import sys
import tempfile

LEAST = 90  # percent


def executed(objects, gcov):
    """{file of kernels/cuda: percent}"""
    counts = sorted(objects.rglob("kernels/cuda/*.gcda"))
    with tempfile.TemporaryDirectory() as directory:
        report = subprocess.run([gcov, "-n", *map(str, counts)], cwd=directory, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = re.findall(r"File '(?:[^']*/)?(kernels/cuda/[^']*)'\nLines executed:([0-9.]+)%", report)
    return {name: max(float(percent) for other, percent in found if other == name) for name, _ in found}


def main():
    source, objects = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
    percents = executed(objects, sys.argv[3])
    bad = [path.name for path in sorted((source / "kernels/cuda").glob("*.cu")) if percents.get(f"kernels/cuda/{path.name}", 0) < LEAST]
    for name, percent in sorted(percents.items()):
        print(f"{percent:6.1f} % of the lines of {name}")
    print(f"below {LEAST} %: {', '.join(bad)}" if bad else f"every kernel file has {LEAST} % or more")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
