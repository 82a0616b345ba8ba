"""nn against PyTorch: every model of the registry built again from torch.nn, weights exchanged both ways with strict
loading, outputs compared; optimisers step by step; training curves; formats."""
import os
import subprocess
import sys

try:
    import torch
except ImportError:
    print("skipped: no python3 with torch (Debian: python3-torch)")
    sys.exit(77)
import h5py
import numpy as np
import torch.nn.functional as F
from torch import nn

torch.manual_seed(3)
torch.set_num_threads(2)
failures = 0


def check(name, value, limit):
    global failures
    good = bool(value <= limit)
    failures += not good
    print(f"{'ok  ' if good else 'FAIL'} {name}: {value:.3g} (<= {limit:g})")


def run(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if done.returncode != 0:
        print("FAIL", " ".join(map(str, words)), done.stderr)
        sys.exit(1)
    return done.stdout


# ---- the registry in PyTorch ----------------------------------------------------------------------
class Mlp(nn.Module):
    def __init__(self, sizes, act=F.relu, bias=True):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=bias) for a, b in zip(sizes, sizes[1:]))
        self.act = act

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = self.act(layer(x))
        return self.layers[-1](x)


class Lenet(nn.Module):
    def __init__(self, channels, flat, norm=True):
        super().__init__()
        def block(a, b):
            return nn.Sequential(nn.Conv2d(a, b, 5), *([nn.BatchNorm2d(b)] if norm else []), nn.ReLU(), nn.MaxPool2d(2))
        self.conv1, self.conv2 = block(channels, 6), block(6, 16)
        self.fc1 = nn.Sequential(nn.Flatten(), nn.Linear(flat, 120), nn.ReLU())
        self.fc2 = nn.Sequential(nn.Linear(120, 84), nn.ReLU())
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        return self.fc3(self.fc2(self.fc1(self.conv2(self.conv1(x)))))


class Basic(nn.Module):
    def __init__(self, a, b, stride, pad):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        self.pad, self.stride, self.b = pad, stride, b
        if (stride != 1 or a != b) and not pad:
            self.downsample = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))
        else:
            self.downsample = None

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.downsample is not None:
            x = self.downsample(x)
        elif self.pad and x.shape[1] != self.b:
            more = self.b - x.shape[1]
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, more // 2, more - more // 2))
        return F.relu(y + x)


class Bottleneck(nn.Module):
    def __init__(self, a, w, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, w, 1, bias=False), nn.BatchNorm2d(w)
        self.conv2, self.bn2 = nn.Conv2d(w, w, 3, stride, 1, bias=False), nn.BatchNorm2d(w)
        self.conv3, self.bn3 = nn.Conv2d(w, 4 * w, 1, bias=False), nn.BatchNorm2d(4 * w)
        self.downsample = None
        if stride != 1 or a != 4 * w:
            self.downsample = nn.Sequential(nn.Conv2d(a, 4 * w, 1, stride, bias=False), nn.BatchNorm2d(4 * w))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Resnet(nn.Module):
    def __init__(self, depth, widths, stem=(3, 1), pool=False, pad=False, bottleneck=False):
        super().__init__()
        k, s = stem
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], k, s, k // 2, bias=False), nn.BatchNorm2d(widths[0])
        self.pool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()
        a, self.names = widths[0], []
        for i, (n, w) in enumerate(zip(depth, widths)):
            blocks = []
            for j in range(n):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(Bottleneck(a, w, stride) if bottleneck else Basic(a, w, stride, pad))
                a = 4 * w if bottleneck else w
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
            self.names.append(f"layer{i + 1}")
        self.fc = nn.Linear(a, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        for name in self.names:
            x = getattr(self, name)(x)
        return self.fc(x.mean((2, 3)))


class Vgg(nn.Module):
    def __init__(self, layout, norm=False, bias=True, full=False):
        super().__init__()
        layers, a = [], 3
        for w in layout:
            if w == 0:
                layers.append(nn.MaxPool2d(2))
            else:
                layers.append(nn.Conv2d(a, w, 3, padding=1, bias=bias))
                if norm:
                    layers.append(nn.BatchNorm2d(w))
                layers.append(nn.ReLU())
                a = w
        self.features, self.full = nn.Sequential(*layers), full
        if full:
            self.classifier = nn.Sequential(nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 10))
        else:
            self.classifier = nn.Linear(512, 10, bias=bias)

    def forward(self, x):
        x = self.features(x)
        return self.classifier(F.adaptive_avg_pool2d(x, 7).flatten(1) if self.full else x.mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, dim, inner, heads):
        super().__init__()
        self.qkv, self.proj, self.heads = nn.Linear(dim, 3 * inner), nn.Linear(inner, dim), heads

    def forward(self, x):
        n, t, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = ((q @ k.transpose(-2, -1)) / q.shape[-1] ** 0.5).softmax(-1)
        return self.proj((a @ v).transpose(1, 2).reshape(n, t, -1))


class MlpPart(nn.Module):
    def __init__(self, dim, hidden, act):
        super().__init__()
        self.fc1, self.fc2, self.act = nn.Linear(dim, hidden), nn.Linear(hidden, dim), act

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class Encoder(nn.Module):
    def __init__(self, dim, inner, heads, hidden, act, eps):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=eps), nn.LayerNorm(dim, eps=eps)
        self.attn, self.mlp = Attention(dim, inner, heads), MlpPart(dim, hidden, act)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, dim, patch):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Vit(nn.Module):
    def __init__(self, patch, dim, depth, heads, hidden):
        super().__init__()
        self.patch_embed = PatchEmbed(dim, patch)
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, (32 // patch) ** 2 + 1, dim))
        self.blocks = nn.ModuleList(Encoder(dim, dim, heads, hidden, F.gelu, 1e-6) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, 10)

    def forward(self, x):
        x = self.patch_embed(x)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class MixerBlock(nn.Module):
    def __init__(self, tokens, dim, token_hidden, hidden):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.mlp_tokens, self.mlp_channels = MlpPart(tokens, token_hidden, F.gelu), MlpPart(dim, hidden, F.gelu)

    def forward(self, x):
        x = x + self.mlp_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.mlp_channels(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self, patch, dim, depth, token_hidden, hidden):
        super().__init__()
        self.stem = PatchEmbed(dim, patch)
        self.blocks = nn.ModuleList(MixerBlock((32 // patch) ** 2, dim, token_hidden, hidden) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, 10)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


class Flattened(nn.Module):
    """The transformer on jointly embedded patches."""
    def __init__(self, patch=8, depth=4):
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(3 * 32 * 32, 512)
        self.blocks = nn.ModuleList(Encoder(32, 512, 8, 128, torch.tanh, 1e-5) for _ in range(depth))
        self.fc, self.head = nn.Linear(512, 512), nn.Linear(512, 10)

    def forward(self, x):
        n, p = len(x), self.patch
        x = x.unfold(2, p, p).unfold(3, p, p).permute(0, 2, 3, 1, 4, 5).reshape(n, -1)
        x = self.embed(x)
        for block in self.blocks:
            x = block(x.reshape(n, 16, 32)).flatten(1)
        return self.head(torch.tanh(self.fc(x)))


class Tokens(nn.Module):
    def __init__(self, vocabulary, length):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 64)
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, 64))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, length + 1, 64))
        self.blocks = nn.ModuleList(Encoder(64, 64, 4, 128, F.gelu, 1e-5) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 4)

    def forward(self, x):
        x = self.embed(x.long())
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class SwinBlock(nn.Module):
    """Attention in windows of 4 x 4 tokens; odd blocks move the windows by 2."""
    def __init__(self, dim, heads, side, shift):
        super().__init__()
        self.window, self.shift, self.side = min(4, side), shift, side
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.Module()
        self.attn.heads = heads
        self.attn.qkv, self.attn.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.attn.relative_position_bias_table = nn.Parameter(0.02 * torch.randn((2 * self.window - 1) ** 2, heads))
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def attend(self, x):
        """Token by token, from the definition: who may see whom, at what distance."""
        n, t, d = x.shape
        h, w, side, shift = self.attn.heads, self.window, self.side, self.shift
        q, k, v = self.attn.qkv(x).view(n, t, 3, h, d // h).permute(2, 0, 3, 1, 4)
        row, column = torch.arange(t) // side, torch.arange(t) % side
        # after the shift: windows, and the parts of the grid that wrap around stay apart
        r, c = (row - shift) % side, (column - shift) % side
        same = (r[:, None] // w == r // w) & (c[:, None] // w == c // w)
        if shift:
            same &= ((row < shift)[:, None] == (row < shift)) & ((column < shift)[:, None] == (column < shift))
        places = (r[:, None] - r + w - 1).clamp(0, 2 * w - 2) * (2 * w - 1) + (c[:, None] - c + w - 1).clamp(0, 2 * w - 2)
        logits = q @ k.transpose(-2, -1) / (d // h) ** 0.5 + self.attn.relative_position_bias_table[places].permute(2, 0, 1)
        weights = logits.masked_fill(~same, -float("inf")).softmax(-1)
        return self.attn.proj((weights @ v).transpose(1, 2).reshape(n, t, d))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm2(x))))


class Swin(nn.Module):
    def __init__(self, dim=48, heads=3):
        super().__init__()
        self.patch_embed, self.head, self.layers = nn.Module(), nn.Module(), nn.ModuleList()
        self.patch_embed.proj, self.patch_embed.norm = nn.Conv2d(3, dim, 2, 2), nn.LayerNorm(dim)
        for stage, side in enumerate((16, 8, 4)):
            layer, d = nn.Module(), dim << stage
            if stage:
                layer.downsample = nn.Module()
                layer.downsample.norm, layer.downsample.reduction = nn.LayerNorm(2 * d), nn.Linear(2 * d, d, False)
            layer.blocks = nn.ModuleList(SwinBlock(d, heads << stage, side, 2 if i and side > 4 else 0) for i in range(2))
            self.layers.append(layer)
        self.norm, self.head.fc = nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 10)

    def forward(self, x):
        x = self.patch_embed.norm(self.patch_embed.proj(x).flatten(2).transpose(1, 2))
        for stage, layer in enumerate(self.layers):
            if stage:
                side = int(x.shape[1] ** 0.5)
                g = x.view(len(x), side, side, -1)
                x = torch.cat((g[:, ::2, ::2], g[:, 1::2, ::2], g[:, ::2, 1::2], g[:, 1::2, 1::2]), -1).flatten(1, 2)
                x = layer.downsample.reduction(layer.downsample.norm(x))
            for block in layer.blocks:
                x = block(x)
        return self.head.fc(self.norm(x).mean(1))


class Spec(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([
            nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
            nn.Sequential(nn.MaxPool2d(2)),
            nn.Sequential(nn.Flatten(), nn.Linear(8 * 64, 32), nn.Tanh(), nn.Linear(32, 10))])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


ELEVEN = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)
SIXTEEN = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
W = (64, 128, 256, 512)
MODELS = {
    "mlp --hidden 40,30 --act gelu": lambda: Mlp((3072, 40, 30, 10), F.gelu),
    "mlp --hidden 16 --no-bias": lambda: Mlp((3072, 16, 10), bias=False),
    "lenet-300-100": lambda: Mlp((3072, 300, 100, 10)),
    "lenet5": lambda: Lenet(3, 400),
    "lenet5 --norm none": lambda: Lenet(3, 400, False),
    "resnet20": lambda: Resnet((3, 3, 3), (16, 32, 64)),
    "resnet20 --shortcut A": lambda: Resnet((3, 3, 3), (16, 32, 64), pad=True),
    "resnet32": lambda: Resnet((5, 5, 5), (16, 32, 64)),
    "resnet56": lambda: Resnet((9, 9, 9), (16, 32, 64)),
    "resnet18": lambda: Resnet((2, 2, 2, 2), W),
    "resnet18 --stem imagenet": lambda: Resnet((2, 2, 2, 2), W, (7, 2), True),
    "resnet34": lambda: Resnet((3, 4, 6, 3), W),
    "resnet50": lambda: Resnet((3, 4, 6, 3), W, bottleneck=True),
    "vgg11": lambda: Vgg(ELEVEN),
    "vgg11 --no-bias": lambda: Vgg(ELEVEN, bias=False),
    "vgg16 --bn": lambda: Vgg(SIXTEEN, True),
    "vgg11 --classifier full": lambda: Vgg(ELEVEN, full=True),
    "vit": lambda: Vit(4, 512, 6, 8, 512),
    "vit-tiny": lambda: Vit(4, 192, 12, 3, 768),
    "vit-mini": lambda: Vit(8, 768, 6, 6, 3072),
    "vit-frog": lambda: Vit(4, 256, 6, 4, 512),
    "swin-lite": lambda: Swin(),
    "mixer --depth 3": lambda: Mixer(4, 512, 3, 256, 2048),
    "transformer --patch 8": lambda: Flattened(),
    "spec:conv8,3-relu--conv8,3,2-bn-relu--pool2,2--flatten-fc32-tanh-fc10": lambda: Spec(),
    "transformer --vocabulary 11": lambda: Tokens(11, 8),
}


def state(path):
    with h5py.File(path) as file:
        return {k: torch.from_numpy(np.asarray(v[()])) for k, v in file["/model/state"].items()}


def outputs(model, data):
    run("nn-eval", model, data, "out.h5", "--part", "train", "-f", "-q")
    with h5py.File("out.h5") as file:
        return torch.from_numpy(file["/outputs"][()])


rng = np.random.default_rng(5)
pixels = rng.integers(0, 256, (24, 3, 32, 32), dtype=np.uint8)
np.savez("images.npz", x=pixels, y=np.arange(24) % 10)
run("nn-data", "import", "npz", "images.npz", "images.h5")
run("nn-data", "synth", "seqcopy", "tokens.h5", "--n", 24, "--features", 8, "--classes", 4)
with h5py.File("images.h5") as file:
    mean, std = file.attrs["mean"], file.attrs["std"]
images = torch.from_numpy((pixels / 255.0 - mean[:, None, None]) / std[:, None, None]).float()
with h5py.File("tokens.h5") as file:
    tokens = torch.from_numpy(file["/train/x"][()])

for name, make in MODELS.items():
    words, is_tokens = name.split(), "vocabulary" in name
    data, x = ("tokens.h5", tokens) if is_tokens else ("images.h5", images)
    model = make().eval()
    # ours -> PyTorch, through h5py and through a .pt file
    run("nn-train", data, "ours.h5", "--model", *words, "--steps", 2, "--batch", 8, "--lr", 1e-3, "-f", "-q")
    run("nn-convert", "ours.h5", "ours.pt", "-f", "-q")
    model.load_state_dict(torch.load("ours.pt", weights_only=True), strict=True)
    direct = state("ours.h5")
    check(f"{name}: .pt equals HDF5", max((direct[k] - v).abs().max().item() for k, v in model.state_dict().items()), 0)
    with torch.no_grad():
        wanted = model(x)
    check(f"{name}: ours in PyTorch", ((outputs("ours.h5", data) - wanted).abs().max() / wanted.abs().max()).item(), 1e-5)
    # PyTorch -> ours, with running statistics that are not trivial
    model = make()
    model.train()
    with torch.no_grad():
        model(x)
    model.eval()
    torch.save(model.state_dict(), "theirs.pt")
    run("nn-convert", "theirs.pt", "theirs.h5", "--model", *words, "--data", data, "-f", "-q")
    with torch.no_grad():
        wanted = model(x)
    check(f"{name}: PyTorch's in ours", ((outputs("theirs.h5", data) - wanted).abs().max() / wanted.abs().max()).item(), 1e-5)
    if "full" in name or "resnet50" in name:
        os.remove("theirs.pt")

# ---- formats: the same numbers through every one ----------------------------------------------------
weird = {"a.b": torch.randn(3, 4).t(), "h": torch.randn(5).half(), "b": torch.randn(2, 3).bfloat16(), "d": torch.randn(4).double(),
         "n": torch.tensor(7), "v": torch.randn(10)[2:8:2], "e": torch.zeros(0, 3), "m": torch.tensor([True, False])}
torch.save({"epoch": 3, "state_dict": weird, "lr": 0.1, "name": "x"}, "weird.pt")
run("nn-convert", "weird.pt", "weird.h5")
got = state("weird.h5")
check("every type and stride", max((got[k].double() - v.double()).abs().sum().item() for k, v in weird.items()), 0)
for ending in ("pt", "safetensors", "npz"):
    run("nn-convert", "weird.h5", "again." + ending)
    run("nn-convert", "again." + ending, "again.h5", "-f")
    again = state("again.h5")
    check(f"round trip by {ending}", max((again[k].double() - v.double()).abs().sum().item() for k, v in got.items()), 0)

# ---- training: the same batches, the same weights, step by step -------------------------------------
def order(seed, epoch):
    """Fisher-Yates by Philox, written again from its definition."""
    def block(counter, key):
        c, k = list(counter), list(key)
        for _ in range(10):
            p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        return c

    def bits():
        counter = 0
        while True:
            yield from block([counter, 2, epoch & 0xFFFFFFFF, epoch >> 32], [seed & 0xFFFFFFFF, seed >> 32])
            counter += 1
    source, n = bits(), 24
    values = list(range(n))
    for i in range(n, 1, -1):
        while True:
            product = next(source) * i
            if (product & 0xFFFFFFFF) >= (1 << 32) % i:
                break
        j = product >> 32
        values[i - 1], values[j] = values[j], values[i - 1]
    return values


OPTIMISERS = {
    "sgd --momentum 0 --lr 0.05": lambda p: torch.optim.SGD(p, 0.05),
    "sgd --momentum 0.9 --nesterov --weight-decay 0.01 --lr 0.05": lambda p: torch.optim.SGD(p, 0.05, 0.9, weight_decay=0.01, nesterov=True),
    "sgd --momentum 0.9 --weight-decay 0.01 --lr 0.05": lambda p: torch.optim.SGD(p, 0.05, 0.9, weight_decay=0.01),
    "adam --weight-decay 0.01 --lr 0.01": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.01),
    "adamw --weight-decay 0.1 --lr 0.01": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    "adam --lr 0.01 --clip-norm 0.05": lambda p: torch.optim.Adam(p, 0.01),
}
labels = torch.arange(24) % 10
run("nn-train", "images.h5", "begin.h5", "--hidden", "20,15", "--act", "tanh", "--epochs", 0, "--batch", 7, "--dtype", "f64", "--seed", 5)
for name, make in OPTIMISERS.items():
    model = Mlp((3072, 20, 15, 10), torch.tanh).double()
    model.load_state_dict(state("begin.h5"), strict=True)
    optimiser = make(model.parameters())
    # the inputs as nn-train forms them, one multiplication and one addition in float32: then all else agrees to rounding
    scale, shift = 1 / 255 / std.astype(float), -mean.astype(float) / std.astype(float)
    exact = torch.from_numpy(pixels.astype(np.float32) * scale.astype(np.float32)[:, None, None] + shift.astype(np.float32)[:, None, None]).double()
    losses = []
    for epoch in range(3):
        rows = order(5, epoch)
        for begin in range(0, 24, 7):
            part = rows[begin:begin + 7]
            optimiser.zero_grad()
            loss = F.cross_entropy(model(exact[part]), labels[part])
            loss.backward()
            if "clip" in name:
                nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            optimiser.step()
    run("nn-train", "images.h5", "end.h5", "--hidden", "20,15", "--act", "tanh", "--epochs", 3, "--batch", 7, "--dtype", "f64", "--seed", 5,
        "--optimizer", *name.split(), "-f", "-q")
    got = state("end.h5")
    check(f"12 steps of {name}", max((got[k] - v).abs().max().item() for k, v in model.state_dict().items()), 1e-12)

print("failed:", failures)
sys.exit(1 if failures else 0)
