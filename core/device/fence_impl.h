/* SPDX-License-Identifier: Apache-2.0 */
/* What a line of work fills in to give fences. Callers read fence.h instead. */
#ifndef LOCKSTEP_CORE_DEVICE_FENCE_IMPL_H
#define LOCKSTEP_CORE_DEVICE_FENCE_IMPL_H

#include "core/device/fence.h"

#include <stdbool.h>

/* How long whoever waits goes on. */
struct lsi_patience {
    uint64_t deadline_ns;        /* ls_clock_now_ns */
    const _Atomic bool *abandon; /* nullable: once true the wait ends with LS_EINTERRUPTED within some ms */
    const _Atomic bool *hurry;   /* nullable: while false others compute here, so the wait does not spin */
    const char *who;             /* waits: "stream update" */
};

/* Thread: any, several at once. source and place are those of the fence. */
struct ls_fence_ops {
    const char *name;
    /* As ls_fence_test; it may move the work on, and waits for nothing but its turn to do so. */
    enum ls_status (*test)(void *source, uint64_t place, struct ls_error *err);
    /* As ls_fence_wait, until patience ends: LS_ETIMEOUT, LS_EINTERRUPTED. */
    enum ls_status (*wait)(void *source, uint64_t place, const struct lsi_patience *patience, struct ls_error *err);
    void (*text)(const void *source, uint64_t place, char text[LS_FENCE_TEXT]);
    /* A stream has, and no longer has, a wait for it among its work: the source may not end between. */
    void (*hold)(void *source);
    void (*let_go)(void *source);
};

/* ls_fence_wait for one who may lose patience in other ways. */
enum ls_status lsi_fence_await(const struct ls_fence *fence, const struct lsi_patience *patience, struct ls_error *err);

#endif
