// Places of the compiler → parts of the text, and TOML → JSON.

import assert from "node:assert/strict";
import { test } from "node:test";
import { locate } from "../src/locate.js";
import { TextError, toPolicyJson } from "../src/policy-text.js";

const TOML = `[tokens]
format = "opaque"
[scopes]
"sms:send" = ["POST /sms/send", "POST /b"]
several = [
  "GET /a",
  # not this
  "GET /b",
]
[limits.token]
per = "token"
quota = 1
[routes]
"POST /sms/send" = { price = 3, idempotency = { required = true } }
"POST /x".idempotency.required = 1
`;

const JSON_TEXT = '{"limits": {"a": {"quota": 0}},\n "scopes": {"x y": ["GET /a", "GET /b"]}}';

function found(text: string, place: string, line?: number): string | undefined {
  const range = locate(text, place, line);
  return range === undefined ? undefined : text.slice(range.from, range.to);
}

test("a place of TOML is found, or the nearest one around it", () => {
  const cases: readonly (readonly [string, string | undefined])[] = [
    ["tokens.format", "format"],
    ['scopes."sms:send"[1]', '"POST /b"'],
    ["scopes.several[1]", '"GET /b"'],
    ["limits.token.quota", "quota"],
    ["limits.token.unknown", "limits.token"],
    ["limits", "limits.token"],
    ['routes."POST /sms/send".price', "price"],
    ['routes."POST /sms/send".idempotency.required', "required"],
    ['routes."POST /x".idempotency.required', '"POST /x".idempotency.required'],
    ["nowhere", undefined],
    ["", undefined],
  ];
  for (const [place, expected] of cases) assert.equal(found(TOML, place), expected, place);
});

test("a place of JSON is found, or the nearest one around it", () => {
  assert.equal(found(JSON_TEXT, "limits.a.quota"), '"quota"');
  assert.equal(found(JSON_TEXT, "limits.a.unknown"), '"a"');
  assert.equal(found(JSON_TEXT, 'scopes."x y"[1]'), '"GET /b"');
});

test("a line wins over a place that is elsewhere", () => {
  assert.equal(found(TOML, "", 2), 'format = "opaque"');
  assert.equal(found(TOML, "tokens.format", 11), 'per = "token"');
  assert.equal(found(TOML, "tokens.format", 2), "format");
});

test("TOML becomes JSON without rounding, and tells 60 from 60.0", () => {
  const json = toPolicyJson("a = 18446744073709551615\nb = 60.0\nc = 1_000\nd = { e = ['x'] }");
  assert.equal(json, '{"a":18446744073709551615,"b":60.0,"c":1000,"d":{"e":["x"]}}');
  assert.equal(toPolicyJson(' {"a": 1}'), ' {"a": 1}');
});

test("what is no TOML names its line", () => {
  const isAt = (line: number) => (error: unknown) =>
    error instanceof TextError && error.line === line && !error.message.includes("\n");
  assert.throws(() => toPolicyJson("[a]\nb = 1\n[a]\n"), isAt(3));
  assert.throws(() => toPolicyJson("a = 1\nb = \n"), isAt(2));
});
