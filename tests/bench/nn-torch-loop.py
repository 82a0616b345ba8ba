"""The same training as nn-train, as one writes it in PyTorch: tensors in memory, indexed by batch ("tensors"), or a
DataLoader over a TensorDataset ("loader"). Prints images/s and peak MiB."""
import resource
import sys
import time

begun = time.time()
import h5py
import torch
import torch.nn.functional as F

sys.argv, (model_name, data, batch, epochs, threads, models_file, style) = sys.argv[:1], (sys.argv[1:] + ["tensors"])[:7]
torch.set_num_threads(int(threads))
source = open(models_file).read()
scope = {"nn": torch.nn, "F": F, "torch": torch}
exec(source[source.index("class Mlp"):source.index("def state(")], scope)  # the registry of tests/peers/nn.py
with h5py.File(data) as file:
    x, y = torch.from_numpy(file["/train/x"][()]).float() / 255, torch.from_numpy(file["/train/y"][()])
x = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True)
channels, side, batch = x.shape[1], x.shape[2], int(batch)
net = {"mlp": lambda: scope["Mlp"]((channels * side * side, 256, 256, 10)),
       "lenet5": lambda: scope["Lenet"](channels, 16 * ((side - 4) // 2 - 4) ** 2 // 4),
       "resnet20": lambda: scope["MODELS"]["resnet20"](), "vgg11": lambda: scope["MODELS"]["vgg11"](),
       "vit-tiny": lambda: scope["MODELS"]["vit-tiny"]()}[model_name]()
optimiser = torch.optim.Adam(net.parameters(), 1e-3)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch, shuffle=True)


def batches():
    if style == "loader":
        yield from loader
        return
    order = torch.randperm(len(x))
    for i in range(0, len(x), batch):
        rows = order[i:i + batch]
        yield x[rows], y[rows]


start_up = time.time() - begun
net.train()
begun, seen, total, right = time.time(), 0, 0.0, 0
for epoch in range(int(epochs)):
    for a, b in batches():
        optimiser.zero_grad()
        output = net(a)
        loss = F.cross_entropy(output, b)
        loss.backward()
        optimiser.step()
        total += loss.item() * len(a)
        right += (output.argmax(1) == b).sum().item()
        seen += len(a)
print(seen / (time.time() - begun), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, start_up)
