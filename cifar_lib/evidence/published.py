"""What others report for networks of at most five million parameters on CIFAR-10, family by family.

From their own pages, each with what it says of epochs and of the way it was measured. No torch.
"""

from dataclasses import dataclass

ZOO = "https://github.com/chenyaofo/pytorch-cifar-models"
DENSE = "https://github.com/liuzhuang13/DenseNet"
AIRBENCH = "https://github.com/KellerJordan/cifar10-airbench"
HYSTS = "https://github.com/hysts/pytorch_image_classification"


@dataclass(frozen=True)
class Network:
    """A network as reported: millions of parameters and of multiply-adds per image (None: not stated, and not counted
    here), times `views`, the versions of an image whose answers are averaged; epochs, test accuracy in percent."""

    family: str
    name: str
    parameters: float
    multiply_adds: float | None
    epochs: float
    accuracy: float
    source: str
    views: int = 1
    remark: str = ""

    @property
    def cited(self) -> str:
        """How a table names the source: "arXiv 2306.12100", or the repository."""
        place = self.source.removeprefix("https://")
        return place.replace("arxiv.org/abs/", "arXiv ").removeprefix("github.com/")


BY_ITS_AUTHORS = Network(
    *("this design", "this design, as published", 4.70, 799, 200, 96.04, "https://arxiv.org/abs/2306.12100"),
    remark="the epoch chosen on the test set",
)
STRONGEST = Network(
    *("Pre-activation ResNet", "Pre-activation ResNet-20, 4 times as wide, RICAP", 4.32, 648, 400, 96.89, HYSTS),
    remark="one run",
)
AIRBENCH_95 = Network("airbench", "airbench95", 4.60, 302, 15, 95.01, AIRBENCH, views=6)
RESNET_9 = Network(
    *("ResNet-9", "ResNet-9 with every trick", 6.57, None, 24, 94.68, "https://github.com/davidcpage/cifar10-fast"),
    remark="mean of five runs",
)
RESNET_18 = Network("ResNet", "ResNet-18", 11.17, 555, 200, 95.23, "https://arxiv.org/abs/1907.08610")


PUBLISHED = (
    Network("ResNet", "ResNet-20", 0.27, 41, 200, 92.60, ZOO),
    Network("ResNet", "ResNet-32", 0.47, 69, 200, 93.53, ZOO),
    Network("ResNet", "ResNet-44", 0.66, 97, 200, 94.01, ZOO),
    Network("ResNet", "ResNet-56", 0.86, 126, 200, 94.37, ZOO),
    Network("MobileNetV2", "MobileNetV2 x0.5", 0.70, 28, 200, 92.88, ZOO),
    Network("MobileNetV2", "MobileNetV2 x0.75", 1.37, 59, 200, 93.72, ZOO),
    Network("MobileNetV2", "MobileNetV2 x1", 2.24, 88, 200, 93.79, ZOO),
    Network("MobileNetV2", "MobileNetV2 x1.4", 4.33, 170, 200, 94.22, ZOO),
    Network("ShuffleNetV2", "ShuffleNetV2 x0.5", 0.35, 11, 200, 90.13, ZOO),
    Network("ShuffleNetV2", "ShuffleNetV2 x1", 1.26, 45, 200, 92.98, ZOO),
    Network("ShuffleNetV2", "ShuffleNetV2 x1.5", 2.49, 94, 200, 93.55, ZOO),
    Network("DenseNet-BC", "DenseNet-BC-100-12", 0.8, None, 300, 95.49, DENSE),
    Network("DenseNet-BC", "Wide DenseNet-BC-40-36", 1.5, None, 300, 95.42, DENSE),
    Network("DenseNet-BC", "Wide DenseNet-BC-40-48", 2.7, None, 300, 96.01, DENSE),
    Network("DenseNet-BC", "Wide DenseNet-BC-40-60", 4.3, None, 300, 95.99, DENSE),
    Network(
        *("ConvMixer", "ConvMixer-256/8", 0.59, 148, 25, 92.60, "https://github.com/locuslab/convmixer-cifar10"),
        remark="one run; parameters and multiply-adds counted here",
    ),
    Network("airbench", "airbench94", 1.97, 118, 9.9, 94.01, AIRBENCH, views=6),
    AIRBENCH_95,
    Network("Pre-activation ResNet", "Pre-activation ResNet-20, 4 times as wide", 4.32, 648, 200, 95.09, HYSTS),
    STRONGEST,
    BY_ITS_AUTHORS,
)
