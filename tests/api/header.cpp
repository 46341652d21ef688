/* SPDX-License-Identifier: MIT */
/* The header in C++: it compiles, alone and first, and its functions link as C. */
#include <tickstate/tickstate.h>

#include <cstring>

int main()
{
    tks_options options = {};
    tks_stats stats = {};
    tks_check check = {};
    tks_record record = {};
    tks_key key;
    tks_store *store = nullptr;
    tks_state *state = nullptr;
    const int status = TKS_NOT_FOUND;

    options.size = sizeof(options);
    stats.size = sizeof(stats);
    check.size = sizeof(check);
    record.size = sizeof(record);
    if (tks_store_open("nosuch://x", &options, &store) != TKS_UNSUPPORTED || store != nullptr)
        return 1;
    if (tks_key_prepare(state, "key", &key) != TKS_INVALID)
        return 1;
    if (tks_store_stats(store, &stats) != TKS_INVALID ||
        tks_store_check(store, &check) != TKS_INVALID)
        return 1;
    if (tks_put_record(state, &record) != TKS_INVALID ||
        tks_copy_record(state, &record, nullptr) != TKS_INVALID)
        return 1;
    return std::strncmp(tks_strerror(status), "TKS_NOT_FOUND", 13) == 0 ? 0 : 1;
}
