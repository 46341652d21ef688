/* SPDX-License-Identifier: MIT */
#include "checkpoint/format.h"

#include "base/text.h"

#include <math.h>
#include <string.h>

static bool finite_real(const void *value)
{
    double real;
    memcpy(&real, value, sizeof(real));
    return isfinite(real);
}

static bool value_valid(const struct tks_record *record)
{
    const unsigned char *value = record->value;
    switch (record->type) {
    case TKS_TYPE_BYTES:
        return true;
    case TKS_TYPE_I64:
        return record->value_len == 8;
    case TKS_TYPE_F64:
        return record->value_len == 8 && finite_real(value);
    case TKS_TYPE_BOOL:
        return record->value_len == 1 && value[0] <= 1;
    case TKS_TYPE_STRING:
    case TKS_TYPE_JSON:
        return tks_utf8_valid(value, record->value_len);
    default:
        return false;
    }
}

bool tks_format_entry_valid(const struct tks_record *record)
{
    return record->value_len <= TKS_VALUE_MAX && record->version && record->expires_at >= 0 &&
           tks_name_valid(record->key, record->key_len) && value_valid(record);
}
