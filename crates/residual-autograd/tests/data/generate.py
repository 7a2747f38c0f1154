"""What PyTorch computes for the arithmetic of residual-autograd, in float64: outputs and gradients.

    python3 generate.py > arithmetic.json

Each record has an operation with its arguments, inputs, an upstream gradient, the output, and the
gradient of sum(output * upstream) with respect to each input. NaN and infinities are strings.
"""

import json
import math

import torch

torch.set_default_dtype(torch.float64)
generator = torch.Generator().manual_seed(9)
inf, nan = math.inf, math.nan
records = []


def number(x):
    if math.isnan(x):
        return "nan"
    return {inf: "inf", -inf: "-inf"}.get(x, x)


def tensor(x):
    return {"shape": list(x.shape), "values": [number(v) for v in x.flatten().tolist()]}


def random(*shape):
    """Rounded, so that the file stays short; a tie is not likely."""
    return (torch.randn(shape, generator=generator) * 1.5).round(decimals=3)


def record(op, f, *inputs, **arguments):
    inputs = [torch.as_tensor(x).clone().requires_grad_() for x in inputs]
    output = f(*inputs)
    upstream = random(*output.shape)
    output.backward(upstream)
    records.append({
        "op": op,
        "arguments": arguments,
        "inputs": [tensor(x.detach()) for x in inputs],
        "upstream": tensor(upstream),
        "output": tensor(output.detach()),
        "gradients": [tensor(x.grad) for x in inputs],
    })


SPECIAL = torch.tensor([0.0, -0.0, 1.0, -1.0, inf, -inf, nan, 1e308, -1e308, 5e-324, 750.0, -750.0])

SHAPES = [
    ([2, 3], [2, 3]), ([2, 3], [3]), ([3], [2, 3]), ([2, 1], [1, 3]), ([2, 3], []), ([], [2, 2]),
    ([2, 1, 3], [4, 1]), ([2, 3, 2, 2], [3, 1, 1]), ([1, 3, 1, 2], [2, 1, 4, 1]), ([0, 3], [1, 3]), ([1], [0]),
]
BINARY = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}
for op, f in BINARY.items():
    for a, b in SHAPES:
        record(op, f, random(*a), random(*b))
    record(op, f, SPECIAL[:, None], SPECIAL[:7])

UNARY = {
    "neg": torch.neg, "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt,
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
}
for op, f in UNARY.items():
    record(op, f, random(2, 3))
    record(op, f, SPECIAL)
for exponent in [2.0, 3.0, 0.0, 1.0, -1.0, 0.5, -0.5, 2.5]:
    record("powf", lambda x: x.pow(exponent), random(2, 3), exponent=exponent)
    record("powf", lambda x: x.pow(exponent), SPECIAL, exponent=exponent)
for scalar in [0.0, -1.5, inf]:
    record("add_scalar", lambda x: x + scalar, SPECIAL, scalar=number(scalar))
    record("mul_scalar", lambda x: x * scalar, SPECIAL, scalar=number(scalar))

TIES = torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [-1.0, -5.0, 0.0], [0.0, -0.0, -1.0]])
HOLES = torch.tensor([[1.0, nan, 3.0], [inf, 2.0, inf], [-inf, -inf, -inf], [nan, inf, nan], [inf, -inf, 0.0]])
REDUCE = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax}
for op, f in REDUCE.items():
    for shape, axes in [([2, 3], [0]), ([2, 3], [1]), ([2, 3, 2], [0, 2]), ([2, 3, 2, 2], [0, 2, 3]),
                        ([2, 3, 2, 2], [1]), ([2, 3], [0, 1]), ([1, 3, 1], [0])]:
        for keep in [False, True]:
            record(op, lambda x: f(x, dim=axes, keepdim=keep), random(*shape), axes=axes, keep=keep)
    for x in [TIES, HOLES]:
        for axes in [[0], [1], [0, 1]]:
            record(op, lambda x: f(x, dim=axes), x, axes=axes, keep=False)
for op in ["sum", "mean"]:
    record(op, lambda x: REDUCE[op](x, dim=[0]), torch.zeros(0, 3), axes=[0], keep=False)

for a, b in [([2, 3], [3, 4]), ([2, 2, 3], [3, 2]), ([2, 3], [2, 3, 2]), ([2, 2, 3], [2, 3, 2]),
             ([2, 1, 2, 3], [3, 3, 2]), ([1, 2, 3], [2, 3, 1]), ([2, 0], [0, 3]), ([0, 2], [2, 3])]:
    record("matmul", torch.matmul, random(*a), random(*b))
record("matmul", torch.matmul, HOLES, random(3, 2))

for op, f in {"softmax": torch.softmax, "log_softmax": torch.log_softmax}.items():
    for shape, axis in [([2, 3], 1), ([2, 3], 0), ([2, 3, 2], 1), ([2, 3, 2, 2], 1), ([4], 0)]:
        record(op, lambda x: f(x, dim=axis), 4 * random(*shape), axis=axis)
    record(op, lambda x: f(x, dim=1), HOLES, axis=1)
    record(op, lambda x: f(x, dim=1), torch.tensor([[1000.0, -1000.0, 999.0], [1e308, -1e308, 0.0]]), axis=1)

record("reshape", lambda x: x.reshape(3, 4), random(2, 3, 2), shape=[3, 4])
record("permute", lambda x: x.permute(2, 0, 1), random(2, 3, 4), axes=[2, 0, 1])
record("transpose", lambda x: x.transpose(-1, -2), random(2, 3, 4))
record("slice", lambda x: x[:, 1:3], random(2, 4, 2), axis=1, start=1, end=3)
record("slice", lambda x: x[:, 2:2], random(2, 4, 2), axis=1, start=2, end=2)
record("concatenate", lambda *x: torch.cat(x, dim=1), random(2, 1, 2), random(2, 3, 2), random(2, 2, 2), axis=1)
record("concatenate", lambda *x: torch.cat(x, dim=0), random(1, 2), random(0, 2), random(3, 2), axis=0)

print('{"pytorch": "%s", "records": [' % torch.__version__.split("+")[0])
print(",\n".join(json.dumps(r, separators=(",", ":")) for r in records))
print("]}")
