"""The edit of config.json makes two additions and changes no other byte, and refuses ambiguous texts."""

from __future__ import annotations

import json

import pytest

from pyinit.oci.decide import NEEDED, TARGET
from pyinit.oci.document import Loose, Odd, read_config
from pyinit.oci.edit import put_init

MOUNT = {"destination": TARGET, "type": "bind", "source": "/sbin/rt.init", "options": ["bind", "ro", "nosuid", "nodev"]}
PLAIN = '{"process":{"args":["sh"]},"mounts":[{"destination":"/dev"}]}'

# Texts to edit, with `<` where the arguments begin and `>` where the mounts end.
TEXTS = {
    "plain": '{"process":{"args":[<"sh"]},"mounts":[{"destination":"/dev"}>]}',
    "mounts first": '{"mounts":[{}>],"process":{"args":[<"sh"]}}',
    "spaces": ' \n{\t"process" : { "args" : [<  "sh" , "-c" ] }\r\n, "mounts" : [ { } , [ ]>  ] } \n',
    "order and unknown keys": '{"z":1,"process":{"y":[],"args":[<"sh"],"a":{"args":["x"]}},"b":{},"mounts":[{}>],'
                              '"a":2}',
    "numbers": '{"n":123456789012345678901234567890,"f":1.10,"e":-1E+400,"process":{"args":[<"sh"],'
               '"n":18446744073709551615},"mounts":[{"n":0.1e-7}>]}',
    "a number of many digits": '{"n":' + "9" * 10000 + ',"process":{"args":[<"sh"]},"mounts":[{}>]}',
    "strings": '{"\\u0061":"\\ud800","b":"\\ud83d\\ude00\u00e9\\/","process":{"args":[<"\\ud800","[\\"","]"]},'
               '"mounts":[{"a":"]}"}>]}',
    "escaped keys": '{"pro\\u0063ess":{"\\u0061rgs":[<"sh"]},"m\\u006funts":[{}>]}',
    "doubles that nothing depends on": '{"a":1,"a":2,"hooks":{"b":1,"b":2},"process":{"args":[<"sh"]},"mounts":[{}>]}',
    "constants": '{"a":null,"b":true,"c":false,"process":{"args":[<"sh"]},"mounts":[{}>]}',
    "bytes that are no UTF-8": '{"a":"\udcff","process":{"args":[<"\udcfe"]},"mounts":[{}>]}',
}


def edit(text: str) -> str:
    return put_init(text, read_config(text, NEEDED), "/sbin/rt.init")


@pytest.mark.parametrize("name", TEXTS)
def test_only_two_additions(name: str) -> None:
    marked = TEXTS[name]
    text = edit(marked.replace("<", "").replace(">", ""))
    mount = json.dumps(MOUNT, separators=(",", ":"))
    assert text == marked.replace("<", f'"{TARGET}","--",').replace(">", f",{mount}")
    config = json.loads(text) if "9999" not in text else read(text)
    assert config["process"]["args"][:2] == [TARGET, "--"] and len(config["process"]["args"]) >= 3
    assert config["mounts"][-1] == MOUNT


def read(text: str) -> dict:
    """Parse JSON without converting numbers: CPython refuses to convert too many digits."""
    return json.loads(text, parse_int=str)


def test_source_is_quoted() -> None:
    path = '/a "b"\\\u00e9'
    text = put_init(PLAIN, read_config(PLAIN, NEEDED), path)
    assert json.loads(text)["mounts"][-1]["source"] == path


def test_edited_twice_is_found() -> None:
    """At a second `runc run` in one bundle the program is the init already."""
    assert json.loads(edit(PLAIN))["process"]["args"][0] == TARGET


@pytest.mark.parametrize("text", [
    "", " ", "{", "[]", "null", "1", '"x"', "{}x", "{} {}", "{,}", '{"a":1,}', '{"a"}', '{"a":}', '{"a":1 "b":2}',
    "{'a':1}", '{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}', '{"a":01}', '{"a":1.}', '{"a":"\n"}', '{"a":"\\x"}',
    '{"a":[1,]}', '{"a":{"b"}}', '\ufeff{}', '{"a":tru}', '{"a":"', '{"a":[', '{a:1}', '{"a":1}//', '{"a":' * 100000,
    '{"process":{"a":1,"a":2}}', '{"process":{},"process":{}}', '{"process":{},"Process":{}}', '{"MOUNTS":[]}',
    '{"linux":{"namespaces":[{"type":"pid","type":"mount"}]}}', '{"\\u0070rocess":1,"process":2}',
], ids=lambda text: text[:40] or "empty")
def test_texts_that_are_refused(text: str) -> None:
    with pytest.raises(Odd, match="^config.json: "):
        read_config(text, NEEDED)


@pytest.mark.parametrize("text", [
    '{"process":{"args":["a"],"args":["b"]},"mounts":[{}]}', '{"process":{"args":["a"],"ARGS":["b"]},"mounts":[{}]}',
    '{"process":{"args":["a"]},"mounts":[]}'])
def test_edits_that_are_refused(text: str) -> None:
    with pytest.raises(Odd):
        edit(text)


def test_init_whose_path_is_no_utf_8() -> None:
    """A path that is not UTF-8 is refused: a runtime would replace a character, find no init and start no container."""
    with pytest.raises(Odd, match="UTF-8"):
        put_init(PLAIN, read_config(PLAIN, NEEDED), "/sbin/\udcff.init")


def test_what_the_scanner_of_each_python_asks_for() -> None:
    """Python 3.15 asks for array_hook; without it the module cannot be imported and no container gets the init."""
    decoder = json.JSONDecoder()
    asked = {name for name in vars(decoder) if name.endswith("hook") or name.startswith("parse_")} - {
        "parse_object", "parse_array", "parse_string"}
    assert all(hasattr(Loose, name) for name in asked | {"array_hook", "strict"})
