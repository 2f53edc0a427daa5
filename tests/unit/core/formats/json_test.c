/* SPDX-License-Identifier: Apache-2.0 */
/* Canonical JSON by the examples of RFC 8785. */
#include "core/formats/json.h"

#include "core/base/alloc.h"

#include <criterion/criterion.h>
#include <locale.h>
#include <string.h>

static void expect_canonical(const char *text, const char *wanted)
{
    struct ls_error err = LS_ERROR_INIT;
    json_t *value;
    char *got;

    cr_assert_eq(ls_json_parse(text, strlen(text), "test", &value, &err), LS_OK, "%s", err.message);
    cr_assert_eq(ls_json_canonical_text(value, &got, &err), LS_OK, "%s", err.message);
    cr_assert_str_eq(got, wanted);
    ls_free(got);
    json_decref(value);
}

/* RFC 8785, section 3.2.2: numbers, escapes and literals. */
Test(json, example_of_the_rfc)
{
    expect_canonical("{\"numbers\":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"
                     "\"string\":\"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\","
                     "\"literals\":[null,true,false]}",
                     "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],"
                     "\"string\":\"\xe2\x82\xac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}");
}

/* RFC 8785, section 3.2.3: keys are sorted by UTF-16 code units, so an emoji comes before U+FB33. */
Test(json, keys_are_sorted_by_utf16)
{
    expect_canonical("{\"\\u20ac\":1,\"\\r\":2,\"\\ufb33\":3,\"1\":4,\"\\ud83d\\ude00\":5,\"\\u0080\":6,\"\\u00f6\":7}",
                     "{\"\\r\":2,\"1\":4,\"\xc2\x80\":6,\"\xc3\xb6\":7,\"\xe2\x82\xac\":1,\"\xf0\x9f\x98\x80\":5,"
                     "\"\xef\xac\xb3\":3}");
}

/* RFC 8785, appendix B: numbers by their bits. */
Test(json, numbers_of_the_rfc)
{
    static const struct {
        uint64_t bits;
        const char *text;
    } cases[] = {
        {0x0000000000000000, "0"},
        {0x8000000000000000, "0"},
        {0x0000000000000001, "5e-324"},
        {0x8000000000000001, "-5e-324"},
        {0x7fefffffffffffff, "1.7976931348623157e+308"},
        {0xffefffffffffffff, "-1.7976931348623157e+308"},
        {0x4340000000000000, "9007199254740992"},
        {0xc340000000000000, "-9007199254740992"},
        {0x4430000000000000, "295147905179352830000"},
        {0x44b52d02c7e14af5, "9.999999999999997e+22"},
        {0x44b52d02c7e14af6, "1e+23"},
        {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
        {0x444b1ae4d6e2ef4e, "999999999999999700000"},
        {0x444b1ae4d6e2ef4f, "999999999999999900000"},
        {0x444b1ae4d6e2ef50, "1e+21"},
        {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
        {0x3eb0c6f7a0b5ed8d, "0.000001"},
        {0x41b3de4355555553, "333333333.3333332"},
        {0x41b3de4355555554, "333333333.33333325"},
        {0x41b3de4355555555, "333333333.3333333"},
        {0x41b3de4355555556, "333333333.3333334"},
        {0x41b3de4355555557, "333333333.33333343"},
        {0xbecbf647612f3696, "-0.0000033333333333333333"},
        {0x43143ff3c1cb0959, "1424953923781206.2"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        double number;

        memcpy(&number, &cases[i].bits, 8);
        ls_json_number(number, text);
        cr_assert_str_eq(text, cases[i].text);
    }
}

/* The process's locale changes neither reading nor writing. */
Test(json, locale_does_not_matter)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8"};

    for (size_t i = 0; i < 3; i++)
        (void)setlocale(LC_ALL, names[i]);
    expect_canonical("[0.001, 1.5e300]", "[0.001,1.5e+300]");
}

/* Duplicate keys, text behind the value, bad UTF-8 and endless nesting are refused with line and column. */
Test(json, refusals)
{
    static const char *const texts[] = {"{\"a\":1,\"a\":2}", "[1] 2", "{", "", "\"\xff\"", "[01]", "nul"};
    struct ls_error err = LS_ERROR_INIT;
    char deep[6000];
    json_t *value;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cr_assert_eq(ls_json_parse(texts[i], strlen(texts[i]), "m.json", &value, &err), LS_EINVAL, "%s", texts[i]);
        cr_assert_eq(strncmp(err.message, "m.json, line 1", 14), 0, "%s", err.message);
    }
    memset(deep, '[', sizeof deep);
    cr_assert_eq(ls_json_parse(deep, sizeof deep, "m.json", &value, &err), LS_EINVAL);
}

/* What the parser quotes of a file cannot speak to the terminal. */
Test(json, control_characters_are_escaped)
{
    const char *text = "{\"a\": \x1b[31mred\x7f";
    struct ls_error err = LS_ERROR_INIT;
    json_t *value;

    cr_assert_eq(ls_json_parse(text, strlen(text), "m.json", &value, &err), LS_EINVAL);
    cr_assert_null(strchr(err.message, '\x1b'), "%s", err.message);
    cr_assert_null(strchr(err.message, '\n'), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "\\x1b"), "%s", err.message);
}

/* The compact form keeps integers that a double cannot hold. */
Test(json, compact_keeps_integers)
{
    const char *text = "{\"b\": 9007199254740993, \"a\": 0.1}";
    json_t *value;
    char *got;

    cr_assert_eq(ls_json_parse(text, strlen(text), "test", &value, NULL), LS_OK);
    cr_assert_eq(ls_json_compact_text(value, &got, NULL), LS_OK);
    cr_assert_str_eq(got, "{\"a\":0.1,\"b\":9007199254740993}");
    ls_free(got);
    json_decref(value);
    expect_canonical(text, "{\"a\":0.1,\"b\":9007199254740992}");
}
