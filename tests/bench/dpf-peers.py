"""Other packages on the scenarios of an HDF5 file that dpf-synth made: dpf-peers.py PACKAGE FILE COUNT [REFERENCE].

PACKAGE is lightsim2grid, pandapower or power-grid-model; one thread, tolerance 1e-8 pu, Newton's method. REFERENCE is a
flow of dpf-solve for the same file. Prints "seconds-per-scenario scenarios-solved largest-difference-of-|V|". Runs under
any Python that has the package and h5py (tests/bench/dpf takes $FACHWERK_PEER_PYTHON).
power-grid-model knows no voltage-controlled buses: it gets the reactive outputs of REFERENCE as fixed injections instead,
which is an easier grid (one reference, the rest PQ).
"""

import os
import sys
import time
import warnings

os.environ["OMP_NUM_THREADS"] = "1"
warnings.filterwarnings("ignore")

import h5py
import numpy as np


def tables(file):
    """MATPOWER's matrices from /grid, and the scenarios' loads by bus row and outputs by generator."""
    bus, gen, branch = (file[f"grid/{name}"] for name in ("bus", "gen", "branch"))
    column = lambda group, name: group[name][:].astype(float)
    n, g, m = len(bus["id"]), len(gen["bus"]), len(branch["f"])
    b = np.column_stack([column(bus, k) for k in ("id", "type", "pd", "qd", "gs", "bs", "area", "vm", "va", "base_kv", "zone", "vmax", "vmin")])
    b[b[:, 9] == 0, 9] = 1.0
    columns = [column(gen, k) for k in ("bus", "pg", "qg", "qmax", "qmin", "vg", "mbase", "status", "pmax", "pmin")]
    gens = np.column_stack(columns + [np.zeros((g, 11))])
    names = ("f", "t", "r", "x", "b", "rate_a", "rate_b", "rate_c", "tap", "shift", "status")
    branches = np.column_stack([column(branch, k) for k in names] + [np.full(m, -360.0), np.full(m, 360.0)])
    rows = {int(i): k for k, i in enumerate(b[:, 0])}
    case = {"version": "2", "baseMVA": float(file["grid"].attrs["base_mva"]), "bus": b, "gen": gens, "branch": branches}
    return case, [rows[int(i)] for i in file["scenarios/bus"][:]]


def lightsim2grid_run(file, case, loads, count):
    import lightsim2grid.network as network
    from lightsim2grid.lightsim2grid_cpp import InjectionSweepCPP

    grid = network.init_from_matpower(case)
    # The model sorts nothing: its loads are the buses with a load, its generators the rows in service.
    position = {bus: k for k, bus in enumerate(loads)}
    order = [position[int(x.bus_id)] for x in grid.get_loads()]
    p, q, g = (np.ascontiguousarray(file[f"scenarios/{k}"][:count]) for k in ("load_p", "load_q", "gen_p"))
    start = case["bus"][:, 7] * np.exp(1j * np.radians(case["bus"][:, 8]))
    grid.ac_pf(start.copy(), 20, 1e-8)
    sweep = InjectionSweepCPP(grid)
    sweep.nb_thread = 1
    begin = time.perf_counter()
    sweep.modify_load_p(np.ascontiguousarray(p[:, order]))
    sweep.modify_load_q(np.ascontiguousarray(q[:, order]))
    sweep.modify_gen_p(g)
    sweep.compute(start, 20, 1e-8)
    seconds = time.perf_counter() - begin
    v = np.abs(sweep.get_voltages())
    return seconds, int((v.min(axis=1) > 0).sum()), v


def pandapower_run(file, case, loads, count):
    import pandapower as pp
    from pandapower.converter.pypower.from_ppc import from_ppc

    net = from_ppc(case, f_hz=50, validate_conversion=False)
    p, q, g = (file[f"scenarios/{k}"][:count] for k in ("load_p", "load_q", "gen_p"))
    pp.runpp(net, calculate_voltage_angles=True, tolerance_mva=1e-8 * case["baseMVA"], numba=True)
    row = {int(case["bus"][bus, 0]): k for k, bus in enumerate(loads)}  # buses keep their numbers
    columns = [row[int(bus)] for bus in net.load.bus.values]
    negative = [row[int(bus)] for bus in net.sgen.bus.values]  # from_ppc makes static generators of negative loads
    ids = case["gen"][:, 0].astype(int)
    of_bus = {}
    for k, i in enumerate(ids):
        of_bus.setdefault(int(i), []).append(k)
    seconds, solved, out = 0.0, 0, []
    for s in range(count):
        net.load.p_mw = p[s, columns]
        net.load.q_mvar = q[s, columns]
        net.sgen.p_mw = -p[s, negative]
        net.sgen.q_mvar = -q[s, negative]
        net.gen.p_mw = [g[s, of_bus[int(bus)]].sum() for bus in net.gen.bus.values]
        begin = time.perf_counter()
        try:
            pp.runpp(net, calculate_voltage_angles=True, init="results", tolerance_mva=1e-8 * case["baseMVA"], numba=True)
            solved += 1
        except pp.LoadflowNotConverged:
            pass
        seconds += time.perf_counter() - begin
        out.append(net.res_bus.vm_pu.values.copy())
    return seconds, solved, np.array(out)


def power_grid_model_run(file, case, loads, count, reference):
    import power_grid_model as pgm

    bus, gen, branch, base = case["bus"], case["gen"], case["branch"], case["baseMVA"] * 1e6
    rows = {int(i): k for k, i in enumerate(bus[:, 0])}
    n, kv = len(bus), bus[:, 9] * 1e3
    def table(kind, size, **columns):
        array = pgm.initialize_array(pgm.DatasetType.input, kind, size)
        for name, values in columns.items():
            array[name] = values
        return array
    live = branch[:, 10] > 0
    f, t = np.array([rows[int(i)] for i in branch[live, 0]]), np.array([rows[int(i)] for i in branch[live, 1]])
    z0 = kv[t] ** 2 / base
    ratio = np.where(branch[live, 8] == 0, 1, branch[live, 8])
    generic = table(pgm.ComponentType.generic_branch, live.sum(), id=1_000_000 + np.arange(live.sum()), from_node=f, to_node=t,
                    from_status=1, to_status=1, r1=branch[live, 2] * z0, x1=branch[live, 3] * z0, g1=0.0,
                    b1=branch[live, 4] / z0, k=ratio, theta=np.radians(branch[live, 9]), sn=base)
    slack = int(np.flatnonzero(bus[:, 1] == 3)[0])
    result = file_of(reference)["result"]
    qg = result["qg"][:count]
    source = table(pgm.ComponentType.source, 1, id=2_000_000, node=slack, status=1, u_ref=result["vm"][0, slack],
                   u_ref_angle=np.radians(bus[slack, 8]), sk=1e20)
    shunts = np.flatnonzero((bus[:, 4] != 0) | (bus[:, 5] != 0))
    shunt = table(pgm.ComponentType.shunt, len(shunts), id=3_000_000 + shunts, node=shunts, status=1,
                  g1=bus[shunts, 4] * 1e6 / kv[shunts] ** 2, b1=bus[shunts, 5] * 1e6 / kv[shunts] ** 2, g0=0.0, b0=0.0)
    injections = table(pgm.ComponentType.sym_load, n, id=4_000_000 + np.arange(n), node=np.arange(n), status=1, type=0,
                       p_specified=0.0, q_specified=0.0)
    model = pgm.PowerGridModel({
        pgm.ComponentType.node: table(pgm.ComponentType.node, n, id=np.arange(n), u_rated=kv),
        pgm.ComponentType.generic_branch: generic, pgm.ComponentType.source: source, pgm.ComponentType.shunt: shunt,
        pgm.ComponentType.sym_load: injections})
    p, q = np.zeros((count, n)), np.zeros((count, n))
    p[:, loads], q[:, loads] = file["scenarios/load_p"][:count], file["scenarios/load_q"][:count]
    for k in range(len(gen)):
        if gen[k, 7] > 0 and rows[int(gen[k, 0])] != slack:
            p[:, rows[int(gen[k, 0])]] -= file["scenarios/gen_p"][:count, k]
            q[:, rows[int(gen[k, 0])]] -= qg[:, k]
    update = pgm.initialize_array(pgm.DatasetType.update, pgm.ComponentType.sym_load, (count, n))
    update["id"], update["p_specified"], update["q_specified"] = injections["id"], p * 1e6, q * 1e6
    begin = time.perf_counter()
    out = model.calculate_power_flow(update_data={pgm.ComponentType.sym_load: update}, symmetric=True, threading=-1,
                                     error_tolerance=1e-8, max_iterations=30, calculation_method=pgm.CalculationMethod.newton_raphson,
                                     output_component_types={pgm.ComponentType.node: ["u_pu"]}, continue_on_batch_error=True)
    seconds = time.perf_counter() - begin
    v = out[pgm.ComponentType.node]["u_pu"]
    return seconds, int(np.isfinite(v).all(axis=1).sum()), v


def file_of(path):
    return h5py.File(path, "r")


def main():
    package, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    reference = sys.argv[4]
    file = file_of(path)
    case, loads = tables(file)
    count = min(count, len(file["scenarios/load_p"]))
    if package == "power-grid-model":
        seconds, solved, v = power_grid_model_run(file, case, loads, count, reference)
    else:
        seconds, solved, v = {"lightsim2grid": lightsim2grid_run, "pandapower": pandapower_run}[package](file, case, loads, count)
    ours = file_of(reference)["result/vm"][:count]
    good = np.isfinite(v).all(axis=1) & (v.min(axis=1) > 0) if v.shape == ours.shape else np.zeros(count, bool)
    print(seconds / count, solved, np.abs(v - ours)[good].max() if good.any() else "shape")


main()
