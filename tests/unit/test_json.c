/* SPDX-License-Identifier: MIT */
/* The JSON coding of values: what is written, what is read back, what other programs may write. */
#include "unit.h"

#include "json/value.h"

#include <float.h>
#include <locale.h>
#include <math.h>

#include <tickstate/tickstate.h>

static struct tks_buffer text, scratch;

static void check_text(unsigned type, const void *bytes, size_t len, const char *want)
{
    text.len = 0;
    assert_int_equal(tks_value_write(type, bytes, len, &text), TKS_OK);
    assert_int_equal(text.len, strlen(want));
    assert_memory_equal(text.bytes, want, text.len);
}

/* Reading @p from gives this value. */
static void check_value(const char *from, size_t from_len, int type, const void *bytes, size_t len)
{
    struct tks_value value;
    const char *wrong = "";
    assert_int_equal(tks_value_read(from, from_len, &scratch, &value, &wrong), TKS_OK);
    assert_int_equal(value.type, type);
    assert_int_equal(value.len, len);
    if (len)
        assert_memory_equal(value.bytes, bytes, len);
}

/* Written as @p want, and read back as it was. */
static void check_both(unsigned type, const void *bytes, size_t len, const char *want)
{
    check_text(type, bytes, len, want);
    check_value(text.bytes, text.len, (int)type, bytes, len);
}

static void i64(void **fixture)
{
    static const struct {
        int64_t integer;
        const char *text;
    } cases[] = {{0, "0"},
                 {5, "5"},
                 {-1, "-1"},
                 {INT64_MAX, "9223372036854775807"},
                 {INT64_MIN, "-9223372036854775808"}};
    (void)fixture;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_both(TKS_TYPE_I64, &cases[i].integer, 8, cases[i].text);
}

static void check_f64s(void)
{
    static const struct {
        double real;
        const char *text;
    } cases[] = {{0, "0.0"},
                 {-0.0, "-0.0"},
                 {1, "1.0"},
                 {0.1, "0.1"},
                 {-2.5, "-2.5"},
                 {1e300, "1e+300"},
                 {100000000000000000000.0, "1e+20"},
                 {DBL_MAX, "1.7976931348623157e+308"},
                 {DBL_MIN, "2.2250738585072014e-308"},
                 {4.9406564584124654e-324, "4.94065645841247e-324"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_both(TKS_TYPE_F64, &cases[i].real, 8, cases[i].text);
}

static void f64(void **fixture)
{
    const double not_finite[] = {INFINITY, -INFINITY, NAN};
    (void)fixture;
    check_f64s();
    for (int i = 0; i < 3; i++)
        assert_int_equal(tks_value_write(TKS_TYPE_F64, &not_finite[i], 8, &text), TKS_INVALID);
}

/* A decimal point that is a comma somewhere else; skipped where no such locale is installed. */
static void f64_in_any_locale(void **fixture)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "fr_FR.utf8"};
    const char *found = NULL;
    (void)fixture;
    for (size_t i = 0; !found && i < sizeof(names) / sizeof(names[0]); i++)
        found = setlocale(LC_NUMERIC, names[i]);
    if (!found)
        skip();
    check_f64s();
    setlocale(LC_NUMERIC, "C");
}

static void bool_and_null(void **fixture)
{
    (void)fixture;
    check_both(TKS_TYPE_BOOL, "\1", 1, "true");
    check_both(TKS_TYPE_BOOL, "\0", 1, "false");
    check_both(TKS_TYPE_JSON, "null", 4, "null");
    assert_int_equal(tks_value_write(TKS_TYPE_BOOL, "", 0, &text), TKS_INVALID);
}

static void string(void **fixture)
{
    (void)fixture;
    check_both(TKS_TYPE_STRING, "", 0, "\"\"");
    check_both(TKS_TYPE_STRING, "text", 4, "\"text\"");
    check_both(TKS_TYPE_STRING, "a\0b", 3, "\"a\\u0000b\"");
    check_both(TKS_TYPE_STRING, "\"\\/\b\f\n\r\t\x1f\x7f", 10,
               "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u001F\x7f\"");
    check_both(TKS_TYPE_STRING, "\xe2\x82\xac\xf0\x9f\x98\x80", 7,
               "\"\xe2\x82\xac\xf0\x9f\x98\x80\"");
    check_value("\"\\u20ac\\ud83d\\ude00\"", 20, TKS_TYPE_STRING, "\xe2\x82\xac\xf0\x9f\x98\x80",
                7);
    assert_int_equal(tks_value_write(TKS_TYPE_STRING, "\xff", 1, &text), TKS_INVALID);
}

static void bytes_of_every_length(void **fixture)
{
    unsigned char bytes[300];
    (void)fixture;
    check_both(TKS_TYPE_BYTES, "", 0, "{\"$bytes\":\"\"}");
    check_both(TKS_TYPE_BYTES, "\xff", 1, "{\"$bytes\":\"/w==\"}");
    check_both(TKS_TYPE_BYTES, "ab", 2, "{\"$bytes\":\"YWI=\"}");
    check_both(TKS_TYPE_BYTES, "abc", 3, "{\"$bytes\":\"YWJj\"}");
    for (size_t len = 0; len < sizeof(bytes); len++) {
        bytes[len] = (unsigned char)(len * 37);
        text.len = 0;
        assert_int_equal(tks_value_write(TKS_TYPE_BYTES, bytes, len, &text), TKS_OK);
        check_value(text.bytes, text.len, TKS_TYPE_BYTES, bytes, len);
    }
}

static void bytes_as_others_write_them(void **fixture)
{
    static const char *const texts[] = {" { \"$bytes\" : \"YWI=\" } ",
                                        "{\"\\u0024bytes\":\"YWI=\"}",
                                        "{\"$bytes\":\"\\u0059WI=\"}"};
    (void)fixture;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_value(texts[i], strlen(texts[i]), TKS_TYPE_BYTES, "ab", 2);
}

static void documents_are_lossless(void **fixture)
{
    static const char *const documents[] = {"{}",
                                            "[]",
                                            " [ 1.50 , 1e2,\n\t\"\\u0041\" ] ",
                                            "{\"b\":1,\"a\":2,\"a\":3}",
                                            "{\"bytes\":\"YWI=\"}",
                                            "{\"$bytes\":\"YWI=\",\"more\":1}",
                                            "[{\"$bytes\":\"YWI=\"}]"};
    (void)fixture;
    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++)
        check_both(TKS_TYPE_JSON, documents[i], strlen(documents[i]), documents[i]);
}

static void documents_named_bytes_get_a_dollar(void **fixture)
{
    (void)fixture;
    check_both(TKS_TYPE_JSON, "{\"$bytes\":\"YWI=\"}", 17, "{\"$$bytes\":\"YWI=\"}");
    check_both(TKS_TYPE_JSON, "{\"$bytes\":1}", 12, "{\"$$bytes\":1}");
    check_both(TKS_TYPE_JSON, " {\"$$bytes\": {}} ", 17, " {\"$$$bytes\": {}} ");
}

static void numbers_of_others(void **fixture)
{
    const double big = 9223372036854775808.0, hundred = 100;
    const int64_t zero = 0, seven = 7;
    (void)fixture;
    check_value("9223372036854775808", 19, TKS_TYPE_F64, &big, 8);
    check_value("1e2", 3, TKS_TYPE_F64, &hundred, 8);
    check_value("100.0", 5, TKS_TYPE_F64, &hundred, 8);
    check_value("-0", 2, TKS_TYPE_I64, &zero, 8);
    check_value("\n7 ", 3, TKS_TYPE_I64, &seven, 8);
}

static void what_is_not_json_is_corrupt(void **fixture)
{
    static const char *const texts[] = {"",
                                        " ",
                                        "text",
                                        "'text'",
                                        "\"text",
                                        "1 2",
                                        "01",
                                        "+1",
                                        ".5",
                                        "1.",
                                        "NaN",
                                        "Infinity",
                                        "1e999",
                                        "True",
                                        "{\"a\":}",
                                        "[1,]",
                                        "\"\\ud800\"",
                                        "\"\xff\"",
                                        "[\"\xff\"]",
                                        "{\"$bytes\":\"Y\"}",
                                        "{\"$bytes\":\"YW==YWI=\"}",
                                        "{\"$bytes\":\"YX==\"}",
                                        "{\"$bytes\":5}",
                                        "{\"$bytes\":\"YWI=\"",
                                        "{\"$bytes\":\"YWI=\"}}"};
    struct tks_value value;
    (void)fixture;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const char *wrong = NULL;
        if (tks_value_read(texts[i], strlen(texts[i]), &scratch, &value, &wrong) != TKS_CORRUPT)
            fail_msg("taken for JSON: %s", texts[i]);
        assert_non_null(wrong);
    }
}

static void integers_to_add_to(void **fixture)
{
    static const char *const not_integers[] = {
        "1.0", "1e3", "\"1\"", "true", "", "9223372036854775808", "--1", "0x10", "1 1"};
    int64_t integer = 0;
    (void)fixture;
    assert_true(tks_integer_read(" -12\n", 5, &integer));
    assert_int_equal(integer, -12);
    for (size_t i = 0; i < sizeof(not_integers) / sizeof(not_integers[0]); i++)
        assert_false(tks_integer_read(not_integers[i], strlen(not_integers[i]), &integer));
}

static int release(void **fixture)
{
    (void)fixture;
    tks_buffer_release(&text);
    tks_buffer_release(&scratch);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(i64),
        cmocka_unit_test(f64),
        cmocka_unit_test(f64_in_any_locale),
        cmocka_unit_test(bool_and_null),
        cmocka_unit_test(string),
        cmocka_unit_test(bytes_of_every_length),
        cmocka_unit_test(bytes_as_others_write_them),
        cmocka_unit_test(documents_are_lossless),
        cmocka_unit_test(documents_named_bytes_get_a_dollar),
        cmocka_unit_test(numbers_of_others),
        cmocka_unit_test(what_is_not_json_is_corrupt),
        cmocka_unit_test(integers_to_add_to),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, release);
}
