/* SPDX-License-Identifier: MIT */
#include "peers.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api.h"

#define PEERS_MAX 64

/*
 * ThreadSanitizer knows no child of a process with threads, and a library may well have some. It
 * could not see a race between processes anyway.
 */
#define NO_PEERS API_THREAD_SANITIZER

/* Those not reaped yet, for api_end_peers(). 0: free. */
static pid_t running[PEERS_MAX];

static void note_running(pid_t old, pid_t new)
{
    for (size_t i = 0; i < PEERS_MAX; i++) {
        if (running[i] == old) {
            running[i] = new;
            return;
        }
    }
    CHECK(!"too many peers");
}

struct api_peer api_spawn(api_body body, void *arg)
{
    pid_t parent = getpid();
    struct api_peer peer;
    int ends[2];

    if (NO_PEERS)
        skip();
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    fflush(NULL);
    peer.pid = fork();
    CHECK(peer.pid >= 0);
    if (peer.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        memset(running, 0, sizeof(running));
        close(ends[0]);
        _exit(body(ends[1], arg));
    }
    close(ends[1]);
    peer.fd = ends[0];
    note_running(0, peer.pid);
    return peer;
}

static int wait_for(struct api_peer *peer)
{
    int status;

    while (waitpid(peer->pid, &status, 0) != peer->pid)
        CHECK(errno == EINTR);
    note_running(peer->pid, 0);
    close(peer->fd);
    peer->fd = -1;
    return status;
}

void api_join(struct api_peer *peer)
{
    int status = wait_for(peer);

    if (WIFSIGNALED(status))
        api_fail(__FILE__, __LINE__, "a peer died of signal %d", WTERMSIG(status));
    CHECK_INT(WEXITSTATUS(status), 0);
}

void api_kill(struct api_peer *peer)
{
    siginfo_t info;

    CHECK(kill(peer->pid, SIGKILL) == 0);
    while (waitid(P_PID, (id_t)peer->pid, &info, WEXITED | WNOWAIT) != 0)
        CHECK(errno == EINTR);
}

void api_reap(struct api_peer *peer)
{
    wait_for(peer);
}

void api_stop(const struct api_peer *peer)
{
    siginfo_t info;

    CHECK(kill(peer->pid, SIGSTOP) == 0);
    while (waitid(P_PID, (id_t)peer->pid, &info, WSTOPPED) != 0)
        CHECK(errno == EINTR);
}

void api_end_peers(void)
{
    for (size_t i = 0; i < PEERS_MAX; i++) {
        if (running[i] != 0) {
            kill(running[i], SIGKILL);
            waitpid(running[i], NULL, 0);
            running[i] = 0;
        }
    }
}

void api_tell(int fd)
{
    CHECK(send(fd, "!", 1, MSG_NOSIGNAL) == 1);
}

void api_hear(int fd)
{
    char byte;
    ssize_t got;

    do
        got = recv(fd, &byte, 1, 0);
    while (got < 0 && errno == EINTR);
    if (got != 1)
        api_fail(__FILE__, __LINE__, "the other process ended in mid-test");
}

struct crew_member {
    int index;
    int (*body)(int index, void *arg);
    void *arg;
};

static int crew_body(int fd, void *arg)
{
    struct crew_member *member = arg;

    api_tell(fd);
    api_hear(fd);
    return member->body(member->index, member->arg);
}

void api_crew(int count, int (*body)(int index, void *arg), void *arg)
{
    struct api_peer peers[PEERS_MAX];
    struct crew_member member = {0, body, arg};

    CHECK(count <= PEERS_MAX);
    for (int i = 0; i < count; i++) {
        member.index = i;
        peers[i] = api_spawn(crew_body, &member);
    }
    for (int i = 0; i < count; i++)
        api_hear(peers[i].fd);
    for (int i = 0; i < count; i++)
        api_tell(peers[i].fd);
    for (int i = 0; i < count; i++)
        api_join(&peers[i]);
}
