/* SPDX-License-Identifier: MIT */
#include "base/key.h"

#include "base/error.h"
#include "base/text.h"

int tks_bad_key(const char *key, size_t len)
{
    if (!key)
        return tks_fail(TKS_INVALID, "the key is NULL");
    if (!len)
        return tks_fail(TKS_INVALID, "the key is empty");
    if (len > TKS_NAME_MAX)
        return tks_fail(TKS_INVALID, "the key \"%.40s…\" is longer than %d bytes", key,
                        TKS_NAME_MAX);
    return tks_fail(TKS_INVALID, "the key is not UTF-8 or has a NUL byte");
}

int tks_plugin_name(const char *plugin, size_t *len)
{
    *len = plugin ? strnlen(plugin, TKS_NAME_MAX + 1) : 0;
    if (plugin && tks_name_valid(plugin, *len))
        return TKS_OK;
    return tks_fail(TKS_INVALID, "the plugin name is %s",
                    !plugin               ? "NULL"
                    : !*len               ? "empty"
                    : *len > TKS_NAME_MAX ? "longer than 255 bytes"
                                          : "not UTF-8");
}

static struct tks_prepared *prepared_of(tks_key *key)
{
    return (struct tks_prepared *)(void *)key;
}

int tks_key_fill(const struct tks_owner *owner, const char *key, size_t len, tks_key *prepared)
{
    if (!key || !tks_name_valid(key, len))
        return tks_bad_key(key, len);
    struct tks_prepared *own = prepared_of(prepared);
    memcpy(own->name, key, len);
    own->name[len] = 0;
    own->len = len;
    own->serial = owner->serial;
    return TKS_OK;
}

int tks_key_name(const struct tks_owner *owner, const char *key, tks_key *prepared,
                 const char **name, size_t *len)
{
    if (!prepared) {
        *name = key;
        *len = key ? strnlen(key, TKS_NAME_MAX + 1) : 0;
        return key && tks_name_valid(key, *len) ? TKS_OK : tks_bad_key(key, *len);
    }
    const struct tks_prepared *own = prepared_of(prepared);
    if (own->serial != owner->serial || own->len - 1 >= TKS_NAME_MAX)
        return tks_fail(TKS_INVALID, "the prepared key belongs to another state");
    *name = own->name;
    *len = own->len;
    return TKS_OK;
}
