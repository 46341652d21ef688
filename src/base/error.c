/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include "base/atomic.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifdef TKS_THREAD_SANITIZER
uint64_t tks_fence_word;
#endif

_Thread_local int tks_outcome;
static _Thread_local char sentence[512];

/* Marks that `sentence`, not an expected outcome, is the last failure. */
enum { OUTCOME_SENTENCE = 1 };

int tks_fail(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    tks_outcome = OUTCOME_SENTENCE;
    return status;
}

int tks_status_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return TKS_NOT_FOUND;
    case EACCES:
    case EPERM:
    case ELOOP:
        return TKS_DENIED;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
        return TKS_NO_SPACE;
    default:
        return TKS_IO;
    }
}

int tks_fail_errno(int errnum, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    if (used >= 0 && (size_t)used < sizeof(sentence)) {
        char reason[96];
        snprintf(sentence + used, sizeof(sentence) - (size_t)used, ": %s",
                 strerror_r(errnum, reason, sizeof(reason)));
    }
    tks_outcome = OUTCOME_SENTENCE;
    return tks_status_of_errno(errnum);
}

const char *tks_strerror(int status)
{
    switch (status) {
#define STATUS_CASE(name, number, text)                                                            \
    case number:                                                                                   \
        return #name ": " text;
        TKS_STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
    default:
        return "unknown status";
    }
}

const char *tks_last_error(void)
{
    if (tks_outcome == OUTCOME_SENTENCE)
        return sentence;
    return tks_outcome ? tks_strerror(tks_outcome) : "";
}

const char *tks_version(void)
{
    return TKS_VERSION;
}
