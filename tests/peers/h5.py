"""Our readers and writers of foreign formats against NumPy, SciPy and h5py, number by number."""
import csv
import io
import itertools
import json
import struct
import subprocess
import sys
import zlib

import h5py
import numpy as np

try:
    import scipy.io
    import scipy.sparse
except ImportError:
    print("skipped: no scipy")
    sys.exit(77)

random = np.random.Generator(np.random.PCG64(7))
checks = 0


def run(*command, stdin=None):
    done = subprocess.run(command, input=stdin, capture_output=True)
    assert done.returncode == 0, (command, done.returncode, done.stderr.decode())
    return done.stdout


def same(ours, theirs, what):
    global checks
    checks += 1
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, (what, ours.shape, theirs.shape)
    if ours.dtype.kind in "fc":
        assert ((ours == theirs) | (np.isnan(ours) & np.isnan(theirs))).all(), what
    else:
        assert (ours == theirs).all(), what


def imported(*command, stdin=None):
    run("h5-import", "-q", "-f", *command, "out.h5", stdin=stdin)
    return h5py.File("out.h5", "r")


def text(dataset):
    return dataset.asstr()[...]


def sample(dtype, shape):
    kind = np.dtype(dtype).kind
    if kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if kind in "iu":
        limits = np.iinfo(dtype)
        return random.integers(limits.min, limits.max, shape, dtype=np.dtype(dtype).newbyteorder("="), endpoint=True).astype(dtype)
    values = random.standard_normal(shape)
    if kind == "c":
        values = values + 1j * random.standard_normal(shape)
    return values.astype(dtype)


# ---- NumPy ---------------------------------------------------------------------------------------
types = ["?", "<i1", "<u1", "<i2", ">i2", "<u2", ">u2", "<i4", ">i4", "<u4", "<i8", ">i8", "<u8", ">u8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "<c8", ">c8", "<c16", ">c16"]
shapes = [(), (5,), (3, 4), (2, 3, 4), (2, 1, 3, 2), (0, 3)]
for dtype, shape, order in itertools.product(types, shapes, "CF"):
    array = np.asarray(sample(dtype, shape), order=order)
    np.save("a.npy", array)
    with imported("--name", "x", "a.npy") as file:
        same(file["x"][...], array, f"npy {dtype} {shape} {order}")
for version in [(1, 0), (2, 0), (3, 0)]:
    array = sample("<f8", (4, 5))
    with open("v.npy", "wb") as file:
        np.lib.format.write_array(file, array, version)
    with imported("--name", "x", "v.npy") as file:
        same(file["x"][...], array, f"npy version {version}")
words = np.array([["a", "größer"], ["日本", ""]])
np.save("w.npy", words.ravel())
with imported("--name", "x", "w.npy") as file:
    same(text(file["x"]), words.ravel(), "npy text")
records = np.zeros(4, dtype=[("n", ">i4"), ("v", "<f8"), ("s", "S3")])
records["n"], records["v"], records["s"] = np.arange(4), random.standard_normal(4), [b"a", b"bb", b"ccc", b""]
np.save("r.npy", records)
with imported("r.npy") as file:
    same(file["n"][...], records["n"], "structured n")
    same(file["v"][...], records["v"], "structured v")
    same(text(file["s"]), records["s"].astype(str), "structured s")
arrays = {"u": sample("<u2", (300, 7)), "deep/f": np.asfortranarray(sample("<f8", (20, 30))), "z": sample("<c16", (3,))}
for save in (np.savez, np.savez_compressed):
    save("a.npz", **arrays)
    with imported("a.npz") as file:
        for name, array in arrays.items():
            same(file[name][...], array, f"{save.__name__} {name}")

# Our npy and npz, read by NumPy.
with h5py.File("in.h5", "w") as file:
    for index, dtype in enumerate(t for t in types if t[0] != ">" and t not in "?"):
        file[f"d{index}"] = sample(dtype, (4, 3))
    file["group/scalar"] = 2.5
    file["empty"] = np.zeros((0, 2))
    file["words"] = ["a", "größer", "𝄞"]
    big = file.create_dataset("big", data=sample("<f4", (700, 900)), chunks=(64, 100), compression=1)
run("h5-export", "-f", "in.h5", "out.npz")
run("h5-export", "-f", "--no-pack", "in.h5", "stored.npz")
with h5py.File("in.h5") as file:
    for archive in (np.load("out.npz"), np.load("stored.npz")):
        for name in archive:
            theirs = text(file[name]) if name == "words" else file[name][...]
            same(archive[name], theirs, f"npz {name}")
        assert len(archive.files) == 20 - sum(t[0] == ">" for t in types) + 7 or "big" in archive.files
    for name in ("big", "empty", "words", "group/scalar"):
        run("h5-export", "-f", "--dataset", name, "in.h5", "out.npy")
        same(np.load("out.npy"), text(file[name]) if name == "words" else file[name][...], f"npy {name}")

# ---- MATLAB --------------------------------------------------------------------------------------
matlab = {
    "cube": sample("<f8", (3, 4, 5)), "single": sample("<f4", (2, 6)), "i8": sample("<i1", (2, 2)), "u16": sample("<u2", (3, 2)),
    "i64": sample("<i8", (2, 3)), "z": sample("<c16", (2, 3)), "z4": sample("<c8", (3, 2)), "flag": np.array([[True, False]]),
    "whole": np.arange(12.0).reshape(3, 4), "sparse": scipy.sparse.random(9, 7, 0.3, "csc", random_state=1),
    "s": {"inner": {"v": np.arange(5.0)}, "word": "grün"}, "list": np.array(["a", "bcd", "é"], dtype=object),
}
for packed in (False, True):
    scipy.io.savemat("m.mat", matlab, do_compression=packed, oned_as="column")
    with imported("m.mat") as file:
        for name in ("cube", "single", "i8", "u16", "i64", "z", "z4", "whole"):
            same(file[name][...], matlab[name], f"mat {name}")
        same(file["flag"][...], [1, 0], "mat logical")
        same(file["s/inner/v"][...], np.arange(5.0), "mat struct")
        same(text(file["s/word"])[0], "grün", "mat char")
        same(text(file["list"]), ["a", "bcd", "é"], "mat cell of strings")
        coo = scipy.sparse.coo_matrix((file["sparse/value"][...], (file["sparse/row"][...], file["sparse/column"][...])), (9, 7))
        same(coo.toarray(), matlab["sparse"].toarray(), "mat sparse")
# Ours, read by SciPy.
run("h5-export", "-f", "out.h5", "ours.mat")
back = scipy.io.loadmat("ours.mat", squeeze_me=True)
with h5py.File("out.h5") as file:
    for name in ("cube", "single", "i8", "u16", "i64", "z", "z4", "whole", "flag"):
        same(back[name], file[name][...].squeeze(), f"our mat {name}")
        assert back[name].dtype == file[name].dtype, (name, back[name].dtype, file[name].dtype)
    same(back["s_word"], "grün", "our mat char")
    same(list(back["list"]), ["a", "bcd", "é"], "our mat cell")
# Level 7.3: MATLAB's layout written through h5py, 512 bytes of header before the HDF5.
with h5py.File("m73.mat", "w", userblock_size=512) as file:
    def put(name, data, kind, **more):
        dataset = file.create_dataset(name, data=data)
        dataset.attrs["MATLAB_class"] = np.bytes_(kind)
        for key, value in more.items():
            dataset.attrs[key] = value
    cube = sample("<f8", (3, 4, 5))
    put("cube", cube.T, "double")
    put("row", np.arange(4.0)[:, None], "double")
    put("name", np.array([[ord(c)] for c in "Grüße"], "u2"), "char", MATLAB_int_decode=np.int32(2))
    put("flags", np.array([[1, 0, 1]], "u1"), "logical", MATLAB_int_decode=np.int32(1))
    complex_type = np.dtype([("real", "<f8"), ("imag", "<f8")])
    z = np.array([[1 + 2j, 3 - 4j]])
    stored = np.zeros((2, 1), complex_type)
    stored["real"], stored["imag"] = z.T.real, z.T.imag
    put("z", stored, "double")
    put("none", np.array([0, 3], "u8"), "double", MATLAB_empty=np.uint8(1))
    put("st/field", np.array([[7.0]]), "double")
    group = file.create_group("sp")
    group.attrs["MATLAB_class"], group.attrs["MATLAB_sparse"] = np.bytes_("double"), np.uint64(9)
    csc = matlab["sparse"]
    group["data"], group["ir"], group["jc"] = csc.data, csc.indices.astype("u8"), csc.indptr.astype("u8")
with open("m73.mat", "r+b") as file:
    file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 01 00:00:00 2024 HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM")
for stdin in (None, open("m73.mat", "rb").read()):
    with imported("m73.mat" if stdin is None else "-", stdin=stdin) as file:
        same(file["cube"][...], cube, "7.3 cube")
        same(file["row"][...], np.arange(4.0), "7.3 row")
        same(text(file["name"])[0], "Grüße", "7.3 char")
        same(file["flags"][...], [1, 0, 1], "7.3 logical")
        same(file["z"][...], z[0], "7.3 complex")
        assert file["none"].shape == (0, 3) and file["st/field"][()] == 7
        coo = scipy.sparse.coo_matrix((file["sp/value"][...], (file["sp/row"][...], file["sp/column"][...])), (9, 7))
        same(coo.toarray(), csc.toarray(), "7.3 sparse")

# ---- text ----------------------------------------------------------------------------------------
values = random.standard_normal((2000, 5)) * 10.0 ** random.integers(-300, 300, (2000, 5))
for arguments in ({}, {"delimiter": ","}, {"delimiter": ";", "header": "a;b;c;d;e"}, {"delimiter": "\t", "header": "a\tb\tc\td\te", "comments": ""}):
    np.savetxt("t.txt", values, fmt="%.17g", **arguments)
    with imported("--as", "matrix", "t.txt") as file:
        same(file["data"][...], values, f"text {arguments}")
rows = [["n", "text, with", "v"], ["1", 'say "hi"', "1.5"], ["-2", "two\nlines", ""], ["3", "", "1e-320"], ["4", "ünï", "-inf"]]
buffer = io.StringIO()
csv.writer(buffer).writerows(rows)
with imported("-", stdin=buffer.getvalue().encode()) as file:
    same(file["n"][...], [1, -2, 3, 4], "csv integers")
    same(text(file["text, with"]), [row[1] for row in rows[1:]], "csv text")
    same(file["v"][...], [1.5, np.nan, 1e-320, -np.inf], "csv reals")
    ours = list(csv.reader(io.StringIO(run("h5-export", "--to", "csv", "out.h5").decode(), newline="")))
    assert ours[0] == rows[0] and [row[1] for row in ours[1:]] == [row[1] for row in rows[1:]], ours
with h5py.File("in.h5", "w") as file:
    file["m"] = values
same(np.loadtxt(io.BytesIO(run("h5-export", "--to", "csv", "in.h5")), delimiter=","), values, "csv of a matrix")


# ---- PNG, put together and taken apart by hand ---------------------------------------------------
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels):
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    lines = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(pixels.shape[0], -1)
    raw = b"".join(b"\0" + line.tobytes() for line in lines)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8 * pixels.itemsize, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


for dtype, shape in itertools.product(("u1", "u2"), [(5, 7), (5, 7, 2), (5, 7, 3), (5, 7, 4)]):
    pixels = sample(dtype, shape)
    with imported("-", stdin=png(pixels)) as file:
        same(file["image"][...], pixels, f"png {dtype} {shape}")
    run("h5-export", "-f", "out.h5", "out.png")
    with imported("out.png") as file:
        same(file["image"][...], pixels, f"our png {dtype} {shape}")

# ---- statistics ----------------------------------------------------------------------------------
data = {"f8": 1e6 + random.standard_normal((300, 411)), "f4": sample("<f4", 100000), "i2": sample("<i2", (50, 60)), "u8": sample("<u8", 1000)}
data["f8"][3, 5], data["f4"][7] = np.nan, np.inf
with h5py.File("in.h5", "w") as file:
    for name, array in data.items():
        file.create_dataset(name, data=array, chunks=True)
for item in json.loads(run("h5-info", "--stats", "--json", "in.h5"))["datasets"]:
    array = data[item["path"][1:]].astype(np.longdouble)
    finite, ours = array[np.isfinite(array)], item["statistics"]
    assert ours["count"] == finite.size and ours["nan"] == np.isnan(array).sum() and ours["inf"] == np.isinf(array).sum()
    assert ours["min"] == float(finite.min()) and ours["max"] == float(finite.max())
    scale = float(np.abs(finite).max())
    assert abs(ours["mean"] - float(finite.mean())) <= 1e-15 * scale, (item["path"], ours, finite.mean())
    assert abs(ours["std"] / float(finite.std()) - 1) < 1e-12, (item["path"], ours["std"], finite.std())
    checks += 1
print(f"{checks} comparisons hold")
