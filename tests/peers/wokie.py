"""The same graphs by other software: rdflib, serdi, rapper against wokie-convert; isomorphism, not counts alone."""
import os
import shutil
import subprocess
import sys
import tempfile

try:
    import rdflib
    from rdflib.compare import isomorphic
except ImportError:
    print("python3-rdflib is not here")
    sys.exit(77)

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
shared = os.path.join(root, "..", "shared", "data", "wokie")
files = [os.path.join(root, "data", "wokie-crafts.ttl"), os.path.join(root, "data", "wokie-crafts-bad.ttl")]
files += [f for f in (os.path.join(shared, n) for n in ("coar_resourcetypes_v1.1.ttl", "dh-benchmark/defc.rdf")) if os.path.exists(f)]
failed = 0


def graph(path, form):
    g = rdflib.Graph()
    g.parse(path, format=form)
    return g


with tempfile.TemporaryDirectory() as folder:
    for path in files:
        gold = graph(path, "xml" if path.endswith(".rdf") else "turtle")
        for extension, form in (("ttl", "turtle"), ("rdf", "xml"), ("nt", "nt"), ("jsonld", "json-ld")):
            out = os.path.join(folder, "out." + extension)
            subprocess.run(["wokie-convert", "-q", "-f", path, out], check=True)
            same = isomorphic(gold, graph(out, form))
            failed += not same
            print(f"{os.path.basename(path):32} {extension:7} rdflib {'same graph' if same else 'DIFFERS'} ({len(gold)} triples)")
        # serdi and rapper read what we write, and write what we read
        turtle = os.path.join(folder, "out.ttl")
        for name, command in (("serdi", ["serdi", "-o", "ntriples", turtle]), ("rapper", ["rapper", "-q", "-i", "turtle", "-o", "ntriples", turtle])):
            if not shutil.which(name):
                print(f"{name} is not here")
                continue
            lines = subprocess.run(command, check=True, capture_output=True).stdout
            theirs = os.path.join(folder, name + ".nt")
            with open(theirs, "wb") as f:
                f.write(lines)
            ours = os.path.join(folder, "ours.nt")
            subprocess.run(["wokie-convert", "-q", "-f", theirs, ours], check=True)
            with open(ours, "rb") as a, open(os.path.join(folder, "out.nt"), "rb") as b:
                same = a.read() == b.read()
            failed += not same
            print(f"{os.path.basename(path):32} {name:7} {'same graph' if same else 'DIFFERS'}")
sys.exit(1 if failed else 0)
