#!/usr/bin/env python3
"""The peers in Python of `cargo xtask bench`. Not a benchmark of its own: it makes steps when it is told to.

    pip install torch torchvision onnx onnxruntime openvino setuptools      # whichever there are

    peers.py list                                        # JSON: each peer that is installed, and its version
    peers.py export MODEL BATCH FILE.onnx                # for the peers that read ONNX
    peers.py serve PEER infer|train MODEL BATCH THREADS [FILE.onnx]

`serve` prints a line of JSON when it is warm; then, for each line `go N` on standard input, makes N steps and
prints how long each took. A training step is forward, cross-entropy, backward, and SGD with momentum and weight
decay. ImageNet models are torchvision's at 224x224; cifar_resnet20, 56, ... are the paper's, at 32x32.
"""
import importlib.metadata
import json
import sys
import time

WARM_UP = 3


def say(**answer):
    print(json.dumps(answer), flush=True)


def serve(version, step):
    def timed():
        start = time.perf_counter()
        step()
        return 1e3 * (time.perf_counter() - start)

    say(version=version, ms=[timed() for _ in range(WARM_UP)])
    for line in sys.stdin:
        say(ms=[timed() for _ in range(int(line.split()[1]))])


def network(model):
    """A network and the shape of its input."""
    import torchvision

    if model.startswith("cifar_resnet"):
        return cifar_resnet(int(model.removeprefix("cifar_resnet"))), [3, 32, 32]
    return torchvision.models.get_model(model, weights=None), [3, 224, 224]


def cifar_resnet(depth):
    """He et al. 2015, section 4.2: three stages of (depth - 2) / 6 blocks, shortcuts without parameters."""
    import torch.nn.functional as F
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.stride, self.more = stride, outputs - inputs

        def forward(self, x):
            y = F.relu(self.bn1(self.conv1(x)), inplace=True)
            y = self.bn2(self.conv2(y))
            if self.more:
                before = self.more // 2
                x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.more - before))
            return F.relu(y + x, inplace=True)

    layers, inputs = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)], 16
    for stage, width in enumerate((16, 32, 64)):
        for block in range((depth - 2) // 6):
            layers.append(Block(inputs, width, 2 if stage and not block else 1))
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def torch_step(peer, mode, model, batch, threads):
    """PyTorch, in one of its memory layouts, compiled or not."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layout = torch.contiguous_format if peer == "torch-nchw" else torch.channels_last
    net, shape = network(model)
    net = net.to(memory_format=layout).train(mode == "train")
    run = torch.compile(net) if peer == "torch-compile" else net
    images = torch.randn(batch, *shape).to(memory_format=layout)

    def infer():
        with torch.inference_mode():
            run(images)

    if mode == "infer":
        return infer
    labels = torch.arange(batch) % 10
    sgd = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)

    def train():
        sgd.zero_grad()
        F.cross_entropy(run(images), labels).backward()
        sgd.step()

    return train


def onnxruntime_step(file, shape, threads):
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    images = {session.get_inputs()[0].name: numpy.random.randn(*shape).astype("float32")}
    return lambda: session.run(None, images)


def openvino_step(file, shape, threads):
    import numpy
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(file, "CPU", hints).create_infer_request()
    images = {0: numpy.random.randn(*shape).astype("float32")}
    return lambda: request.infer(images)


def installed():
    """Each package of a peer that is here, with its version."""
    found = {}
    for package in ("torch", "torchvision", "onnx", "onnxruntime", "openvino"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def main(command, *arguments):
    if command == "list":
        say(**installed())
    elif command == "export":
        import torch

        model, batch, file = arguments
        net, shape = network(model)
        torch.onnx.export(net.eval(), torch.randn(int(batch), *shape), file, opset_version=17, dynamo=False)
    elif command == "serve":
        peer, mode, model, batch, threads, *file = arguments
        batch, threads = int(batch), int(threads)
        size = 32 if model.startswith("cifar_") else 224
        if peer.startswith("torch"):
            serve(installed()["torch"], torch_step(peer, mode, model, batch, threads))
        else:
            step = {"onnxruntime": onnxruntime_step, "openvino": openvino_step}[peer]
            serve(installed()[peer], step(file[0], [batch, 3, size, size], threads))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:]) if sys.argv[1:] else sys.exit(__doc__)
