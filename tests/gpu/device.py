"""The GPU that tests/gpu/run finds."""
import shutil
import subprocess

FACTS = ["name", "driver_version", "memory.total", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit", "power.draw", "temperature.gpu"]


def device_facts():
    """What nvidia-smi says of the first GPU; empty where there is none."""
    if not shutil.which("nvidia-smi"):
        return {}
    asked = subprocess.run(["nvidia-smi", f"--query-gpu={','.join(FACTS)}", "--format=csv,noheader", "-i", "0"], capture_output=True, text=True, check=False)
    return dict(zip(FACTS, (word.strip() for word in asked.stdout.split(",")))) if asked.returncode == 0 else {}
