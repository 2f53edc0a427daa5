/* SPDX-License-Identifier: Apache-2.0 */
/* See board.h. */
#include "tests/conformance/board.h"

#include "core/base/clock.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* Generous: the machine may be busy with other work. */
#define SOON_NS 400000000u

struct board *board;

bool board_open(void)
{
    void *memory = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    board = memory != MAP_FAILED ? memory : NULL;
    return board != NULL;
}

void board_clear(void)
{
    memset(board, 0, sizeof *board);
}

void board_mark(void)
{
    atomic_store(&board->event_ns, ls_clock_now_ns());
}

void board_until(_Atomic int *value, int wanted)
{
    while (atomic_load(value) < wanted)
        (void)sched_yield();
}

int board_soon(int rank)
{
    uint64_t took = ls_clock_now_ns() - atomic_load(&board->event_ns);
    uint64_t slowest = atomic_load(&board->slowest_ns);

    while (took > slowest && !atomic_compare_exchange_weak(&board->slowest_ns, &slowest, took))
        ;
    if (took <= SOON_NS)
        return 0;
    fprintf(stderr, "rank %d: it took %.1f ms\n", rank, (double)took * 1e-6);
    return 1;
}

void board_print(void)
{
    if (atomic_load(&board->slowest_ns) > 0)
        printf(", slowest %.2f ms", (double)atomic_load(&board->slowest_ns) * 1e-6);
}
