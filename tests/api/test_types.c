/* SPDX-License-Identifier: MIT */
/* Typed values: what each setter stores, who may read it, what is refused. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "api.h"
#include "utf8.h"

/* ---- Numbers and booleans ---------------------------------------------------------------- */

static void an_i64_comes_back_and_is_8_raw_bytes(void **fixture)
{
    static const int64_t values[] = {0, 1, -1, 42, INT64_MAX, INT64_MIN, INT64_C(1) << 53};
    struct api *f = *fixture;
    int64_t value;

    for (size_t i = 0; i < API_ARRAY(values); i++) {
        CHECK_OK(op->set_i64(f->state, "key", values[i]));
        CHECK_TYPE(f->state, "key", TKS_TYPE_I64);
        value = 12345;
        CHECK_OK(op->get_i64(f->state, "key", &value));
        CHECK(value == values[i]);
        CHECK_BYTES(f->state, "key", &values[i], sizeof(values[i]));
    }
}

static void an_f64_comes_back_and_is_8_raw_bytes(void **fixture)
{
    static const double values[] = {0,       -0.0,     1.5,    -1e300, DBL_MAX,
                                    DBL_MIN, -DBL_MAX, 5e-324, 0.1,    9007199254740993.0};
    struct api *f = *fixture;
    double value;

    for (size_t i = 0; i < API_ARRAY(values); i++) {
        CHECK_OK(op->set_f64(f->state, "key", values[i]));
        CHECK_TYPE(f->state, "key", TKS_TYPE_F64);
        value = 12345;
        CHECK_OK(op->get_f64(f->state, "key", &value));
        CHECK(memcmp(&value, &values[i], sizeof(value)) == 0);
        CHECK_BYTES(f->state, "key", &values[i], sizeof(values[i]));
    }
}

static void an_f64_is_finite(void **fixture)
{
    struct api *f = *fixture;
    double value = 0;

    CHECK_OK(op->set_f64(f->state, "key", 1.5));
    CHECK_STATUS(op->set_f64(f->state, "key", (double)NAN), TKS_INVALID);
    CHECK_STATUS(op->set_f64(f->state, "key", (double)INFINITY), TKS_INVALID);
    CHECK_STATUS(op->set_f64(f->state, "key", -(double)INFINITY), TKS_INVALID);
    CHECK_STATUS(op->set_f64(f->state, "none", (double)NAN), TKS_INVALID);
    CHECK_OK(op->get_f64(f->state, "key", &value));
    CHECK(value == 1.5);
    CHECK_ABSENT(f->state, "none");
}

static void a_bool_comes_back_and_is_1_raw_byte(void **fixture)
{
    struct api *f = *fixture;
    bool value;

    for (int i = 0; i < 2; i++) {
        char raw = (char)i;

        CHECK_OK(op->set_bool(f->state, "key", i == 1));
        CHECK_TYPE(f->state, "key", TKS_TYPE_BOOL);
        value = i != 1;
        CHECK_OK(op->get_bool(f->state, "key", &value));
        CHECK_INT(value, i);
        CHECK_BYTES(f->state, "key", &raw, 1);
    }
}

static void get_f64_reads_an_i64_that_a_double_holds(void **fixture)
{
    static const struct {
        int64_t i64;
        bool exact;
    } rows[] = {
        {0, true},
        {1, true},
        {-17, true},
        {(INT64_C(1) << 53) - 1, true},
        {INT64_C(1) << 53, true},
        {(INT64_C(1) << 53) + 1, false},
        {-(INT64_C(1) << 53) - 1, false},
        {(INT64_C(1) << 53) + 2, true},
        {INT64_C(1) << 62, true},
        {(INT64_C(1) << 62) + 1, false},
        {INT64_MIN, true},
        {INT64_MIN + 1, false},
        {INT64_MAX, false}, /* 2^63 is not the same number */
        {INT64_MAX - 1023, true},
    };
    struct api *f = *fixture;
    double value;

    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        CHECK_OK(op->set_i64(f->state, "key", rows[i].i64));
        if (!rows[i].exact) {
            CHECK_STATUS(op->get_f64(f->state, "key", &value), TKS_TYPE);
            continue;
        }
        CHECK_OK(op->get_f64(f->state, "key", &value));
        CHECK(value == (double)rows[i].i64);
    }
    CHECK_TYPE(f->state, "key", TKS_TYPE_I64);
}

static void an_absent_key_has_no_type(void **fixture)
{
    struct api *f = *fixture;
    int64_t i64;
    double f64;
    bool truth;
    int type;

    CHECK_STATUS(op->get_i64(f->state, "key", &i64), TKS_NOT_FOUND);
    CHECK_STATUS(op->get_f64(f->state, "key", &f64), TKS_NOT_FOUND);
    CHECK_STATUS(op->get_bool(f->state, "key", &truth), TKS_NOT_FOUND);
    CHECK_STATUS(op->type(f->state, "key", &type), TKS_NOT_FOUND);
}

static void another_type_is_type(void **fixture)
{
    struct api *f = *fixture;
    int64_t i64;
    double f64;
    bool truth;

    CHECK_OK(op->set(f->state, "bytes", "12345678", 8));
    CHECK_OK(op->set(f->state, "byte", "\x01", 1));
    CHECK_OK(op->set_i64(f->state, "i64", 1));
    CHECK_OK(op->set_f64(f->state, "f64", 1));
    CHECK_OK(op->set_bool(f->state, "bool", true));
    CHECK_OK(op->set_str(f->state, "str", "12345678", 8));
    CHECK_OK(op->set_json(f->state, "json", "null", 4));
    CHECK_STATUS(op->get_i64(f->state, "bytes", &i64), TKS_TYPE);
    CHECK_STATUS(op->get_i64(f->state, "f64", &i64), TKS_TYPE);
    CHECK_STATUS(op->get_i64(f->state, "bool", &i64), TKS_TYPE);
    CHECK_STATUS(op->get_i64(f->state, "str", &i64), TKS_TYPE);
    CHECK_STATUS(op->get_i64(f->state, "json", &i64), TKS_TYPE);
    CHECK_STATUS(op->get_f64(f->state, "bytes", &f64), TKS_TYPE);
    CHECK_STATUS(op->get_f64(f->state, "bool", &f64), TKS_TYPE);
    CHECK_STATUS(op->get_f64(f->state, "str", &f64), TKS_TYPE);
    CHECK_STATUS(op->get_f64(f->state, "json", &f64), TKS_TYPE);
    CHECK_STATUS(op->get_bool(f->state, "bytes", &truth), TKS_TYPE);
    CHECK_STATUS(op->get_bool(f->state, "byte", &truth), TKS_TYPE);
    CHECK_STATUS(op->get_bool(f->state, "i64", &truth), TKS_TYPE);
    CHECK_STATUS(op->get_bool(f->state, "f64", &truth), TKS_TYPE);
    CHECK_STATUS(op->get_bool(f->state, "str", &truth), TKS_TYPE);
    CHECK_STATUS(op->get_bool(f->state, "json", &truth), TKS_TYPE);
}

static void a_write_may_change_the_type(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->set_i64(f->state, "key", 1));
    CHECK_TYPE(f->state, "key", TKS_TYPE_I64);
    CHECK_OK(op->set_str(f->state, "key", "text", 4));
    CHECK_TYPE(f->state, "key", TKS_TYPE_STRING);
    CHECK_OK(op->set_json(f->state, "key", "{}", 2));
    CHECK_TYPE(f->state, "key", TKS_TYPE_JSON);
    CHECK_OK(op->set_f64(f->state, "key", 1));
    CHECK_TYPE(f->state, "key", TKS_TYPE_F64);
    CHECK_OK(op->set_bool(f->state, "key", false));
    CHECK_TYPE(f->state, "key", TKS_TYPE_BOOL);
    CHECK_OK(op->set(f->state, "key", "12345678", 8));
    CHECK_TYPE(f->state, "key", TKS_TYPE_BYTES);
    CHECK_OK(op->set_i64(f->state, "key", 2));
    CHECK_OK(op->set_with_ttl(f->state, "key", "v", 1, API_HOUR_MS));
    CHECK_TYPE(f->state, "key", TKS_TYPE_BYTES);
    CHECK_OK(op->set_bool(f->state, "key", true));
    CHECK_TYPE(f->state, "key", TKS_TYPE_BOOL);
}

/* ---- Strings ----------------------------------------------------------------------------- */

static void a_string_is_its_text(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->set_str(f->state, "key", "gr\xc3\xbc\xc3\x9f", 6));
    CHECK_TYPE(f->state, "key", TKS_TYPE_STRING);
    CHECK_TEXT(f->state, "key", "gr\xc3\xbc\xc3\x9f");
    CHECK_OK(op->set_str(f->state, "key", "", 0));
    CHECK_TYPE(f->state, "key", TKS_TYPE_STRING);
    CHECK_TEXT(f->state, "key", "");
    CHECK_OK(op->set_str(f->state, "key", "a\0b", 3));
    CHECK_BYTES(f->state, "key", "a\0b", 3);
    CHECK_OK(op->set_str(f->state, "key", "cut", 2)); /* by its length, not by its NUL */
    CHECK_TEXT(f->state, "key", "cu");
    for (size_t i = 0; i < API_ARRAY(api_utf8_good); i++) {
        CHECK_OK(op->set_str(f->state, "key", api_utf8_good[i], strlen(api_utf8_good[i])));
        CHECK_TEXT(f->state, "key", api_utf8_good[i]);
    }
}

static void a_string_that_is_not_utf8_is_invalid(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->set_str(f->state, "key", "old", 3));
    for (size_t i = 0; i < API_ARRAY(api_utf8_bad); i++)
        CHECK_STATUS(op->set_str(f->state, "key", api_utf8_bad[i], strlen(api_utf8_bad[i])),
                     TKS_INVALID);
    CHECK_STATUS(op->set_str(f->state, "key", "\xc3\xbc", 1), TKS_INVALID);
    CHECK_STATUS(op->set_str(f->state, "key", "a\0\xff", 3), TKS_INVALID);
    CHECK_TEXT(f->state, "key", "old");
}

static void bad_utf8_is_found_wherever_it_is(void **fixture)
{
    struct api *f = *fixture;
    char text[100];

    for (size_t i = 0; i < sizeof(text); i++) {
        memset(text, 'x', sizeof(text));
        text[i] = (char)0x80;
        CHECK_STATUS(op->set_str(f->state, "key", text, sizeof(text)), TKS_INVALID);
    }
}

/* ---- JSON -------------------------------------------------------------------------------- */

static void set_json(struct api *f, const char *text)
{
    CHECK_OK(op->set_json(f->state, "key", text, strlen(text)));
}

static void a_json_document_is_its_text(void **fixture)
{
    static const char *const documents[] = {
        "{}",
        "[]",
        "{\"a\":1}",
        "[1,2.5,\"x\",true,false,null,{\"b\":[]}]",
        "{\"a\":1,\"a\":2}",
        "[\"\\u0000\"]",
        "{\"\\u0001\":\"\\ud83d\\ude00\"}",
        "[ 1 ,\n\t2 ]",
        "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
        "[\"gr\xc3\xbc\xc3\x9f\"]",
        "{\"\":\"\"}",
        "[0,-1,1e5,1E+5,1.25e-3]",
        "{\"$bytes\":\"AAAA\"}",
        "{\"$$bytes\":1}",
    };
    struct api *f = *fixture;

    for (size_t i = 0; i < API_ARRAY(documents); i++) {
        set_json(f, documents[i]);
        CHECK_TYPE(f->state, "key", TKS_TYPE_JSON);
        CHECK_TEXT(f->state, "key", documents[i]);
    }
}

static void a_json_integer_is_an_i64(void **fixture)
{
    static const struct {
        const char *text;
        int64_t value;
    } rows[] = {
        {"0", 0},
        {"17", 17},
        {"-17", -17},
        {" 17\n", 17},
        {"\t\r\n 17 \t\r\n", 17},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    struct api *f = *fixture;
    int64_t value;

    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        set_json(f, rows[i].text);
        CHECK_TYPE(f->state, "key", TKS_TYPE_I64);
        CHECK_OK(op->get_i64(f->state, "key", &value));
        CHECK(value == rows[i].value);
    }
}

static void a_json_number_with_fraction_or_exponent_is_an_f64(void **fixture)
{
    static const struct {
        const char *text;
        double value;
    } rows[] = {
        {"1.5", 1.5},
        {"1.0", 1},
        {"1e2", 100},
        {"-1E-2", -0.01},
        {"1e+2", 100},
        {"0.1", 0.1},
        {"1.7976931348623157e308", DBL_MAX},
        {"4.9e-324", 4.9e-324},
        {"0e400", 0},
        {" 1.5 ", 1.5},
        /* integers beyond i64 */
        {"9223372036854775808", 9223372036854775808.0},
        {"-9223372036854775809", -9223372036854775808.0},
        {"18446744073709551616", 18446744073709551616.0},
        {"123456789012345678901234567890", 123456789012345678901234567890.0},
    };
    struct api *f = *fixture;
    double value;

    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        set_json(f, rows[i].text);
        CHECK_TYPE(f->state, "key", TKS_TYPE_F64);
        CHECK_OK(op->get_f64(f->state, "key", &value));
        CHECK(value == rows[i].value);
    }
}

static void a_json_minus_0_is_0(void **fixture)
{
    struct api *f = *fixture;
    double value = 1;

    set_json(f, "-0"); /* whether i64 or f64: it reads as a 0 */
    CHECK_OK(op->get_f64(f->state, "key", &value));
    CHECK(value == 0);
    set_json(f, "-0.0");
    CHECK_TYPE(f->state, "key", TKS_TYPE_F64);
    CHECK_OK(op->get_f64(f->state, "key", &value));
    CHECK(value == 0 && signbit(value));
}

static void a_json_number_beyond_f64_is_invalid(void **fixture)
{
    struct api *f = *fixture;
    char digits[400];

    memset(digits, '9', sizeof(digits));
    CHECK_OK(op->set(f->state, "key", "old", 3));
    CHECK_STATUS(op->set_json(f->state, "key", "1e400", 5), TKS_INVALID);
    CHECK_STATUS(op->set_json(f->state, "key", "-1e400", 6), TKS_INVALID);
    CHECK_STATUS(op->set_json(f->state, "key", digits, sizeof(digits)), TKS_INVALID);
    CHECK_TEXT(f->state, "key", "old");
}

static void a_json_string_is_a_string(void **fixture)
{
    static const struct {
        const char *text, *value;
        size_t len;
    } rows[] = {
        {"\"\"", "", 0},
        {"\"text\"", "text", 4},
        {" \"text\" ", "text", 4},
        {"\"17\"", "17", 2},
        {"\"null\"", "null", 4},
        {"\"a\\nb\"", "a\nb", 3},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"\\u0041\"", "A", 1},
        {"\"\\u00e9\"", "\xc3\xa9", 2},
        {"\"\\u20AC\"", "\xe2\x82\xac", 3},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 4},
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"gr\xc3\xbc\xc3\x9f\"", "gr\xc3\xbc\xc3\x9f", 6},
    };
    struct api *f = *fixture;

    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        set_json(f, rows[i].text);
        CHECK_TYPE(f->state, "key", TKS_TYPE_STRING);
        CHECK_BYTES(f->state, "key", rows[i].value, rows[i].len);
    }
}

static void a_json_bool_is_a_bool(void **fixture)
{
    struct api *f = *fixture;
    bool value = false;

    set_json(f, "true");
    CHECK_TYPE(f->state, "key", TKS_TYPE_BOOL);
    CHECK_OK(op->get_bool(f->state, "key", &value));
    CHECK_INT(value, true);
    set_json(f, " false ");
    CHECK_OK(op->get_bool(f->state, "key", &value));
    CHECK_INT(value, false);
}

static void a_json_null_is_present_and_stays_json(void **fixture)
{
    struct api *f = *fixture;

    set_json(f, "null");
    CHECK_INT(op->has(f->state, "key"), 1);
    CHECK_TYPE(f->state, "key", TKS_TYPE_JSON);
    CHECK_TEXT(f->state, "key", "null");
    CHECK_STATUS(op->set_if(f->state, "key", "v", 1, 0), TKS_CONFLICT);
}

static void text_that_is_not_json_is_invalid(void **fixture)
{
    static const char *const texts[] = {
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        "[1,]",
        "{\"a\"}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1,}",
        "{\"a\":}",
        "[1 2]",
        "[]]",
        "1 2",
        "nul",
        "TRUE",
        "True",
        "undefined",
        "NaN",
        "Infinity",
        "-",
        "+1",
        "01",
        "-01",
        ".5",
        "1.",
        "1e",
        "1e+",
        "0x10",
        "1_000",
        "\"",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "'a'",
        "// c\n1",
        "/* c */ 1",
        "[\"a\nb\"]",
        "\"a\tb\"",
        "\"a\x01\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800x\"",
        "{\"a\":1 \"b\":2}",
        "[,1]",
        "nullx",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "[\"\xc3\"]",
        "{} {}",
        "true false",
        ",",
    };
    struct api *f = *fixture;

    CHECK_OK(op->set(f->state, "key", "old", 3));
    for (size_t i = 0; i < API_ARRAY(texts); i++) {
        if (op->set_json(f->state, "key", texts[i], strlen(texts[i])) != TKS_INVALID)
            api_fail(__FILE__, __LINE__, "accepted as JSON: %s", texts[i]);
    }
    CHECK_STATUS(op->set_json(f->state, "key", "1\0", 2), TKS_INVALID);
    CHECK_STATUS(op->set_json(f->state, "key", "\0", 1), TKS_INVALID);
    CHECK_STATUS(op->set_json(f->state, "key", "[1\0]", 4), TKS_INVALID);
    CHECK_STATUS(op->set_json(f->state, "key", "\"a\0b\"", 5), TKS_INVALID);
    CHECK_STATUS(op->set_json(f->state, "key", NULL, 0), TKS_INVALID);
    CHECK_TEXT(f->state, "key", "old");
}

static void json_ends_at_its_length(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->set_json(f->state, "key", "[1]garbage", 3));
    CHECK_TEXT(f->state, "key", "[1]");
    CHECK_OK(op->set_json(f->state, "key", "12345", 2));
    CHECK_BYTES(f->state, "key", &(int64_t){12}, 8);
    CHECK_STATUS(op->set_json(f->state, "key", "[1]", 2), TKS_INVALID);
}

static void json_nests_deeply_enough(void **fixture)
{
    struct api *f = *fixture;
    char text[1000];

    memset(text, '[', 500);
    memset(text + 500, ']', 500);
    CHECK_OK(op->set_json(f->state, "key", text, sizeof(text)));
    CHECK_BYTES(f->state, "key", text, sizeof(text));
}

static void json_nested_too_deeply_is_refused_not_a_crash(void **fixture)
{
    enum { DEPTH = 2000000 };
    struct api *f = *fixture;
    char *text = malloc((size_t)2 * DEPTH);
    int status;

    CHECK(text != NULL);
    memset(text, '[', DEPTH);
    memset(text + DEPTH, ']', DEPTH);
    CHECK_STATUS(op->set_json(f->state, "key", text, DEPTH), TKS_INVALID);
    CHECK_STATUS(op->set_json(f->state, "key", text, (size_t)2 * DEPTH - 1), TKS_INVALID);
    status = op->set_json(f->state, "key", text, (size_t)2 * DEPTH);
    CHECK(status == TKS_OK || status == TKS_INVALID);
    for (size_t i = 0; i + 5 <= DEPTH; i += 5)
        memcpy(text + i, "{\"a\":", 5);
    CHECK_STATUS(op->set_json(f->state, "key", text, DEPTH), TKS_INVALID);
    free(text);
}

static void a_large_json_document_comes_back(void **fixture)
{
    struct api *f = *fixture;
    size_t len = (size_t)1 << 20;
    char *text = malloc(len);

    CHECK(text != NULL);
    memset(text, '1', len);
    for (size_t i = 4; i < len; i += 5)
        text[i] = ',';
    text[0] = '[';
    text[len - 2] = '1';
    text[len - 1] = ']';
    CHECK_OK(op->set_json(f->state, "key", text, len));
    CHECK_BYTES(f->state, "key", text, len);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(an_i64_comes_back_and_is_8_raw_bytes),
        API_TEST(an_f64_comes_back_and_is_8_raw_bytes),
        API_TEST(an_f64_is_finite),
        API_TEST(a_bool_comes_back_and_is_1_raw_byte),
        API_TEST(get_f64_reads_an_i64_that_a_double_holds),
        API_TEST(an_absent_key_has_no_type),
        API_TEST(another_type_is_type),
        API_TEST(a_write_may_change_the_type),
        API_TEST(a_string_is_its_text),
        API_TEST(a_string_that_is_not_utf8_is_invalid),
        API_TEST(bad_utf8_is_found_wherever_it_is),
        API_TEST(a_json_document_is_its_text),
        API_TEST(a_json_integer_is_an_i64),
        API_TEST(a_json_number_with_fraction_or_exponent_is_an_f64),
        API_TEST(a_json_minus_0_is_0),
        API_TEST(a_json_number_beyond_f64_is_invalid),
        API_TEST(a_json_string_is_a_string),
        API_TEST(a_json_bool_is_a_bool),
        API_TEST(a_json_null_is_present_and_stays_json),
        API_TEST(text_that_is_not_json_is_invalid),
        API_TEST(json_ends_at_its_length),
        API_TEST(json_nests_deeply_enough),
        API_TEST(json_nested_too_deeply_is_refused_not_a_crash),
        API_TEST(a_large_json_document_comes_back),
    };

    return api_run_forms("types", tests);
}
