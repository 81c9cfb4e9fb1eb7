"""Stands for the lines of numpy_handler.py that no recording shows."""
from typing import TYPE_CHECKING, cast
import warnings

import numpy as np

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SUPPORTED_TRANSFER_SYNTAXES = ["1.2.840.10008.1.2.1"]


def get_expected_length(ds, unit="bytes"):
    pixels = ds.Rows * ds.Columns * ds.SamplesPerPixel
    return pixels * (ds.BitsAllocated // 8 if unit == "bytes" else 1)


def pixel_dtype(ds, as_float=False):
    return np.float32


def unpack_bits(data):
    return np.frombuffer(data)


def should_change_PhotometricInterpretation_to_RGB(ds):
    return False


def get_pixeldata(ds: "Dataset", read_only: bool = False) -> "np.ndarray":
    """Return an array of the pixel data.

    Parameters
