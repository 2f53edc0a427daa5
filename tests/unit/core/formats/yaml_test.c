/* SPDX-License-Identifier: Apache-2.0 */
/* YAML as JSON values: the core schema's types, and everything dangerous refused with a line. */
#include "core/formats/yaml.h"

#include "core/base/alloc.h"
#include "core/formats/json.h"

#include <criterion/criterion.h>
#include <string.h>

static void expect_json(const char *text, const char *wanted)
{
    struct ls_error err = LS_ERROR_INIT;
    json_t *value;
    char *got;

    cr_assert_eq(ls_yaml_parse(text, strlen(text), "t.yaml", &value, NULL, &err), LS_OK, "%s", err.message);
    cr_assert_eq(ls_json_compact_text(value, &got, NULL), LS_OK);
    cr_assert_str_eq(got, wanted, "%s gives %s", text, got);
    ls_free(got);
    json_decref(value);
}

static void expect_error(const char *text, const char *part)
{
    struct ls_error err = LS_ERROR_INIT;
    json_t *value;

    cr_assert_eq(ls_yaml_parse(text, strlen(text), "t.yaml", &value, NULL, &err), LS_EINVAL, "%s", text);
    cr_assert(strstr(err.message, part) != NULL, "%s: %s", text, err.message);
    cr_assert_eq(strncmp(err.message, "t.yaml, line ", 13), 0, "%s", err.message);
}

/* Scalars have the types of YAML 1.2's core schema: yes, no and 1_000 are texts, 0x1f is a number. */
Test(yaml, scalars)
{
    expect_json("[yes, no, on, y, 1_000, 1:30, 0b1, 2001-01-01, <<]",
                "[\"yes\",\"no\",\"on\",\"y\",\"1_000\",\"1:30\",\"0b1\",\"2001-01-01\",\"<<\"]");
    expect_json("[true, True, TRUE, tRUE, false, null, Null, ~, ]", "[true,true,true,\"tRUE\",false,null,null,null]");
    expect_json("[0, -0, +7, 012, 0x1F, 0o17, 0xg, -0x1, 9223372036854775807, -9223372036854775808]",
                "[0,0,7,12,31,15,\"0xg\",\"-0x1\",9223372036854775807,-9223372036854775808]");
    expect_json("[1.5, -.5, 1., 1e3, 1.e-3, +1.5E+2, '1', \"2\", ., e5, 1e, 1.2.3, -]",
                "[1.5,-0.5,1,1000,0.001,150,\"1\",\"2\",\".\",\"e5\",\"1e\",\"1.2.3\",\"-\"]");
    expect_json("", "null");
    expect_json("# only a comment\n", "null");
    expect_json("a:\n  - b: 1\n    c: |\n      text\n  - []\n", "{\"a\":[{\"b\":1,\"c\":\"text\\n\"},[]]}");
}

/* JSON is YAML. */
Test(yaml, json)
{
    expect_json("{\"a\": [1, -2.5e-3, \"x\\u00e9\\n\"], \"b\":{\"c\":null}}",
                "{\"a\":[1,-0.0025,\"x\xc3\xa9\\n\"],\"b\":{\"c\":null}}");
}

/* What could surprise or blow up is refused. */
Test(yaml, refusals)
{
    char deep[200], wide[70000];

    expect_error("a: &x 1\nb: *x\n", "line 1: anchors");
    expect_error("a: *x\n", "anchors");
    expect_error("a: !!int 3\n", "tags");
    expect_error("a: !x [1]\n", "tags");
    expect_error("a: 1\nb: 2\na: 3\n", "line 3: the key a is there twice");
    expect_error("? [1, 2]\n: 3\n", "a key must be a plain word");
    expect_error("--- 1\n--- 2\n", "second document");
    expect_error("a: 1\n b: 2\n", "not valid YAML");
    expect_error("a: \"\\0\"\n", "zero byte");
    expect_error("[.inf]", "infinity");
    expect_error("[-.INF]", "infinity");
    expect_error("[.nan]", "NaN");
    expect_error("[1e999]", "too large");
    expect_error("[9223372036854775808]", "too large");
    expect_error("[0xffffffffffffffff]", "too large");
    expect_error("a: \"\xff\"", "not valid YAML");
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    expect_error(deep, "nested too deeply");
    for (size_t i = 0; i < sizeof wide - 1; i++)
        wide[i] = "[,0"[i == 0 ? 0 : 1 + i % 2];
    wide[sizeof wide - 1] = '\0';
    expect_error(wide, "too many entries");
}

/* Each key path knows its line. */
Test(yaml, lines)
{
    const char *text = "a: 1\nb:\n  c: 2\n  d:\n    - x\n    - y\n";
    json_t *value, *lines;

    cr_assert_eq(ls_yaml_parse(text, strlen(text), "t.yaml", &value, &lines, NULL), LS_OK);
    cr_assert_eq(json_integer_value(json_object_get(lines, "a")), 1);
    cr_assert_eq(json_integer_value(json_object_get(lines, "b.c")), 3);
    cr_assert_eq(json_integer_value(json_object_get(lines, "b.d.1")), 6);
    json_decref(lines);
    json_decref(value);
}
