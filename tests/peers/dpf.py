"""Newton power flow with scipy's splu, written without the toolkit: the peer of dpf-solve.

dpf.py                 cross-check on perturbed grids (the test)
dpf.py solve CASE.m    solves a case file from its own voltages and prints the result (tests/bench/dpf times this)
"""

import re
import subprocess
import sys

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla


def read_case(path):
    text = open(path, encoding="latin-1").read()
    case = {"baseMVA": float(re.search(r"baseMVA\s*=\s*([-0-9.eE]+)", text).group(1))}
    for name in ("bus", "gen", "branch"):
        body = re.search(r"mpc\.%s\s*=\s*\[(.*?)\];" % name, text, re.S).group(1)
        rows = [line.split("%")[0].strip().rstrip(";") for line in body.split("\n")]
        case[name] = np.array([[float(x) for x in row.replace(",", " ").split()] for row in rows if row])
    return case


def model(case):
    """Ybus, specified injections, rows with a P equation, rows with a Q equation too, |V| and angles at a flat start."""
    base, bus, gen, branch = case["baseMVA"], case["bus"], case["gen"], case["branch"]
    n = len(bus)
    row = {int(b): i for i, b in enumerate(bus[:, 0])}
    branch = branch[branch[:, 10] > 0]
    f = np.array([row[int(b)] for b in branch[:, 0]])
    t = np.array([row[int(b)] for b in branch[:, 1]])
    ys = 1 / (branch[:, 2] + 1j * branch[:, 3])
    tap = np.where(branch[:, 8] == 0, 1, branch[:, 8]) * np.exp(1j * np.radians(branch[:, 9]))
    ytt = ys + 0.5j * branch[:, 4]
    yff, yft, ytf = ytt / abs(tap) ** 2, -ys / tap.conj(), -ys / tap
    i = np.arange(n)
    shunt = (bus[:, 4] + 1j * bus[:, 5]) / base
    Y = sp.csr_matrix((np.r_[yff, yft, ytf, ytt, shunt], (np.r_[f, f, t, t, i], np.r_[f, t, f, t, i])), (n, n))
    gen = gen[gen[:, 7] > 0]
    g = np.array([row[int(b)] for b in gen[:, 0]])
    S = -(bus[:, 2] + 1j * bus[:, 3]) / base
    np.add.at(S, g, (gen[:, 1] + 1j * gen[:, 2]) / base)
    has = np.zeros(n, bool)
    has[g] = True
    ref = (bus[:, 1] == 3) & has
    pv = np.flatnonzero((bus[:, 1] == 2) & has)
    pq = np.flatnonzero(~ref & ~((bus[:, 1] == 2) & has))
    vm, va = np.ones(n), np.full(n, np.radians(bus[ref, 8][0]))
    hold = has & (bus[:, 1] >= 2)
    for k, v in zip(g, gen[:, 5]):
        if hold[k]:
            vm[k] = v
    return Y, S, np.r_[pv, pq], pq, vm, va


def solve(case, tol=1e-8, most=20):
    bus = case["bus"]
    Y, S, free, pq, vm, va = model(case)
    va = np.radians(bus[:, 8])
    vm[pq] = bus[pq, 7]
    for iteration in range(most + 1):
        V = vm * np.exp(1j * va)
        I = Y @ V
        mis = V * I.conj() - S
        F = np.r_[mis[free].real, mis[pq].imag]
        if abs(F).max() <= tol:
            break
        dV, dI, dE = sp.diags(V), sp.diags(I), sp.diags(V / vm)
        dm = dV @ (Y @ dE).conj() + dI.conj() @ dE
        da = 1j * dV @ (dI - Y @ dV).conj()
        J = sp.bmat([[da[free][:, free].real, dm[free][:, pq].real], [da[pq][:, free].imag, dm[pq][:, pq].imag]], "csc")
        dx = spla.splu(J).solve(F)
        va[free] -= dx[: len(free)]
        vm[pq] -= dx[len(free) :]
    return vm, np.degrees(va), iteration, abs(F).max()


def write_case(path, case):
    with open(path, "w") as out:
        out.write("function mpc = perturbed\nmpc.baseMVA = %.17g;\n" % case["baseMVA"])
        for name in ("bus", "gen", "branch"):
            out.write("mpc.%s = [\n" % name)
            for row in case[name]:
                out.write("\t".join("%.17g" % x for x in row) + ";\n")
            out.write("];\n")


def cross_check(folder, data):
    import h5py

    random = np.random.default_rng(1)
    solved = 0
    for trial in range(20):
        case = read_case(data + "/ieee14.m")
        m, n = len(case["branch"]), len(case["bus"])
        case["bus"][:, 2:4] *= random.lognormal(0, 0.2, (n, 2))
        case["bus"][:, 4:6] += random.uniform(0, 5, (n, 2))
        case["branch"][:, 2:5] *= random.lognormal(0, 0.2, (m, 3))
        chosen = random.random(m) < 0.3
        case["branch"][chosen, 8] = random.uniform(0.9, 1.1, chosen.sum())
        case["branch"][chosen, 9] = random.uniform(-4, 4, chosen.sum())
        case["branch"][random.integers(0, 13), 10] = 0  # branch 14 alone feeds bus 8
        case["gen"][random.integers(1, 5), 7] = trial % 2
        order = random.permutation(n)
        case["bus"] = case["bus"][order]
        case["bus"][:, 0] += 1000
        case["gen"][:, 0] += 1000
        case["branch"][:, :2] += 1000
        path = "%s/perturbed.m" % folder
        write_case(path, case)
        run = subprocess.run(["dpf-solve", "-q", "-f", path, folder + "/out.h5"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        vm, va, _, worst = solve(case, tol=1e-11)
        assert run.returncode == (0 if worst < 1e-8 else 1), "trial %d: exit code %d, peer's mismatch %g" % (trial, run.returncode, worst)
        if worst > 1e-8:
            continue
        solved += 1
        result = h5py.File(folder + "/out.h5")["result"]
        off = max(abs(result["vm"][0] - vm).max(), abs(result["va"][0] - va).max())
        assert off < 1e-8, "trial %d differs by %g" % (trial, off)
    assert solved >= 12, "only %d of 20 perturbed grids have a solution" % solved
    print("%d perturbed grids agree within 1e-8, %d have no solution for either" % (solved, 20 - solved))


def optimisers(folder, data):
    """Gradient descent by PyTorch's own optimisers and schedules, on the same loss: step by step the same MSE.

    120 steps: later ones of Adam are chaotic, rounding grows to 1e-5 of the loss within 300."""
    import h5py
    import torch

    case = read_case(data + "/ieee14.m")
    Y, S, free, pq, vm, va = model(case)
    Yt, St = torch.tensor(Y.toarray()), torch.tensor(S)

    def trajectory(make, schedule, steps):
        theta = torch.zeros(len(free), dtype=torch.float64, requires_grad=True)
        size = torch.ones(len(pq), dtype=torch.float64, requires_grad=True)
        optimiser = make([theta, size])
        scheduler = schedule(optimiser) if schedule else None
        losses = []
        for _ in range(steps):
            angle = torch.full((len(vm),), va[0], dtype=torch.float64).index_copy(0, torch.tensor(free), theta)
            length = torch.tensor(vm).index_copy(0, torch.tensor(pq), size)
            V = torch.polar(length, angle)
            off = V * (Yt @ V).conj() - St
            loss = (torch.cat([off[free].real, off[pq].imag]) ** 2).mean()
            losses.append(loss.item())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if scheduler:
                scheduler.step(*([loss.item()] if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau) else []))
        return np.array(losses)

    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
    runs = [
        ("adam", ["--lr", ".01", "--beta1", ".9", "--beta2", ".97"], lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.9, 0.97)), None, [], 120),
        ("adam", ["--lr", ".05", "--beta1", ".8", "--beta2", ".9"], lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.8, 0.9)),
         lambda o: plateau(o, factor=0.6, patience=3, threshold=0.05, cooldown=4, min_lr=0.004),
         ["--schedule", "plateau", "--factor", ".6", "--patience", "3", "--threshold", ".05", "--cooldown", "4", "--min-lr", ".004"], 120),
        ("adam", ["--lr", ".05", "--beta1", ".8", "--beta2", ".9", "--weight-decay", ".02"],
         lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.8, 0.9), weight_decay=0.02),
         lambda o: plateau(o, factor=0.5, patience=2, threshold=1e-3, threshold_mode="abs"),
         ["--schedule", "plateau", "--factor", ".5", "--patience", "2", "--threshold", "1e-3", "--threshold-mode", "abs"], 120),
        ("rmsprop", ["--lr", "1e-3", "--alpha", ".86", "--momentum", ".9", "--weight-decay", ".1"],
         lambda p: torch.optim.RMSprop(p, lr=1e-3, alpha=0.86, momentum=0.9, weight_decay=0.1),
         lambda o: torch.optim.lr_scheduler.StepLR(o, 30, 0.7), ["--schedule", "step", "--patience", "30", "--factor", ".7"], 120),
        ("sgd", ["--lr", "2e-3", "--momentum", ".8", "--dampening", ".3", "--weight-decay", ".05"],
         lambda p: torch.optim.SGD(p, lr=2e-3, momentum=0.8, dampening=0.3, weight_decay=0.05),
         lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [20, 50], 0.5), ["--schedule", "multistep", "--milestones", "20,50", "--factor", ".5"], 120),
    ]
    for method, settings, make, schedule, words, steps in runs:
        command = ["dpf-solve", "-q", "-f", "--allow-failures", "--init", "flat", "--method", method, "--max-iter", str(steps - 1), "--outputs", "v,history"]
        subprocess.run(command + settings + words + [data + "/ieee14.m", folder + "/adam.h5"], check=True, stdout=subprocess.DEVNULL)
        ours = h5py.File(folder + "/adam.h5")["history/mse"][:]
        theirs = trajectory(make, schedule, steps)
        off = np.max(np.abs(ours / theirs - 1))
        assert len(ours) == steps and off < 1e-9, "%s %s: a loss differs by %g of itself" % (method, words, off)
    print("%d optimisers with their schedules agree with PyTorch's within 1e-9 of the loss in 120 steps" % len(runs))


def flow_of(case, x, start):
    """Voltages of `case` with the reactances `x`, by the Newton solver above, from `start`."""
    case["branch"][:, 3] = x
    case["bus"][:, 7], case["bus"][:, 8] = start
    vm, va, _, worst = solve(case, tol=1e-11, most=30)
    assert worst < 1e-8
    return vm, va


def fit_check(folder, data):
    """A fit of reactances with priors, by squares and by Huber's loss, against scipy's least_squares on the solver above."""
    import h5py
    from scipy.optimize import least_squares

    random = np.random.default_rng(2)
    sigma, snapshots = 1e-4, 3
    truth = read_case(data + "/ieee14.m")
    n, m = len(truth["bus"]), len(truth["branch"])
    cases, vm, va = [], np.empty((snapshots, n)), np.empty((snapshots, n))
    for s in range(snapshots):
        case = read_case(data + "/ieee14.m")
        case["bus"][:, 2:4] *= random.lognormal(0, 0.3, (n, 2))
        vm[s], va[s] = flow_of(case, truth["branch"][:, 3], (case["bus"][:, 7], case["bus"][:, 8]))
        cases.append(case)
    z_vm = vm + sigma * random.normal(size=vm.shape)
    z_va = va + np.degrees(sigma) * random.normal(size=va.shape)
    z_vm[0, 4] += 30 * sigma
    z_va[2, 9] -= np.degrees(20 * sigma)
    z_vm[1, 7] = np.nan
    start = truth["branch"][:, 3] * random.lognormal(0, 0.1, m)
    mean, spread = truth["branch"][:, 3] * 1.1, 0.02 * truth["branch"][:, 3]
    informed = np.arange(0, m, 3)

    path = folder + "/start.h5"
    case = read_case(data + "/ieee14.m")
    case["branch"][:, 3] = start
    write_case(folder + "/start.m", case)
    subprocess.run(["dpf-import", "-q", "-f", folder + "/start.m", path], check=True)
    with h5py.File(folder + "/measured.h5", "w") as out:
        out["measurement/vm"], out["measurement/va"] = z_vm, z_va
        out["measurement/vm"].attrs["sigma"], out["measurement/va"].attrs["sigma"] = sigma, np.degrees(sigma)
        out["scenarios/load_p"] = np.array([c["bus"][:, 2] for c in cases])
        out["scenarios/load_q"] = np.array([c["bus"][:, 3] for c in cases])
        out["scenarios/bus"] = truth["bus"][:, 0].astype(int)
    with open(folder + "/prior.csv", "w") as out:
        out.write("kind,row,mean,sigma\n")
        for k in informed:
            out.write("x,%d,%.17g,%.17g\n" % (k + 1, mean[k], spread[k]))

    def residuals(u):
        x = start * np.exp(u)
        rows = []
        for s in range(snapshots):
            a, b = flow_of(cases[s], x, (vm[s], va[s]))
            rows += [(a - z_vm[s]) / sigma, (b - z_va[s]) / np.degrees(sigma)]
        rows = np.concatenate(rows)
        return np.concatenate([rows[~np.isnan(rows)], (x - mean)[informed] / spread[informed]])

    def huber(z):  # of the readings alone; priors stay squares
        rho = np.array([z, np.ones_like(z), np.zeros_like(z)])
        far = z > 1
        far[-len(informed) :] = False
        rho[:, far] = 2 * np.sqrt(z[far]) - 1, z[far] ** -0.5, -0.5 * z[far] ** -1.5
        return rho

    at = np.zeros(m)
    for robust, settings in (("none", {}), ("huber", {"loss": huber, "f_scale": 1.345})):
        settings.update(xtol=1e-10, ftol=1e-12, gtol=1e-10, bounds=(-1, 1), max_nfev=60)
        peer = least_squares(residuals, at, x_scale="jac", **settings)
        at = peer.x
        command = ["dpf-fit", "-q", "-f", "--learn", "x", "--prior", folder + "/prior.csv", "--robust", robust, "--tol", "1e-13"]
        subprocess.run(command + [path, folder + "/measured.h5", folder + "/fitted.h5"], check=True, stdout=subprocess.DEVNULL)
        fitted = h5py.File(folder + "/fitted.h5")
        chi2 = fitted["fit"].attrs["chi2"]
        off = abs(fitted["grid/branch/x"][:] / (start * np.exp(peer.x)) - 1).max()
        assert abs(chi2 / (2 * peer.cost) - 1) < 1e-7, "%s: chi2 %.12g, peer %.12g" % (robust, chi2, 2 * peer.cost)
        assert off < 1e-4, "%s: reactances differ by %g" % (robust, off)
        if robust == "none":
            x = start * np.exp(peer.x)
            deviation = np.sqrt(np.diag(np.linalg.inv(peer.jac.T @ peer.jac))) * x
            off_sigma = abs(fitted["fit/sigma"][:] / deviation - 1).max()
            assert off_sigma < 1e-3, "standard deviations differ by %g" % off_sigma
        print("fit with %s loss and %d priors: chi2 %.6f, reactances within %.1e" % (robust, len(informed), chi2, off))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "solve":
        vm, va, iterations, worst = solve(read_case(sys.argv[2]))
        print("iterations %d, max mismatch %.3g, sum |V| %.9f" % (iterations, worst, vm.sum()))
    else:
        import os
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            data = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../data")
            optimisers(folder, data)
            cross_check(folder, data)
            fit_check(folder, data)
