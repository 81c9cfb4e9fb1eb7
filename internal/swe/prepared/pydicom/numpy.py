"""Stands for numpy: arrays of floats as lists, as far as the recording uses them."""
import struct

float32 = "f"


class ndarray(list):
    def flatten(self):
        out = ndarray()
        for row in self:
            out.extend(row)
        return out

    def tobytes(self):
        return struct.pack(f"{len(self)}f", *self)

    def copy(self):
        return ndarray(self)

    def reshape(self, rows, columns):
        return ndarray(list(self[r * columns : (r + 1) * columns]) for r in range(rows))


def zeros(shape, dtype=float32):
    return ndarray([0.0] * shape[1] for _ in range(shape[0]))


def frombuffer(buffer, dtype=float32):
    return ndarray(struct.unpack(f"{len(buffer) // 4}f", buffer))


def array_equal(a, b):
    return list(map(list, a)) == list(map(list, b))
