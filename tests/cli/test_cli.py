#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The tickstate tool as a script sees it: output, exit status, one line of complaint.

Usage: test_cli.py TOOL. Every test has a store of its own and removes it.
"""
import base64
import gzip
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

TOOL = None
HEADER = "recv_ns,exch_ms,venue,symbol,kind,seq,px1,qty1,px2,qty2,aggr\n"
FOUND, NOT_FOUND, USAGE, FAILED = 0, 1, 2, 3
COMMANDS = ["stat", "plugins", "keys", "get", "set", "del", "check", "checkpoint", "restore",
            "export", "import", "copy", "rm", "replay"]
counter = 0


def new_store():
    global counter
    counter += 1
    return "shm://tickstate-test-cli-%d-%d" % (os.getpid(), counter)


def leftovers(part):
    return [name for name in os.listdir("/dev/shm") if part in name]


def some_ticks(count, step_ns=250000):
    """A small market: two instruments, quotes that lean to and fro, a trade now and then."""
    rows = []
    for i in range(count):
        recv = 1700000000000000000 + i * step_ns
        symbol = ("spot", "BTCUSDT") if i % 3 else ("usdm", "ETHUSDT")
        mid = 60000 + (i * 7919) % 200 / 10 if i % 3 else 2600 + (i * 104729) % 100 / 100
        lean = ((i * 31) % 100) / 100
        if i % 5 == 4:
            rows.append("%d,%d,%s,%s,T,%d,%.2f,0.5,,,%s" %
                        (recv, recv // 1000000, *symbol, i + 1, mid, "BS"[i % 2]))
        else:
            rows.append("%d,,%s,%s,Q,%d,%.2f,%.3f,%.2f,%.3f," %
                        (recv, *symbol, i + 1, mid - 0.01, 1 + 9 * lean, mid, 10 - 9 * lean))
    return HEADER + "".join(row + "\n" for row in rows)


class ToolTest(unittest.TestCase):
    def setUp(self):
        self.store = new_store()
        self.environment = dict(os.environ, TICKSTATE_STORE=self.store)
        self.folder = tempfile.TemporaryDirectory(prefix="tickstate-test-")
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(self.remove_store)

    def remove_store(self):
        subprocess.run([TOOL, "rm"], env=self.environment, capture_output=True, check=False)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return self.path(name)

    def run_tool(self, *words, stdin=b"", store=None, timeout=120):
        environment = dict(self.environment)
        if store is not None:
            environment["TICKSTATE_STORE"] = store
        return subprocess.run([TOOL, *words], input=stdin, env=environment, capture_output=True,
                              timeout=timeout, check=False)

    def assert_line(self, text, *parts):
        """One line of complaint that names the tool and what it is about."""
        self.assertTrue(text.endswith(b"\n") and text.count(b"\n") == 1, text)
        self.assertTrue(text.startswith(b"tickstate: "), text)
        for part in parts:
            self.assertIn(part if isinstance(part, bytes) else part.encode(), text)

    def good(self, *words, **options):
        result = self.run_tool(*words, **options)
        self.assertEqual((result.returncode, result.stderr), (FOUND, b""), (words, result))
        return result.stdout

    def bad(self, status, *words, names=(), **options):
        result = self.run_tool(*words, **options)
        self.assertEqual(result.returncode, status, (words, result))
        self.assert_line(result.stderr, *names)
        return result

    def export(self, *words, **options):
        return [json.loads(line) for line in self.good("export", *words, **options).splitlines()]


class Usage(ToolTest):
    def test_help(self):
        text = self.good("--help").decode()
        for command in COMMANDS:
            self.assertRegex(text, r"(?m)^  %s " % command)
            own = self.good(command, "--help").decode()
            self.assertTrue(own.startswith("Usage: tickstate %s" % command), own)
            self.assertIn("Example: tickstate %s" % command, own)
            self.assertIn("--to URI" if command == "copy" else "--store", own)
        self.assertEqual(self.good("-h").decode(), text)

    def test_version(self):
        self.assertRegex(self.good("--version"), rb"^tickstate \d+\.\d+\.\d+\n$")

    def test_wrong_usage(self):
        for words, names in [
                ([], ["command"]), (["frobnicate"], ["frobnicate"]), (["get"], ["plugin"]),
                (["get", "p"], ["get", "key"]), (["get", "p", "k", "x"], ["'x'"]),
                (["set", "p", "k"], ["value"]), (["set", "p", "k", "v", "--type", "int"], ["int"]),
                (["set", "p", "k", "v", "--ttl", "0"], ["--ttl"]),
                (["set", "p", "k", "v", "--ttl", "soon"], ["soon"]),
                (["set", "p", "k", "v", "--ttl"], ["--ttl"]),
                (["stat", "--raw"], ["--raw"]), (["stat", "--frob"], ["--frob"]),
                (["stat", "word"], ["word"]), (["keys", "--plugin", ""], ["--plugin"]),
                (["get", "p", "k", "--raw", "--json"], ["--raw"]),
                (["replay", "--plugins", "0"], ["--plugins"]),
                (["replay", "--speed", "warp"], ["warp"]),
                (["replay", "--count", "-1"], ["--count"]),
                (["restore"], ["the file is missing"]), (["restore", "a", "b"], ["'b'"]),
                (["checkpoint", "word"], ["word"]), (["check", "--checkpoint"], ["--checkpoint"]),
                (["check", "--checkpoint", ""], ["--checkpoint"]),
                (["export", "--force"], ["--to-checkpoint"]),
                (["copy"], ["--from"]), (["copy", "--from", "shm://a"], ["--to"]),
                (["copy", "--to", "shm://a"], ["--from"]),
                (["copy", "--store", "shm://a"], ["--store"]),
                (["copy", "--from", "shm://a", "--to", "shm://b", "word"], ["'word'"]),
                (["import", "--from", "shm://a", "file"], ["--from", "'file'"]),
                (["export", "--to-checkpoint", ""], ["--to-checkpoint"])]:
            with self.subTest(words=words):
                self.bad(USAGE, *words, names=names)
        self.assertEqual(leftovers(self.store[6:]), [])

    def test_bad_uri(self):
        self.bad(USAGE, "stat", "--store", "shm://", names=["stat", "shm://"])
        self.bad(USAGE, "stat", "--store", "shm://a/b", names=["a/b"])
        self.bad(FAILED, "stat", "--store", "carrier-pigeon://x", names=["carrier-pigeon"])

    def test_no_password_is_printed(self):
        for uri, shown in [
                ("pigeon://me:secret@host/db", "pigeon://me:***@host/db"),
                ("pigeon://me:sec?ret@host/db", "pigeon://me:***@host/db"),
                ("pigeon://me:sec/secret@host/db", "pigeon://me:***@host/db"),
                ("pigeon://host/db?user=me&password=secret&sslpassword=secret&x=1",
                 "pigeon://host/db?user=me&password=***&sslpassword=***&x=1"),
                ("pigeon:me:secret@host", "pigeon:***@host"),
                ("shm://x?mirror=pigeon://me:secret@host", "shm://x?mirror=***"),
                ("shm://x?mirror=pigeon%3A%2F%2Fme%3Asecret%40host", "shm://x?mirror=***"),
                ("shm://x?password=%zzsecret", "shm://x?password=***")]:
            for words in (["stat", "--store", uri], ["set", "p", "k", "v", "--store", uri],
                          ["copy", "--from", uri, "--to", self.store]):
                with self.subTest(words=words):
                    result = self.run_tool(*words)
                    self.assertIn(result.returncode, (USAGE, FAILED))
                    self.assert_line(result.stderr, shown)
                    self.assertNotIn(b"secret", result.stdout + result.stderr)

    def test_bad_names(self):
        self.bad(USAGE, "set", "p", "", "v")
        self.bad(USAGE, "set", "p", "k" * 256, "v")
        self.bad(USAGE, "set", b"\xff", "k", "v")
        self.assertEqual(leftovers(self.store[6:]), [])
        self.good("set", "p" * 255, "k" * 255, "v")
        self.assertEqual(self.good("get", "p" * 255, "k" * 255), b"v\n")

    def test_complaint_stays_one_line(self):
        self.good("set", "p", "k", "v")
        self.bad(NOT_FOUND, "get", "p", "two\nlines\x1b[31m", names=["two\\x0Alines\\x1B"])

    def test_reading_creates_nothing(self):
        for words in (["stat"], ["plugins"], ["keys", "p"], ["get", "p", "k"], ["del", "p", "k"],
                      ["check"], ["export"], ["rm"]):
            with self.subTest(words=words):
                self.bad(NOT_FOUND, *words, names=[words[0], self.store])
        self.assertEqual(leftovers(self.store[6:]), [])

    def test_write_error(self):
        self.good("set", "p", "k", "v")
        for words in (["stat"], ["keys", "p"], ["get", "p", "k"], ["export"], ["--help"]):
            with self.subTest(words=words), open("/dev/full", "wb") as full:
                result = subprocess.run([TOOL, *words], env=self.environment, stdout=full,
                                        stderr=subprocess.PIPE, check=False)
                self.assertEqual(result.returncode, FAILED)
                self.assert_line(result.stderr, "standard output")

    def test_closed_pipe(self):
        self.good("import", stdin=b"".join(
            b'{"plugin":"p","key":"k%d","type":"string","value":"%s"}\n' % (i, b"x" * 900)
            for i in range(100)))
        reader, writer = os.pipe()
        os.close(reader)
        result = subprocess.run([TOOL, "export"], env=self.environment, stdout=writer,
                                stderr=subprocess.PIPE, check=False)
        os.close(writer)
        self.assertEqual(result.returncode, FAILED)
        self.assert_line(result.stderr, "export", "ipe")


class Values(ToolTest):
    def test_both_forms_and_store_option(self):
        other = new_store()
        self.good("set", "--plugin", "p", "k", "one", "--store", other)
        self.good("--store", other, "set", "p", "k2", "two")
        self.assertEqual(self.good("get", "p", "k", "--store=" + other), b"one\n")
        self.assertEqual(self.good("get", "--store", other, "--plugin", "p", "k2"), b"two\n")
        self.bad(NOT_FOUND, "get", "p", "k")
        self.good("rm", "--store", other)
        self.bad(NOT_FOUND, "rm", "--store", other, names=["rm", other])

    def test_types(self):
        for kind, text, shown, value in [
                ("i64", "-5", "-5", -5), ("i64", str(2**63 - 1), str(2**63 - 1), 2**63 - 1),
                ("i64", str(-2**63), str(-2**63), -2**63),
                ("f64", "2", "2.0", 2.0), ("f64", "0.1", "0.1", 0.1), ("f64", "-.5", "-0.5", -0.5),
                ("f64", "1e300", "1e+300", 1e300), ("f64", "-0.0", "-0.0", -0.0),
                ("f64", "0.30000000000000004", "0.30000000000000004", 0.30000000000000004),
                ("bool", "true", "true", True), ("bool", "false", "false", False),
                ("string", "", "", ""), ("string", "grün 🚀", "grün 🚀", "grün 🚀"),
                ("json", '{"a": [1, null]}', '{"a": [1, null]}', {"a": [1, None]}),
                ("json", "null", "null", None)]:
            with self.subTest(kind=kind, text=text):
                self.good("set", "p", "k", text, "--type", kind)
                self.assertEqual(self.good("get", "p", "k").decode(), shown + "\n")
                entry = json.loads(self.good("get", "p", "k", "--json"))
                self.assertEqual((entry["plugin"], entry["key"], entry["type"]), ("p", "k", kind))
                self.assertEqual(repr(entry["value"]), repr(value))
                self.assertGreater(entry["version"], 0)

    def test_default_type_is_string(self):
        self.good("set", "p", "k", "17")
        self.assertEqual(json.loads(self.good("get", "p", "k", "--json"))["type"], "string")

    def test_json_scalars_become_their_type(self):
        for text, kind in [("true", "bool"), ('"text"', "string"), ("17", "i64"), ("1.5", "f64"),
                           (str(2**63), "f64"), (" [1] ", "json"), (" -3 ", "i64")]:
            with self.subTest(text=text):
                self.good("set", "p", "k", text, "--type", "json")
                self.assertEqual(json.loads(self.good("get", "p", "k", "--json"))["type"], kind)
                self.good("set", "p", "k", text, "--type", "json", "--ttl", "60000")
                self.assertEqual(json.loads(self.good("get", "p", "k", "--json"))["type"], kind)

    def test_bad_values_store_nothing(self):
        for kind, text in [("i64", "1.5"), ("i64", str(2**63)), ("i64", ""), ("f64", "nan"),
                           ("f64", "inf"), ("f64", "1e999"), ("f64", "0x10"), ("bool", "yes"),
                           ("json", "{"), ("json", ""), ("json", "01"), ("json", '{"a":1,}'),
                           ("json", "1e999"), ("string", b"\xff"), ("string", b"\xed\xa0\x80")]:
            with self.subTest(kind=kind, text=text):
                self.bad(USAGE, "set", "p", "k", text, "--type", kind, names=["p/k"])
        self.assertEqual(leftovers(self.store[6:]), [])

    def test_bytes(self):
        nasty = bytes(range(256)) + b"\\\n\0"
        self.good("set", "p", "k", "-", "--type", "bytes", stdin=nasty)
        self.assertEqual(self.good("get", "p", "k", "--raw"), nasty)
        shown = self.good("get", "p", "k")
        self.assertEqual(shown.count(b"\n"), 1)
        self.assertTrue(shown.startswith(b"\\x00\\x01"), shown)
        self.assertIn(b" !\"#$%&'()*+,-./0123456789:;<=>?@ABC", shown)
        entry = json.loads(self.good("get", "p", "k", "--json"))
        self.assertEqual(base64.b64decode(entry["value"]["$bytes"]), nasty)
        self.good("set", "p", "one", "1", "--type", "bytes")
        self.assertEqual(self.good("get", "p", "one"), b"1\n")
        self.good("set", "p", "empty", "", "--type", "bytes")
        self.assertEqual(self.good("get", "p", "empty", "--raw"), b"")

    def test_stdin_and_raw(self):
        text = "zwei\nZeilen\0".encode()
        self.good("set", "p", "k", "-", stdin=text)
        self.assertEqual(self.good("get", "p", "k", "--raw"), text)
        self.good("set", "p", "n", "-", "--type", "i64", stdin=b"42\n")
        self.assertEqual(self.good("get", "p", "n"), b"42\n")
        self.assertEqual(self.good("get", "p", "n", "--raw"), (42).to_bytes(8, sys.byteorder))
        large = os.urandom(3 << 20)
        self.good("set", "p", "large", "-", "--type", "bytes", stdin=large)
        self.assertEqual(self.good("get", "p", "large", "--raw"), large)

    def test_dash_words(self):
        self.good("set", "p", "--", "--key", "--value")
        self.assertEqual(self.good("get", "p", "--", "--key"), b"--value\n")

    def test_not_found(self):
        self.good("set", "p", "k", "v")
        self.assertEqual(self.bad(NOT_FOUND, "get", "p", "x", names=["p/x"]).stdout, b"")
        self.assertEqual(self.bad(NOT_FOUND, "get", "p", "x", "--json").stdout, b"")
        self.bad(NOT_FOUND, "get", "q", "k", names=["q/k"])

    def test_ttl(self):
        for kind, text in [("string", "v"), ("i64", "7"), ("bytes", "b"), ("json", "[]")]:
            self.good("set", "p", kind, text, "--type", kind, "--ttl", "700")
        self.good("set", "p", "long", "v", "--ttl", str(2**63 - 1))
        end = time.time() + 0.7
        self.assertEqual(self.good("get", "p", "i64"), b"7\n")
        entry = [line for line in self.export() if line["key"] == "i64"][0]
        self.assertLess(abs(entry["expires_at"] - end * 1000), 400)
        time.sleep(0.9)
        for kind in ("string", "i64", "bytes", "json"):
            self.bad(NOT_FOUND, "get", "p", kind)
        self.assertEqual(self.good("get", "p", "long"), b"v\n")
        self.assertEqual(self.good("keys", "p"), b"long\n")

    def test_set_clears_a_ttl(self):
        self.good("set", "p", "k", "v", "--ttl", "300")
        self.good("set", "p", "k", "w")
        time.sleep(0.4)
        self.assertEqual(self.good("get", "p", "k"), b"w\n")

    def test_del(self):
        self.good("set", "p", "k", "v")
        self.assertEqual(json.loads(self.good("del", "p", "k", "--json")),
                         {"plugin": "p", "key": "k", "deleted": True})
        self.assertEqual(json.loads(self.good("del", "--plugin", "p", "k", "--json"))["deleted"],
                         False)
        self.assertEqual(self.good("del", "p", "k"), b"")
        self.bad(NOT_FOUND, "get", "p", "k")


class Listings(ToolTest):
    def test_keys_and_plugins(self):
        names = ["b", "a", "ключ", "with space", "new\nline", "back\\slash", "🚀"]
        for name in names:
            self.good("set", "p", name, "v")
        self.good("set", "quote\"", "k", "v")
        self.assertEqual(json.loads(self.good("keys", "p", "--json")),
                         sorted(names, key=lambda name: name.encode()))
        shown = self.good("keys", "--plugin", "p").decode().split("\n")
        self.assertIn("new\\x0Aline", shown)
        self.assertIn("back\\\\slash", shown)
        self.assertIn("ключ", shown)
        self.assertEqual(json.loads(self.good("plugins", "--json")),
                         [{"plugin": "p", "keys": len(names)}, {"plugin": "quote\"", "keys": 1}])
        self.assertEqual(self.good("plugins").decode().split(), ["7", "p", "1", 'quote"'])
        self.assertEqual(self.good("keys", "nobody"), b"")
        self.assertEqual(json.loads(self.good("keys", "nobody", "--json")), [])

    def test_stat(self):
        self.good("set", "p", "k", "v")
        stats = json.loads(self.good("stat", "--json"))
        self.assertEqual(stats["store"], self.store)
        for name in ("size_bytes", "used_bytes", "retired_bytes", "keys", "plugins", "states",
                     "recovered", "evicted", "created_ms", "mode"):
            self.assertIsInstance(stats[name], int, name)
        self.assertIs(stats["prefaulted"], False)
        self.assertEqual((stats["keys"], stats["plugins"], stats["mode"]), (1, 1, 0o600))
        text = self.good("stat").decode()
        self.assertRegex(text, r"(?m)^keys +1$")
        self.assertRegex(text, r"(?m)^mode +0600")

    def test_check(self):
        self.good("set", "p", "k", "v")
        check = json.loads(self.good("check", "--json"))
        self.assertIs(check["ok"], True)
        self.assertEqual((check["leaked_blocks"], check["keys"]), (0, 1))
        self.assertRegex(self.good("check").decode(), r"(?m)^leaked +0 blocks$")


class Exchange(ToolTest):
    def line(self, **members):
        return json.dumps({"plugin": "p", "key": "k", **members}, ensure_ascii=False) + "\n"

    def test_lines(self):
        self.good("set", "p", "k", "v", "--ttl", "60000")
        self.good("set", "q", "f", "3", "--type", "f64")
        entries = self.export()
        self.assertEqual({e["plugin"] for e in entries}, {"p", "q"})
        for entry in entries:
            self.assertEqual(list(entry), ["plugin", "key", "type", "value", "version",
                                           "expires_at"])
        self.assertIn(b'"value":3.0,', self.good("export", "--plugin", "q"))
        self.assertEqual([e["plugin"] for e in self.export("--plugin", "[p]*")], ["p"])
        self.assertEqual(self.good("export", "--plugin", "nobody*"), b"")
        self.assertIsNone(self.export("--plugin", "q", "--json")[0]["expires_at"])

    def test_round_trip(self):
        documents = ['{"$bytes":"not base64"}', '{"$$bytes":1}', '{"\\u0024bytes":[]}',
                     '{"$bytes":1,"$bytes":2}', '{"$bytes":1,"other":2}', '{"$byte":1}', '{}',
                     '[]', 'null', '[{"$bytes":"inner"}]', '{ "$bytes" : {"$bytes":"x"} }',
                     '{"big":123456789012345678901234567890,"precise":1.10,"e":1E5}',
                     '{"b":1,"a":2,"b":3}', '["\\ud83d\\ude80","\\u0000","\\/","ü"]',
                     '[[[[[[1]]]]]]', '  {"spaced" :  1}  ']
        for number, text in enumerate(documents):
            self.good("set", "doc", "d%d" % number, text, "--type", "json")
        self.good("set", "doc", "lines", '{"a":\n  [1,\r\n\t2]}', "--type", "json")
        values = [bytes(range(256)), b"", b"\0", b"a", b"ab", b"abc", os.urandom(1000)]
        for number, value in enumerate(values):
            self.good("set", "bytes", "b%d" % number, "-", "--type", "bytes", stdin=value)
        texts = ["", "plain", "a\0b", "\"quoted\\\"", "\u2028\x7f\x01", "🚀 ü ß", '{"$bytes":"aa=="}']
        for number, value in enumerate(texts):
            self.good("set", "text", "t%d" % number, "-", stdin=value.encode())
        for number, value in enumerate(["0", "1e-320", "-0.0", "1.7976931348623157e308", "0.1",
                                        "123456789.123456789", "5e-324", "1e22"]):
            self.good("set", "f", "f%d" % number, value, "--type", "f64")
        self.good("set", "n\u00fc\"\\\n", "k\t\u2028", "1", "--type", "i64", "--ttl", "86400000")
        first = self.good("export")
        copy = new_store()
        count = len(first.splitlines())
        self.assertEqual(self.good("import", stdin=first, store=copy).decode(),
                         "%d entries stored\n" % count)
        second = self.good("export", store=copy)

        def content(export):
            lines = [re.sub(rb'"version":\d+', b"", line) for line in export.splitlines()]
            return sorted(re.sub(rb'"expires_at":\d+', b"", line) for line in lines)

        self.assertEqual(content(first), content(second))
        for number, text in enumerate(documents):
            self.assertEqual(self.good("get", "doc", "d%d" % number, "--raw", store=copy).decode(),
                             text.strip())
        self.assertEqual(json.loads(self.good("get", "doc", "lines", store=copy)), {"a": [1, 2]})
        for number, value in enumerate(values):
            self.assertEqual(self.good("get", "bytes", "b%d" % number, "--raw", store=copy), value)
        for number, value in enumerate(texts):
            self.assertEqual(self.good("get", "text", "t%d" % number, "--raw", store=copy).decode(),
                             value)
        expiries = [[e["expires_at"] for e in map(json.loads, export.splitlines())
                     if e["expires_at"]] for export in (first, second)]
        self.assertLessEqual(abs(expiries[0][0] - expiries[1][0]), 5)
        self.good("rm", store=copy)

    def test_bytes_escape(self):
        self.good("set", "p", "b", "raw", "--type", "bytes")
        self.good("set", "p", "d", '{"$bytes":"x"}', "--type", "json")
        self.good("set", "p", "d2", '{"$$bytes":"x"}', "--type", "json")
        self.good("set", "p", "plain", '{"$bytes":1,"b":2}', "--type", "json")
        values = {entry["key"]: entry["value"] for entry in self.export()}
        self.assertEqual(values, {"b": {"$bytes": "cmF3"}, "d": {"$$bytes": "x"},
                                  "d2": {"$$$bytes": "x"}, "plain": {"$bytes": 1, "b": 2}})

    def test_import_forms(self):
        path = self.write("in.jsonl", "\n" + self.line(type="i64", value=1) + "  \n" +
                          '{"value" : 2 , "type":"f64" , "key":"\\u0066","plugin":"p"}')
        self.assertEqual(json.loads(self.good("import", path, "--json")), {"stored": 2})
        self.assertEqual(self.good("get", "p", "f"), b"2.0\n")
        with open(path, "rb") as file:
            result = subprocess.run([TOOL, "import"], stdin=file, env=self.environment,
                                    capture_output=True, check=False)
        self.assertEqual((result.returncode, result.stdout), (FOUND, b"2 entries stored\n"))
        self.good("import", "-", stdin=self.line(type="bool", value=True).encode())
        self.assertEqual(self.good("get", "p", "k"), b"true\n")
        self.assertEqual(self.good("import"), b"0 entries stored\n")

    def test_expired_entries_are_removed(self):
        self.good("set", "p", "k", "v")
        self.good("import", stdin=self.line(type="i64", value=1, expires_at=1000).encode())
        self.bad(NOT_FOUND, "get", "p", "k")

    def test_too_long_a_value(self):
        text = b"x" * (16 << 20)
        self.good("set", "p", "k", "-", stdin=text)
        self.assertEqual(self.good("get", "p", "k", "--raw"), text)
        self.bad(USAGE, "set", "p", "k", "-", stdin=text + b"x", names=["p/k", "too long"])
        self.bad(FAILED, "import", names=[":1: ", "too long"],
                 stdin=self.line(type="string", value="x" * (16 << 20) + "x").encode())

    def test_a_full_store(self):
        small = "shm://%s?size=1M" % self.store[6:]
        lines = "".join(self.line(type="string", value="x" * 1000, key="k%d" % number)
                        for number in range(3000))
        result = self.bad(FAILED, "import", store=small, stdin=lines.encode(),
                          names=["of 3000 entries were stored before"])
        line, stored = re.search(rb"input:(\d+): (\d+) of", result.stderr).groups()
        self.assertEqual(int(stored), int(line) - 1)
        self.assertEqual(len(self.export()), int(stored))
        self.good("del", "p", "k0")
        self.good("check")

    def test_bad_lines_change_nothing(self):
        good = self.line(type="i64", value=1)
        for wrong in [
                "{", "[]", "17", "nonsense", good.rstrip() + "}", self.line(),
                self.line(type="i64"), self.line(type="int", value=1), self.line(type="i64", value=1.5),
                self.line(type="i64", value="1"), self.line(type="i64", value=2**63),
                self.line(type="f64", value="1"), self.line(type="bool", value=0),
                self.line(type="string", value=1), self.line(type="bytes", value="YQ=="),
                self.line(type="bytes", value={"$bytes": "YQ="}),
                self.line(type="bytes", value={"$bytes": "YR=="}),
                self.line(type="bytes", value={"$$bytes": "YQ=="}),
                self.line(type="json", value={"$bytes": "YQ=="}), self.line(type="json", value=1),
                self.line(type="i64", value=1, expires_at="soon"),
                self.line(type="i64", value=1, expires_at=-1),
                self.line(type="i64", value=1, version="x"), self.line(type="i64", value=1, ttl=5),
                self.line(type="i64", value=1, key=""), self.line(type="i64", value=1, key="a\0b"),
                self.line(type="i64", value=1, plugin="x" * 256),
                '{"plugin":"p","plugin":"q","key":"k","type":"i64","value":1}\n',
                '{"plugin":"p","key":"k","type":"f64","value":1e999}\n',
                '{"plugin":"p","key":"k","type":"string","value":"\\ud800"}\n',
                b'{"plugin":"p","key":"k","type":"string","value":"\xff"}\n']:
            with self.subTest(wrong=wrong):
                data = wrong if isinstance(wrong, bytes) else wrong.encode()
                path = self.write("bad.jsonl", good.encode() + b"\n" + data)
                self.bad(FAILED, "import", path, names=[path + ":3: "])
                self.bad(FAILED, "import", stdin=good.encode() + data,
                         names=["standard input:2: "])
        self.assertEqual(leftovers(self.store[6:]), [])

    def test_missing_file(self):
        self.bad(FAILED, "import", self.path("nothing"), names=["nothing", "No such file"])


GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "checkpoint", "golden",
                      "v1.checkpoint")


class Copy(ToolTest):
    """copy, and import --from URI, from a segment into another."""
    MANY = 400000  # entries that take longer than a progress bar to appear

    def setUp(self):
        super().setUp()
        self.target = self.new_target()

    def another_segment(self):
        store = new_store()
        self.addCleanup(subprocess.run, [TOOL, "rm", "--store", store], capture_output=True,
                        check=False)
        return store

    def new_target(self):
        return self.another_segment()

    def fill(self, store):
        for plugin, key, value, words in [
                ("a", "i64", "-5", ["--type", "i64"]), ("a", "f64", "1", ["--type", "f64"]),
                ("a", "bool", "true", ["--type", "bool"]), ("a", "string", "text", []),
                ("b", "json", '{"$bytes":[1,2]}', ["--type", "json"]),
                ("b", "bytes", b"\xff\x01", ["--type", "bytes"]), ("b", "empty", "", []),
                ("b-2", "ttl", "soon", ["--ttl", "3600000"])]:
            self.good("set", plugin, key, value, *words, "--store", store)

    def copy(self, source, target, *words):
        return json.loads(self.good("copy", "--from", source, "--to", target, "--json", *words))

    def assert_outcome(self, outcome, copied, same, expired=0, new_versions=0):
        figures = [outcome[name] for name in ("copied", "same", "expired", "new_versions")]
        self.assertEqual((outcome["complete"], figures),
                         (True, [copied, same, expired, new_versions]))

    def entries(self, store, *words):
        rows = self.export("--store", store, *words)
        return sorted(rows, key=lambda row: (row["plugin"], row["key"]))

    def assert_same_entries(self, left, right):
        """All but the clocks' rounding."""
        self.assertEqual([dict(row, expires_at=None) for row in left],
                         [dict(row, expires_at=None) for row in right])
        for one, other in zip(left, right):
            self.assertEqual(one["expires_at"] is None, other["expires_at"] is None)
            if one["expires_at"]:
                self.assertLessEqual(abs(one["expires_at"] - other["expires_at"]), 5)

    def test_types_expiries_and_versions_stay(self):
        self.fill(self.store)
        self.assert_outcome(self.copy(self.store, self.target), 8, 0)
        self.assert_same_entries(self.entries(self.store), self.entries(self.target))

    def test_run_again(self):
        self.fill(self.store)
        self.copy(self.store, self.target)
        self.assert_outcome(self.copy(self.store, self.target), 0, 8)
        self.good("set", "a", "string", "changed")
        self.good("set", "a", "new", "value")
        self.good("del", "a", "bool")
        self.good("set", "a", "f64", "the target's", "--store", self.target)
        self.assert_outcome(self.copy(self.store, self.target), 3, 5)
        rows = self.entries(self.target)
        self.assert_same_entries([row for row in rows if row["key"] != "bool"],
                                 self.entries(self.store))

    def test_text(self):
        self.fill(self.store)
        words = ["copy", "--from", self.store, "--to", self.target]
        self.assertEqual(self.good(*words),
                         b"8 entries copied, 0 already the same, 0 expired on the way\n")
        self.assertEqual(self.good(*words),
                         b"0 entries copied, 8 already the same, 0 expired on the way\n")

    def test_selected_plugins(self):
        self.fill(self.store)
        self.assert_outcome(self.copy(self.store, self.target, "--plugin", "b*"), 4, 0)
        self.assert_same_entries(self.entries(self.store, "--plugin", "b*"),
                                 self.entries(self.target))

    def test_import_from_a_store(self):
        self.fill(self.store)
        outcome = json.loads(self.good("import", "--store", self.target, "--from", self.store,
                                       "--json"))
        self.assert_outcome(outcome, 8, 0)
        self.assert_same_entries(self.entries(self.store), self.entries(self.target))

    def test_import_from_a_file(self):
        self.fill(self.store)
        lines = self.write("lines", self.good("export"))
        for words, stdin in ([lines], b""), (["-"], self.good("export")):
            target = self.new_target()
            self.good("import", "--store", target, "--from", *words, stdin=stdin)
            self.assertEqual(len(self.entries(target)), 8)

    def test_there_and_back(self):
        """To a store made after, back to one made before, and to one made last."""
        before = self.another_segment()
        self.good("set", "other", "key", "value", "--store", before)
        self.good("del", "other", "key", "--store", before)
        self.fill(self.store)
        self.assert_outcome(self.copy(self.store, self.target), 8, 0)
        for store in (before, self.another_segment()):
            self.assert_outcome(self.copy(self.target, store), 8, 0)
            self.assert_same_entries(self.entries(self.store), self.entries(store))
            self.assert_outcome(self.copy(self.store, store), 0, 8)
            version = self.entries(store)[0]["version"]
            self.good("set", "a", self.entries(store)[0]["key"], "new", "--store", store)
            self.assertNotEqual(self.entries(store)[0]["version"], version)

    def test_into_a_store_made_before(self):
        self.good("set", "old", "key", "value", "--store", self.target)
        self.fill(self.store)
        self.assert_outcome(self.copy(self.store, self.target), 8, 0)
        rows = [row for row in self.entries(self.target) if row["plugin"] != "old"]
        self.assert_same_entries(rows, self.entries(self.store))

    def test_a_version_the_target_gave_out_is_not_kept(self):
        third = self.another_segment()
        self.good("set", "p", "k", "first", "--store", self.target)
        first = self.entries(self.target)[0]
        file = self.path("file")
        self.good("export", "--store", self.target, "--to-checkpoint", file)
        self.good("set", "p", "k", "second", "--store", self.target)
        second = self.entries(self.target)[0]
        self.good("restore", file, "--store", third)
        self.assert_outcome(self.copy(third, self.target), 1, 0, new_versions=1)
        row = self.entries(self.target)[0]
        self.assertEqual(row["value"], "first")
        self.assertNotIn(row["version"], (first["version"], second["version"]))
        self.assertIn(b"; 1 of the copied got a new version\n",
                      self.good("set", "p", "k", "third", "--store", self.target) +
                      self.good("copy", "--from", third, "--to", self.target))

    def test_refused(self):
        self.fill(self.store)
        for words, names in [
                ([self.store, self.store], ["itself"]), ([self.target, self.target], ["itself"]),
                ([self.store, self.store + "?size=1G"], ["itself"]),
                ([self.store, "memory://"], ["memory://"]), (["memory://", self.store], ["memory://"]),
                ([self.store, "shm://a/b"], ["a/b"]), (["no-uri", self.store], ["no-uri"])]:
            with self.subTest(words=words):
                self.bad(USAGE, "copy", "--from", words[0], "--to", words[1], names=names)
        self.bad(USAGE, "import", "--from", self.store, names=["itself"])
        self.bad(FAILED, "copy", "--from", self.store, "--to", "pigeon://x", names=["pigeon://x"])

    def test_no_source_makes_no_target(self):
        self.bad(NOT_FOUND, "copy", "--from", self.store, "--to", self.target, names=[self.store])
        self.bad(NOT_FOUND, "stat", "--store", self.target, names=[self.target])

    def test_the_source_is_only_read(self):
        file = self.path("file")
        self.fill(self.store)
        self.copy(self.store + "?checkpoint=" + urllib.parse.quote(file), self.target)
        self.assertFalse(os.path.exists(file))

    def test_a_full_target(self):
        lines = "".join('{"plugin":"p","key":"k%d","type":"string","value":"%s"}\n' % (i, "x" * 1000)
                        for i in range(5000))
        self.good("import", stdin=lines.encode())
        result = self.run_tool("copy", "--from", self.store, "--to", self.target + "?size=1M",
                               "--json")
        self.assertEqual(result.returncode, FAILED)
        self.assert_line(result.stderr, self.target, "p/k", "full", "of 5,000 entries", "stays")
        outcome = json.loads(result.stdout)
        self.assertFalse(outcome["complete"])
        rows = self.entries(self.target)
        self.assertEqual(len(rows), outcome["copied"])
        self.assertGreater(len(rows), 100)
        versions = {row["key"]: row["version"] for row in self.export()}
        self.assertEqual({row["key"]: row["version"] for row in rows},
                         {row["key"]: versions[row["key"]] for row in rows})

    def test_interrupted_and_run_again(self):
        count = self.MANY
        grouped = "{:,}".format(count).encode()
        lines = "".join('{"plugin":"p%d","key":"k%d","type":"i64","value":%d}\n' % (i * 5 // count, i, i)
                        for i in range(count))
        self.good("import", stdin=lines.encode())
        words = [TOOL, "copy", "--from", self.store, "--to", self.target]
        controller, terminal = pty.openpty()
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=terminal)
        os.close(terminal)
        seen = b""
        while b"of %s entries" % grouped not in seen:
            seen += os.read(controller, 1000)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
        while b"goes on" not in seen:
            seen += os.read(controller, 1000)
        os.close(controller)
        self.assertRegex(seen, rb"copy: \[ *=* *\] +\d+ %%  [\d,]+ of %s entries" % grouped)
        self.assertEqual((process.returncode, output), (FAILED, b""))
        complaint = seen[seen.rindex(b"tickstate: "):]
        self.assertRegex(complaint, rb"interrupted after [\d,]+ of %s entries" % grouped)
        copied = int(re.search(rb"after ([\d,]+)", complaint)[1].replace(b",", b""))
        self.assertTrue(0 < copied < count)
        self.assertEqual(json.loads(self.good("stat", "--json", "--store", self.target))["keys"],
                         copied)
        self.assert_outcome(self.copy(self.store, self.target), count - copied, copied)
        self.assertEqual(sorted(self.good("export").splitlines()),
                         sorted(self.good("export", "--store", self.target).splitlines()))


def lacks(scheme):
    """Whether the build is without a backend."""
    result = subprocess.run([TOOL, "stat", "--store", scheme + ":///nowhere/at/all"],
                            capture_output=True, check=False)
    return b"=enabled" in result.stderr


class IntoDatabase:
    """What copies into a database share."""
    MANY = 30000

    def test_a_full_target(self):
        self.skipTest("a database has no size=")

    def test_from_a_database_to_another(self):
        self.fill(self.store)
        self.copy(self.store, self.target)
        other = self.new_target()
        self.assert_outcome(self.copy(self.target, other), 8, 0)
        self.assert_same_entries(self.entries(self.store), self.entries(other))
        self.assertEqual(self.entries(self.target), self.entries(other))


class CopyToSqlite(IntoDatabase, Copy):
    """The same into a database."""

    def new_target(self):
        if lacks("sqlite"):
            self.skipTest("the build has no sqlite://")
        self.targets = getattr(self, "targets", 0) + 1
        return "sqlite://" + self.path("target-%d.db" % self.targets)

    def test_itself_by_another_name(self):
        self.fill(self.target)
        folder, name = os.path.split(self.target)
        for other in (folder + "/./" + name, self.target + "?timeout_ms=100"):
            self.bad(USAGE, "copy", "--from", self.target, "--to", other, names=["itself"])

    def test_a_target_that_cannot_be_opened(self):
        self.fill(self.store)
        text = self.write("text", "no database " * 100)
        for uri in ("sqlite://" + text, "sqlite:///nowhere/at/all.db"):
            self.bad(FAILED, "copy", "--from", self.store, "--to", uri, names=[uri])


class CopyToPostgres(IntoDatabase, Copy):
    """With a server that $TKS_TEST_POSTGRES is a URI of: every target is a schema of its own."""

    def new_target(self):
        server = os.environ.get("TKS_TEST_POSTGRES")
        if not server:
            self.skipTest("no server: TKS_TEST_POSTGRES is not set")
        global counter
        counter += 1
        schema = "cli_%d_%d" % (os.getpid(), counter)
        self.sql(server, "CREATE SCHEMA " + schema)
        self.addCleanup(self.sql, server, "DROP SCHEMA %s CASCADE" % schema)
        return server + "&options=-csearch_path%3D" + schema

    def sql(self, server, text):
        subprocess.run(["psql", "-q", "-c", text, server], check=True, capture_output=True)

    def test_no_source_makes_no_target(self):
        self.bad(NOT_FOUND, "copy", "--from", self.store, "--to", self.target, names=[self.store])
        self.bad(NOT_FOUND, "stat", "--store", self.target, names=["plugin_state"])

    def test_a_server_that_is_away(self):
        self.fill(self.store)
        uri = "postgres://me:secret@/x?host=%s&timeout_ms=500" % self.folder.name
        result = self.bad(FAILED, "copy", "--from", self.store, "--to", uri,
                          names=["postgres://me:***@/x"])
        self.assertNotIn(b"secret", result.stderr)


class Databases(ToolTest):
    """Every command over a store that is no segment."""

    def setUp(self):
        super().setUp()
        if lacks("sqlite"):
            self.skipTest("the build has no sqlite://")
        self.segment, self.store = self.store, "sqlite://" + self.path("store.db")
        self.environment["TICKSTATE_STORE"] = self.store

    def test_values(self):
        self.good("set", "p", "i64", "5", "--type", "i64")
        self.good("set", "p", "text", "a text", "--ttl", "3600000")
        self.assertEqual(self.good("get", "p", "i64"), b"5\n")
        self.assertEqual(json.loads(self.good("get", "p", "text", "--json"))["value"], "a text")
        self.assertEqual(self.good("keys", "p"), b"i64\ntext\n")
        self.assertEqual(self.good("plugins").split(), [b"2", b"p"])
        self.good("del", "p", "i64")
        self.bad(NOT_FOUND, "get", "p", "i64", names=["p/i64"])
        self.assertEqual([row["key"] for row in self.export()], ["text"])

    def test_reading_creates_nothing(self):
        for words in (["stat"], ["plugins"], ["keys", "p"], ["get", "p", "k"], ["del", "p", "k"],
                      ["check"], ["export"]):
            with self.subTest(words=words):
                self.bad(NOT_FOUND, *words, names=[words[0], self.store])
        self.assertEqual(os.listdir(self.folder.name), [])

    def test_only_what_a_database_has_is_shown(self):
        self.good("set", "p", "k", "v")
        stats = json.loads(self.good("stat", "--json"))
        self.assertEqual([stats[name] for name in ("store", "backend", "keys", "plugins", "states")],
                         [self.store, "sqlite", 1, 1, 0])
        check = json.loads(self.good("check", "--json"))
        self.assertEqual(check, {"store": self.store, "ok": True, "keys": 1, "plugins": 1})
        text = self.good("stat") + self.good("check")
        self.assertIn(b"backend    sqlite\n", text)
        for word in (b"blocks", b"evicted", b"checkpoint", b"epoch", b"mode"):
            self.assertNotIn(word, text)

    def test_exchange(self):
        self.good("set", "p", "k", "v")
        file = self.path("file")
        self.good("export", "--to-checkpoint", file)
        lines = self.good("export")
        for words, stdin in ([file], b""), ([], lines):
            self.good("import", *words, "--store", self.segment, stdin=stdin)
            self.assertEqual(self.good("get", "p", "k", "--store", self.segment), b"v\n")
            self.good("rm", "--store", self.segment)
            self.good("import", *words, stdin=stdin)
        self.good("restore", file, "--store", self.segment)
        self.assertEqual(self.good("export", "--store", self.segment), lines)
        self.good("rm", "--store", self.segment)

    def test_what_makes_no_sense(self):
        self.good("set", "p", "k", "v")
        file = self.path("file")
        self.good("export", "--to-checkpoint", file)
        self.bad(FAILED, "rm", names=[self.store])
        self.bad(FAILED, "checkpoint", names=[self.store])
        self.bad(FAILED, "restore", file, names=[self.store, "import"])
        self.assertEqual(self.good("get", "p", "k"), b"v\n")

    def test_replay(self):
        result = json.loads(self.good("replay", "--count", "300", "--plugins", "2", "--json"))
        self.assertEqual([plugin["state"]["ticks"] for plugin in result["plugins"]], [300, 300])
        self.good("check")

    def test_memory(self):
        memory = ["--store", "memory://"]
        self.good("set", "p", "k", "v", *memory)  # and gone
        for words in (["get", "p", "k"], ["stat"], ["keys", "p"], ["export"], ["check"]):
            self.bad(NOT_FOUND, *words, *memory, names=["memory://"])
        self.bad(FAILED, "rm", *memory, names=["memory://"])
        self.bad(USAGE, "replay", *memory, names=["memory://", "one process"])
        self.bad(FAILED, "restore", "file", *memory, names=["memory://"])


class CheckpointTest(ToolTest):
    """A store with something in it, and the path of a checkpoint file."""

    def setUp(self):
        super().setUp()
        self.file = self.path("desk & co.checkpoint")
        self.uri = "%s?checkpoint=%s" % (self.store, urllib.parse.quote(self.file))

    def fill(self, *words):
        for key, kind, value in [("i", "i64", "-7"), ("f", "f64", "0.1"), ("b", "bool", "true"),
                                 ("s", "string", "gr\u00fcn \U0001F680"), ("j", "json", "[1, {}]"),
                                 ("raw", "bytes", "\\\n\x01"), ("empty", "bytes", "")]:
            self.good("set", "p", key, value, "--type", kind, *words)
        self.good("set", "h\u00e9dge", "ttl", "v", "--ttl", "3600000", *words)

    def read(self, path):
        with open(path, "rb") as file:
            return file.read()

    @staticmethod
    def content(entries, versions=True):
        return {(e["plugin"], e["key"]): (e["type"], e["value"], e["version"] if versions else 0,
                                          e["expires_at"] is None) for e in entries}

    def entries_of(self, path, *words):
        return self.export("--from-checkpoint", path, *words)

    def files(self):
        return sorted(os.listdir(self.folder.name))

    def assert_nothing_there(self):
        self.assertEqual(leftovers(self.store[6:]), [])


class CheckpointFiles(CheckpointTest):
    def test_golden(self):
        summary = json.loads(self.good("check", "--checkpoint", GOLDEN, "--json"))
        self.assertGreater(summary.pop("age_ms"), 0)
        self.assertEqual(summary, {
            "checkpoint": GOLDEN, "ok": True, "format_version": 1,
            "segment": "112233445566778899aabbccddeeff00", "generation": 7,
            "created_ms": 1700000000000, "cut_ms": 1700000000200, "cuts": 2, "entries": 5,
            "expired": 1, "plugins": 2, "file_bytes": 1672, "image_bytes": 1416,
            "live_bytes": summary["live_bytes"], "torn_bytes": 0, "highest_version": 160,
            "versions_uncertain": False, "warning": None})
        text = self.good("check", "--checkpoint", GOLDEN).decode()
        for line in ("format +1", "segment +1122334455667788\\w+, generation 7",
                     "created +2023-11-14 22:13:20.000 UTC", "cut +2023-11-14 22:13:20.200 UTC, .* ago",
                     "cuts +2, .*", "entries +5, and 1 expired", "plugins +2",
                     "bytes +1,672, the full image 1,416, live [0-9]+", "torn +0 bytes",
                     "verdict +ok"):
            self.assertRegex(text, "(?m)^%s$" % line)
        self.assertEqual(
            {(e["plugin"], e["key"]): (e["type"], e["value"], e["version"])
             for e in self.entries_of(GOLDEN)},
            {("scalper", "trades"): ("i64", -16, 160),
             ("scalper", "raw"): ("bytes", {"$bytes": "AAH/"}, 104),
             ("h\u00e9dge", "note"): ("string", "caf\u00e9", 105),
             ("h\u00e9dge", "legs"): ("json", [1, 2], 106),
             ("h\u00e9dge", "empty"): ("bytes", {"$bytes": ""}, 107)})

    def test_damaged_but_for_a_cut(self):
        path = self.write("cut", self.read(GOLDEN)[:1500])
        result = self.bad(FAILED, "check", "--checkpoint", path, names=["damaged at byte 1416"])
        self.assertRegex(result.stdout, rb"(?m)^verdict +damaged$")
        summary = json.loads(self.bad(FAILED, "check", "--checkpoint", path, "--json").stdout)
        self.assertIs(summary["ok"], False)
        self.assertEqual((summary["cuts"], summary["entries"], summary["torn_bytes"]), (1, 6, 84))
        self.assertIn("damaged", summary["warning"])
        for words in (["export", "--from-checkpoint", path], ["import", path]):
            result = self.run_tool(*words)
            self.assertEqual(result.returncode, FOUND)
            self.assert_line(result.stderr, words[0], "warning", "damaged at byte 1416")
        self.assertEqual(self.good("get", "scalper", "price"), b"99.5\n")

    def test_unreadable_files(self):
        good = self.read(GOLDEN)
        os.symlink(GOLDEN, self.path("link"))
        flipped = bytearray(good)
        flipped[0x440] ^= 1
        header = bytearray(good)
        header[16] ^= 1
        for path, name in [
                (self.path("nothing"), "No such file"), (self.folder.name, "folder"),
                (self.path("link"), "symbolic link"), (self.write("zero", b""), "0 bytes"),
                (self.write("short", good[:700]), "700 bytes"),
                (self.write("text", "x" * 2000), "not a checkpoint"),
                (self.write("image", good[:1200]), "damaged"),
                (self.write("header", bytes(header)), "header"),
                (self.write("flipped", bytes(flipped)), "full image")]:
            with self.subTest(path=path):
                self.assertEqual(self.bad(FAILED, "check", "--checkpoint", path,
                                          names=["check", name]).stdout, b"")
                result = self.bad(FAILED, "check", "--checkpoint", path, "--json", names=[name])
                if result.stdout:
                    self.assertIs(json.loads(result.stdout)["ok"], False)
                self.assertEqual(self.bad(FAILED, "export", "--from-checkpoint", path,
                                          names=["export", name]).stdout, b"")
                self.bad(FAILED, "restore", path, names=["restore", name])
                if os.path.basename(path) in ("image", "header", "flipped", "short"):
                    self.bad(FAILED, "import", path, names=["import", name])
        self.assert_nothing_there()

    def test_torn_tail_is_no_damage(self):
        path = self.write("torn", self.read(GOLDEN) + b"half a batch")
        self.assertRegex(self.good("check", "--checkpoint", path), rb"torn +12 bytes, as a crash")
        self.assertEqual(len(self.entries_of(path)), 5)

    def test_export(self):
        self.fill()
        text = self.good("export", "--to-checkpoint", self.file).decode()
        self.assertEqual(text, "8 entries written to %s, %s bytes\n" %
                         (self.file, format(os.path.getsize(self.file), ",")))
        self.assertEqual(os.stat(self.file).st_mode & 0o7777, 0o600)
        self.assertEqual(self.files(), [os.path.basename(self.file)])
        entries = self.export()
        self.assertEqual(self.content(self.entries_of(self.file)), self.content(entries))
        self.assertEqual({e["plugin"] for e in self.entries_of(self.file, "--plugin", "h*")},
                         {"h\u00e9dge"})
        summary = json.loads(self.good("check", "--checkpoint", self.file, "--json"))
        self.assertEqual((summary["entries"], summary["plugins"], summary["cuts"]), (8, 2, 1))
        self.assertGreaterEqual(summary["highest_version"], max(e["version"] for e in entries))
        self.assertLess(abs(summary["cut_ms"] - time.time() * 1000), 60000)

    def test_export_selected_and_from_a_file(self):
        self.fill()
        self.good("export", "--to-checkpoint", self.file, "--plugin", "p")
        self.assertEqual({e["plugin"] for e in self.entries_of(self.file)}, {"p"})
        copy = self.path("copy")
        report = json.loads(self.good("export", "--from-checkpoint", GOLDEN, "--to-checkpoint", copy,
                                      "--plugin", "sc*", "--json"))
        self.assertEqual(report, {"checkpoint": copy, "entries": 2,
                                  "file_bytes": os.path.getsize(copy)})
        self.assertEqual(self.content(self.entries_of(copy)),
                         self.content(self.entries_of(GOLDEN, "--plugin", "scalper")))
        self.assertEqual(json.loads(self.good("check", "--checkpoint", copy, "--json"))
                         ["highest_version"], 160)
        self.good("del", "p", "i")
        for plugin in ("p", "h\u00e9dge"):
            for key in json.loads(self.good("keys", plugin, "--json")):
                self.good("del", plugin, key)
        self.assertIn(b"0 entries", self.good("export", "--to-checkpoint", self.path("empty")))
        self.assertEqual(self.entries_of(self.path("empty")), [])

    def test_export_refuses(self):
        missing = self.bad(NOT_FOUND, "export", "--to-checkpoint", self.file)
        self.assertEqual((missing.stdout, self.files()), (b"", []))
        self.good("set", "p", "k", "v")
        path = self.write("there", "precious")
        self.bad(FAILED, "export", "--to-checkpoint", path, names=["there", "--force"])
        self.assertEqual(self.read(path), b"precious")
        self.good("export", "--to-checkpoint", path, "--force")
        self.assertEqual(len(self.entries_of(path)), 1)
        os.symlink(path, self.path("link"))
        os.symlink("nowhere", self.path("dangling"))
        os.mkdir(self.path("folder"))
        os.mkfifo(self.path("fifo"))
        for name in ("link", "dangling", "folder", "fifo"):
            for words in ([], ["--force"]):
                self.bad(FAILED, "export", "--to-checkpoint", self.path(name), *words, names=[name])
        self.bad(FAILED, "export", "--to-checkpoint", self.path("no/folder"), names=["no/folder"])
        self.assertEqual(self.files(), ["dangling", "fifo", "folder", "link", "there"])

    def test_expired_entries(self):
        self.good("set", "p", "stays", "v")
        self.good("set", "p", "goes", "v", "--ttl", "400")
        self.good("export", "--to-checkpoint", self.file)
        time.sleep(0.5)
        summary = json.loads(self.good("check", "--checkpoint", self.file, "--json"))
        self.assertEqual((summary["entries"], summary["expired"]), (1, 1))
        self.assertEqual([e["key"] for e in self.entries_of(self.file)], ["stays"])
        self.good("set", "p", "goes", "new")
        self.good("import", self.file)
        self.assertEqual(self.good("keys", "p"), b"stays\n")
        self.good("rm")
        report = json.loads(self.good("restore", self.file, "--json"))
        self.assertEqual((report["entries"], report["expired"], report["plugins"]), (1, 1, 1))
        self.assertEqual(self.good("keys", "p"), b"stays\n")

    def test_import(self):
        self.fill()
        self.good("export", "--to-checkpoint", self.file)
        os.symlink(self.file, self.path("link"))
        before = self.content(self.export(), versions=False)
        other = self.store + "?size=1M&slots=8"

        def with_stdin(file):
            return subprocess.run([TOOL, "import", "--json"], stdin=file, capture_output=True,
                                  env=dict(self.environment, TICKSTATE_STORE=other), check=False)

        for way in ("name", "link", "redirected", "piped"):
            with self.subTest(way=way):
                self.good("rm")
                if way == "redirected":
                    with open(self.file, "rb") as file:
                        output = with_stdin(file).stdout
                elif way == "piped":
                    output = self.good("import", "-", "--json", stdin=self.read(self.file),
                                       store=other)
                else:
                    path = self.file if way == "name" else self.path("link")
                    output = self.good("import", path, "--json", store=other)
                self.assertEqual(json.loads(output), {"stored": 8})
                self.assertEqual(self.content(self.export(), versions=False), before)
                self.assertEqual(json.loads(self.good("stat", "--json"))["size_bytes"], 1 << 20)

    def test_import_into_a_store_too_small(self):
        for number in range(4):
            self.good("set", "p", "k%d" % number, "-", stdin=b"x" * 600000)
        self.good("export", "--to-checkpoint", self.file)
        self.good("rm")
        small = self.store + "?size=1M"
        self.bad(FAILED, "restore", self.file, store=small, names=["restore"])
        self.assert_nothing_there()
        self.bad(FAILED, "import", self.file, store=small,
                 names=[self.file + ": ", "of 4 entries were stored before"])
        self.good("check")

    def test_export_to_a_file_in_use(self):
        self.good("set", "p", "k", "v", store=self.uri)
        process = subprocess.Popen(
            [TOOL, "replay", "--ticks", self.write("t.csv", some_ticks(200, 500000000)), "--speed",
             "real", "--plugins", "1"], env=dict(self.environment, TICKSTATE_STORE=self.uri),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            self.wait_for_host()
            self.bad(FAILED, "export", "--to-checkpoint", self.file, "--force",
                     names=["another segment uses this checkpoint"])
            stats = json.loads(self.good("stat", "--json"))
            self.assertEqual(stats["checkpoint_host"], process.pid)
            self.assertRegex(self.good("stat"), b"(?m)^checkpoint host %d, [0-9,]+ cuts, the last .* "
                             b"ago in .*, file .*B$" % process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
        self.assertEqual(json.loads(self.good("stat", "--json"))["checkpoint_host"], 0)
        self.good("export", "--to-checkpoint", self.file, "--force")

    def wait_for_host(self):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            # Elected is not yet at work: the file is locked before it is written.
            if (json.loads(self.good("stat", "--json"))["checkpoint_host"] != 0 and
                    os.path.exists(self.file)):
                return
            time.sleep(0.05)
        self.fail("nobody writes checkpoints")


class CheckpointStores(CheckpointTest):
    def test_checkpoint(self):
        self.fill("--store", self.uri)
        text = self.good("checkpoint", store=self.uri).decode()
        self.assertRegex(text, r"^.*/desk & co.checkpoint is up to date: [0-9,]+ bytes, 8 entries, "
                               r"in [0-9.]+ (ns|\u00b5s|ms|s)\n$")
        self.assertEqual(self.content(self.entries_of(self.file)), self.content(self.export()))
        self.assertEqual(os.stat(self.file).st_mode & 0o7777, 0o600)
        report = json.loads(self.good("checkpoint", "--json", "--store", self.uri))
        self.assertEqual((report["store"], report["checkpoint"], report["entries"]),
                         (self.uri, self.file, 8))
        self.assertEqual(report["file_bytes"], os.path.getsize(self.file))
        self.assertLess(abs(report["at_ms"] - time.time() * 1000), 60000)
        self.assertGreater(report["ns"], 0)
        self.good("check")

    def test_checkpoint_without_a_file(self):
        self.bad(FAILED, "checkpoint", names=["TKS_UNSUPPORTED", "checkpoint="])
        self.good("set", "p", "k", "v")
        self.bad(FAILED, "checkpoint", names=["TKS_UNSUPPORTED"])

    def test_checkpoint_without_a_store(self):
        self.bad(NOT_FOUND, "checkpoint", store=self.uri, names=["checkpoint", self.store[6:]])
        self.assertEqual(self.files(), [])
        self.assert_nothing_there()
        self.bad(USAGE, "checkpoint", store=self.store + "?checkpoint=relative",
                 names=["relative"])

    def test_checkpoint_that_fails(self):
        self.good("set", "p", "k", "v")
        bad = self.store + "?checkpoint=" + self.path("no/such/folder")
        self.bad(FAILED, "checkpoint", store=bad, names=["no/such/folder"])
        self.assertEqual(self.good("get", "p", "k", store=bad), b"v\n")
        stats = json.loads(self.good("stat", "--json"))
        self.assertGreaterEqual(stats["checkpoint_errors"], 1)
        self.assertIn("no/such/folder", stats["checkpoint_error"])
        self.assertRegex(self.good("stat"), b"(?m)^errors +[0-9]+ checkpoints failed, the last: .*folder")
        self.good("check")

    def test_looking_writes_no_checkpoint(self):
        self.fill()
        for words in (["stat"], ["plugins"], ["keys", "p"], ["get", "p", "i"], ["check"], ["export"],
                      ["export", "--to-checkpoint", self.path("other")]):
            self.good(*words, store=self.uri)
        self.assertEqual(self.files(), ["other"])
        stats = json.loads(self.good("stat", "--json", store=self.uri))
        self.assertEqual((stats["checkpoint_cuts"], stats["checkpoint_host"],
                          stats["checkpoint_error"], stats["restored_at_ms"]), (0, 0, "", 0))
        self.assertRegex(self.good("stat"), rb"(?m)^checkpoint host none, 0 cuts$")

    def test_changes_are_kept(self):
        self.good("set", "p", "k", "v", store=self.uri)
        self.good("set", "p", "gone", "v", store=self.uri)
        self.good("del", "p", "gone", store=self.uri)
        self.assertEqual([e["key"] for e in self.entries_of(self.file)], ["k"])
        self.good("rm")
        self.bad(NOT_FOUND, "get", "p", "k", store=self.uri)
        self.assert_nothing_there()
        self.good("set", "p", "more", "v", store=self.uri)
        self.assertEqual(self.good("keys", "p").split(), [b"k", b"more"])

    def test_restore(self):
        self.fill()
        before = self.export()
        self.good("export", "--to-checkpoint", self.file)
        image = self.read(self.file)
        self.bad(FAILED, "restore", self.file, names=["restore", self.store, "rm"])
        self.good("rm")
        text = self.good("restore", self.file).decode()
        for line in (r"restored +8 entries of 2 plugins into %s" % re.escape(self.store),
                     r"from +.*desk & co.checkpoint, as of 20.* UTC, .* ago",
                     r"expired +0 entries were left out", r"written +nowhere: .*"):
            self.assertRegex(text, "(?m)^%s$" % line)
        after = self.export()
        self.assertEqual(self.content(after), self.content(before))
        expiries = [[e["expires_at"] for e in entries if e["expires_at"]]
                    for entries in (before, after)]
        self.assertLessEqual(abs(expiries[0][0] - expiries[1][0]), 5)
        self.assertEqual((self.files(), self.read(self.file)),
                         ([os.path.basename(self.file)], image))
        stats = json.loads(self.good("stat", "--json"))
        self.assertEqual((stats["restored_entries"], stats["restored_damaged"]), (8, False))
        self.assertRegex(self.good("stat"), rb"(?m)^restored +8 entries, as of 20.* UTC$")
        self.good("set", "p", "i", "8", "--type", "i64")
        self.assertGreater(json.loads(self.good("get", "p", "i", "--json"))["version"],
                           max(e["version"] for e in before))
        self.good("check")

    def test_restore_by_a_relative_name(self):
        self.fill()
        self.good("export", "--to-checkpoint", self.file)
        self.good("rm")
        result = subprocess.run([TOOL, "restore", os.path.basename(self.file)], check=False,
                                cwd=self.folder.name, env=self.environment, capture_output=True)
        self.assertEqual((result.returncode, result.stderr), (FOUND, b""))

    def test_restore_the_uris_own_file(self):
        self.fill("--store", self.uri)
        before = self.export()
        image = self.read(self.file)
        self.good("rm")
        report = json.loads(self.good("restore", self.file, "--json", store=self.uri))
        self.assertEqual((report["entries"], report["written_to"], report["damaged"]),
                         (8, self.file, False))
        self.assertEqual(self.read(self.file), image)
        self.assertEqual(self.content(self.export()), self.content(before))
        self.good("set", "p", "new", "v", store=self.uri)
        self.assertEqual(len(self.entries_of(self.file)), 9)

    def test_restore_beside_the_uris_own_file(self):
        self.fill()
        copy = self.path("monday")
        self.good("export", "--to-checkpoint", copy)
        image = self.read(copy)
        self.good("rm")
        report = json.loads(self.good("restore", copy, "--json", store=self.uri))
        self.assertEqual(report["written_to"], self.file)
        self.assertEqual(self.read(copy), image)
        self.assertEqual(self.content(self.entries_of(self.file)),
                         self.content(self.entries_of(copy)))
        self.good("set", "p", "newer", "v", store=self.uri)
        own = self.read(self.file)
        self.good("rm")
        self.bad(FAILED, "restore", copy, store=self.uri, names=["desk & co", "monday", "--force"])
        self.assertEqual(self.read(self.file), own)
        self.assert_nothing_there()
        self.assertRegex(self.good("restore", copy, "--force", store=self.uri),
                         rb"(?m)^written +from now on to .*desk & co.checkpoint$")
        self.assertEqual(len(self.entries_of(self.file)), 8)
        self.bad(NOT_FOUND, "get", "p", "newer")

    def test_restore_where_the_own_file_cannot_be_written(self):
        self.good("set", "p", "k", "v")
        self.good("export", "--to-checkpoint", self.file)
        self.good("rm")
        result = self.run_tool("restore", self.file,
                               store=self.store + "?checkpoint=" + self.path("no/folder"))
        self.assertEqual(result.returncode, FAILED)
        self.assertIn(b"no/folder could not be written", result.stderr)
        self.assertEqual(self.good("get", "p", "k"), b"v\n")

    def test_restore_a_damaged_file(self):
        path = self.write("cut", self.read(GOLDEN)[:1500])
        result = self.run_tool("restore", path, "--json")
        self.assertEqual(result.returncode, FOUND, result)
        self.assert_line(result.stderr, "restore", "warning", "damaged at byte 1416")
        report = json.loads(result.stdout)
        self.assertEqual((report["entries"], report["expired"], report["damaged"]), (6, 1, True))
        self.assertIn("damaged", report["warning"])
        self.assertEqual(self.good("get", "scalper", "trades"), b"-17\n")
        stats = json.loads(self.good("stat", "--json"))
        self.assertIs(stats["restored_damaged"], True)
        self.assertIn("damaged", stats["restored_warning"])
        self.assertRegex(self.good("stat"), rb"(?m)^restored +6 entries, .*; damaged: .*lost")

    def test_bad_uris(self):
        for query, name in [("checkpoint=relative", "relative"), ("checkpoint=%zz", "%zz"),
                            ("siez=1M", "siez")]:
            self.bad(USAGE, "restore", GOLDEN, store=self.store + "?" + query, names=[name])
        self.bad(FAILED, "restore", GOLDEN, store="carrier-pigeon://x", names=["carrier-pigeon"])
        self.assert_nothing_there()


class Mirror(ToolTest):
    """A store whose table in a database follows it; `tickstate stat` says how well."""

    def setUp(self):
        super().setUp()
        if lacks("sqlite"):
            self.skipTest("the build has no sqlite://")
        self.database = "sqlite://" + self.path("mirror.db")
        self.mirrored = "%s?mirror=%s" % (self.store, self.database)

    def assert_follows(self):
        rows, entries = self.good("export", store=self.database), self.good("export")
        self.assertEqual(sorted(rows.splitlines()), sorted(entries.splitlines()))

    def test_rows_follow(self):
        self.good("set", "p", "k", "5", "--type", "i64", store=self.mirrored)
        self.good("set", "p", "gone", "1", store=self.mirrored)
        self.good("del", "p", "gone", store=self.mirrored)
        self.assert_follows()
        stats = json.loads(self.good("stat", "--json"))
        self.assertGreaterEqual(stats["mirror_batches"], 3)
        self.assertEqual([stats["mirror_" + name] for name in ("host", "errors", "lag_ms", "error")],
                         [0, 0, 0, ""])
        self.assertRegex(self.good("stat"),
                         rb"(?m)^mirror +host none, \d+ batches, \d+ rows, up to date$")

    def test_no_mirror_no_line(self):
        self.good("set", "p", "k", "5")
        self.assertNotIn(b"mirror", self.good("stat"))

    def test_whoever_looks_feeds_nothing(self):
        self.good("set", "p", "k", "5")
        for words in (["stat"], ["get", "p", "k"], ["keys", "p"], ["export"]):
            self.good(*words, store=self.mirrored)
        self.assertFalse(os.path.exists(self.path("mirror.db")))

    def test_another_host_starts_from_it(self):
        self.good("set", "p", "k", "5", "--type", "i64", store=self.mirrored)
        self.good("rm")
        self.good("import", "--from", self.database)
        self.good("set", "p", "new", "6", store=self.mirrored + "&mirror_take=1")
        self.assert_follows()

    def test_errors_are_shown(self):
        nowhere = "%s?mirror=sqlite:///nowhere/at/all.db" % self.store
        self.good("set", "p", "k", "5", store=nowhere)
        stats = json.loads(self.good("stat", "--json"))
        self.assertGreater(stats["mirror_errors"], 0)
        self.assertGreater(stats["mirror_lag_ms"], 0)
        self.assertIn("/nowhere/at/all.db", stats["mirror_error"])
        self.assertRegex(self.good("stat"), rb"(?m)^mirror +host none, 0 batches, .* behind$")


class Replay(ToolTest):
    def replay(self, *words, **options):
        return json.loads(self.good("replay", "--json", *words, **options))

    def assert_right(self, report, ticks, plugins=4):
        self.assertIs(report["right"], True)
        self.assertEqual((report["ticks"], len(report["plugins"])), (ticks, plugins))
        self.assertEqual(report["leaked_blocks"], 0)
        for plugin in report["plugins"]:
            self.assertIs(plugin["right"], True)
            self.assertEqual(plugin["state"]["ticks"], ticks)
            state, latency = plugin["state"], plugin["latency_ns"]
            self.assertGreaterEqual(state["decisions"], state["trades"] + state["blocked"])
            order = [latency[name] for name in ("p50", "p99", "p99.9", "p99.99", "max")]
            self.assertEqual(order, sorted(order))
            self.assertGreater(order[0], 0)

    def test_generated_with_kill(self):
        report = self.replay("--count", "3000", "--kill-at", "1000")
        self.assert_right(report, 3000)
        kill = report["kill"]
        self.assertIs(kill["right"], True)
        self.assertEqual(kill["asked_after_ticks"], 1000)
        self.assertGreaterEqual(kill["state_after_kill"]["ticks"], 1000)
        self.assertLess(kill["state_after_kill"]["ticks"], 3000)
        self.assertEqual(kill["state_after_kill"]["ticks"], kill["resumed_at_ticks"])
        self.assertGreater(sum(p["state"]["trades"] for p in report["plugins"]), 0)
        # A store that was named stays, with what the plugins keep.
        self.assertIn("replay-scalper-1", self.good("plugins").decode())
        self.assertIn("book", json.loads(self.good("keys", "replay-scalper-1", "--json")))
        self.assertEqual(int(self.good("get", "replay-scalper-1", "position")),
                         report["plugins"][0]["state"]["position"])
        self.good("check")

    def test_reboot(self):
        self.assertIsNone(self.replay("--count", "500")["reboot"])
        self.good("set", "p", "ban", "v", "--ttl", "3600000")
        file = self.path("desk.checkpoint")
        uri = "%s?checkpoint=%s" % (self.store, file)
        report = self.replay("--count", "3000", store=uri)
        self.assert_right(report, 3000)
        reboot = report["reboot"]
        self.assertIs(reboot["right"], True)
        self.assertIs(reboot["restored"], True)
        self.assertGreaterEqual(reboot["records_before"], 5)
        self.assertEqual(reboot["records_before"], reboot["records_after"])
        self.assertEqual((reboot["lost"], reboot["changed"], reboot["added"]), (0, 0, 0))
        self.assertGreaterEqual(os.path.getsize(file), 1024)
        self.assertEqual(json.loads(self.good("stat", "--json"))["restored_entries"],
                         reboot["records_after"])
        self.assertEqual(self.good("get", "p", "ban"), b"v\n")
        text = self.good("replay", "--count", "500", store=uri).decode()
        self.assertRegex(text, r"(?m)^reboot the segment was removed and opened again")
        self.assertNotIn("WRONG", text)

    def test_no_reboot_of_a_store_in_use(self):
        uri = "%s?checkpoint=%s" % (self.store, self.path("desk.checkpoint"))
        self.good("set", "p", "large", "-", stdin=b"x" * 1000000)
        user = subprocess.Popen([TOOL, "export"], env=self.environment, stdout=subprocess.PIPE)
        user.stdout.read(1000)
        try:
            text = self.good("replay", "--count", "500", store=uri).decode()
        finally:
            user.kill()
            user.communicate(timeout=10)
        self.assertIn("reboot not done: others use the store", text)
        self.assertEqual(len(self.good("get", "p", "large")), 1000001)

    def test_a_kill_changes_nothing(self):
        def states(*words):
            return [p["state"] for p in self.replay("--count", "2000", *words)["plugins"]]

        calm = states("--kill-at", "0")
        self.assertEqual(calm, states("--kill-at", "700"))
        self.assertEqual(calm, states())
        self.assertNotEqual(calm, states("--seed", "2"))
        self.assertEqual(calm[:2], states("--plugins", "2"))

    def test_tiny_streams(self):
        for count in ("1", "2", "3"):
            self.assert_right(self.replay("--count", count, "--plugins", "1"), int(count), 1)

    def test_kill_in_the_last_tick(self):
        report = self.replay("--count", "500", "--kill-at", "499", "--plugins", "1")
        self.assert_right(report, 500, 1)
        self.assertEqual(report["kill"]["resumed_at_ticks"], 499)

    def test_kill_beyond_the_end(self):
        self.bad(USAGE, "replay", "--count", "10", "--kill-at", "10", names=["--kill-at"])

    def test_csv_and_gzip(self):
        text = some_ticks(2000)
        plain = self.write("ticks.csv", text)
        packed = self.write("ticks.csv.gz", gzip.compress(text.encode()))
        dos = self.write("dos.csv", text.replace("\n", "\r\n").rstrip())
        reports = [self.replay("--ticks", path, "--plugins", "2") for path in (plain, packed, dos)]
        for report in reports:
            self.assert_right(report, 2000, 2)
        states = [[p["state"] for p in report["plugins"]] for report in reports]
        self.assertEqual(states[0], states[1])
        self.assertEqual(states[0], states[2])
        self.assertEqual({p["follows"] for p in reports[0]["plugins"]},
                         {"spot:BTCUSDT", "usdm:ETHUSDT"})

    def test_bad_ticks(self):
        row = "1700000000000000000,,spot,BTC,Q,1,10,1,11,1,\n"
        for line, text in [
                (1, ""), (1, "recv_ns\n"), (2, HEADER + "x\n"), (2, HEADER + row.replace(",Q,", ",X,")),
                (2, HEADER + row.replace(",10,", ",ten,")), (2, HEADER + row.replace(",10,", ",nan,")),
                (2, HEADER + row.replace("spot", "")), (2, HEADER + row.replace(",\n", ",B\n")),
                (2, HEADER + row.replace(",Q,", ",T,")), (2, HEADER + row.rstrip() + ",\n"),
                (2, HEADER + "\n"), (2, HEADER + row.replace(",1,10", ",one,10")),
                (3, HEADER + row + row.replace("17", "16", 1)),
                (2, HEADER + "x" * 5000 + "\n")]:
            with self.subTest(text=text[-60:]):
                path = self.write("bad.csv", text)
                self.bad(FAILED, "replay", "--ticks", path, names=["%s:%d: " % (path, line)])
        path = self.write("cut.csv.gz", gzip.compress(some_ticks(2000).encode())[:-2000])
        self.bad(FAILED, "replay", "--ticks", path, names=[path])
        self.bad(FAILED, "replay", "--ticks", self.write("none.csv", HEADER), names=["no ticks"])
        self.bad(FAILED, "replay", "--ticks", self.path("nothing"), names=["No such file"])
        self.bad(FAILED, "replay", "--ticks", self.folder.name, names=["not a regular file"])
        self.assertEqual(leftovers(self.store[6:]), [])

    def test_real_speed(self):
        path = self.write("ticks.csv", some_ticks(400, 1000000))
        begin = time.monotonic()
        report = self.replay("--ticks", path, "--speed", "real", "--plugins", "2")
        self.assert_right(report, 400, 2)
        self.assertGreater(time.monotonic() - begin, 0.4)

    def test_text(self):
        text = self.good("replay", "--count", "1000").decode()
        for part in ("p50", "p99.9", "p99.99", "max", "ticks/s", "kill ", "went on", "exactly once"):
            self.assertIn(part, text)
        self.assertNotIn("WRONG", text)

    def test_report(self):
        folder = self.path("report")
        result = self.run_tool("replay", "--count", "2000", "--report", folder)
        self.assertEqual(result.returncode, FOUND, result)
        with open(os.path.join(folder, "report.json"), encoding="utf-8") as file:
            report = json.load(file)
        self.assert_right(report, 2000)
        with open(os.path.join(folder, "latency.csv"), encoding="utf-8") as file:
            rows = [line.strip().split(",") for line in file]
        self.assertEqual(rows[0], ["plugin", "from_ns", "to_ns", "ticks", "share_not_above"])
        self.assertEqual({row[0] for row in rows[1:]}, {"1", "2", "3", "4"})
        self.assertEqual(sum(int(row[3]) for row in rows[1:] if row[0] == "2"), 2000)
        self.assertEqual(float(rows[-1][4]), 1.0)
        with open(os.path.join(folder, "report.md"), encoding="utf-8") as file:
            markdown = file.read()
        self.assertIn("replay-scalper-1", markdown)
        if os.path.exists(os.path.join(folder, "latency.svg")):
            with open(os.path.join(folder, "latency.svg"), encoding="utf-8") as file:
                picture = file.read()
            self.assertIn("latency", picture)
            self.assertIn("latency.svg", markdown)
            self.assertEqual(result.stderr, b"")
        else:
            self.assert_line(result.stderr, "latency.svg", "left out")

    def test_report_without_gnuplot(self):
        folder = self.path("report")
        self.environment["PATH"] = self.folder.name
        result = self.run_tool("replay", "--count", "100", "--report", folder)
        self.assertEqual(result.returncode, FOUND)
        self.assert_line(result.stderr, "latency.svg", "gnuplot is not installed")
        self.assertFalse(os.path.exists(os.path.join(folder, "latency.svg")))

    def test_report_folder_is_checked_first(self):
        path = self.write("file", "x")
        self.bad(FAILED, "replay", "--report", path, names=[path])
        self.assertEqual(leftovers(self.store[6:]), [])

    def test_own_store(self):
        self.environment["TMPDIR"] = self.folder.name
        self.environment["TICKSTATE_STORE"] = ""
        with subprocess.Popen([TOOL, "replay", "--count", "300", "--json"], env=self.environment,
                              stdout=subprocess.PIPE) as process:
            report = json.loads(process.stdout.read())
        self.assertEqual(process.returncode, FOUND)
        self.assertIs(report["reboot"]["right"], True)
        self.assertIsNone(report["kept"])
        self.assertEqual(leftovers("tickstate-replay-%d" % process.pid), [])
        self.assertEqual(os.listdir(self.folder.name), [])
        kept = self.replay("--count", "300", "--keep", store="")["kept"]
        self.assertRegex(kept, r"^shm://tickstate-replay-\d+$")
        self.assertIn(b"replay-scalper-1", self.good("plugins", "--store", kept))
        self.good("rm", "--store", kept)
        self.assertEqual(os.listdir(self.folder.name), [])
        self.environment["TMPDIR"] = self.path("missing")
        self.bad(FAILED, "replay", "--count", "300", store="", names=["missing"])

    def start_slow(self, **options):
        path = self.write("slow.csv", some_ticks(200, 500000000))
        return subprocess.Popen([TOOL, "replay", "--ticks", path, "--speed", "real", "--plugins",
                                 "3"], env=self.environment, stdout=subprocess.PIPE,
                                **{"stderr": subprocess.PIPE, **options})

    @staticmethod
    def children(pid):
        with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as file:
            return [int(word) for word in file.read().split()]

    def wait_for_children(self, pid, count):
        end = time.monotonic() + 10
        while len(self.children(pid)) < count and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.2)
        return self.children(pid)

    def test_interrupt(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start_slow()
            children = self.wait_for_children(process.pid, 3)
            self.assertEqual(len(children), 3)
            process.send_signal(number)
            _, stderr = process.communicate(timeout=10)
            self.assertEqual(process.returncode, FAILED)
            self.assert_line(stderr, "interrupted")
            self.assertFalse([pid for pid in children if os.path.exists("/proc/%d" % pid)])
        self.good("check")

    def test_a_plugin_that_dies_ends_the_run(self):
        process = self.start_slow()
        children = self.wait_for_children(process.pid, 3)
        os.kill(children[1], signal.SIGKILL)
        _, stderr = process.communicate(timeout=10)
        self.assertEqual(process.returncode, FAILED)
        self.assert_line(stderr, "replay-scalper-2", "signal 9")
        self.assertFalse([pid for pid in children if os.path.exists("/proc/%d" % pid)])

    def test_plugins_do_not_outlive_their_parent(self):
        process = self.start_slow()
        children = self.wait_for_children(process.pid, 3)
        process.kill()
        process.communicate(timeout=10)

        def alive(pid):
            try:
                with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
                    return file.read().rpartition(")")[2].split()[0] not in "ZX"
            except FileNotFoundError:
                return False

        end = time.monotonic() + 5
        while any(map(alive, children)) and time.monotonic() < end:
            time.sleep(0.02)
        self.assertFalse([pid for pid in children if alive(pid)])
        self.good("check")

    def test_a_store_in_use(self):
        process = self.start_slow()
        self.wait_for_children(process.pid, 3)
        self.bad(FAILED, "rm", names=["rm"])
        self.assertLessEqual({entry["plugin"] for entry in self.export()},
                             {"replay-scalper-%d" % number for number in (1, 2, 3)})
        self.assertGreaterEqual(json.loads(self.good("stat", "--json"))["states"], 3)
        self.good("check")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        self.good("rm")

    def test_another_writer_is_noticed(self):
        process = self.start_slow()
        self.wait_for_children(process.pid, 3)
        self.good("del", "replay-scalper-2", "book")
        _, stderr = process.communicate(timeout=10)
        self.assertEqual(process.returncode, FAILED)
        self.assert_line(stderr, "replay-scalper-2", "somebody else")

    def test_progress_on_a_terminal_only(self):
        controller, terminal = pty.openpty()
        process = self.start_slow(stderr=terminal)
        os.close(terminal)
        seen = b""
        while b"ticks" not in seen:
            seen += os.read(controller, 1000)
        self.assertIn(b"replay: ", seen)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        os.close(controller)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: test_cli.py TOOL [UNITTEST WORDS]")
    TOOL = os.path.abspath(sys.argv.pop(1))
    unittest.main()
