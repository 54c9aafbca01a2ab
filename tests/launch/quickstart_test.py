"""launch/quickstart as a newcomer runs it, in a copy of the tracked files: text in, a trained model and its words out; safe to run twice."""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
from tracked_files import tracked_files

SOURCE = pathlib.Path(sys.argv[1])
BITS_AT_MOST = 2.1  # a byte; a model over bytes gets 2.3 in the same time
WORDS_AT_LEAST = 0.7


def quickstart(home):
    done = subprocess.run(["./launch/quickstart"], cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def rows(home):
    return [json.loads(line) for line in (home / "runs/quickstart/run/metrics.jsonl").read_text().splitlines()]


with tempfile.TemporaryDirectory() as directory:
    home = pathlib.Path(directory) / "drover"
    for name in tracked_files(SOURCE):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(SOURCE / name, home / name)
    output = quickstart(home)
    made = home / "runs/quickstart"

    last = [row for row in rows(home) if "validation_loss" in row][-1]
    assert last["bits_per_byte"] <= BITS_AT_MOST, last
    assert f"validation loss  {last['validation_loss']:.4f} nats a token, {last['bits_per_byte']:.4f} bits a byte" in output, output
    if shutil.which("gnuplot"):
        assert (made / "loss.png").read_bytes().startswith(b"\x89PNG"), "no plot"
    else:
        assert "gnuplot is missing" in output, output
    assert "<svg" in (made / "run/report.html").read_text(), "no report"
    assert output.count("\n  launch/") == 3, "three commands to type next"

    known = set(re.findall("[a-z]+", (made / "bible.txt").read_text().lower()))
    words = [word.lower() for word in re.findall("[A-Za-z]+", (made / "paragraph.txt").read_text()) if len(word) >= 3]
    share = sum(word in known for word in words) / len(words)
    assert len(words) >= 30 and share >= WORDS_AT_LEAST, f"{share:.0%} of {len(words)} words are the text's"

    before = rows(home)
    quickstart(home)
    assert rows(home) == before, "the second run changed the first one's metrics"
    print(f"{last['bits_per_byte']:.4f} bits a byte, {share:.0%} of {len(words)} words are the text's")
