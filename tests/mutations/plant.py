#!/usr/bin/env python3
"""Writes a copy of one source file with the bug of tests/mutations/NAME.patch in it, for programs that are built with a bug (tests/gpu).

  tests/mutations/plant.py NAME COPY
"""
import pathlib
import sys

from run import SOURCE, Mutation

mutation = Mutation(SOURCE / f"tests/mutations/{sys.argv[1]}.patch")
copy = pathlib.Path(sys.argv[2])
copy.parent.mkdir(parents=True, exist_ok=True)
copy.write_text(mutation.planted((SOURCE / mutation.path).read_text()))
