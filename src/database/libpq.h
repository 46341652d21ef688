/* SPDX-License-Identifier: MIT */
/*
 * libpq, loaded when the first postgres:// store is opened.
 *
 * Loaded and not linked: it brings OpenSSL, Kerberos and LDAP into the process, which a plugin on
 * shm:// should not pay for, and it cannot be linked statically at all where those come as shared
 * libraries only (Debian), which would take static linking away from everybody. The names and types
 * are those of <libpq-fe.h>.
 */
#ifndef TKS_DATABASE_LIBPQ_H
#define TKS_DATABASE_LIBPQ_H

#include <libpq-fe.h>

#define LIBPQ_FUNCTIONS(X)                                                                         \
    X(PQclear)                                                                                     \
    X(PQcmdTuples)                                                                                 \
    X(PQconnectPoll)                                                                               \
    X(PQconnectStartParams)                                                                        \
    X(PQconninfoFree)                                                                              \
    X(PQconninfoParse)                                                                             \
    X(PQconsumeInput)                                                                              \
    X(PQdb)                                                                                        \
    X(PQerrorMessage)                                                                              \
    X(PQfinish)                                                                                    \
    X(PQflush)                                                                                     \
    X(PQfreemem)                                                                                   \
    X(PQgetResult)                                                                                 \
    X(PQgetisnull)                                                                                 \
    X(PQgetlength)                                                                                 \
    X(PQgetvalue)                                                                                  \
    X(PQhost)                                                                                      \
    X(PQisBusy)                                                                                    \
    X(PQntuples)                                                                                   \
    X(PQpass)                                                                                      \
    X(PQresultErrorField)                                                                          \
    X(PQresultErrorMessage)                                                                        \
    X(PQresultStatus)                                                                              \
    X(PQsendPrepare)                                                                               \
    X(PQsendQuery)                                                                                 \
    X(PQsendQueryPrepared)                                                                         \
    X(PQserverVersion)                                                                             \
    X(PQsetErrorVerbosity)                                                                         \
    X(PQsetNoticeProcessor)                                                                        \
    X(PQsetnonblocking)                                                                            \
    X(PQsocket)                                                                                    \
    X(PQstatus)                                                                                    \
    X(PQsslInUse)                                                                                  \
    X(PQgssEncInUse)

struct tks_libpq {
#define LIBPQ_MEMBER(name) __typeof__(name) *name;
    LIBPQ_FUNCTIONS(LIBPQ_MEMBER)
#undef LIBPQ_MEMBER
};

/* Valid, and never changed again, after a tks_libpq_load() that gave TKS_OK. */
extern struct tks_libpq libpq;

/** Load it, once per process. TKS_OK, or TKS_UNSUPPORTED with the loader's reason. */
int tks_libpq_load(void);

#endif
