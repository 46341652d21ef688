/* SPDX-License-Identifier: MIT */
/*
 * A private redis-server on a unix socket, without any configuration file, whose commit is BGSAVE
 * and waiting until it has ended: always an image of everything, which is what Redis has. Its data
 * file is synced before it is renamed.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "durable.h"

#define PIPELINE 1000
#define START_SECONDS 20.0
#define SAVE_SECONDS 120.0

struct redis {
    pid_t pid;
    FILE *to, *from;
    unsigned pending; /* answers not read yet */
};

/* ---- The protocol ------------------------------------------------------------------------ */

/* One answer; the line in @p line, a bulk string's first bytes in @p text (NULL: thrown away). */
static int read_answer(struct redis *redis, char *line, size_t size, char *text, size_t room)
{
    if (fgets(line, (int)size, redis->from) == NULL) {
        return -1;
    }
    if (line[0] == '$' && line[1] != '-') {
        size_t left = strtoul(line + 1, NULL, 10) + 2;
        for (size_t i = 0; i < left; i++) {
            int byte = getc(redis->from);
            if (byte == EOF) {
                return -1;
            }
            if (text != NULL && i + 1 < room) {
                text[i] = (char)byte;
                text[i + 1] = '\0';
            }
        }
    }
    return line[0] == '-' ? 1 : 0;
}

static int drain(struct redis *redis)
{
    char line[256];
    int bad = 0;

    fflush(redis->to);
    for (; redis->pending > 0; redis->pending--) {
        bad |= read_answer(redis, line, sizeof(line), NULL, 0);
    }
    return bad;
}

static int ask(struct redis *redis, const char *command, char *text, size_t room)
{
    char line[256];

    if (drain(redis) != 0) {
        return -1;
    }
    fprintf(redis->to, "%s\r\n", command);
    fflush(redis->to);
    return read_answer(redis, line, sizeof(line), text, room);
}

/* ---- The server -------------------------------------------------------------------------- */

static void nap(long ns)
{
    struct timespec pause = {0, ns};

    nanosleep(&pause, NULL);
}

static void serve(const char *folder)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin_to(options.other_cpu);
    if (chdir(folder) == 0) {
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", "redis.sock",
               "--save", "", "--appendonly", "no", "--dbfilename", "peer.rdb", "--daemonize", "no",
               "--logfile", "redis.log", NULL);
    }
    _exit(127);
}

static int reach(const char *folder)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/redis.sock", folder);
    if (file >= 0 && connect(file, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(file);
        return -1;
    }
    return file;
}

static bool connect_to(struct redis *redis, const char *folder)
{
    double until = seconds_now() + START_SECONDS;
    int file = -1;

    while ((file = reach(folder)) < 0 && seconds_now() < until) {
        if (waitpid(redis->pid, NULL, WNOHANG) == redis->pid) {
            return false;
        }
        nap(2000000);
    }
    if (file < 0) {
        die("redis-server does not answer");
    }
    redis->to = fdopen(file, "w");
    redis->from = fdopen(dup(file), "r");
    if (redis->to == NULL || redis->from == NULL) {
        die("no memory");
    }
    setvbuf(redis->to, NULL, _IOFBF, 1 << 20);
    while (ask(redis, "PING", NULL, 0) != 0 && seconds_now() < until) { /* while it loads */
        nap(2000000);
    }
    return true;
}

static void *redis_open(const char *folder)
{
    struct redis *redis = allocate(sizeof(*redis));

    fflush(NULL);
    redis->pid = fork();
    if (redis->pid == 0) {
        serve(folder);
    }
    if (redis->pid < 0) {
        die("fork failed");
    }
    if (!connect_to(redis, folder)) {
        free(redis);
        return NULL;
    }
    return redis;
}

static void redis_close(void *handle)
{
    struct redis *redis = handle;

    fclose(redis->to);
    fclose(redis->from);
    kill(redis->pid, SIGKILL);
    while (waitpid(redis->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    free(redis);
}

/* ---- Work -------------------------------------------------------------------------------- */

static int redis_begin(void *handle)
{
    (void)handle;
    return 0;
}

static int redis_put(void *handle, const char *key, const void *value, size_t len)
{
    struct redis *redis = handle;

    fprintf(redis->to, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(key), key, len);
    fwrite(value, 1, len, redis->to);
    fputs("\r\n", redis->to);
    return ++redis->pending < PIPELINE ? 0 : drain(redis);
}

static int redis_commit(void *handle)
{
    struct redis *redis = handle;
    double until = seconds_now() + SAVE_SECONDS;
    char info[4096];

    if (ask(redis, "BGSAVE", NULL, 0) != 0) {
        return -1;
    }
    do {
        nap(500000);
        if (ask(redis, "INFO persistence", info, sizeof(info)) != 0 || seconds_now() > until) {
            return -1;
        }
    } while (strstr(info, "rdb_bgsave_in_progress:1") != NULL);
    return strstr(info, "rdb_last_bgsave_status:ok") != NULL ? 0 : -1;
}

extern const struct durable durable_redis;
const struct durable durable_redis = {
    .name = "redis",
    .label = "Redis (BGSAVE)",
    .open = redis_open,
    .close = redis_close,
    .begin = redis_begin,
    .put = redis_put,
    .commit = redis_commit,
};
