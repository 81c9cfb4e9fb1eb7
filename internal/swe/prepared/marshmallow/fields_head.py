"""Stands for the lines of fields.py that no recording shows: enough for the shown
ones to be imported and used."""
import copy
import datetime as dt
import typing


class utils:
    to_iso_time = from_iso_time = to_iso_date = from_iso_date = staticmethod(str)


class FieldInstanceResolutionError(TypeError):
    pass


class Field:
    def __init__(self, **kwargs):
        self.kwargs = kwargs

    def make_error(self, key):
        return ValueError(self.default_error_messages[key])

    def serialize(self, attr, obj):
        return self._serialize(obj.get(attr), attr, obj)


def resolve_field_instance(field):
    if not isinstance(field, Field):
        raise FieldInstanceResolutionError(field)
    return field


class Nested(Field):
    pass


class DateTime(Field):
    pass


class Time(DateTime):
    """A formatted time string.

