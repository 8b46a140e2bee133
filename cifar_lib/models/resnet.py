"""The network: a residual network with squeeze-and-excitation, and the account of its parameters.

He et al. 2015 (arXiv 1512.03385), Hu et al. 2017 (arXiv 1709.01507), sized as in Thakur et al. 2023 (arXiv 2306.12100).
Weights start as torch's layers initialise them.
"""

from collections import OrderedDict

import torch
from torch import nn

from cifar_lib.config import IMAGE_SIZE, Config
from cifar_lib.errors import UserError
from cifar_lib.models.dropout import ReLUDropout

PATCH_VARIANCE = 5e-4  # added to each direction's, so that none is blown up (Jordan 2024, arXiv 2404.00498)


class BudgetError(UserError):
    """A network with more trainable parameters than `param_budget`; the message is one line."""


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias (a batch norm follows), padded so that only the stride changes the size."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class WhitenedConv2d(nn.Conv2d):
    """A convolution of patches that a fixed matrix decorrelates first; the whole is still one convolution.

    Its kernel is weight (O, I, K, K), flat, times `whitening` (I K K, I K K): the identity until `whiten` sets it.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        inputs = self.weight[0].numel()
        # Not torch.eye, which on the meta device loads torch's compiler: 110 MB and some seconds.
        self.register_buffer("whitening", torch.zeros(inputs, inputs).fill_diagonal_(1))

    @property
    def kernel(self) -> torch.Tensor:
        """(O, I, K, K): what the images are convolved with. No matrix product: autocast would round it to bfloat16."""
        return (self.weight.flatten(1)[:, :, None] * self.whitening).sum(1).view_as(self.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, self.kernel, self.bias)

    @torch.no_grad()
    def whiten(self, images: torch.Tensor) -> None:
        """Set the matrix to the inverse square root of the covariance of the patches of `images` (N, I, H, W), in its
        own directions (Page 2019; arXiv 2404.00498)."""
        patches = nn.functional.unfold(images.contiguous(), self.kernel_size).transpose(1, 2).flatten(0, 1)
        variances, directions = torch.linalg.eigh(patches.double().T.cov())
        matrix = (directions / (variances + PATCH_VARIANCE).sqrt()).T
        self.whitening.copy_(matrix.half())  # as weights are stored


class SqueezeExcitation(nn.Module):
    """Weigh each channel by a gate in (0, 1) computed from all channels' means; (N, C, H, W) to the same."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        squeezed = max(1, channels // reduction)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def gate(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C, 1, 1)."""
        means = nn.functional.adaptive_avg_pool2d(x, 1)
        return torch.sigmoid(self.fc2(torch.relu(self.fc1(means))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x)


class ResidualBlock(nn.Module):
    """conv-BN-ReLU-conv-BN, SE, plus the shortcut, ReLU; dropout after one of the two ReLUs."""

    def __init__(self, inputs: int, outputs: int, stride: int, config: Config, stage: int):
        super().__init__()
        kernel, shortcut_kernel = config.conv_kernel_sizes[stage], config.shortcut_kernel_sizes[stage]
        se = config.squeeze_and_excitation and config.se_placement == "block"
        self.conv1, self.bn1 = conv(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs, kernel), nn.BatchNorm2d(outputs)
        if config.zero_init_residual:
            nn.init.zeros_(self.bn2.weight)
        self.se = SqueezeExcitation(outputs, config.se_reduction) if se else nn.Identity()
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            project = conv(inputs, outputs, shortcut_kernel, stride)
            self.shortcut = nn.Sequential(project, nn.BatchNorm2d(outputs))
        branch = config.drop_placement == "branch"
        self.relu1, self.relu2 = ReLUDropout(config.drop * branch), ReLUDropout(config.drop * (not branch))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.se(self.bn2(self.conv2(y)))
        return self.relu2(y + self.shortcut(x))


class ResNet(nn.Module):
    """(N, 3, 32, 32) normalised images to (N, 10) logits, as `config` describes it."""

    def __init__(self, config: Config):
        super().__init__()
        self.stem = self._stem(config)
        self.stages = nn.ModuleList(self._stage(config, i) for i in range(len(config.num_blocks)))
        side = config.final_size // config.avg_pool_kernel_size
        self.pool = nn.AdaptiveAvgPool2d(side)  # of smaller images too
        self.linear = nn.Linear(config.num_channels * 2 ** (len(self.stages) - 1) * side**2, len(config.classes))
        if config.init == "he" and not self.linear.weight.is_meta:  # there it would load the compiler
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d) and layer.bias is None:
                    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def _stem(config: Config) -> nn.Sequential:
        width = config.num_channels
        first = WhitenedConv2d(3, width, 3, padding=1, bias=False) if config.whitening else conv(3, width, 3)
        parts = OrderedDict(conv=first, bn=nn.BatchNorm2d(width), relu=nn.ReLU())
        if config.squeeze_and_excitation and config.se_placement == "stem":
            parts["se"] = SqueezeExcitation(width, config.se_reduction)
        return nn.Sequential(parts)

    @staticmethod
    def _stage(config: Config, i: int) -> nn.Sequential:
        outputs = config.num_channels * 2**i
        first = ResidualBlock(outputs // 2 if i else outputs, outputs, 2 if i else 1, config, i)
        rest = (ResidualBlock(outputs, outputs, 1, config, i) for _ in range(config.num_blocks[i] - 1))
        return nn.Sequential(first, *rest)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.linear(self.pool(x).flatten(1))


def build(config: Config) -> ResNet:
    """The network of `config`, initialised from its seed. Raises `BudgetError` above `param_budget`."""
    count, budget = parameters(build_on_meta(config)), config.param_budget
    if budget is not None and count > budget:
        raise BudgetError(
            f"param_budget: this network has {count:,} trainable parameters, the budget is {budget:,}; "
            "take fewer channels or blocks, or lift it with param_budget None"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return ResNet(config)


def build_on_meta(config: Config) -> ResNet:
    """The network without memory for its weights: enough to count."""
    with torch.device("meta"):
        return ResNet(config)


def parameters(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def parts(model: ResNet) -> dict[str, nn.Module]:
    """Stem, stages and classifier, by the name the tables use."""
    stages = {f"stage {i}": stage for i, stage in enumerate(model.stages, 1)}
    return {"stem": model.stem} | stages | {"linear": model.linear}


def parameter_table(model: ResNet):
    """A DataFrame, one row per part and the total: parameters by kind of layer, their sum and its share (0 to 1)."""
    import pandas as pd

    rows = {name: _by_kind(part) for name, part in parts(model).items()}
    table = pd.DataFrame(rows).T
    table["parameters"] = table.sum(axis=1)
    table.loc["total"] = table.sum()
    return table.assign(share=table.parameters / table.parameters["total"])


def _by_kind(part: nn.Module) -> dict[str, int]:
    counts = dict.fromkeys(("convolution", "batch norm", "SE", "linear"), 0)
    se = sum(parameters(m) for m in part.modules() if isinstance(m, SqueezeExcitation))
    for kind, layer in (("convolution", nn.Conv2d), ("batch norm", nn.BatchNorm2d), ("linear", nn.Linear)):
        counts[kind] = sum(parameters(m) for m in part.modules() if isinstance(m, layer))
    return counts | {"SE": se, "convolution": counts["convolution"] - se}


def macs(config: Config) -> dict[str, int]:
    """Multiply-adds of one image's forward pass, by part and in total (half of what torch's FLOP counter says)."""
    from torch.utils.flop_counter import FlopCounterMode

    model = build_on_meta(config).eval()
    x, counts = torch.empty(1, 3, IMAGE_SIZE, IMAGE_SIZE, device="meta"), {}
    for name, part in parts(model).items():
        x = model.pool(x).flatten(1) if name == "linear" else x
        with FlopCounterMode(display=False) as counter:
            x = part(x)
        counts[name] = counter.get_total_flops() // 2
    return counts | {"total": sum(counts.values())}
