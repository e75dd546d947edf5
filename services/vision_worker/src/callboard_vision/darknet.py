"""From Darknet's files (a ``.cfg`` and its ``.weights``) to an ONNX model shaped like ultralytics' own exports.

OpenCV reads Darknet no more since version 5. The input is ``images``, float32 (batch, 3, height, width), red green
blue, 0…1, sides in multiples of 32; the output ``output0``, float32 (batch, 4 + classes, boxes): centre x, centre y,
width, height in pixels of the input, then the classes' confidences.
Sources: https://github.com/pjreddie/darknet (``parser.c``, ``yolo_layer.c``); YOLOv3, https://arxiv.org/abs/1804.02767.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from callboard_vision.engines.interface import Floats

Section = dict[str, str]
_OPSET, _IR = 17, 10
_EPSILON = 1e-6
"""What Darknet adds to a variance's root when it normalizes."""


def sections(cfg: Path) -> list[tuple[str, Section]]:
    """The sections of a ``.cfg`` in order; names repeat, so it is no INI file."""
    found: list[tuple[str, Section]] = []
    for line in map(str.strip, cfg.read_text().splitlines()):
        if line.startswith("["):
            found.append((line.strip("[]"), {}))
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[-1][1][key.strip()] = value.strip()
    return found


def converted(cfg: Path, weights: Path, metadata: Mapping[str, Any]) -> onnx.ModelProto:
    """The model. Raises ValueError for a layer that is not known, or weights that are not the network's."""
    return _Network(sections(cfg), weights).model(metadata)


class _Weights:
    """Reads a ``.weights`` file front to back."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        major, minor, _ = np.frombuffer(data, np.int32, 3)
        header = 20 if major * 10 + minor >= 2 else 16  # images seen: 64 bits since version 0.2
        self._floats, self._at = np.frombuffer(data, "<f4", offset=header), 0

    def take(self, *shape: int) -> Floats:
        size = int(np.prod(shape))
        if self._at + size > len(self._floats):
            raise ValueError("the weights end before the network does: they are of another one, or cut off")
        self._at += size
        return self._floats[self._at - size : self._at].reshape(shape).astype(np.float32)

    def ended(self) -> None:
        if self._at != len(self._floats):
            raise ValueError("the weights go on after the network's end: they are of another one")


class _Network:
    def __init__(self, layers: list[tuple[str, Section]], weights: Path) -> None:
        self._net, self._layers = layers[0][1], layers[1:]
        self._weights = _Weights(weights)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._outputs: list[tuple[str, int, int]] = []  # of each layer: tensor, channels, pixels a cell
        self._found: list[str] = []

    def model(self, metadata: Mapping[str, Any]) -> onnx.ModelProto:
        before = ("images", int(self._net["channels"]), 1)
        builders = {
            "convolutional": self._convolutional, "maxpool": self._maxpool, "upsample": self._upsample,
            "route": self._route, "yolo": self._yolo,
        }  # fmt: skip
        for kind, section in self._layers:
            if kind not in builders:
                raise ValueError(f"a layer [{kind}] is not known")
            before = builders[kind](section, *before)
            self._outputs.append(before)
        self._weights.ended()
        self._add("Concat", self._found, "output0", axis=2)
        return self._assembled(metadata)

    def _assembled(self, metadata: Mapping[str, Any]) -> onnx.ModelProto:
        rows = 4 + len(metadata["names"])
        floats = TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "darknet",
            [helper.make_tensor_value_info("images", floats, ["batch", 3, "height", "width"])],
            [helper.make_tensor_value_info("output0", floats, ["batch", rows, "anchors"])],
            list(self._constants.values()),
        )
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(graph, producer_name="callboard", opset_imports=[opset], ir_version=_IR)
        helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
        onnx.checker.check_model(model, full_check=True)
        return model

    def _add(self, op: str, inputs: list[str], output: str | list[str], **attributes: Any) -> str:
        outputs = [output] if isinstance(output, str) else output
        self._nodes.append(helper.make_node(op, inputs, outputs, **attributes))
        return outputs[0]

    def _constant(self, value: Any, dtype: Any = np.int64) -> str:
        array = np.asarray(value, dtype)
        name = f"constant{len(self._constants)}"
        self._constants[name] = numpy_helper.from_array(array, name)
        return name

    @property
    def _name(self) -> str:
        return f"layer{len(self._outputs)}"

    def _convolutional(self, section: Section, given: str, channels: int, cell: int) -> tuple[str, int, int]:
        filters, size, stride = (int(section[key]) for key in ("filters", "size", "stride"))
        bias = self._weights.take(filters)
        normalized = section.get("batch_normalize") == "1"
        statistics = self._weights.take(3, filters) if normalized else None
        kernel = self._weights.take(filters, channels, size, size)
        if statistics is not None:
            scale, mean, variance = statistics
            factor = scale / (np.sqrt(variance) + _EPSILON)
            kernel, bias = kernel * factor[:, None, None, None], bias - mean * factor
        pad = size // 2 if section.get("pad") == "1" else int(section.get("padding", "0"))
        leaky = section["activation"] == "leaky"
        output = self._add(
            "Conv",
            [given, self._constant(kernel, np.float32), self._constant(bias, np.float32)],
            f"{self._name}.conv" if leaky else self._name,
            kernel_shape=[size] * 2, strides=[stride] * 2, pads=[pad] * 4,
        )  # fmt: skip
        if leaky:
            output = self._add("LeakyRelu", [output], self._name, alpha=0.1)
        elif section["activation"] != "linear":
            raise ValueError(f"an activation {section['activation']!r} is not known")
        return output, filters, cell * stride

    def _maxpool(self, section: Section, given: str, channels: int, cell: int) -> tuple[str, int, int]:
        size, stride = int(section["size"]), int(section["stride"])
        after = size - stride  # Darknet pads behind only, so that a stride of 1 keeps the sides
        output = self._add(
            "MaxPool", [given], self._name,
            kernel_shape=[size] * 2, strides=[stride] * 2, pads=[0, 0, after, after],
        )  # fmt: skip
        return output, channels, cell * stride

    def _upsample(self, section: Section, given: str, channels: int, cell: int) -> tuple[str, int, int]:
        times = int(section["stride"])
        scales = self._constant([1, 1, times, times], np.float32)
        output = self._add(
            "Resize", [given, "", scales], self._name,
            mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip
        return output, channels, cell // times

    def _route(self, section: Section, given: str, channels: int, cell: int) -> tuple[str, int, int]:
        numbers = [int(number) for number in section["layers"].split(",")]
        taken = [self._outputs[number if number >= 0 else len(self._outputs) + number] for number in numbers]
        names = [name for name, _, _ in taken]
        output = names[0] if len(names) == 1 else self._add("Concat", names, self._name, axis=1)
        return output, sum(channels for _, channels, _ in taken), taken[0][2]

    def _yolo(self, section: Section, given: str, channels: int, cell: int) -> tuple[str, int, int]:
        """Boxes of one scale: (batch, 4 + classes, anchors x cells)."""
        every = np.array([float(part) for part in section["anchors"].split(",")], np.float32).reshape(-1, 2)
        anchors = every[[int(part) for part in section["mask"].split(",")]]
        count, classes = len(anchors), int(section["classes"])
        name, add, constant = self._name, self._add, self._constant
        rows = add("Reshape", [given, constant([0, count, 5 + classes, -1])], f"{name}.rows")
        parts = [f"{name}.{part}" for part in ("offsets", "sizes", "object", "classes")]
        add("Split", [rows, constant([2, 2, 1, classes])], parts, axis=2)
        offsets, sizes, is_object, classes_of = parts
        grid = self._grid(given, name)
        offsets = add("Add", [add("Sigmoid", [offsets], f"{name}.in_cell"), grid], f"{name}.cells")
        centres = add("Mul", [offsets, constant(cell, np.float32)], f"{name}.centres")
        scale = constant(anchors.reshape(1, count, 2, 1), np.float32)
        sizes = add("Mul", [add("Exp", [sizes], f"{name}.times"), scale], f"{name}.boxes")
        sure = add("Sigmoid", [is_object], f"{name}.sure")
        confidences = add(
            "Mul", [add("Sigmoid", [classes_of], f"{name}.labels"), sure], f"{name}.confidences"
        )
        joined = add("Concat", [centres, sizes, confidences], f"{name}.joined", axis=2)
        turned = add("Transpose", [joined], f"{name}.turned", perm=[0, 2, 1, 3])
        self._found.append(add("Reshape", [turned, constant([0, 4 + classes, -1])], name))
        return name, channels, cell

    def _grid(self, given: str, name: str) -> str:
        """x and y of each cell, (1, 1, 2, cells): counted from the input's own size, which may be any."""
        add, constant = self._add, self._constant
        shape = add("Shape", [given], f"{name}.shape", start=2, end=4)
        width = add("Gather", [shape, constant(1)], f"{name}.width", axis=0)
        count = add("ReduceProd", [shape], f"{name}.count", keepdims=0)
        numbers = add("Range", [constant(0), count, constant(1)], f"{name}.numbers")
        x = add("Mod", [numbers, width], f"{name}.x")
        y = add("Div", [numbers, width], f"{name}.y")
        rows = [add("Unsqueeze", [one, constant([0])], f"{one}.row") for one in (x, y)]
        stacked = add("Concat", rows, f"{name}.stacked", axis=0)
        return add("Cast", [stacked], f"{name}.grid", to=TensorProto.FLOAT)
