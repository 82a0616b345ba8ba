"""A search that is killed at random times (SIGKILL, SIGTERM) and resumed, again and again, gives the file of one that was
left alone: every dataset and attribute the same bytes, the history aside. One process, and ranks under mpirun, also
resumed by another number of ranks. TRIALS and SEED make it longer or another one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

try:
    import h5py
    import numpy as np
except ImportError:
    print("skipped: no h5py and numpy")
    sys.exit(77)

TRIALS = int(os.environ.get("TRIALS", "3"))
dice = random.Random(int(os.environ.get("SEED", "1")))
os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1",
                  OMP_WAIT_POLICY="passive", SOURCE_DATE_EPOCH="0")
SEARCH = ["polgraw-search", "d.h5"]
OPTIONS = ["--threshold", "12", "--fdot-min", "-2e-8", "--fdot-max", "2e-9", "--threads", "1", "--fft-planning", "estimate", "--precision", "double", "-q"]
CHECKPOINT = ["--checkpoint", "state.h5", "--checkpoint-interval", "0.05"]


def contents(path):
    found = {}
    with h5py.File(path) as file:
        def visit(name, item):
            for key, value in item.attrs.items():
                if key != "history":
                    found[name + "@" + key] = repr(value)
            if isinstance(item, h5py.Dataset):
                found[name] = (str(item.dtype), item.shape, np.ascontiguousarray(item[...]).tobytes())
        visit("/", file)
        file.visititems(visit)
    return found


def descendants(pid):
    """Processes started by `pid`, theirs included: the ranks under mpirun."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += [int(entry)] + descendants(int(entry))
    return found


def strike(process, number, ranks):
    targets = [process.pid] if ranks == 1 else descendants(process.pid)
    if ranks > 1 and number == signal.SIGKILL:
        targets = [process.pid] + targets if dice.random() < 0.5 else [dice.choice(targets)] if targets else []
    for pid in targets:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def attempt(ranks, resume, longest):
    """One run, struck at a random time; True when it came to its end."""
    launcher = [] if ranks == 1 else ["mpirun", "--bind-to", "none", "-np", str(ranks)]
    process = subprocess.Popen(launcher + SEARCH + ["cut.h5"] + OPTIONS + CHECKPOINT + (["--resume"] if resume else []),
                               stderr=subprocess.PIPE, text=True)
    number = dice.choice([signal.SIGKILL, signal.SIGTERM])
    try:
        process.wait(dice.uniform(0.02, longest))
    except subprocess.TimeoutExpired:
        strike(process, number, ranks)
        kills[number.name] += 1
    message = process.communicate()[1]
    if process.returncode == 0:
        return True
    clean = number == signal.SIGTERM and process.returncode in (75, 143, -15)
    assert clean or number == signal.SIGKILL, (process.returncode, message)
    return False


kills = {"SIGKILL": 0, "SIGTERM": 0}
late = 0
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    subprocess.run(["polgraw-inject", "--gps", "1187008512", "--days", "1", "--fpo", "20.171875", "--noise", "1", "--random",
                    "--snr", "15", "--seed", "7", "d.h5", "-q"], check=True)
    start = time.time()
    subprocess.run(SEARCH + ["whole.h5"] + OPTIONS, check=True)
    lasts = time.time() - start
    whole = contents("whole.h5")
    rows = whole["triggers/omega"][1][0]
    assert rows > 20, rows
    settings = [1] + ([2, 3] if shutil.which("mpirun") else [])
    for trial in range(TRIALS * len(settings)):
        ranks, struck, before = settings[trial % len(settings)], 0, late
        while not attempt(ranks, os.path.exists("state.h5"), lasts * (1.2 if struck < 3 else 3) + (1 if ranks > 1 else 0)):
            struck += 1
            if os.path.exists("cut.h5"):  # struck after the output took its name, before the process was gone
                late += 1
                break
            assert struck < 60, "no end"
            if os.path.exists("state.h5.rank1") and not os.path.exists("state.h5"):
                os.rename("state.h5.rank1", "state.h5")  # rank 0 had no time to save its own
            if ranks > 1:
                ranks = dice.choice(settings)
        cut = contents("cut.h5")
        different = sorted(k for k in whole.keys() | cut.keys() if whole.get(k) != cut.get(k))
        assert not different, (trial, different)
        left = [name for name in os.listdir(".") if name.startswith("state")]
        assert not left or late > before, left
        print(f"trial {trial}: struck {struck} times, {rows} triggers the same")
        for name in os.listdir("."):
            if name == "cut.h5" or name.startswith("state") or name.endswith(".part"):
                os.remove(name)
    assert sum(kills.values()) > late, "never struck in time"
    print(f"{kills['SIGKILL']} times SIGKILL, {kills['SIGTERM']} times SIGTERM, {late} of them after the output was whole; left alone it takes {lasts:.1f} s")
