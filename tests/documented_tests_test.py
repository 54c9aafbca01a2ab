#!/usr/bin/env python3
"""Every test that a document tells to run is there: each -R and -L of ./launch/test and ctest in the Markdown files matches an entry.

  python3 tests/documented_tests_test.py SOURCE_DIRECTORY BUILD_DIRECTORY      exits 1 and names what matches nothing
"""
import pathlib
import re
import subprocess
import sys

from tracked_files import tracked_files

OPTION = re.compile(r"(?<![\w-])-([RL])[ =]('[^']*'|\"[^\"]*\"|[^\s`;,|)]+)")
PLACEHOLDERS = {"NAME", "REGEX"}
WITHOUT_CUDA = "simt.kernels"  # the entry that stands for the tests of simt. and cuda. in a build without CUDA (CMakeLists.txt here)


def options(text):
    """(-R or -L, pattern) of every line that speaks of tests; one line may go on from another (`..., -R GrowthIsThePlans`)."""
    for line in text.splitlines():
        if "launch/test" in line or "ctest" in line:
            for option, pattern in OPTION.findall(line):
                if pattern.strip("'\"") not in PLACEHOLDERS:
                    yield option, pattern.strip("'\"")


def main():
    assert list(options("`./launch/test -R 'a|b'`; `-L unit`, -R NAME")) == [("R", "a|b"), ("L", "unit")]
    root, build = pathlib.Path(sys.argv[1]), sys.argv[2]

    def matches(option, pattern):
        listed = subprocess.run(["ctest", "--test-dir", build, "-N", "-" + option, pattern], capture_output=True, text=True, check=True)
        return int(re.search(r"Total Tests: (\d+)", listed.stdout).group(1)) > 0

    absent = ("simt.", "cuda.") if matches("R", f"^{WITHOUT_CUDA}$") else ()
    known, wrong = {}, []
    for file in (name for name in tracked_files(root) if name.endswith(".md")):
        for asked in options((root / file).read_text()):
            known.setdefault(asked, asked[1].startswith(absent) or matches(*asked))
            if not known[asked]:
                wrong.append(f"{file}: -{asked[0]} {asked[1]} matches no test")
    print("\n".join(wrong) or f"{len(known)} patterns, each matches a test")
    return 1 if wrong or not known else 0


if __name__ == "__main__":
    sys.exit(main())
