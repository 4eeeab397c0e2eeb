"""From the bytes of a text file to characters, and the reader of plain text."""

import codecs
import io

import pyarrow as pa

from abrazo.data.readers.source import Source
from abrazo.errors import ConfigError, DataError

_MARKS = (  # UTF-32 first, as its mark begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 2**16


def utf8_bytes(source: Source, encoding: str | None) -> bytes:
    """Return a file's text as UTF-8 without a byte order mark.

    Args:
        source: The file.
        encoding: The file's encoding; by default UTF-8, or what its byte order mark says.

    Raises:
        ConfigError: There is no such encoding.
        DataError: Some byte does not fit; it says which, where, and which encoding would do.
    """
    data = source.data
    if encoding is None:
        encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        is_utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
        if not is_utf8:
            return data.decode(encoding).removeprefix("\ufeff").encode("utf-8")
    except LookupError as error:
        raise ConfigError(
            f'`encoding` names no text encoding: "{encoding}". Usual ones are "utf-8", "gb18030", '
            '"big5", "utf-16", "cp1252".'
        ) from error
    except UnicodeError as error:
        raise _wrong_encoding(source, encoding, error) from error
    data = data.removeprefix(codecs.BOM_UTF8)
    _check_utf8(source, data)
    return data


def read_text(source: Source, encoding: str | None) -> pa.Table:
    r"""Return the lines of a file as the column `text`; lines end by \n, \r\n or \r."""
    text = io.StringIO(utf8_bytes(source, encoding).decode("utf-8"), newline=None)
    lines = [line.removesuffix("\n") for line in text]
    return pa.table({"text": pa.array(lines, type=pa.string())})


def _check_utf8(source: Source, data: bytes) -> None:
    if b"\0" in data[:_SAMPLE] and data[:_SAMPLE].count(b"\0") * 4 > len(data[:_SAMPLE]):
        wide = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
        raise DataError(
            f"{source.name}: every other byte is zero, so this is not UTF-8 text. "
            f'If it is text, pass `encoding="{wide}"`.'
        )
    # Arrow checks a gigabyte in a fraction of a second, and makes no copy.
    offsets = pa.array([0, len(data)], type=pa.int64()).buffers()[1]
    whole = pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(data)])
    try:
        whole.validate(full=True)
    except pa.ArrowInvalid:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _wrong_encoding(source, "utf-8", error) from error


def _wrong_encoding(source: Source, encoding: str, error: UnicodeError) -> DataError:
    if not isinstance(error, UnicodeDecodeError):
        return DataError(f"{source.name}: the text cannot be read as {encoding}: {error}")
    offset = error.start
    if encoding == "utf-8" and source.data.startswith(codecs.BOM_UTF8):
        offset += len(codecs.BOM_UTF8)
    line = source.data.count(b"\n", 0, offset) + 1
    hint = ""
    fitting = _fitting_encoding(source.data, offset)
    if fitting is not None and codecs.lookup(fitting) != codecs.lookup(encoding):
        hint = f' It reads as {fitting}: pass `encoding="{fitting}"`.'
    return DataError(
        f"{source.name}, line {line}: byte 0x{source.data[offset]:02X} at offset {offset} is not "
        f"valid in {encoding}.{hint or ' Save the file as UTF-8, or pass `encoding`.'}"
    )


def _fitting_encoding(data: bytes, offset: int) -> str | None:
    """Return an encoding that reads the text around a byte well, if there is one."""
    start = data.rfind(b"\n", 0, offset) + 1
    end = data.find(b"\n", min(start + _SAMPLE, len(data)))
    sample = data[start : end if end >= 0 else len(data)]
    try:
        sample.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        pass
    try:
        foreign = [letter for letter in sample.decode("gb18030") if ord(letter) > 127]
        common = sum(_is_common_chinese(letter) for letter in foreign)
        if common * 2 >= len(foreign):
            return "gb18030"
    except UnicodeDecodeError:
        pass
    return "latin-1"


def _is_common_chinese(letter: str) -> bool:
    """Whether GB 2312 has the character: the 6,763 common ones and their punctuation."""
    try:
        letter.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True
