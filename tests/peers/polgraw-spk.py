"""JPL kernels: a DAF/SPK file written here by numpy, from positions in closed form, read by polgraw-ephem.

The Earth-Moon barycentre moves on a Kepler ellipse, Earth on a circle round it, the Sun on a small circle round the
barycentre of the solar system. Records hold Chebyshev coefficients by numpy's interpolation; types 2 and 3, both byte
orders, segments spread over two summary records. Earth's and the Sun's positions must come back within 1 m."""

import struct
import subprocess
import sys

import h5py
import numpy as np
from numpy.polynomial import chebyshev

DAY, AU, LIGHT = 86400.0, 149597870.7, 299792.458
EPSILON = np.radians(84381.448 / 3600)


def barycentre(t):
    """Kepler's ellipse in the ecliptic, km; t in s of TDB from J2000."""
    e, mean = 0.0167, 1.3 + 2 * np.pi * t / (365.256 * DAY)
    E = mean
    for _ in range(30):
        E = E - (E - e * np.sin(E) - mean) / (1 - e * np.cos(E))
    x, y = AU * (np.cos(E) - e), AU * np.sqrt(1 - e * e) * np.sin(E)
    return np.array([x, y * np.cos(EPSILON), y * np.sin(EPSILON)]) + sun(t)


def earth_from_barycentre(t):
    w = 2 * np.pi * t / (27.32 * DAY)
    return 4670 * np.array([np.cos(w), np.sin(w) * np.cos(0.5), np.sin(w) * np.sin(0.5)])


def sun(t):
    w = 2 * np.pi * t / (4332 * DAY) + 0.7
    return 700000 * np.array([np.cos(w), np.sin(w) * 0.9, np.sin(w) * 0.4])


def segment(function, kind, start, interval, count, terms):
    """The words of a segment of type 2 (positions) or 3 (positions and velocities)."""
    words = []
    for k in range(count):
        middle, radius = start + (k + 0.5) * interval, interval / 2
        record = [middle, radius]
        series = [chebyshev.chebinterpolate(lambda x: function(middle + radius * x)[axis], terms - 1) for axis in range(3)]
        for c in series:
            record += list(c)
        if kind == 3:
            for c in series:
                record += list(np.append(chebyshev.chebder(c), 0) / radius)
        words += record
    return words + [start, interval, len(words) // count, count]


def kernel(order, segments):
    """File record, two summary records with their name records, then the data. `segments`: target, centre, type, first
    and last second, words."""
    def pack(form, *values):
        return struct.pack(order + form, *values)

    halves = [segments[:1], segments[1:]]
    word = 5 * 128 + 1  # the first after five records
    records, data = [], b""
    for number, half in enumerate(halves):
        summaries = b""
        for target, centre, kind, first, last, words in half:
            summaries += pack("dd6i", first, last, target, centre, 1, kind, word, word + len(words) - 1)
            data += pack(f"{len(words)}d", *words)
            word += len(words)
        following, before = (4, 0) if number == 0 else (0, 2)
        records.append((pack("3d", following, before, len(half)) + summaries).ljust(1024, b"\0"))
        records.append(b"made here".ljust(1024))
    head = (b"DAF/SPK " + pack("ii", 2, 6) + b"positions in closed form".ljust(60) + pack("3i", 2, 4, word)
            + (b"LTL-IEEE" if order == "<" else b"BIG-IEEE")).ljust(1024, b"\0")
    return head + b"".join(records) + data


gps, days, dt = 1187008512, 1, 60.0
seconds = (2444244.5 - 2451545.0) * DAY + gps + 51.184  # TT from J2000 at the start
begin = seconds - 40 * DAY
worst = 0
for order, kinds in (("<", (2, 3, 2)), (">", (3, 2, 3))):
    bodies = [(3, 0, barycentre, 16 * DAY, 13), (399, 3, earth_from_barycentre, 4 * DAY, 13), (10, 0, sun, 16 * DAY, 11)]
    segments = []
    for (target, centre, function, interval, terms), kind in zip(bodies, kinds):
        count = int(80 * DAY / interval)
        segments.append((target, centre, kind, begin, begin + count * interval,
                         segment(function, kind, begin, interval, count, terms)))
    with open("made.bsp", "wb") as file:
        file.write(kernel(order, segments))
    subprocess.run(["polgraw-ephem", "--gps", str(gps), "--days", str(days), "--dt", str(dt), "--spk", "made.bsp",
                    "made.h5", "-q", "-f"], check=True)
    with h5py.File("made.h5") as file:
        for name in (g for g in file if "ephem" in file[g]):
            e = file[name + "/ephem"]
            t = seconds + dt * np.arange(len(e["einstein"])) + e["einstein"][:]
            for dataset, wanted in (("earth_ssb", barycentre(t) + earth_from_barycentre(t)), ("sun_ssb", sun(t))):
                error = 1000 * LIGHT * np.abs(e[dataset][:].T - wanted / LIGHT).max()
                print(f"byte order {order}, types {kinds}, {name} {dataset}: {error:.3g} m")
                worst = max(worst, error)
    # What the file does not cover is said, not extrapolated.
    late = subprocess.run(["polgraw-ephem", "--gps", str(gps + int(45 * DAY)), "--days", "1", "--dt", "60", "--spk", "made.bsp",
                           "late.h5", "-q"], capture_output=True, text=True)
    assert late.returncode == 3 and "no segment of body" in late.stderr, late
assert worst < 1, worst
sys.exit(0)
