"""Stands for pydicom.dataset: elements as attributes, pixels by the numpy handler."""
from pydicom.pixel_data_handlers import numpy_handler


class FileMetaDataset:
    pass


class Dataset:
    def __contains__(self, name):
        return name in self.__dict__

    @property
    def pixel_array(self):
        return numpy_handler.get_pixeldata(self).reshape(self.Rows, self.Columns)
