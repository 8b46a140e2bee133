"""A trained network taken to where there is no torch: ONNX files, what they cost there, a script that runs them.

The command line imports it. It needs onnx and onnxruntime, which are an extra, and loads them when it is used. Begin
with `folder.export`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "folder": "export",
        "extra": "NoExtra",
        "graph": "as_onnx",
        "narrow": "half int8",
        "cost": "multiply_adds operators peak_memory",
        "measurement": "measure",
    },
)
