"""What a part of tests/gpu/run found: a line and a JSON object each as it comes, a table last."""
import json


class Results:
    def __init__(self, directory, part):
        directory.mkdir(parents=True, exist_ok=True)
        self.file = open(directory / f"{part}.jsonl", "w")
        self.rows = []

    def add(self, name, passed, text, **more):
        """passed: None where something that the row needs is not there, which counts neither way and is said at the end."""
        self.rows.append((name, passed, text))
        print(self.line(name, passed, text), flush=True)
        self.file.write(json.dumps({"name": name, "passed": passed, "text": text, **more}) + "\n")
        self.file.flush()

    @staticmethod
    def line(name, passed, text):
        return f"{'absent' if passed is None else 'ok    ' if passed else 'FAILED'} {name:<52} {text}"

    def end(self):
        """The table, what is not in order in full; the exit code."""
        bad, absent = ([row for row in self.rows if row[1] is verdict] for verdict in (False, None))
        print("\n" + "\n".join(self.line(*row) for row in self.rows))
        print(f"{len(self.rows) - len(bad) - len(absent)} passed, {len(bad)} failed, {len(absent)} absent")
        return 1 if bad or not self.rows else 0
