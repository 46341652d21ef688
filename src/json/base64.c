/* SPDX-License-Identifier: MIT */
#include "json/base64.h"

#include <stdint.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t tks_base64_encoded_len(size_t len)
{
    return (len + 2) / 3 * 4;
}

void tks_base64_encode(const void *bytes, size_t len, char *text)
{
    const unsigned char *in = bytes;

    for (size_t i = 0; i < len; i += 3) {
        size_t rest = len - i;
        uint32_t word = (uint32_t)in[i] << 16;

        word |= rest > 1 ? (uint32_t)in[i + 1] << 8 : 0;
        word |= rest > 2 ? (uint32_t)in[i + 2] : 0;
        *text++ = digits[word >> 18];
        *text++ = digits[word >> 12 & 63];
        *text++ = rest > 1 ? digits[word >> 6 & 63] : '=';
        *text++ = rest > 2 ? digits[word & 63] : '=';
    }
}

static int digit_value(char digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return digit - 'A';
    if (digit >= 'a' && digit <= 'z')
        return digit - 'a' + 26;
    if (digit >= '0' && digit <= '9')
        return digit - '0' + 52;
    if (digit == '+')
        return 62;
    return digit == '/' ? 63 : -1;
}

bool tks_base64_decode(const char *text, size_t len, unsigned char *bytes, size_t *bytes_len)
{
    size_t pad = 0, out = 0;
    uint32_t word = 0;

    if (len % 4 != 0)
        return false;
    while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
        pad++;
    for (size_t i = 0; i < len; i++) {
        int value = i < len - pad ? digit_value(text[i]) : 0;

        if (value < 0)
            return false;
        word = word << 6 | (uint32_t)value;
        if (i % 4 != 3)
            continue;
        bytes[out++] = (unsigned char)(word >> 16);
        bytes[out++] = (unsigned char)(word >> 8);
        bytes[out++] = (unsigned char)word;
        word = 0;
    }
    /* Bits that the padding cuts off must be 0, or two texts would mean the same bytes. */
    for (size_t i = 0; i < pad; i++)
        if (bytes[--out] != 0)
            return false;
    *bytes_len = out;
    return true;
}
