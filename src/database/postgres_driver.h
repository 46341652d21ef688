/* SPDX-License-Identifier: MIT */
/* The PostgreSQL driver's objects, and the functions of driver.h that are not in postgres.c. */
#ifndef TKS_DATABASE_POSTGRES_DRIVER_H
#define TKS_DATABASE_POSTGRES_DRIVER_H

#include "database/driver.h"
#include "database/postgres.h"

struct tks_database {
    struct postgres_target target;
    /* The connection that open made, for whoever connects first. */
    struct tks_connection *spare;
};

struct tks_connection {
    struct postgres_link link;
    PGresult *held; /* what the last read gave out */
};

int postgres_mirror_claim(struct tks_connection *connection, struct tks_mirror_holder *holder,
                          bool take);
int postgres_mirror_apply(struct tks_connection *connection, struct tks_mirror_holder *holder,
                          const struct tks_mirror_batch *batch);
int postgres_mirror_expire(struct tks_connection *connection, struct tks_mirror_holder *holder,
                           int64_t now, int64_t *next);

#endif
