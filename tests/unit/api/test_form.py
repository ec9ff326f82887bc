"""What is a parameter; that Go's rules are met is held by tests/differential/test_requests.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.api.form import PARAMS_MAX, read_form, read_text_form
from mimir_rw.model.errors import BadRequest

URLENCODED = b"application/x-www-form-urlencoded"
PARTS = (
    b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\xff\r\n'
    b'--x\r\ncontent-disposition: form-data; name="b"; filename="b"\r\n\r\n2\r\n--x--\r\n'
)


@pytest.mark.parametrize(
    ("query", "values", "problem"),
    [
        (b"", {}, ""),
        (b"a=1&a=2&b=", {"a": ["1", "2"], "b": [""]}, ""),
        (b"&a&=1&&", {"a": [""], "": ["1"]}, ""),
        (b"%61+b=1%2B1=c+d", {"a b": ["1+1=c d"]}, ""),
        (b"a=\xc3\xa9&b=%C3%A9%ff", {"a": ["é"], "b": ["é\udcff"]}, ""),
        (b"a=%&b=2", {"b": ["2"]}, 'invalid URL escape "%"'),
        (b"%q=1&b=%zzz", {}, 'invalid URL escape "%q"'),
        (b"a=1;b=2&c=3", {"c": ["3"]}, "invalid semicolon separator in query"),
    ],
)
def test_query_strings(query, values, problem):
    form = read_form(query)
    assert (form.values, form.problem) == (values, problem)


@pytest.mark.parametrize(
    ("content_type", "values", "problem"),
    [
        (URLENCODED, ["1", "2"], ""),
        (b"Application/X-WWW-form-urlencoded ; charset=UTF-8", ["1", "2"], ""),
        (URLENCODED + b'; charset="utf-8"; x=y;', ["1", "2"], ""),
        (URLENCODED + b"; charset", ["1", "2"], "mime: invalid media parameter"),
        (URLENCODED + b", text/plain", ["2"], "mime: unexpected content after media subtype"),
        (b"text/plain", ["2"], ""),
        (None, ["2"], ""),
    ],
)
def test_a_body_counts_by_its_type_and_comes_first(content_type, values, problem):
    form = read_form(b"a=2", b"a=1", content_type)
    assert (form.values, form.problem) == ({"a": values}, problem)


def test_fields_of_a_multipart_body_come_last():
    content_type = b'multipart/form-data; boundary="x"'
    assert read_form(b"a=0", PARTS, content_type).values == {"a": ["0", "1\udcff"]}
    assert read_form(b"", PARTS[:-6], content_type).values == {}
    assert read_form(b"", b"junk", content_type).values == {}


@pytest.mark.parametrize("query", [b"a=%zz", b"a=%ff", b"%ff=a", b"a;b"])
def test_pages_take_nothing_but_text(query):
    with pytest.raises(BadRequest, match="error parsing form values"):
        read_text_form(query)
    assert read_text_form(b"a=b") == {"a": ["b"]}


def test_their_number_is_bounded():
    assert len(read_form(b"a&" * (PARAMS_MAX - 1) + b"a").values["a"]) == PARAMS_MAX
    for query, body in ((b"a&" * PARAMS_MAX, b""), (b"a", b"a&" * (PARAMS_MAX - 1) + b"a")):
        with pytest.raises(BadRequest, match="more than 10000 parameters"):
            read_form(query, body, URLENCODED)


@given(st.binary(), st.binary(), st.sampled_from([URLENCODED, b"multipart/form-data; boundary=x"]) | st.binary())
def test_anything_is_a_form(query, body, content_type):
    read_form(query, body, content_type)
    read_form(query, PARTS[: len(body)] + body + PARTS[len(body) :], b"multipart/form-data; boundary=x")
