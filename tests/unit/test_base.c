/* SPDX-License-Identifier: MIT */
/* base/ and the key comparison of table/node.h: what needs no segment. */
#include "unit.h"

#include "base/process.h"
#include "base/text.h"
#include "base/uri.h"
#include "table/node.h"

#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- URIs ---------------------------------------------------------------------------------- */

static void a_uri_splits_into_scheme_rest_and_query(void **unused)
{
    (void)unused;
    struct tks_uri uri;
    assert_int_equal(tks_uri_split("shm://desk?size=64M&slots=8", &uri), TKS_OK);
    assert_string_equal(uri.scheme, "shm");
    assert_int_equal(uri.rest_len, 4);
    assert_memory_equal(uri.rest, "desk", 4);
    assert_string_equal(uri.query, "size=64M&slots=8");
    assert_int_equal(tks_uri_split("file:///a/b", &uri), TKS_OK);
    assert_int_equal(uri.rest_len, 4);
    assert_string_equal(uri.query, "");
    assert_int_equal(tks_uri_split("shm://", &uri), TKS_OK);
    assert_int_equal(uri.rest_len, 0);
    assert_int_equal(tks_uri_split("shm://x?", &uri), TKS_OK);
    assert_string_equal(uri.query, "");
}

static void what_has_no_short_scheme_is_no_uri(void **unused)
{
    (void)unused;
    const char *bad[] = {"", "desk", "shm:/desk", "://desk", "shm", "abcdefghijklmnop://x"};
    struct tks_uri uri;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(tks_uri_split(bad[i], &uri), TKS_INVALID);
    assert_int_equal(tks_uri_split("abcdefghijklmno://x", &uri), TKS_OK);
}

static void parameters_come_one_by_one_and_decoded(void **unused)
{
    (void)unused;
    const char *cursor = "&&size=64M&pa%74h=%2Ftmp%2fa%20b&empty=&eq=a=b&";
    const char *expected[][2] = {
        {"size", "64M"}, {"path", "/tmp/a b"}, {"empty", ""}, {"eq", "a=b"}};
    char name[16], value[16];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(tks_uri_next(&cursor, name, sizeof(name), value, sizeof(value)), 1);
        assert_string_equal(name, expected[i][0]);
        assert_string_equal(value, expected[i][1]);
    }
    assert_int_equal(tks_uri_next(&cursor, name, sizeof(name), value, sizeof(value)), 0);
    assert_int_equal(tks_uri_next(&cursor, name, sizeof(name), value, sizeof(value)), 0);
}

static void a_malformed_parameter_is_invalid(void **unused)
{
    (void)unused;
    const char *bad[] = {"size",  "a=%",  "a=%4",   "a=%4&b=1", "a=%zz", "a=%4g",
                         "a=%00", "%0=1", "a=%%41", "&x",       "a=%-1", "a= %+1"};
    char name[8], value[8];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *cursor = bad[i];
        assert_int_equal(tks_uri_next(&cursor, name, sizeof(name), value, sizeof(value)),
                         TKS_INVALID);
    }
}

static void a_parameter_fits_its_buffer_or_is_invalid(void **unused)
{
    (void)unused;
    char name[4], value[4];
    const char *fits = "abc=%41%42%43", *long_name = "abcd=1", *long_value = "a=%41%42%43%44";
    assert_int_equal(tks_uri_next(&fits, name, 4, value, 4), 1);
    assert_string_equal(value, "ABC");
    assert_int_equal(tks_uri_next(&long_name, name, 4, value, 4), TKS_INVALID);
    assert_int_equal(tks_uri_next(&long_value, name, 4, value, 4), TKS_INVALID);
}

static void sizes_are_whole_numbers_with_k_m_or_g(void **unused)
{
    (void)unused;
    const struct {
        const char *text;
        uint64_t size;
    } good[] = {{"0", 0},
                {"1", 1},
                {"1K", 1024},
                {"3k", 3072},
                {"64M", 64ull << 20},
                {"2g", 2ull << 30},
                {"010", 10},
                {"18446744073709551615", UINT64_MAX},
                {"18014398509481983K", UINT64_MAX - 1023},
                {"17592186044415M", UINT64_MAX - ((1ull << 20) - 1)},
                {"17179869183G", UINT64_MAX - ((1ull << 30) - 1)}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t size = 77;
        assert_int_equal(tks_parse_size(good[i].text, &size), TKS_OK);
        assert_int_equal(size, good[i].size);
    }
}

static void an_overflowing_or_odd_size_is_invalid(void **unused)
{
    (void)unused;
    const char *bad[] = {"",
                         "K",
                         "1KK",
                         "-1",
                         "+1",
                         " 1",
                         "1 ",
                         "0x10",
                         "1T",
                         "1.5G",
                         "1MB",
                         "M1",
                         "18446744073709551616",
                         "18014398509481984K",
                         "17592186044416M",
                         "17179869184G",
                         "99999999999999999999999999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t size = 77;
        assert_int_equal(tks_parse_size(bad[i], &size), TKS_INVALID);
        assert_int_equal(size, 77);
    }
}

static void numbers_have_a_base_and_a_limit(void **unused)
{
    (void)unused;
    uint64_t number;
    assert_int_equal(tks_parse_number("777", 8, 0777, &number), TKS_OK);
    assert_int_equal(number, 0777);
    assert_int_equal(tks_parse_number("1000", 8, 0777, &number), TKS_INVALID);
    assert_int_equal(tks_parse_number("8", 8, 0777, &number), TKS_INVALID);
    assert_int_equal(tks_parse_number("8", 10, 8, &number), TKS_OK);
    assert_int_equal(tks_parse_number("9", 10, 8, &number), TKS_INVALID);
}

/* ---- UTF-8 --------------------------------------------------------------------------------- */

/* The encoder is the oracle: it writes any number in n bytes, right or wrong. */
static void encode(uint32_t point, unsigned n, unsigned char out[4])
{
    static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (unsigned i = n; i-- > 1; point >>= 6)
        out[i] = 0x80 | (point & 0x3f);
    out[0] = (unsigned char)(lead[n] | point);
}

static unsigned shortest(uint32_t point)
{
    return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
}

static void every_scalar_value_is_valid_in_its_shortest_form_only(void **unused)
{
    (void)unused;
    for (uint32_t point = 0; point < 0x200000; point++) {
        bool scalar = point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
        for (unsigned n = shortest(point); n <= 4; n++) {
            unsigned char bytes[4];
            encode(point, n, bytes);
            if (tks_utf8_valid(bytes, n) != (scalar && n == shortest(point)))
                fail_msg("U+%X in %u bytes", point, n);
        }
    }
}

static void no_other_string_of_three_bytes_is_valid(void **unused)
{
    (void)unused;
    /* Valid ones: 3 ASCII; one of 2 bytes and one ASCII either way round; one of 3 bytes. */
    const unsigned expected = 128 * 128 * 128 + 2 * 128 * 1920 + (0x10000 - 0x800 - 0x800);
    unsigned valid = 0;
    for (uint32_t i = 0; i < 1u << 24; i++) {
        const unsigned char bytes[3] = {(unsigned char)(i >> 16), (unsigned char)(i >> 8),
                                        (unsigned char)i};
        valid += tks_utf8_valid(bytes, 3);
    }
    assert_int_equal(valid, expected);
}

static void a_bad_byte_is_found_wherever_it_stands(void **unused)
{
    (void)unused;
    const char *bad[] = {"\x80",
                         "\xbf",
                         "\xc0\x80",
                         "\xc1\xbf",
                         "\xc3",
                         "\xe0\x9f\xbf",
                         "\xed\xa0\x80",
                         "\xed\xbf\xbf",
                         "\xe2\x82",
                         "\xf0\x8f\xbf\xbf",
                         "\xf4\x90\x80\x80",
                         "\xf0\x9f\x98",
                         "\xf5\x80\x80\x80",
                         "\xfe",
                         "\xff"};
    const char *good[] = {"\xc2\x80",     "\xe0\xa0\x80",     "\xed\x9f\xbf",
                          "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    for (size_t before = 0; before < 20; before++) {
        for (size_t after = 0; after < 20; after++) {
            for (size_t i = 0; i < 15 + 6; i++) {
                const char *piece = i < 15 ? bad[i] : good[i - 15];
                size_t len = strlen(piece), all = before + len + after;
                char *text = malloc(all);
                memset(text, 'a', all);
                memcpy(text + before, piece, len);
                assert_int_equal(tks_utf8_valid(text, all), i >= 15);
                free(text);
            }
        }
    }
    assert_true(tks_utf8_valid("", 0));
}

static void a_name_is_1_to_255_bytes_without_nul(void **unused)
{
    (void)unused;
    char name[257];
    memset(name, 'n', sizeof(name));
    assert_false(tks_name_valid(name, 0));
    assert_true(tks_name_valid(name, 1));
    assert_true(tks_name_valid(name, 255));
    assert_false(tks_name_valid(name, 256));
    name[9] = 0;
    assert_true(tks_name_valid(name, 9));
    assert_false(tks_name_valid(name, 10));
    name[9] = (char)0x80;
    assert_false(tks_name_valid(name, 10));
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static struct tks_scalar json(const char *text)
{
    struct tks_scalar scalar;
    assert_int_equal(tks_json_scalar(text, strlen(text), &scalar), TKS_OK);
    return scalar;
}

static void a_json_scalar_becomes_that_type(void **unused)
{
    (void)unused;
    assert_int_equal(json("true").type, TKS_TYPE_BOOL);
    assert_true(json(" true ").truth);
    assert_false(json("false").truth);
    assert_int_equal(json("17").type, TKS_TYPE_I64);
    assert_int_equal(json("-17").integer, -17);
    assert_true(json("9223372036854775807").integer == INT64_MAX);
    assert_true(json("-9223372036854775808").integer == INT64_MIN);
    assert_int_equal(json("1.5").type, TKS_TYPE_F64);
    assert_true(json("-1.5e3").real == -1500.0);
    assert_int_equal(json("null").type, TKS_TYPE_JSON);
    assert_int_equal(json("{}").type, TKS_TYPE_JSON);
    assert_int_equal(json("[1,\"a\"]").type, TKS_TYPE_JSON);
}

static void an_integer_beyond_i64_becomes_f64(void **unused)
{
    (void)unused;
    assert_int_equal(json("9223372036854775808").type, TKS_TYPE_F64);
    assert_true(json("9223372036854775808").real == 0x1p63);
    assert_true(json("-9223372036854775809").real == -0x1p63);
}

static void a_json_string_becomes_its_text(void **unused)
{
    (void)unused;
    struct tks_scalar scalar = json("\"a\\u00e9\\u0000\\n\"");
    assert_int_equal(scalar.type, TKS_TYPE_STRING);
    assert_int_equal(scalar.text_len, 5);
    assert_memory_equal(scalar.text, "a\xc3\xa9\0\n", 5);
    free(scalar.text);
    scalar = json("\"\"");
    assert_int_equal(scalar.text_len, 0);
    free(scalar.text);
}

static void what_is_not_json_is_invalid(void **unused)
{
    (void)unused;
    const char *bad[] = {"",
                         " ",
                         "tru",
                         "1 2",
                         "\"a",
                         "{\"a\":1,}",
                         "[1,]",
                         "'a'",
                         "01",
                         "+1",
                         "NaN",
                         "1e999",
                         "{a:1}",
                         "\"\x80\"",
                         "{\"a\\u0000\":1}",
                         "\"\\ud800\"",
                         "// x\n1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct tks_scalar scalar;
        if (tks_json_scalar(bad[i], strlen(bad[i]), &scalar) != TKS_INVALID)
            fail_msg("accepted: %s", bad[i]);
    }
    struct tks_scalar scalar;
    assert_int_equal(tks_json_scalar("1\0", 2, &scalar), TKS_INVALID);
}

/* ---- Keys ---------------------------------------------------------------------------------- */

/* A name in memory of exactly its length: a sanitizer sees a byte read too many. */
static char *exact_name(size_t len, unsigned seed)
{
    char *bytes = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)('a' + (i * 7 + seed) % 26);
    return bytes;
}

static void the_tail_is_the_last_bytes_padded_with_zeros(void **unused)
{
    (void)unused;
    for (size_t len = 1; len <= 40; len++) {
        char *bytes = exact_name(len, (unsigned)len);
        char padded[8] = {0};
        uint64_t tail = last_word(bytes, len);
        memcpy(padded, bytes + len / 8 * 8, len % 8);
        assert_memory_equal(&tail, padded, 8);
        free(bytes);
    }
}

static void an_entry_has_its_key_and_no_other(void **unused)
{
    (void)unused;
    for (size_t len = 1; len <= 40; len++) {
        char *bytes = exact_name(len, 3);
        struct tks_name name = make_name(bytes, len);
        uint64_t entry[32];
        memset(entry, 0xee, sizeof(entry));
        const struct tks_content content = {"value", 5, TKS_TYPE_BYTES, 0};
        node_build_entry(entry, &name, &content);
        assert_true(entry_has_key(entry, &name));
        assert_memory_equal(entry + ENTRY_KEY, bytes, len);
        assert_int_equal(((char *)(entry + ENTRY_KEY))[len], 0);
        assert_memory_equal(entry + entry_value_word(len), "value", 5);
        assert_int_equal(meta_key_len(entry[ENTRY_META]), len);
        assert_int_equal(meta_value_len(entry[ENTRY_META]), 5);
        for (size_t i = 0; i < len; i++) {
            bytes[i] ^= 0x20;
            struct tks_name other = make_name(bytes, len);
            assert_false(entry_has_key(entry, &other));
            bytes[i] ^= 0x20;
        }
        free(bytes);
    }
}

static void a_value_is_aligned_to_16_and_follows_key_and_nul(void **unused)
{
    (void)unused;
    for (size_t len = 1; len <= TKS_NAME_MAX; len++) {
        size_t at = entry_value_word(len) * 8;
        assert_int_equal(at % 16, 0);
        assert_true(at >= ENTRY_KEY * 8 + len + 1 && at < ENTRY_KEY * 8 + len + 1 + 16);
    }
}

/* ---- Copies -------------------------------------------------------------------------------- */

static void a_copy_out_writes_exactly_what_was_asked_for(void **unused)
{
    (void)unused;
    for (size_t len = 0; len <= 200; len++) {
        size_t words = (len + 7) / 8;
        uint64_t *from = malloc(words * 8 + 8);
        for (size_t i = 0; i < words * 8; i++)
            ((unsigned char *)from)[i] = (unsigned char)(i * 37 + len);
        for (size_t shift = 0; shift < 16; shift++) {
            char to[240];
            memset(to, 0x5a, sizeof(to));
            copy_from_shared(to + shift, from, len);
            assert_memory_equal(to + shift, from, len);
            for (size_t i = 0; i < sizeof(to); i++)
                if (i < shift || i >= shift + len)
                    assert_int_equal(to[i], 0x5a);
        }
        free(from);
    }
}

static void a_copy_in_pads_the_last_word_and_stops(void **unused)
{
    (void)unused;
    for (size_t len = 0; len <= 200; len++) {
        for (size_t shift = 0; shift < 16; shift++) {
            char *from = malloc(shift + len + 1);
            for (size_t i = 0; i < len; i++)
                from[shift + i] = (char)(i * 41 + shift + 1);
            uint64_t to[32];
            memset(to, 0x5a, sizeof(to));
            copy_to_shared(to, from + shift, len);
            assert_memory_equal(to, from + shift, len);
            for (size_t i = len; i < sizeof(to); i++)
                assert_int_equal(((char *)to)[i], i < (len + 7) / 8 * 8 ? 0 : 0x5a);
            free(from);
        }
    }
}

/* ---- Processes ----------------------------------------------------------------------------- */

static void wiped_memory_reads_zero_in_a_forked_child(void **unused)
{
    (void)unused;
    const size_t bytes = 9000;
    char *memory = tks_wiped_alloc(bytes);
    assert_non_null(memory);
    memset(memory, 1, bytes);
    pid_t child = fork();
    if (!child) {
        for (size_t i = 0; i < bytes; i++)
            if (memory[i])
                _exit(1);
        _exit(0);
    }
    unit_wait(child, 0);
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(memory[i], 1);
    tks_wiped_free(memory, bytes);
}

static void a_child_is_another_process_with_another_token(void **unused)
{
    (void)unused;
    assert_int_equal(tks_process_enter(), TKS_OK);
    uint64_t token = tks_process->token;
    assert_true(token != 0 && process_is(token));
    assert_int_equal(tks_process_enter(), TKS_OK);
    assert_true(process_is(token));
    pid_t child = fork();
    if (!child) {
        bool strange = process_is(token);
        tks_process_enter();
        _exit(strange || process_is(token) || !tks_process->token);
    }
    unit_wait(child, 0);
    assert_true(process_is(token));
}

static void *thread_id(void *id)
{
    *(uint64_t *)id = tks_thread_enter();
    return NULL;
}

static void threads_have_ids_of_their_own(void **unused)
{
    (void)unused;
    uint64_t ids[3] = {tks_thread_enter(), 0, 0};
    assert_int_equal(tks_thread_enter(), ids[0]);
    for (int i = 1; i < 3; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, thread_id, &ids[i]), 0);
        pthread_join(thread, NULL);
    }
    assert_true(ids[0] && ids[1] && ids[2]);
    assert_true(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uri_splits_into_scheme_rest_and_query),
        cmocka_unit_test(what_has_no_short_scheme_is_no_uri),
        cmocka_unit_test(parameters_come_one_by_one_and_decoded),
        cmocka_unit_test(a_malformed_parameter_is_invalid),
        cmocka_unit_test(a_parameter_fits_its_buffer_or_is_invalid),
        cmocka_unit_test(sizes_are_whole_numbers_with_k_m_or_g),
        cmocka_unit_test(an_overflowing_or_odd_size_is_invalid),
        cmocka_unit_test(numbers_have_a_base_and_a_limit),
        cmocka_unit_test(every_scalar_value_is_valid_in_its_shortest_form_only),
        cmocka_unit_test(no_other_string_of_three_bytes_is_valid),
        cmocka_unit_test(a_bad_byte_is_found_wherever_it_stands),
        cmocka_unit_test(a_name_is_1_to_255_bytes_without_nul),
        cmocka_unit_test(a_json_scalar_becomes_that_type),
        cmocka_unit_test(an_integer_beyond_i64_becomes_f64),
        cmocka_unit_test(a_json_string_becomes_its_text),
        cmocka_unit_test(what_is_not_json_is_invalid),
        cmocka_unit_test(the_tail_is_the_last_bytes_padded_with_zeros),
        cmocka_unit_test(an_entry_has_its_key_and_no_other),
        cmocka_unit_test(a_value_is_aligned_to_16_and_follows_key_and_nul),
        cmocka_unit_test(a_copy_out_writes_exactly_what_was_asked_for),
        cmocka_unit_test(a_copy_in_pads_the_last_word_and_stops),
        cmocka_unit_test(wiped_memory_reads_zero_in_a_forked_child),
        cmocka_unit_test(a_child_is_another_process_with_another_token),
        cmocka_unit_test(threads_have_ids_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
