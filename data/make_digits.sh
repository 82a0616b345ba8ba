#!/bin/bash
# Makes digits.h5 from the optical digits that Debian's python3-sklearn carries (UCI optdigits, test part, CC BY 4.0):
# 1797 images of 8 x 8 pixels, grey 0..16, scaled to 0..255; every fifth is a test image.
# data/make_digits.sh digits.csv.gz OUT, with nn-data in PATH. digits.csv.gz: sklearn/datasets/data/digits.csv.gz
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/python3 - "$1" "$folder/digits.npz" <<'PYTHON'
import gzip, sys
import numpy as np
table = np.loadtxt(gzip.open(sys.argv[1], "rt"), delimiter=",")
pixels = np.rint(table[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
np.savez(sys.argv[2], x=pixels, y=table[:, 64].astype(np.int64))
PYTHON
out=$(realpath "$2")
cd "$folder"
SOURCE_DATE_EPOCH=0 nn-data import npz digits.npz digits.h5 --every 5 --licence "CC BY 4.0" \
  --source "Optical recognition of handwritten digits, E. Alpaydin, C. Kaynak, UCI 1998, test part"
mv digits.h5 "$out"
