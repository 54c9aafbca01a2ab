#!/usr/bin/env python3
"""Plants one bug at a time in a copy of the tree, and names the test that notices.

  tests/mutations/run.py [NAME...]        launch/test --mutations calls it; without names, all of them

tests/mutations/NAME.patch changes one line of one file. Above the patch stands what the bug is, and "Caught by: REGEX", the tests (ctest -R)
that are run first; when they notice nothing, the others follow, the slowest and the oracles left out. A patch must apply at exactly one place,
and compile. Everything happens in build/mutations; your own files are only read. Exits 1 when a bug survives or a patch does not apply.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests"))
from tracked_files import tracked_files  # noqa: E402

COPY = SOURCE / "build/mutations"
BUILD = COPY / "build/release"
LEFT_OUT = "quickstart|Kill|Stop|AcrossLayouts|ThroughEveryLayout|Recipes|Memory|Allocation|Divided"
SECONDS_A_TEST = 150  # a bug may make a test wait for ever: that is noticed, too


class Unusable(Exception):
    """The patch, not the code under test, is at fault."""


class Mutation:
    def __init__(self, path):
        self.name = path.stem
        text = path.read_text()
        head, _, patch = text.partition("\n--- a/")
        self.description = head.split("\nCaught by:")[0].strip()
        self.first = re.search(r"^Caught by: (.+)$", head, re.M).group(1)
        self.path = patch.split("\n")[0]
        self.file = COPY / self.path
        lines = [line for line in patch.split("\n")[1:] if line and not line.startswith(("+++", "@@"))]
        self.before = "".join(line[1:] + "\n" for line in lines if line[0] in " -")
        self.after = "".join(line[1:] + "\n" for line in lines if line[0] in " +")
        changed = [sum(line[0] == sign for line in lines) for sign in "-+"]
        if max(changed) != 1:
            raise Unusable(f"{self.name}: {changed[0]} lines out, {changed[1]} in; a mutation changes one")

    def planted(self, text):
        """The file's text with the bug."""
        places = text.count(self.before)
        if places != 1:
            raise Unusable(f"no longer applies: its lines are {places} times in {self.path}")
        return text.replace(self.before, self.after)

    def plant(self):
        self.original = self.file.read_text() if self.file.exists() else ""
        self.file.write_text(self.planted(self.original))

    def remove(self):
        self.file.write_text(self.original)


def copy_tree():
    """Brings the copy up to date; a file that did not change keeps its time, so that little is built again."""
    wanted = set(tracked_files(SOURCE))
    for path in list(COPY.rglob("*")):
        name = path.relative_to(COPY)
        if path.is_file() and name.parts[0] != "build" and str(name) not in wanted:
            path.unlink()
    for name in wanted:
        source, target = SOURCE / name, COPY / name
        if target.exists() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


def run(command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")


def build(targets=()):
    built = run(["cmake", "--build", str(BUILD), "-j", str(os.cpu_count())] + [word for target in targets for word in ("--target", target)])
    if built.returncode != 0:
        raise Unusable("does not compile:\n" + "\n".join(line for line in built.stdout.splitlines() if "error" in line)[:2000])


def prepare():
    if not (BUILD / "CMakeCache.txt").exists():
        BUILD.mkdir(parents=True, exist_ok=True)
    made = run(["cmake", "-S", str(COPY), "-B", str(BUILD), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DDROVER_TESTS=ON", "-DDROVER_PLANTED_BUG=",
                f"-DDROVER_TEST_TIMEOUT={SECONDS_A_TEST}"])
    if made.returncode != 0:
        sys.exit(made.stdout)
    build()


def ctest(*arguments):
    return run(["ctest", "--test-dir", str(BUILD), "--timeout", str(SECONDS_A_TEST), *arguments]).stdout


def targets_of(regex):
    """What must be built for these tests: trainer.X is in trainer_tests."""
    targets = set()
    for prefix in re.findall(r"^ *Test +#\d+: (\w+)\.", ctest("-N", "-R", regex), re.M):
        targets.add(f"{prefix}_tests")
    return sorted(targets)


def failed_tests(output):
    """Names of tests that failed or waited for ever, in the order in which they ran."""
    found = re.findall(r"^ *\d+/\d+ Test +#\d+: (\S+).*\*\*\*(Failed|Timeout|Exception)", output, re.M)
    return [name + (" (waits for ever)" if how == "Timeout" else "") for name, how in found]


def first_to_notice(regex):
    build(targets_of(regex))
    output = ctest("-R", regex, "--stop-on-failure")
    if failed := failed_tests(output):
        return failed[0], True
    if "% tests passed" not in output:
        raise Unusable(f"no test is called {regex}")
    build()
    for arguments in (["-L", "unit"], ["-LE", "unit|oracle", "-E", LEFT_OUT]):
        if failed := failed_tests(ctest("-j", str(os.cpu_count()), "--stop-on-failure", *arguments)):
            return failed[0], False
    return None, False


def require_that_it_noticed_the_bug(test):
    """A test that fails without the bug, too, noticed nothing."""
    build()
    name = test.removesuffix(" (waits for ever)")
    if failed_tests(ctest("-R", f"^{re.escape(name)}$")):
        raise Unusable(f"{name} fails without it, too, and no other test was run")


def require_sound(mutations):
    """Without any bug the tests that are to notice must pass: otherwise they would notice everything."""
    output = ctest("-R", "|".join(f"({regex})" for regex in sorted({mutation.first for mutation in mutations})))
    if failed := failed_tests(output):
        sys.exit("without any bug these tests fail: " + ", ".join(failed))


def main():
    folder = pathlib.Path(__file__).parent
    names = sys.argv[1:] or sorted(path.stem for path in folder.glob("*.patch"))
    unknown = [name for name in names if not (folder / f"{name}.patch").exists()]
    if unknown:
        sys.exit(f"no such mutation: {', '.join(unknown)}; there are: {', '.join(sorted(path.stem for path in folder.glob('*.patch')))}")
    mutations = [Mutation(folder / f"{name}.patch") for name in names]
    print(f"{len(mutations)} mutations in {COPY}", flush=True)
    copy_tree()
    prepare()
    require_sound(mutations)
    rows, bad = [], 0
    for mutation in mutations:
        begin = time.monotonic()
        try:
            mutation.plant()
            try:
                noticed, named = first_to_notice(mutation.first)
            finally:
                mutation.remove()
            if noticed and not named:
                require_that_it_noticed_the_bug(noticed)
                noticed += ", which the patch does not name"
            verdict = noticed or "SURVIVES"
            bad += noticed is None
        except Unusable as fault:
            verdict = f"UNUSABLE: {fault}"
            bad += 1
        rows.append((mutation.name, verdict, time.monotonic() - begin))
        print(f"{mutation.name} ({rows[-1][2]:.0f} s): {verdict}", flush=True)
    width = max(len(row[0]) for row in rows)
    print(f"\n{'mutation':<{width}}  seconds  caught by")
    for name, verdict, seconds in rows:
        print(f"{name:<{width}}  {seconds:7.0f}  {verdict.splitlines()[0]}")
    print(f"{len(rows) - bad} of {len(rows)} caught")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
