"""Makes the files beside it, and expected.json with what PyTorch and NumPy find in them.

    pip install torch numpy safetensors onnx && python make.py

Made with torch 2.15.0, numpy 2.4.6, safetensors 0.8.0, onnx 1.23.2. Values are multiples of 1/8, which all
element types hold exactly.
"""

import argparse
import json
import sys
import types
import typing
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import save_file

here = Path(__file__).parent


def numbers(*shape, dtype=torch.float32):
    """0, 1/8, 2/8, … for floats; 0, 1, 2, … for integers."""
    count = torch.arange(int(np.prod(shape)), dtype=torch.float64)
    return (count / 8 if dtype.is_floating_point else count).to(dtype).reshape(shape)


base = numbers(6, 5)
tensors = OrderedDict(
    {
        "float64": numbers(2, 3, dtype=torch.float64),
        "float32": numbers(2, 3),
        "float16": numbers(2, 3, dtype=torch.float16),
        "bfloat16": numbers(2, 3, dtype=torch.bfloat16),
        "int64": numbers(2, 3, dtype=torch.int64),
        "int32": numbers(2, 3, dtype=torch.int32),
        "int16": -numbers(2, 3, dtype=torch.int16),
        "int8": -numbers(2, 3, dtype=torch.int8),
        "uint8": numbers(2, 3, dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(0.5),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(numbers(3)),
        "transposed": numbers(2, 3).t(),
        "channels_last": numbers(1, 2, 3, 2).to(memory_format=torch.channels_last),
        "slice": base[1:6:2, 1:4],
        "row": base[4],
        "tied": base[4],
        "expanded": numbers(2)[1:].expand(2, 2),
    }
)


def entry(t):
    t = torch.as_tensor(t).detach()
    kind = {"float64": "f64", "int64": "i64", "int32": "i32", "int16": "i32", "int8": "i32"}
    kind |= {"uint8": "u8", "bool": "u8"}
    dtype = kind.get(str(t.dtype).removeprefix("torch."), "f32")
    return {"dtype": dtype, "shape": list(t.shape), "elements": t.double().flatten().tolist()}


def save(name, what, **options):
    torch.save(what, here / name, **options)


legacy = {"_use_new_zipfile_serialization": False}
save("zip.pth", tensors)
save("zip_protocol5.pth", tensors, pickle_protocol=5)
save("legacy.pth", tensors, **legacy)

# The same as a checkpoint of a wrapped network, with what training scripts put beside it.
optimizer = torch.optim.SGD([torch.nn.Parameter(numbers(3))], lr=0.1, momentum=0.9)
checkpoint = {
    "epoch": 3,
    "arch": "resnet20",
    "best_prec1": np.float64(91.25),
    "best": torch.tensor(91.25),
    "optimizer": optimizer.state_dict(),
    "shape": torch.Size([1, 2]),
    "state_dict": OrderedDict(("module." + name, tensor) for name, tensor in tensors.items()),
}
save("checkpoint_zip.pth", checkpoint)
save("checkpoint_legacy.pth", checkpoint, **legacy)

# What PyTorch writes only elsewhere or not at all: compressed, beyond 4 GiB, the other byte order.
def records(name):
    archive = zipfile.ZipFile(here / name)
    return {info.filename: archive.read(info.filename) for info in archive.infolist()}


def save_zip(name, records, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(here / name, "w", method) as archive:
        for record, content in records.items():
            archive.writestr(record, content)


save_zip("deflated.pth", records("zip.pth"), zipfile.ZIP_DEFLATED)
limit, zipfile.ZIP64_LIMIT = zipfile.ZIP64_LIMIT, 16
save_zip("zip64.pth", records("zip.pth"))
zipfile.ZIP64_LIMIT = limit
with open(here / "zip64.pth", "r+b") as archive:
    archive.seek(-10, 2)  # the directory's length and offset are in the zip64 record alone
    archive.write(b"\xff" * 8)

save("big_endian.pth", {"float32": tensors["float32"]})
turned = records("big_endian.pth")
for name, content in turned.items():
    if name.endswith("byteorder"):
        turned[name] = b"big"
    if "/data/" in name:
        turned[name] = np.frombuffer(content, "<f4").astype(">f4").tobytes()
save_zip("big_endian.pth", turned)

# What the training scripts of others save. Where there are averaged weights, the others are zeros.
zeros = OrderedDict((name, torch.zeros_like(tensor)) for name, tensor in tensors.items())
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)
arguments = argparse.Namespace(model="resnet18", lr=0.1, output_dir=here.relative_to(here.parent), resume=None)
references = {"optimizer": optimizer.state_dict(), "lr_scheduler": schedule.state_dict(), "epoch": 3, "args": arguments}
save("torchvision.pth", {"model": tensors, **references})
averaged = OrderedDict([("n_averaged", torch.tensor(7))] + [("module." + name, t) for name, t in tensors.items()])
save("torchvision_averaged.pth", {"model": zeros, "model_ema": averaged, **references}, **legacy)
timm = {"epoch": 3, "arch": "resnet18", "version": 2, "metric": np.float64(76.5), "args": arguments}
save("timm.pth", {**timm, "state_dict": zeros, "state_dict_ema": tensors, "optimizer": optimizer.state_dict()})


# OmegaConf's objects: a tree of nodes that know their parent, and types as values.
class DictConfig:
    def __init__(self, content):
        self._content = {key: AnyNode(key, value, self) for key, value in content.items()}


class AnyNode:
    def __init__(self, key, value, parent):
        self._metadata, self._val, self._parent = {"ref_type": typing.Any, "key": key}, value, parent


omegaconf = sys.modules["omegaconf"] = types.ModuleType("omegaconf")
omegaconf.DictConfig, omegaconf.AnyNode = DictConfig, AnyNode
DictConfig.__module__ = AnyNode.__module__ = "omegaconf"
lightning = {
    "epoch": 3,
    "pytorch-lightning_version": "2.5.0",
    "state_dict": OrderedDict(("model." + name, tensor) for name, tensor in tensors.items()),
    "callbacks": {"ModelCheckpoint{'monitor': 'acc'}": {"best_model_score": torch.tensor(0.5), "seen": Counter("ab")}},
    "hparams_name": "config",
    "hyper_parameters": DictConfig({"lr": 0.1, "milestones": {30, 60}}),
}
save("lightning.ckpt", lightning, pickle_protocol=4)

# Refused: networks as Python code, alone or in a checkpoint, a checkpoint without tensors, and
# tensors of kinds that are not read.
save("network.pth", torch.nn.Linear(1, 1))
save("network_within.pth", {"epoch": 3, "model": torch.nn.Linear(1, 1)})
save("no_tensors.pth", {"epoch": 3, "lr": [0.1]})
save("quantized.pth", {"a": numbers(3), "w": torch.quantize_per_tensor(numbers(3), 0.125, 0, torch.qint8)})
save("complex.pth", {"a": numbers(3), "w": torch.zeros(2, dtype=torch.complex64)})
save("complex_beside.pth", {"state_dict": {"w": numbers(3)}, "spectrum": torch.zeros(2, dtype=torch.complex64)})

plain = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
save_file(plain, here / "plain.safetensors", metadata={"format": "pt"})

arrays = {
    "c_order": np.arange(6, dtype="<f4").reshape(2, 3) / 8,
    "fortran_order": np.asfortranarray(np.arange(24, dtype="<f8").reshape(2, 3, 4)),
    "big_endian": np.arange(4, dtype=">i8"),
    "half": np.arange(4, dtype="<f2") / 8,
    "scalar": np.array(0.5, dtype="<f4"),
    "empty": np.zeros((0, 3), dtype="<f4"),
    "bool": np.array([True, False]),
}
for name, array in arrays.items():
    np.save(here / f"{name}.npy", array)

expected = {
    "tensors": {name: entry(tensor) for name, tensor in tensors.items()},
    "arrays": {name: entry(array.astype(array.dtype.newbyteorder("="))) for name, array in arrays.items()},
}
(here / "expected.json").write_text(json.dumps(expected))

# What tests/onnx.rs writes, by ONNX's own library.
onnx_nodes = [
    onnx.helper.make_node("Conv", ["x", "w", "b"], ["conv1"], "conv1", group=1, kernel_shape=[1, 1], pads=[0, 0, 300, 0]),
    onnx.helper.make_node("BatchNormalization", ["conv1", "b", "b", "b", "b"], ["bn1"], "bn1", epsilon=1e-5),
    onnx.helper.make_node("Flatten", ["bn1"], ["y"], "flatten", axis=-1),
]
onnx_graph = onnx.helper.make_graph(
    onnx_nodes,
    "tiny",
    [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.DOUBLE, ["N", 1, "H", 300])],
    [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.DOUBLE, ["N", 2])],
    [
        onnx.numpy_helper.from_array(np.array([0.5, -1.25], np.float32).reshape(2, 1, 1, 1), "w"),
        onnx.numpy_helper.from_array(np.array([0.125, 3.0]), "b"),
        onnx.numpy_helper.from_array(np.array([2**63 - 1, -1]), "ends"),
    ],
)
onnx_model = onnx.helper.make_model(
    onnx_graph,
    ir_version=8,
    opset_imports=[onnx.helper.make_opsetid("", 17)],
    producer_name="residual-weights",
    producer_version="0.1.0",
)
onnx.helper.set_model_props(onnx_model, {"classes": '["Haß","Glück"]'})
(here / "tiny.onnx").write_bytes(onnx_model.SerializeToString(deterministic=True))
