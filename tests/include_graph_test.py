#!/usr/bin/env python3
"""The include rule of the tree: a folder includes only the ones above it, and parallel and data do not see each other.

  python3 tests/include_graph_test.py SOURCE_DIRECTORY      exits 1 and names file and line of every breach
"""
import pathlib
import re
import sys

ALLOWED = {
    "kernels": {"kernels"},
    "configs": {"kernels", "configs"},
    "parallel": {"kernels", "configs", "parallel"},
    "data": {"kernels", "configs", "data"},
    "trainer": {"kernels", "configs", "parallel", "data", "trainer"},
    "launch": {"kernels", "configs", "parallel", "data", "trainer", "launch"},
}


def breaches(root):
    for folder, allowed in ALLOWED.items():
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in (".h", ".cpp", ".cu", ".cuh"):
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = re.match(r'\s*#include "([^"]+)"', line)
                if not match:
                    continue
                target = match.group(1)
                if target.split("/")[0] not in allowed or "/" not in target:
                    yield f"{path.relative_to(root)}:{number}: {folder} must not include \"{target}\""


def main():
    root = pathlib.Path(sys.argv[1])
    files = sum(1 for folder in ALLOWED for _ in (root / folder).rglob("*.h"))
    found = list(breaches(root))
    print("\n".join(found) or f"{files} headers follow the include rule")
    return 1 if found or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
