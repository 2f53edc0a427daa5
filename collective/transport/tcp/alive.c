/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of file of a killed peer comes only when the kernel has freed its memory. Members of one host therefore share
 * a page each (a sealed memfd, which peers open under /proc by the number that the alarm told) with the word of a
 * keeper (collective/liveness.h). Where that does not work, the end of file tells.
 */
#include "collective/transport/tcp/tcp_internal.h"

#include "core/base/clock.h"
#include "core/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define PATIENCE_NS 5000000u

struct tcp_page {
    uint8_t nonce[32]; /* what was told: the page is the peer's, not one of another process with its number */
    struct lsi_robust robust;
};

static struct lsi_robust *word_of(void *state, int rank)
{
    const struct tcp *tcp = state;
    struct tcp_page *page = atomic_load_explicit(&tcp->peers[rank].page, memory_order_acquire);

    return page != NULL ? &page->robust : NULL;
}

/* The peers are told here, the own thread finds it at its next look. */
void lsi_tcp_alive_died(void *state, int rank)
{
    struct tcp *tcp = state;
    uint64_t one = 1;

    if (lsi_group_ended(tcp->group))
        return;
    atomic_store_explicit(&tcp->dead, 1 + rank, memory_order_release);
    lsi_tcp_alarm_send(tcp, TCP_DIED, rank);
    (void)!write(tcp->wake, &one, sizeof one);
}

static bool make_page(struct tcp *tcp)
{
    struct tcp_page *page;

    tcp->alive_fd = memfd_create("lockstep-alive", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (tcp->alive_fd < 0 || ftruncate(tcp->alive_fd, PAGE_BYTES) != 0 || fcntl(tcp->alive_fd, F_ADD_SEALS, SEALS) != 0)
        return false;
    page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, tcp->alive_fd, 0);
    if (page == MAP_FAILED)
        return false;
    atomic_store(&tcp->peers[tcp->group->rank].page, page);
    return ls_random_bytes(page->nonce, sizeof page->nonce) == LS_OK;
}

static void tell(struct tcp *tcp)
{
    struct tcp_message message = {.magic = TCP_MESSAGE_MAGIC, .word = TCP_ALIVE, .culprit = -1};
    struct tcp_told told = {.pid = getpid(), .fd = tcp->alive_fd};

    memcpy(told.nonce, tcp->peers[tcp->group->rank].page->nonce, sizeof told.nonce);
    memcpy(message.reason, &told, sizeof told);
    for (int r = 0; r < tcp->group->world; r++)
        if (r != tcp->group->rank && lsi_tcp_is_local(tcp, r))
            (void)send(tcp->peers[r].alarm, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A peer's words: what they name is checked for being what it should. */
void lsi_tcp_alive_heard(struct tcp *tcp, int rank, const struct tcp_message *message)
{
    struct tcp_peer *peer = &tcp->peers[rank];
    struct tcp_page *page = MAP_FAILED;
    struct tcp_told told;
    struct stat stat;
    char path[64];
    int fd;

    if (peer->told_alive || !lsi_tcp_is_local(tcp, rank))
        return;
    peer->told_alive = true;
    /* A thread of this process dies with it. */
    if (!lsi_tcp_told_read(message, &told) || told.pid == getpid())
        return;
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", told.pid, told.fd);
    fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return;
    if (fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) && stat.st_size == PAGE_BYTES && fcntl(fd, F_GET_SEALS) == SEALS)
        page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED)
        return;
    if (!ls_equal_secret(page->nonce, told.nonce, sizeof told.nonce)) {
        (void)munmap(page, PAGE_BYTES);
        return;
    }
    atomic_store_explicit(&peer->page, page, memory_order_release);
    lsi_keeper_look(&tcp->keeper);
}

static bool all_told(const struct tcp *tcp)
{
    for (int r = 0; r < tcp->group->world; r++)
        if (r != tcp->group->rank && lsi_tcp_is_local(tcp, r) && !tcp->peers[r].told_alive && !tcp->peers[r].left &&
            !tcp->peers[r].ended)
            return false;
    return true;
}

void lsi_tcp_alive_open(void *state)
{
    struct tcp *tcp = state;
    uint64_t start = ls_clock_now_ns();

    if (all_told(tcp) || !make_page(tcp))
        return;
    tcp->keeper = (struct lsi_keeper){.rank = tcp->group->rank,
                                      .world = tcp->group->world,
                                      .of = word_of,
                                      .died = lsi_tcp_alive_died,
                                      .argument = tcp};
    if (lsi_keeper_start(&tcp->keeper, NULL) != LS_OK)
        return;
    tell(tcp);
    /* The others form at the same moment. Whoever is late is heard in the first waits. */
    while (!all_told(tcp) && ls_clock_now_ns() - start < PATIENCE_NS)
        lsi_tcp_read_alarms(tcp, 1);
}

void lsi_tcp_alive_close(struct tcp *tcp)
{
    lsi_keeper_stop(&tcp->keeper);
    for (int r = 0; tcp->peers != NULL && r < tcp->group->world; r++)
        if (tcp->peers[r].page != NULL)
            (void)munmap(tcp->peers[r].page, PAGE_BYTES);
    if (tcp->alive_fd >= 0)
        close(tcp->alive_fd);
}
