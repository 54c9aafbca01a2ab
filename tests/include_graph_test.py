#!/usr/bin/env python3
"""The include rule of the tree: a folder includes only the ones above it, and parallel and data do not see each other.

  python3 tests/include_graph_test.py SOURCE_DIRECTORY      exits 1 and names file and line of every breach
"""
import pathlib
import re
import sys
import tempfile

# What each folder may include, as the beginning of a path from the root.
ALLOWED = {
    "kernels": ["kernels/"],
    "configs": ["kernels/dtype.h", "kernels/base/", "configs/"],
    "parallel": ["kernels/", "configs/", "parallel/"],
    "data": ["kernels/", "configs/", "data/"],
    "trainer": ["kernels/", "configs/", "parallel/", "data/", "trainer/"],
    "launch": ["kernels/", "configs/", "parallel/", "data/", "trainer/", "launch/"],
}
SOURCES = {".h", ".hpp", ".cuh", ".inc", ".inl", ".tpp", ".in", ".c", ".cc", ".cpp", ".cu"}
INCLUDE = re.compile(r'\s*(?:#|%:)\s*include\s*(["<]?)([^">]+)[">]?')


def sources(root, folder):
    return (path for path in sorted((root / folder).rglob("*")) if path.suffix in SOURCES)


def breaches(root):
    for folder, allowed in ALLOWED.items():
        for path in sources(root, folder):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                quote, target = match.groups()
                ours = quote in ('"', "") or target.split("/")[0] in ALLOWED or target.startswith((".", "tests/"))
                if ours and not target.startswith(tuple(allowed)):
                    yield f'{path.relative_to(root)}:{number}: {folder} must not include "{target}"'


def check_the_check():
    """Every way to break the rule is found, and what keeps it is not."""
    legal = ['#include "configs/config.h"', "#include <vector>", "#include <hdf5.h>"]
    illegal = ['#include "parallel/mesh.h"', '#  include "parallel/mesh.h"', "#include <parallel/mesh.h>", '#include"trainer/run.h"',
               '#include "../parallel/mesh.h"', "#include MESH", '%:include "parallel/mesh.h"', '#include "shard.h"', '#include "tests/data/testing.h"']
    for name in ("batch.h", "batch.h.in", "batch.hpp", "batch.cpp", "batch.cu", "deep/batch.inc"):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "data" / name
            path.parent.mkdir(parents=True)
            path.write_text("\n".join(legal + illegal) + "\n")
            assert len(list(breaches(pathlib.Path(directory)))) == len(illegal), name


def main():
    check_the_check()
    root = pathlib.Path(sys.argv[1])
    files = sum(1 for folder in ALLOWED for _ in sources(root, folder))
    found = list(breaches(root))
    print("\n".join(found) or f"{files} files follow the include rule")
    return 1 if found or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
