"""HyRes and FORPDN written with numpy and PyWavelets, SSIM of scikit-image, GeoTIFF and ENVI through GDAL: the peers of hyde-*."""

import json
import subprocess
import sys

import h5py
import numpy as np

LEVELS = 5


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def cube_of(path):
    with h5py.File(path) as f:
        return f["cube"][:]


def regression_sigma(spectra):
    """Each band regressed on all others by least squares, one after another."""
    pixels, bands = spectra.shape
    sigma = np.empty(bands)
    for b in range(bands):
        others = np.delete(spectra, b, 1)
        beta = np.linalg.lstsq(others, spectra[:, b], rcond=None)[0]
        sigma[b] = np.sqrt(((spectra[:, b] - others @ beta) ** 2).sum() / (pixels - bands + 1))
    return sigma


def forward(plane, name):
    unit = 2 ** LEVELS
    pad = [(0, -n % unit) for n in plane.shape]
    return pywt.wavedec2(np.pad(plane, pad, mode="symmetric"), name, mode="periodization", level=LEVELS)


def inverse(coefficients, name, shape):
    return pywt.waverec2(coefficients, name, mode="periodization")[:shape[0], :shape[1]]


def parts(coefficients):
    """Smooth part, then every detail."""
    return [coefficients[0]] + [d for level in coefficients[1:] for d in level]


def rebuild(arrays):
    return [arrays[0]] + [tuple(arrays[1 + 3 * k:4 + 3 * k]) for k in range(LEVELS)]


def hyres(cube):
    rows, cols, bands = cube.shape
    spectra = cube.reshape(-1, bands).astype("f8")
    sigma = regression_sigma(spectra)
    white = spectra / sigma
    vectors = np.linalg.eigh(white.T @ white)[1][:, ::-1]
    best, total, kept, planes = 0.0, 0.0, 0, []
    for i in range(bands):
        c = forward((white @ vectors[:, i]).reshape(rows, cols), "db5")
        x = np.concatenate([p.ravel() for p in parts(c)])
        gains = [(2 * (abs(x) > t) - np.maximum(x * x - t * t, 0)).sum() for t in np.linspace(0, 1.645605, 15)]
        t = np.linspace(0, 1.645605, 15)[int(np.argmin(gains))]
        total += min(gains)
        planes.append(inverse(rebuild([pywt.threshold(p, t, "soft") for p in parts(c)]), "db5", (rows, cols)))
        if total < best:
            best, kept = total, i + 1
        elif i + 1 >= kept + 5:
            break
    model = np.stack(planes[:kept], -1).reshape(-1, kept) @ vectors[:, :kept].T
    return (model * sigma).reshape(cube.shape)


def forpdn(cube):
    from scipy.optimize import minimize_scalar

    rows, cols, bands = cube.shape
    spectra = cube.reshape(-1, bands).astype("f8")
    scale = 255 / np.ptp(spectra, axis=0)
    sigma = regression_sigma(spectra) * scale
    d = np.diff(np.eye(bands), axis=0)
    precision = np.diag(1 / sigma ** 2)
    transformed = [parts(forward(cube[:, :, b] * scale[b], "db6")) for b in range(bands)]
    for k in range(len(transformed[0])):
        y = np.stack([t[k].ravel() for t in transformed])

        def smooth(lam):
            return np.linalg.solve(precision + lam * d.T @ d, precision)

        def risk(log_lam):
            a = smooth(np.exp(log_lam))
            return (((y - a @ y) / sigma[:, None]) ** 2).sum() + 2 * y.shape[1] * np.trace(a) - y.size

        grid = np.linspace(-16, 16, 129)
        at = int(np.argmin([risk(v) for v in grid]))
        found = minimize_scalar(risk, bounds=(grid[max(at - 1, 0)], grid[min(at + 1, 128)]), method="bounded", options={"xatol": 1e-8})
        if found.fun < y.size:  # the risk of leaving the data alone
            y = smooth(np.exp(found.x)) @ y
        for b in range(bands):
            transformed[b][k] = y[b].reshape(transformed[b][k].shape)
    planes = [inverse(rebuild(t), "db6", (rows, cols)) / scale[b] for b, t in enumerate(transformed)]
    return np.stack(planes, -1)


def compare(name, ours, theirs, limit):
    worst = float(np.abs(ours - theirs).max())
    print(f"{name}: largest difference {worst:.2e} (limit {limit:g})")
    if not worst <= limit:
        sys.exit(1)


def check_methods():
    run("hyde-synth", "clean.h5", "--size", "45,52,24", "--endmembers", "4", "-q")
    run("hyde-noise", "gaussian", "--snr", "20", "clean.h5", "noisy.h5", "-q")
    noisy = cube_of("noisy.h5")
    for method, peer in (("hyres", hyres), ("forpdn", forpdn)):
        run("hyde-denoise", method, "noisy.h5", "out.h5", "-f", "-q")
        compare(method + " against numpy and PyWavelets", cube_of("out.h5"), peer(noisy), 2e-5)


def check_metrics():
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    clean, noisy = cube_of("clean.h5"), cube_of("noisy.h5")
    found = json.loads(run("hyde-metrics", "clean.h5", "noisy.h5", "--json"))
    peak = float(clean.max())
    compare("PSNR against scikit-image", found["psnr_dB"], peak_signal_noise_ratio(clean, noisy, data_range=peak), 1e-4)
    similar = [structural_similarity(clean[:, :, b].astype("f8"), noisy[:, :, b].astype("f8"), data_range=peak, gaussian_weights=True, sigma=1.5,
                                     use_sample_covariance=False) for b in range(clean.shape[2])]
    compare("SSIM against scikit-image", next(v for k, v in found.items() if "ssim" in k), np.mean(similar), 1e-4)


def check_formats():
    from osgeo import gdal

    gdal.UseExceptions()
    clean = cube_of("clean.h5")
    for name, driver in (("scene.tif", "GTiff"), ("scene.hdr", "ENVI")):
        run("hyde-convert", "clean.h5", name, "-f", "-q")
        read = gdal.Open("scene.img" if driver == "ENVI" else name).ReadAsArray().transpose(1, 2, 0)
        compare(f"{driver} read by GDAL", read, clean, 0)
    counts = np.clip(clean * 10000, 0, 32767).astype("i2")
    for options in (["TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=16"], ["INTERLEAVE=BAND"], ["INTERLEAVE=PIXEL", "COMPRESS=LZW", "PREDICTOR=2"],
                    ["TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=32", "INTERLEAVE=BAND", "COMPRESS=DEFLATE", "PREDICTOR=2"], ["BIGTIFF=YES", "COMPRESS=PACKBITS"]):
        written = gdal.GetDriverByName("GTiff").Create("gdal.tif", counts.shape[1], counts.shape[0], counts.shape[2], gdal.GDT_Int16, options)
        written.SetGeoTransform((1000, 2, 0, 2000, 0, -2))
        for b in range(counts.shape[2]):
            written.GetRasterBand(b + 1).WriteArray(counts[:, :, b])
        written = None
        run("hyde-convert", "gdal.tif", "from.h5", "-f", "-q")
        compare("GeoTIFF of GDAL, " + " ".join(options), cube_of("from.h5").astype("i4"), counts.astype("i4"), 0)
    run("hyde-convert", "from.h5", "again.tif", "-f", "-q")
    if gdal.Open("again.tif").GetGeoTransform() != (1000, 2, 0, 2000, 0, -2):
        print("the georeference was lost")
        sys.exit(1)


skipped = []
try:
    import pywt
    check_methods()
except ImportError as error:
    skipped.append(str(error))
    run("hyde-synth", "clean.h5", "--size", "45,52,24", "--endmembers", "4", "-q")
    run("hyde-noise", "gaussian", "--snr", "20", "clean.h5", "noisy.h5", "-q")
for check in (check_metrics, check_formats):
    try:
        check()
    except ImportError as error:
        skipped.append(str(error))
if skipped:
    print("skipped: " + "; ".join(skipped))
    sys.exit(77 if len(skipped) == 3 else 0)
