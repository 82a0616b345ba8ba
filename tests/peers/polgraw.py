"""F at points by numpy, from the data file alone, against polgraw-followup --one-point and polgraw-search --dump-F."""

import json
import os
import struct
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError:
    print("skipped: no h5py and numpy")
    sys.exit(77)

OMEGA_R = 7.2921151467064e-5


def f_statistic(file, f, fdot, alpha, delta):
    """The network's F with its cross term, by direct summation; amplitudes from the response tensor of the arms."""
    dt, fpo = file.attrs["dt"], file.attrs["fpo"]
    xa = xb = a2 = b2 = ab = 0
    k = np.array([np.cos(alpha) * np.cos(delta), np.sin(alpha) * np.cos(delta), np.sin(delta)])
    m = np.array([np.sin(alpha), -np.cos(alpha), 0])
    n = np.cross(m, k)
    for name in (g for g in file if "ephem" in file[g]):
        d = file[name]
        x, t = d["x"][:], np.arange(len(d["x"])) * dt
        lst, lat = d.attrs["phir"] + OMEGA_R * t, d.attrs["lat"]
        east = np.stack([-np.sin(lst), np.cos(lst), 0 * lst])
        north = np.stack([-np.sin(lat) * np.cos(lst), -np.sin(lat) * np.sin(lst), np.cos(lat) + 0 * lst])
        g, z = d.attrs["gamma"], d.attrs["zeta"]
        arm1 = np.cos(g - z / 2) * east + np.sin(g - z / 2) * north
        arm2 = np.cos(g + z / 2) * east + np.sin(g + z / 2) * north
        a = 0.5 * ((m @ arm1) ** 2 - (m @ arm2) ** 2 - (n @ arm1) ** 2 + (n @ arm2) ** 2)
        b = (m @ arm1) * (n @ arm1) - (m @ arm2) * (n @ arm2)
        a, b = a * (x != 0), b * (x != 0)
        delay = (d["ephem/earth_ssb"][:] + d["ephem/det_geo"][:]) @ k + d["ephem/einstein"][:]
        # Phase in cycles relative to the mixing at fpo.
        cycles = (f - fpo) * t + f * delay + 0.5 * fdot * t**2 + fdot * t * delay
        y = x * np.exp(-2j * np.pi * cycles)
        v = x[x != 0].var(ddof=1)
        xa, xb = xa + (a * y).sum() / v, xb + (b * y).sum() / v
        a2, b2, ab = a2 + (a * a).sum() / v, b2 + (b * b).sum() / v, ab + (a * b).sum() / v
    return (b2 * abs(xa) ** 2 + a2 * abs(xb) ** 2 - 2 * ab * (xa * np.conj(xb)).real) / (a2 * b2 - ab**2)


def write_sfts(path, strain, rate, gps, length, low, high, version, order):
    """SFT files of version 2 or 3 from their published layout: half-overlapping transforms, data dt times the DFT."""
    n = int(length * rate)
    first, last = int(low * length), int(high * length)
    with open(path, "wb") as out:
        for begin in range(0, len(strain) - n + 1, n // 2):
            bins = np.fft.rfft(strain[begin:begin + n])[first:last] / rate
            start = gps + begin / rate
            out.write(struct.pack(order + "diidiiQ", version, int(start), int(round((start % 1) * 1e9)), length, first, last - first, 0))
            out.write(b"H1" + (b"\0\0" if version == 2 else struct.pack(order + "H", 0)) + struct.pack(order + "i", 8) + b"comment\0")
            pairs = np.empty(2 * len(bins), dtype=order + "f4")
            pairs[0::2], pairs[1::2] = bins.real, bins.imag
            out.write(pairs.tobytes())


def check_preparation():
    """A sinusoid in strain, through SFTs written here, comes out with its omega, amplitude and phase."""
    rate, gps, fpo, dt = 64.0, 1187008512, 20.171875, 2.0
    t = np.arange(int(14400 * rate)) / rate
    for version, order, f, amplitude, phase, bound in [(2, "<", 20.3, 1.7, 0.6, 1e-6), (3, "<", 20.25, 0.8, -2.1, 1e-6), (2, ">", 20.3, 1, 1, 1e-6), (3, "<", 20.30013, 1, 0.3, 0.02)]:
        write_sfts("a.sft", amplitude * np.cos(2 * np.pi * f * t + phase), rate, gps, 1800.0, 19, 22, version, order)
        run("polgraw-prep", "a.sft", "a.h5", "-f", "-q", "--detector", "H1", "--fpo", str(fpo), "--days", "0.15", "--gps", str(gps))
        x = h5py.File("a.h5")["H1/x"][:]
        i = np.arange(len(x))
        inner = (i >= 300) & (i < 6000)
        omega = 2 * np.pi * (f - fpo) * dt
        expected = amplitude * np.cos(omega * i + phase)
        worst = abs(x - expected)[inner].max() / amplitude
        c = np.linalg.lstsq(np.stack([np.cos(omega * i), -np.sin(omega * i)], 1)[inner], x[inner], rcond=None)[0]
        print(f"SFT version {version}{order} at {f} Hz: largest error {worst:.1e} of the amplitude, amplitude {np.hypot(*c):.7f}, phase {np.arctan2(c[1], c[0]):.7f}")
        assert worst < bound and abs(np.hypot(*c) / amplitude - 1) < bound and abs(np.arctan2(c[1], c[0]) - phase) < bound


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    check_preparation()
    run("polgraw-inject", "--gps", "1187008512", "--days", "1", "--fpo", "20.171875", "--noise", "1,1.4", "--duty", "5,1",
        "--params", "2.3,0.4,20.27,-2.5e-9,1,0.3,0.1,1", "--snr", "15", "frame.h5", "-q")
    file = h5py.File("frame.h5")
    worst = 0
    for point in [(20.27, -2.5e-9, 2.3, 0.4), (20.2701, -2.4e-9, 2.35, 0.38), (20.3, 1e-10, 5.0, -1.1)]:
        ours = json.loads(run("polgraw-followup", "frame.h5", "o.h5", "-f", "--json", "--one-point", "--point", ",".join(map(repr, point))))["F"]
        peer = f_statistic(file, *point)
        worst = max(worst, abs(ours - peer))
        print(f"{point}: {ours:.9f} {peer:.9f}")
    print(f"largest difference {worst:.2e}")
    assert worst < 1e-6
    run("polgraw-search", "frame.h5", "F.h5", "--dump-F", "1,0,0,-5", "--norm", "none", "--fft-planning", "estimate", "-q")
    dump = h5py.File("F.h5")
    bins = np.arange(500, len(dump["F"]) - 500, 211)
    mine = dump["F"][:][bins]
    peer = [f_statistic(file, dump["frequency"][int(k)], dump.attrs["fdot"], dump.attrs["alpha"], dump.attrs["delta"]) for k in bins]
    rms = np.sqrt(np.mean((mine - peer) ** 2))
    print(f"search against direct sums, {len(bins)} bins: rms {rms:.2e}")
    assert rms < 0.005
