"""The page on which a network runs in the reader's own browser: one file, which asks for nothing else. No torch."""

import base64
import hashlib
import json

from nbconvert.filters import Highlight2HTML

from cifar_lib import paths
from cifar_lib.config import Config
from cifar_lib.exchange import pictures
from cifar_lib.runs import Run
from cifar_lib.runs.plain_network import PlainNetwork
from cifar_lib.runs.predictions import Mistakes
from cifar_lib.site.rendering import TEMPLATES
from cifar_lib.site.sprite_sheet import data_uri

SCRIPTS = ("network.js", "weights.js", "resize.js", "page.js")  # the first is the one to read
EXAMPLE = 1  # which test image of CIFAR-10 figures/example.png is
MOST = 24  # wrong test images to try
COLOURS = {"black": "#000000", "grey": "#808080", "white": "#ffffff", "brown": "#7a4a21", "red": "#c62828"}
COLOURS |= {"yellow": "#f2c230", "green": "#2e7d32", "sky blue": "#7fb7e6", "blue": "#1f4fa3"}
POLICY = "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; base-uri 'none'; form-action 'none'"


def examples(run: Run, mistakes: Mistakes) -> dict:
    """Test images to try, and a sentence about them: the one that notebook 01 follows, where it is of the run's data
    set, then those that the run stored, or else the report's own `mistakes`. Each is a data URI, its true class as a
    number, and words."""
    stored = run.has("mistakes.npz")
    own = run.mistakes if stored else mistakes
    found = list(zip(own.index, own.images, own.labels, strict=True))[:MOST]
    of = "this network" if stored else "the network of this report"
    about = f"Test images that {of} gets wrong, the surest mistakes first." if found else ""
    if run.config.dataset == Config().dataset:
        image = pictures.decode(paths.FIGURES / "example.png")
        found.insert(0, (EXAMPLE, image, run.predictions.labels[EXAMPLE]))
        about = f"The first is the one that notebook 01 follows. {about.replace('Test', 'The others are test')}"
    return {"examples": [_example(run.config, *one) for one in found], "about_examples": about}


def _example(config: Config, index, image, label) -> dict:
    words = f"test image {index}: {config.classes[label]}"
    return {"uri": data_uri(image), "truth": int(label), "words": words}


def parts(network: PlainNetwork) -> dict:
    """What the page's template takes besides facts and examples: script, style, and the policy that lets no other run;
    layers and numbers as text; the code to read and how many lines it has."""
    sources = {name: _read(f"demo/{name}") for name in SCRIPTS}
    script = '"use strict";\n' + "\n".join(sources.values())
    style = _read("style.css") + _read("demo/style.css")
    return {
        "network": network,
        "script": script,
        "style": style,
        "policy": POLICY.format(_digest(script), _digest(style)),
        "layers": json.dumps(network.layers, separators=(",", ":")).replace("<", "\\u003c"),
        "numbers": base64.b64encode(network.numbers).decode(),
        "code": Highlight2HTML(pygments_lexer="javascript")(sources[SCRIPTS[0]]),
        "lines": len(sources[SCRIPTS[0]].splitlines()),
        "colours": COLOURS,
    }


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """As a policy names an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
