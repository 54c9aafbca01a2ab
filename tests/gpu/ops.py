"""tests/gpu/run ops: every op's test cases on the GPU, by themselves and under compute-sanitizer, and the kernels of a step by name."""
import glob
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from kernel_names import kernel_names

# Of the cpu's own ways to multiply and of its threads; and one that traps, after which the GPU is lost to the process.
LEFT_OUT = "-Gemm.BothWays*:Gemm.Products*:Gemm.Long*:Gemm.Plain*:Gemm.LibraryStays*:*Thread*:Rope.PositionsOutside*"
FOUND = 9  # compute-sanitizer's exit code where it found something
SECONDS_A_TOOL = 120


def cases(results, start, program):
    with tempfile.TemporaryDirectory() as directory:
        report = pathlib.Path(directory) / "ops.json"
        command = [str(word) for word in [*start, program, f"--gtest_filter={LEFT_OUT}", f"--gtest_output=json:{report}"]]
        done = subprocess.run(command, env={**os.environ, "DROVER_TEST_DEVICE": "cuda"}, capture_output=True, text=True, timeout=180, check=False)
        print(done.stdout[-4000:] if done.returncode else "", done.stderr[-2000:])
        if not report.exists():
            results.add("ops", False, f"ended with {done.returncode}")
            return
        for suite in json.loads(report.read_text())["testsuites"]:
            for test in suite["testsuite"]:
                failures = [failure["failure"] for failure in test.get("failures", [])]
                results.add(f"{suite['name']}.{test['name']}", not failures and test["status"] == "RUN", test["time"], failures=failures)


def sanitizer():
    """compute-sanitizer, of PATH or of the toolkit; None: nowhere."""
    return shutil.which("compute-sanitizer") or next(iter(sorted(glob.glob("/usr/local/cuda*/bin/compute-sanitizer"))), None)


def checked(results, start, program, tool):
    """The cases under compute-sanitizer's `tool`, which must find nothing."""
    name, found = f"compute-sanitizer {tool} over the ops' cases", sanitizer()
    if not found:
        results.add(name, None, "no compute-sanitizer")
        return
    command = [*start, found, "--tool", tool, "--error-exitcode", FOUND, program, f"--gtest_filter={LEFT_OUT}"]
    begin = time.time()
    try:
        done = subprocess.run([str(word) for word in command], env={**os.environ, "DROVER_TEST_DEVICE": "cuda"}, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=SECONDS_A_TOOL, check=False)
    except subprocess.TimeoutExpired:
        results.add(name, False, f"not done in {SECONDS_A_TOOL} s")
        return
    if "Device not supported" in done.stdout:
        results.add(name, None, "it does not support this device")
        return
    summary = re.findall(r"^========= ((?:ERROR|RACECHECK) SUMMARY: .*)$", done.stdout, re.M)
    passed = done.returncode == 0 and bool(summary)
    results.add(name, passed, f"{summary[-1] if summary else 'no summary'}  ({time.time() - begin:.0f} s)", output="" if passed else done.stdout[-4000:])


def ops(results, start, program):
    tests = program.parent / "gpu_tests"
    cases(results, start, tests)
    kernel_names(results, start, program)
    for tool in ("memcheck", "racecheck"):
        checked(results, start, tests, tool)
