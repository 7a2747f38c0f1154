"""Holds the command against PyTorch with whole networks, which are too large to be kept here:
torchvision's, trained for some steps, in every form that PyTorch saves them in, to logits and back;
and as ONNX, in ONNX Runtime.

    pip install torch torchvision numpy safetensors onnx onnxruntime
    cargo build --release && python against_torch.py target/release/residual
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision
from safetensors.torch import load_file, save_file

binary = Path(sys.argv[1]).resolve()
here = Path(tempfile.mkdtemp())


def run(*arguments):
    subprocess.run([binary, *map(str, arguments)], check=True, cwd=here, stdout=subprocess.DEVNULL)


def distance(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def trained(name):
    """A network whose running statistics have seen something."""
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    for _ in range(4):
        optimizer.zero_grad()
        logits = net(torch.randn(8, 3, 96, 96) * 1.2 + 0.3)
        torch.nn.functional.cross_entropy(logits, torch.randint(0, 1000, (8,))).backward()
        optimizer.step()
    return net.eval(), optimizer


def cast(state, dtype):
    return {key: t.to(dtype) if t.is_floating_point() else t for key, t in state.items()}


for name in ["resnet18", "resnet50"]:
    net, optimizer = trained(name)
    state = {key: t.clone() for key, t in net.state_dict().items()}
    wrapped = {"state_dict": {f"module.{key}": t for key, t in state.items()}, "optimizer": optimizer.state_dict()}
    torch.save(state, here / "zip.pth")
    torch.save(state, here / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(cast(state, torch.float16), here / "half.pth")
    torch.save(cast(state, torch.bfloat16), here / "bfloat16.pth")
    torch.save(wrapped, here / "checkpoint.pth")
    save_file(state, here / "plain.safetensors")
    narrow = {"half.pth": torch.float16, "bfloat16.pth": torch.bfloat16}

    for file in ["zip.pth", "legacy.pth", "half.pth", "bfloat16.pth", "checkpoint.pth", "plain.safetensors"]:
        expected = cast(cast(state, narrow.get(file, torch.float32)), torch.float32)
        net.load_state_dict(expected)
        x = torch.randn(2, 3, 224, 224)
        np.save(here / "x.npy", x.numpy())
        run("run", name, "--weights", file, "--input", "x.npy", "--output", "y.npy")
        with torch.no_grad():
            error = distance(np.load(here / "y.npy"), net(x).numpy())
        assert error < 1e-4, (name, file, error)
        run("convert", file, "back.pth", "--model", name)
        run("convert", file, "back.safetensors", "--model", name)
        for back in [torch.load(here / "back.pth", weights_only=True), load_file(here / "back.safetensors")]:
            assert back.keys() == expected.keys()
            assert all(torch.equal(t, expected[key]) and t.dtype == expected[key].dtype for key, t in back.items())
        print(f"{name} {file}: {len(expected)} entries there and back, logits within {error:.1e}")

    for options in [[], ["--fold"], ["--input", "3x224x224"]]:
        run("convert", "plain.safetensors", "net.onnx", "--model", name, *options)
        onnx.checker.check_model(onnx.load(here / "net.onnx"), full_check=True)
        session = onnxruntime.InferenceSession(here / "net.onnx")
        for batch in [1, 5]:
            x = np.random.randn(batch, 3, 224, 224).astype(np.float32)
            np.save(here / "x.npy", x)
            run("run", name, "--weights", "plain.safetensors", "--input", "x.npy", "--output", "y.npy")
            error = distance(session.run(None, {"input": x})[0], np.load(here / "y.npy"))
            assert error < 1e-4, (name, options, error)
        print(f"{name} {' '.join(['as ONNX', *options])}: logits within {error:.1e}")
