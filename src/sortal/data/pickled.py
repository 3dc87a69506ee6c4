"""Pickles read as data: a machine of dictionaries, lists, text, numbers and NumPy's arrays of bytes, and nothing else.

`pickle.load` runs whatever a file asks for. Here `pickletools.genops` takes the file apart without running anything, and the
few operations that the Python versions of CIFAR need are carried out on plain values. The functions that such a file names
(`numpy.dtype` and its kin) are looked up in a table of ours and never imported; any other name, and any other operation, is
refused. The operations: Python's own `pickletools`; protocols 0 to 5, as Python 2 and 3 write them with old and new NumPy.
"""

import io
import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.errors import DataError

HINT = "fetch the file again from where the data set is published, or use its binary version, which holds no pickle"
LONGEST_NAME = 100  # characters of a key or of a function's name


class Refused(Exception):
    """The pickle asks for something that is not in the table; the message says what."""


@dataclass(slots=True)
class Array:
    """A NumPy array in the making: bytes only, shape given later."""

    values: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """A function or class that the pickle names; it is only ever compared with this."""

    module: str
    name: str


class ByteType:
    """NumPy's type of bytes, the only one that is known."""


MULTIARRAY, NUMERIC = "numpy.core.multiarray", "numpy.core.numeric"
RECONSTRUCT = Named(MULTIARRAY, "_reconstruct")
FROMBUFFER = Named(NUMERIC, "_frombuffer")
NDARRAY = Named("numpy", "ndarray")
DTYPE = Named("numpy", "dtype")
ENCODE = Named("_codecs", "encode")  # how Python 3 writes bytes for Python 2
KNOWN = (RECONSTRUCT, FROMBUFFER, NDARRAY, DTYPE, ENCODE)
MARK = Named("", "mark")
PLAIN = (int, bool, str, bytes, bytearray, type(None))


def load(data: bytes, *, where: str) -> dict[str, Any]:
    """The dictionary that a pickle holds, keys as text; values are numbers, text, lists of these, or arrays of uint8.

    Text of Python 2 comes as bytes. `where` names the file in errors. Raises `DataError` for a damaged pickle and for one that
    asks for anything else; nothing of it was executed.
    """
    try:
        with warnings.catch_warnings():
            # `pickletools` unescapes text with a decoder that warns of escapes which it does not know.
            warnings.simplefilter("ignore", DeprecationWarning)
            value = _Machine().run(data)
        if not isinstance(value, dict):
            raise Refused(f"it holds {_kind(value)}, not a dictionary")
        return {_as_text(key): _finished(item) for key, item in value.items()}
    except Refused as refused:
        raise DataError(f"{where} is not a pickle of CIFAR: {refused}; nothing of it was executed", hint=HINT) from refused
    # What `pickletools` and broken stacks raise for files that are cut short or no pickles.
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"{where} is damaged or no pickle: {error}; nothing of it was executed", hint=HINT) from error


class _Whole(io.BytesIO):
    """Bytes that refuse to be read beyond their end, before a lying length makes anyone reserve memory for it."""

    def read(self, size: int | None = -1) -> bytes:
        left = len(self.getbuffer()) - self.tell()
        if size is not None and size > left:
            raise ValueError(f"{size:,} bytes are announced, {left:,} are left")
        return super().read(size)


class _Machine:
    """The stack and the memory of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.room = 0

    def run(self, data: bytes) -> Any:
        self.room = len(data)
        for opcode, argument, _ in pickletools.genops(_Whole(data)):
            name = opcode.name
            if name == "STOP":
                (value,) = self.stack
                return value
            if name in LITERALS:
                self.stack.append(LITERALS[name](argument))
            elif name in OPERATIONS:
                OPERATIONS[name](self, argument)
            elif name not in PASSED_OVER:
                raise Refused(f"it uses the operation {name}")
        raise ValueError("it ends without STOP")

    def to_mark(self) -> list[Any]:
        """What stands above the topmost mark; both are taken off."""
        items = []
        while (value := self.stack.pop()) is not MARK:
            items.append(value)
        return items[::-1]

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is MARK:
            raise ValueError("a mark stands where a value should")
        return value

    def top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise Refused(f"it changes {_kind(self.stack[-1])}")
        return self.stack[-1]

    def append(self, argument: Any) -> None:
        item = self.pop()
        self.top(list).append(item)

    def appends(self, argument: Any) -> None:
        items = self.to_mark()
        self.top(list).extend(items)

    def set_item(self, argument: Any) -> None:
        value = self.pop()
        key = self.pop()
        self.put_in([key, value])

    def set_items(self, argument: Any) -> None:
        self.put_in(self.to_mark())

    def put_in(self, pairs: list[Any]) -> None:
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            self.top(dict)[_as_text(key)] = value

    def make_dict(self, argument: Any) -> None:
        pairs = self.to_mark()
        self.stack.append({})
        self.put_in(pairs)

    def make_list(self, argument: Any) -> None:
        self.stack.append(self.to_mark())

    def make_tuple(self, argument: Any) -> None:
        self.stack.append(tuple(self.to_mark()))

    def tuple_of(self, count: int) -> None:
        self.stack.append(tuple([self.pop() for _ in range(count)][::-1]))

    def put(self, argument: Any) -> None:
        self.memo[len(self.memo) if argument is None else int(argument)] = self.stack[-1]

    def get(self, argument: Any) -> None:
        self.stack.append(self.memo[int(argument)])

    def name(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(_known(module, name))

    def name_from_stack(self, argument: Any) -> None:
        name, module = self.pop(), self.pop()
        self.stack.append(_known(_as_text(module), _as_text(name)))

    def call(self, argument: Any) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(arguments, tuple) or not isinstance(function, Named):
            raise Refused(f"it calls {_kind(function)}")
        made = _called(function, arguments)
        # The same text turned into bytes over and over would fill the memory from a small file.
        self.room -= len(made) if isinstance(made, bytes) else 0
        if self.room < 0:
            raise Refused("it unfolds to more than the file holds")
        self.stack.append(made)

    def build(self, argument: Any) -> None:
        state = self.pop()
        made = self.stack[-1]
        if isinstance(made, Array) and made.values is None and isinstance(state, tuple) and len(state) == 5:
            _, shape, kind, by_column, data = state
            if isinstance(kind, ByteType):
                made.values = _array(data, shape, "F" if by_column else "C")
                return
        # The state of the type of bytes says nothing: they have no order, no fields, no alignment.
        if not (isinstance(made, ByteType) and isinstance(state, tuple) and state[1:2] in (("|",), (b"|",))):
            raise Refused(f"it sets the state of {_kind(made)}")


def _same(value: Any) -> Any:
    return value


def _latin(value: str) -> bytes:
    return value.encode("latin-1")  # as `pickletools` decoded it: a byte a character


LITERALS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), _same),
    **dict.fromkeys(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"), _same),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"), bytes),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), _latin),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "MARK": lambda _: MARK,
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
}
OPERATIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "DICT": _Machine.make_dict,
    "LIST": _Machine.make_list,
    "TUPLE": _Machine.make_tuple,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_from_stack,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}
PASSED_OVER = {"PROTO", "FRAME"}


def _known(module: str, name: str) -> Named:
    """The entry of our table; NumPy 2 calls its inner package `_core`."""
    found = Named(module.replace("numpy._core.", "numpy.core."), name)
    if found not in KNOWN:
        raise Refused(f"it asks for {module[:LONGEST_NAME]}.{name[:LONGEST_NAME]}")
    return next(known for known in KNOWN if known == found)


def _called(function: Named, arguments: tuple[Any, ...]) -> Any:
    match function, arguments:
        case Named(name="_reconstruct"), (kind, (0,), _) if kind is NDARRAY:
            return Array()
        case Named(name="dtype"), ("u1" | b"u1", *_):
            return ByteType()
        case Named(name="encode"), (str() as text, "latin1" | "latin-1"):
            return text.encode("latin-1")
        case Named(name="_frombuffer"), (data, ByteType(), shape, "C" | "F" as order):
            return Array(_array(data, shape, order))
    raise Refused(f"it calls {function.module}.{function.name} with other arguments than for an array of bytes")


def _array(data: Any, shape: Any, order: Any) -> NDArray[np.uint8]:
    if (
        not isinstance(data, bytes)
        or not isinstance(shape, tuple)
        or not all(type(size) is int and size >= 0 for size in shape)
    ):
        raise Refused("it holds an array whose data or shape are of the wrong kind")
    return np.frombuffer(data, np.uint8).reshape(shape, order=order)


def _as_text(key: Any) -> str:
    if not isinstance(key, bytes | str) or len(key) > LONGEST_NAME:
        raise Refused(f"it names something by {_kind(key)}")
    return key.decode("latin-1") if isinstance(key, bytes) else key


def _finished(value: Any) -> Any:
    """A value of the dictionary, with the array in the place of what it was made of. Nothing that CIFAR holds is nested."""
    if isinstance(value, Array) and value.values is not None:
        return value.values
    items = value if isinstance(value, list | tuple) else [value]
    for item in items:
        if type(item) not in PLAIN:
            raise Refused(f"it holds {_kind(item)} where a number or text should be")
    return value


def _kind(value: Any) -> str:
    return f"{value.module}.{value.name}" if isinstance(value, Named) else f"a value of type {type(value).__name__}"
